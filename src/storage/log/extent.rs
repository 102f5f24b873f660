//! The extent of a stream on disk: what is known before it is read, and where it was found to end.

use std::path::PathBuf;

use crate::ids::{DirectoryId, Lsn, StreamId};

/// What a reader must know of a stream before it reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The data directory.
    pub dir: PathBuf,
    /// Id of the data directory.
    pub id: DirectoryId,
    /// The stream.
    pub stream: StreamId,
    /// The first edit that must be on disk; segments before it may be gone.
    pub first: Lsn,
    /// The last edit, if the manifest records it; edits after it are ignored, even in the same frame.
    pub last: Option<Lsn>,
    /// Edits up to here are known to have been durable (a snapshot holds them), so the stream cannot end earlier. 0 if
    /// nothing is known.
    pub floor: Lsn,
}

/// Where a stream was found to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// Lsn of the stream's last edit.
    pub last: Lsn,
    /// Edits up to here cannot be cut off: a frame or a snapshot says that they were durable, or the stream's end was
    /// known.
    pub durable: Lsn,
    /// Whether the stream ends with a seal: the master closed it in good order.
    pub sealed: bool,
    /// Bytes after the end that are no valid frame: the trace of a crash.
    pub torn: Option<TornTail>,
    /// The last frames, if nothing proves that they are on disk and not only in a cache.
    pub unproven: Option<Unproven>,
}

/// Frames that were read, but may be in a cache only, perhaps because the sync after them failed. Syncing again would
/// prove nothing, since the kernel calls clean what it could not write; the frames must be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The segment file.
    pub file: PathBuf,
    /// Offset of the first of these frames in the file, in bytes.
    pub offset: u64,
    /// Length of these frames in bytes, with their padding.
    pub bytes: u64,
}

/// The remains of a commit that a crash interrupted; none of it was ever acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Offset in the file where the last good frame ends, in bytes.
    pub offset: u64,
    /// Length of the remains in bytes, from `offset` to the last byte that is not zero.
    pub bytes: u64,
}
