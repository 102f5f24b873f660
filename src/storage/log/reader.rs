//! Reads a stream from its segment files: what recovery sees.
//!
//! Readers observe, callers act: this yields frames and where they stop being valid, and changes nothing.

use std::path::{Path, PathBuf};

use crate::encoding::frame::{DirectoryId, Frame, StreamId};
use crate::ids::Lsn;
use crate::storage::StorageError;

/// What a reader must know of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The data directory.
    pub dir: PathBuf,
    /// Its id.
    pub id: DirectoryId,
    /// The stream.
    pub stream: StreamId,
    /// The first edit that must be there: what is before it may be gone.
    pub first: Lsn,
    /// The last edit, if it is decided; what follows it is ignored.
    pub last: Option<Lsn>,
    /// Edits up to here are known to have been durable (a snapshot holds them), so the stream cannot end before. 0 if nothing is known.
    pub floor: Lsn,
}

/// Where a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The last edit.
    pub last: Lsn,
    /// Its master closed it in good order.
    pub sealed: bool,
    /// What follows and is no edit: the trace of a crash.
    pub cut: Option<Cut>,
}

/// The remains of a commit that a crash interrupted. None of it was ever acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment file.
    pub file: PathBuf,
    /// Where the good part ends, in bytes.
    pub offset: u64,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
}

/// Reads the frames of one stream in order, with a thread that reads and verifies ahead. Blocks: not for a core that serves.
pub struct StreamReader {
    _private: (),
}

impl StreamReader {
    /// Reads from the frame that holds `from` on (which may begin before it).
    ///
    /// Waits some seconds for the locks on the segments: the last writes of a killed process can land after its death.
    ///
    /// # Errors
    /// If segments are missing or still locked, or the disk fails.
    pub fn open(spec: &StreamSpec, from: Lsn) -> Result<Self, StorageError> {
        todo!("{spec:?} {from}")
    }

    /// The next frame with edits; `None` at the end.
    ///
    /// # Errors
    /// If the stream is damaged ([`StorageError::Corrupt`]), or the disk fails.
    #[expect(clippy::should_implement_trait, reason = "the frame borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, StorageError> {
        todo!()
    }

    /// Where the stream ends, once [`Self::next`] has returned `None`.
    pub fn end(&self) -> Option<&StreamEnd> {
        todo!()
    }

    /// The file that the last frame came from, and its offset there.
    pub fn place(&self) -> (&Path, u64) {
        todo!()
    }
}
