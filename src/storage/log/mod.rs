//! The log of one stream: [`Log`] on its core, [`reader::StreamReader`] in recovery, [`tail::TailReader`] for the
//! mirror.
//!
//! Always: durable ≤ synced ≤ written ≤ appended ([`marks`] says what each means); a segment's name and header are on
//! disk before the first frame in it is written, and everything before the segment is on disk before its name is; so a
//! segment is proof of all edits before it.

pub mod bell;
mod commit_ring;
mod direct;
pub(in crate::storage) mod disk;
mod driver;
pub mod extent;
mod flock;
mod latency;
pub mod marks;
mod prepare;
mod read_ahead;
pub mod reader;
mod scan;
pub mod segment;
pub(in crate::storage) mod segments;
pub mod tail;
mod task;
mod writer;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use self::commit_ring::CommitRing;
pub use self::direct::DirectDisk;
pub use self::disk::{Disk, Room};
use self::driver::Driver;
use self::marks::StreamMarks;
use super::StorageError;
use super::error::Context;
use super::probe::Probed;
use crate::encoding::edit::EncodedEdits;
use crate::ids::{DirectoryId, Lsn, StreamId};
use crate::planted::{Bug, is_planted};

/// When appended edits are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// At the latest one flush interval after the first of them.
    #[default]
    Async,
    /// As soon as the commit before is synced.
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

#[cfg(test)]
impl LogOptions {
    /// A small log of `stream` in `data`, for tests; what a test needs otherwise it says.
    pub(crate) fn small(data: &super::DataDir, stream: StreamId) -> Self {
        Self {
            dir: data.path().to_owned(),
            id: data.id(),
            stream,
            segment_bytes: 64 << 10,
            buffer_bytes: 16 << 10,
            buffers: 2,
            flush_interval: Duration::from_secs(3600),
            sync: Probed::default(),
            commit: Commit::Async,
        }
    }
}

/// Whether there is room on disk for more edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// For all.
    Enough,
    /// Only for what frees memory or space: deletes, expiry, barriers. Other writes are refused until there is space
    /// again.
    Reserve,
    /// For none.
    Exhausted,
}

/// What a log has done so far, for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Commits that are on disk.
    pub commits: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes written, padding included.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Median time from the start of a commit until it is synced, in microseconds, of the last minutes.
    pub commit_p50_us: u64,
    /// 99 % take at most this long.
    pub commit_p99_us: u64,
    /// The slowest.
    pub commit_max_us: u64,
}

/// A rule that says how far a stream is durable: told the last synced edit, it returns the last one that no crash can
/// cut off any more. It never takes back what it said.
pub type SettlingRule = Rc<dyn Fn(Lsn) -> Lsn>;

/// The live log of one stream: a handle that is cheap to clone and stays on its core.
pub struct Log<D: Disk = DirectDisk> {
    driver: Rc<Driver<D>>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self { driver: Rc::clone(&self.driver) }
    }
}

impl Log {
    /// Opens the stream's first segment, which [`super::DataDir::begin_epoch`] has made, and starts the task that
    /// writes. Must be called in a glommio executor, whose thread from then on calls [`Self::poll`] again and again.
    /// The first append gets lsn 1.
    ///
    /// # Errors
    /// If the segment is not fresh, or the disk fails or is full.
    pub async fn open(options: LogOptions, marks: Arc<StreamMarks>) -> Result<Self, StorageError> {
        let commits = Rc::new(CommitRing::new().context(&options.dir, "cannot set up a ring for commits")?);
        Self::open_on(DirectDisk::new(options.sync.method, commits), options, marks).await
    }

    /// Has `event` signalled when [`Self::poll`] would find something, as long as [`Self::set_alert`] says so.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn signal(&self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.driver.disk.commits().signal(event)
    }

    /// Whether the event is signalled. Whoever turns it on looks once more ([`Self::is_idle`]) before it rests.
    pub fn set_alert(&self, on: bool) {
        self.driver.disk.commits().set_alert(on);
    }

    /// Whether a commit is on its way to the disk.
    pub fn is_committing(&self) -> bool {
        self.driver.disk.commits().is_committing()
    }

    /// Ready as soon as a commit is on its way, so that whoever drives the log must [`Self::poll`] it until the commit
    /// has ended.
    pub fn poll_committing(&self, context: &TaskContext<'_>) -> Poll<()> {
        self.driver.disk.commits().poll_begun(context)
    }

    /// Whether [`Self::poll`] would find nothing.
    pub fn is_idle(&self) -> bool {
        !self.driver.disk.commits().has_completions()
    }
}

