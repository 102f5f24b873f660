//! The extent of a stream on disk: what is known of it before it is read, and where it was found to end.

use std::path::PathBuf;

use crate::ids::{DirectoryId, Lsn, StreamId};

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
    /// The last edit, if it is recorded; what follows it is ignored, be it in the same frame.
    pub last: Option<Lsn>,
    /// Edits up to here are known to have been durable (a snapshot holds them), so the stream cannot end before. 0 if
    /// nothing is known.
    pub floor: Lsn,
}

/// Where a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The last edit.
    pub last: Lsn,
    /// No cut can take away an edit up to here: a frame or a snapshot says that they were durable, or the stream's end
    /// was known.
    pub durable: Lsn,
    /// Its master closed it in good order.
    pub sealed: bool,
    /// What follows and is no edit: the trace of a crash.
    pub torn: Option<TornTail>,
    /// The last frames, which are there, but which nothing proves to be on disk.
    pub unproven: Option<Unproven>,
}

/// Frames that were read, but that may be in a cache only: perhaps the sync after them failed. Syncing once more proves
/// nothing then, since what could not be written counts as written; they have to be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The segment file.
    pub file: PathBuf,
    /// Where the first of them begins, in bytes.
    pub offset: u64,
    /// Length of all of them in bytes, with their padding.
    pub bytes: u64,
}

/// The remains of a commit that a crash interrupted. None of it was ever acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Where the good part ends, in bytes.
    pub offset: u64,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
}
