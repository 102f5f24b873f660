//! Follows a live stream: reads its durable frames from the segment files, for the mirror.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::marks::StreamMarks;
use crate::encoding::frame::{DirectoryId, Frame, StreamId};
use crate::ids::Lsn;
use crate::storage::StorageError;

/// Why a stream cannot be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The log no longer reaches back so far: its first edit is this one.
    #[error("the log begins at {0}")]
    Dropped(Lsn),
    /// The files are damaged or cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads the durable frames of a stream that is being written. Blocks: for threads of the checkpoint side.
pub struct TailReader {
    _private: (),
}

impl TailReader {
    /// Follows `stream` of the data directory `dir` with this `id`, from the frame that holds `from` (or will) on.
    ///
    /// # Errors
    /// [`TailError::Dropped`] if `from` lies in a segment that is gone.
    pub fn open(
        dir: PathBuf,
        id: DirectoryId,
        stream: StreamId,
        from: Lsn,
        marks: Arc<StreamMarks>,
    ) -> Result<Self, TailError> {
        todo!("{dir:?} {id} {stream} {from} {marks:?}")
    }

    /// The next durable frame (marks without edits are passed over); `None` if there was none within `timeout`, or there will
    /// never be one ([`StreamMarks::has_ended`]). [`Frame::bytes`] is what is sent.
    ///
    /// # Errors
    /// If the files are damaged or gone.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Frame<'_>>, TailError> {
        todo!("{timeout:?}")
    }
}
