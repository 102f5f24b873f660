//! The log of one stream: [`Log`] on its core, [`reader::StreamReader`] in recovery, [`tail::TailReader`] for the mirror.
//!
//! Always: durable ≤ written ≤ appended; a segment's name and header are on disk before the first frame in it is written, and
//! everything before the segment is on disk before its name is; so a segment is proof of all edits before it.

pub mod marks;
pub mod reader;
pub mod tail;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use self::marks::StreamMarks;
use super::StorageError;
use super::probe::Probed;
use crate::encoding::edit::EncodedEdits;
use crate::encoding::frame::{DirectoryId, StreamId};
use crate::ids::Lsn;

/// When appended edits are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// At the latest one flush interval after the first of them.
    #[default]
    Async,
    /// As soon as the commit before is durable.
    Eager,
}

/// What a log must know.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The data directory.
    pub dir: PathBuf,
    /// Its id.
    pub id: DirectoryId,
    /// The stream.
    pub stream: StreamId,
    /// Size of a segment file in bytes; a larger frame gets a segment of its own size.
    pub segment_bytes: u64,
    /// Size of a buffer in bytes: at most this much goes into one frame, unless one group is larger.
    pub buffer_bytes: usize,
    /// Number of buffers, at least 2. The bound of unwritten bytes is `buffers * buffer_bytes`.
    pub buffers: usize,
    /// The longest that an edit waits before it is written, in [`Commit::Async`].
    pub flush_interval: Duration,
    /// How writes are made durable, as measured by [`super::probe::probe`].
    pub sync: Probed,
    /// When edits are written; can be changed later.
    pub commit: Commit,
}

/// Whether there is room on disk for more edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// For all.
    Enough,
    /// Only for what frees memory or space: deletes, expiry, barriers. Other writes are refused until there is space again.
    Reserve,
    /// For none.
    Exhausted,
}

/// What a log has done so far, for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Commits that became durable.
    pub commits: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes written, padding included.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Median time from the start of a commit until it is durable, in microseconds, of the last minutes.
    pub commit_p50_us: u64,
    /// 99 % take at most this long.
    pub commit_p99_us: u64,
    /// The slowest.
    pub commit_max_us: u64,
}

/// The live log of one stream: a handle that is cheap to clone and stays on its core.
#[derive(Clone)]
pub struct Log {
    inner: Rc<()>,
}

impl Log {
    /// Opens the stream's first segment, which [`super::DataDir::begin_epoch`] has made, and starts the task that writes.
    /// Must be called in a glommio executor. The first append gets lsn 1.
    ///
    /// # Errors
    /// If the segment is not fresh, or the disk fails or is full.
    pub async fn open(options: LogOptions, marks: Arc<StreamMarks>) -> Result<Self, StorageError> {
        todo!("{options:?} {marks:?}")
    }

    /// Appends one group of edits, which will stand in one frame; returns the lsn of the last. Copies, and does nothing else.
    ///
    /// Always succeeds: that there is room ([`Self::is_full`], [`Self::space`]) and that the log is not poisoned are for the caller to
    /// see to first. A group appended to a poisoned log is never durable.
    ///
    /// # Panics
    /// If there are no edits.
    pub fn append(&self, edits: &EncodedEdits) -> Lsn {
        todo!("{}", edits.count())
    }

    /// Whether the disk is behind by so much that no more edits should be appended until [`Self::on_progress`] calls.
    #[inline]
    pub fn is_full(&self) -> bool {
        todo!()
    }

    /// Why nothing becomes durable any more, if that is so: a write or sync has failed. It stays so.
    pub fn is_poisoned(&self) -> Option<Rc<str>> {
        todo!()
    }

    /// Whether there is room on disk. Checked before each write is planned; cheap.
    #[inline]
    pub fn space(&self) -> Space {
        todo!()
    }

    /// Writes what is appended now, without waiting for the flush interval.
    pub fn commit_now(&self) {
        todo!()
    }

    /// From now on writes as soon as the commit before is durable (`true`), or at the flush interval (`false`).
    pub fn set_eager(&self, eager: bool) {
        todo!("{eager}")
    }

    /// `call` is called, on this core and outside of every borrow, after the durable mark has moved, room has appeared, or the log was
    /// poisoned. The last one given counts.
    pub fn on_progress(&self, call: Rc<dyn Fn()>) {
        let _ = call;
        todo!()
    }

    /// Lsn of the last edit appended.
    #[inline]
    pub fn appended(&self) -> Lsn {
        todo!()
    }

    /// Lsn of the last edit that is on disk.
    #[inline]
    pub fn durable(&self) -> Lsn {
        todo!()
    }

    /// Bytes appended that are not on disk yet.
    pub fn unflushed_bytes(&self) -> u64 {
        todo!()
    }

    /// The marks that this log moves.
    pub fn marks(&self) -> &Arc<StreamMarks> {
        let _ = &self.inner;
        todo!()
    }

    /// What it has done so far.
    pub fn stats(&self) -> LogStats {
        todo!()
    }

    /// Writes everything, seals the stream, syncs, and ends. Nothing may be appended any more.
    ///
    /// # Errors
    /// If the log is or becomes poisoned.
    pub async fn close(&self) -> Result<(), StorageError> {
        todo!()
    }
}