impl<D: Disk> Log<D> {
    /// As [`Log::open`], on a disk of another kind.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub async fn open_on(disk: D, options: LogOptions, marks: Arc<StreamMarks>) -> Result<Self, StorageError> {
        Ok(Self { driver: Driver::open(disk, options, marks).await? })
    }

    /// Notes what the disk has done, and wakes the task that waits for it. Returns whether a commit has ended. Costs no
    /// system call.
    pub fn poll(&self) -> bool {
        self.driver.disk.poll()
    }

    /// Appends one group of edits, which will stand in one frame; returns the lsn of the last. Copies, and does nothing
    /// else.
    ///
    /// Always succeeds: that there is room ([`Self::is_full`], [`Self::space`]) and that the log is not poisoned are
    /// for the caller to see to first. A group appended to a poisoned log is never durable.
    ///
    /// # Panics
    /// If there are no edits, or more than [`crate::encoding::frame::MAX_BODY`] bytes of them.
    #[inline]
    pub fn append(&self, edits: &EncodedEdits) -> Lsn {
        self.driver.append(edits)
    }

    /// Whether the disk is behind by so much that no more edits should be appended until [`Self::on_progress`] calls.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.driver.is_full()
    }

    /// Why nothing becomes durable any more, if that is so: a write or sync has failed. It stays so.
    #[inline]
    pub fn is_poisoned(&self) -> Option<Rc<str>> {
        self.driver.poisoned()
    }

    /// Whether there is room on disk. Checked before each write is planned; cheap.
    #[inline]
    pub fn space(&self) -> Space {
        self.driver.space()
    }

    /// Why there is no space for another segment, for the text of a refusal.
    pub fn out_of_space(&self) -> Option<Rc<str>> {
        self.driver.next.out_of_space()
    }

    /// Writes what is appended now, without waiting for the flush interval.
    pub fn commit_now(&self) {
        self.driver.commit_now();
    }

    /// From now on writes as soon as the commit before is synced (`true`), or at the flush interval (`false`).
    pub fn set_eager(&self, eager: bool) {
        self.driver.set_eager(eager);
    }

    /// `call` is called, on this core and outside of every borrow, after the synced or the durable mark has moved, room
    /// has appeared, or the log was poisoned. The last one given counts.
    pub fn on_progress(&self, call: Rc<dyn Fn()>) {
        self.driver.set_on_progress(call);
    }

    /// Lsn of the last edit appended.
    #[inline]
    pub fn appended(&self) -> Lsn {
        self.driver.writer.borrow().appended()
    }

    /// Lsn of the last edit that is on disk.
    #[inline]
    pub fn synced(&self) -> Lsn {
        self.driver.writer.borrow().synced()
    }

    /// Lsn of the last edit that is on disk and that no crash can cut off any more.
    #[inline]
    pub fn durable(&self) -> Lsn {
        let writer = self.driver.writer.borrow();
        if is_planted(Bug::AcknowledgedWhenSynced) { writer.synced() } else { writer.durable() }
    }

    /// From now on what is synced is durable as far as `rule` says. Without a rule all of it is: no edit depends on
    /// another stream. The log asks after every sync; whoever knows that the answer has changed since calls
    /// [`Self::settle`].
    pub fn settle_by(&self, rule: SettlingRule) {
        self.driver.set_rule(rule);
    }

    /// Asks the rule of [`Self::settle_by`] again, and moves the durable mark.
    pub fn settle(&self) {
        self.driver.settle_now();
    }

    /// Bytes appended that are not on disk yet.
    pub fn unflushed_bytes(&self) -> u64 {
        self.driver.writer.borrow().unflushed()
    }

    /// The marks that this log moves.
    pub fn marks(&self) -> &Arc<StreamMarks> {
        &self.driver.marks
    }

    /// What it has done so far.
    pub fn stats(&self) -> LogStats {
        self.driver.stats()
    }

    /// Writes everything, seals the stream, syncs, and ends. Nothing may be appended any more.
    ///
    /// # Errors
    /// Why the log is or became poisoned.
    pub async fn close(&self) -> Result<(), Rc<str>> {
        self.driver.close().await
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod handle_tests;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod tail_tests;
