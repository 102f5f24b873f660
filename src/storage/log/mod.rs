//! The log of one stream: [`Log`] writes it on its core, [`reader::StreamReader`] reads it in recovery, and
//! [`tail::TailReader`] follows it for the mirror.
//!
//! Always: durable ≤ synced ≤ written ≤ appended ([`marks`] says what each means); a segment's name and header are on
//! disk before the first frame in it is written, and everything before the segment is on disk before its name is. So
//! the existence of a segment proves that all edits before it were synced.

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

/// When appended edits are committed to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// At the latest one flush interval after the first of them was appended.
    #[default]
    Async,
    /// As soon as the previous commit is synced.
    Eager,
}

/// Configuration of a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The data directory.
    pub dir: PathBuf,
    /// Id of the data directory.
    pub id: DirectoryId,
    /// The stream.
    pub stream: StreamId,
    /// Size of a segment file in bytes; a larger frame gets a segment of its own size.
    pub segment_bytes: u64,
    /// Size of a buffer in bytes. A frame holds at most one buffer's worth of edits, unless one group is larger.
    pub buffer_bytes: usize,
    /// Number of buffers, at least 2. The log is full ([`Log::is_full`]) once `buffers * buffer_bytes` bytes are
    /// unflushed.
    pub buffers: usize,
    /// Longest time that an edit waits before it is written, in [`Commit::Async`].
    pub flush_interval: Duration,
    /// How writes are made durable, as measured by [`super::probe::probe`].
    pub sync: Probed,
    /// When edits are committed; can be changed later.
    pub commit: Commit,
}

#[cfg(test)]
impl LogOptions {
    /// Options of a small log of `stream` in `data`, for tests; a test sets what it needs otherwise.
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

/// Whether there is disk space for more edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// There is space for all edits.
    Enough,
    /// There is space only for edits that free memory or space: deletes, expiry, barriers. Other writes are refused
    /// until there is space again.
    Reserve,
    /// There is no space for any edit.
    Exhausted,
}

/// Statistics of a log, for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Number of commits that are on disk.
    pub commits: u64,
    /// Number of frames in these commits.
    pub frames: u64,
    /// Bytes of these frames, padding included.
    pub bytes: u64,
    /// Number of segments begun.
    pub segments: u64,
    /// Median time from the start of a commit until it is synced, over the last one or two minutes, in microseconds.
    pub commit_p50_us: u64,
    /// 99th percentile of the same times, in microseconds.
    pub commit_p99_us: u64,
    /// Maximum of the same times, in microseconds.
    pub commit_max_us: u64,
}

/// A rule that says how far a stream is durable: given the last synced edit, it returns the last one that no crash can
/// cut off any more. Its answers never decrease.
pub type SettlingRule = Rc<dyn Fn(Lsn) -> Lsn>;

/// Handle to the live log of one stream. Cheap to clone; stays on its core.
pub struct Log<D: Disk = DirectDisk> {
    driver: Rc<Driver<D>>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self { driver: Rc::clone(&self.driver) }
    }
}

impl Log {
    /// Opens the log on the stream's first segment, which [`super::DataDir::begin_epoch`] has created, and starts the
    /// task that writes it. Must be called in a glommio executor, whose thread must then call [`Self::poll`] regularly.
    /// The first append gets lsn 1.
    ///
    /// # Errors
    /// If the segment is not fresh, or the disk fails or is full.
    pub async fn open(options: LogOptions, marks: Arc<StreamMarks>) -> Result<Self, StorageError> {
        let commits = Rc::new(CommitRing::new().context(&options.dir, "cannot set up a ring for commits")?);
        Self::open_on(DirectDisk::new(options.sync.method, commits), options, marks).await
    }

    /// Makes completions signal the eventfd `event` while [`Self::set_alert`] is on.
    ///
    /// # Errors
    /// If the kernel refuses to register the eventfd.
    pub fn signal(&self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.driver.disk.commits().signal(event)
    }

    /// Turns the signalling of completions on or off. Whoever turns it on must check [`Self::is_idle`] once more before
    /// resting.
    pub fn set_alert(&self, on: bool) {
        self.driver.disk.commits().set_alert(on);
    }

    /// Whether a commit is on its way to the disk.
    pub fn is_committing(&self) -> bool {
        self.driver.disk.commits().is_committing()
    }

    /// Ready as soon as a commit is on its way; the caller must then [`Self::poll`] the log until the commit has ended.
    pub fn poll_committing(&self, context: &TaskContext<'_>) -> Poll<()> {
        self.driver.disk.commits().poll_begun(context)
    }

    /// Whether there are no completions for [`Self::poll`] to process.
    pub fn is_idle(&self) -> bool {
        !self.driver.disk.commits().has_completions()
    }
}

impl<D: Disk> Log<D> {
    /// As [`Log::open`], on any [`Disk`].
    ///
    /// # Errors
    /// As [`Log::open`].
    pub async fn open_on(disk: D, options: LogOptions, marks: Arc<StreamMarks>) -> Result<Self, StorageError> {
        Ok(Self { driver: Driver::open(disk, options, marks).await? })
    }

    /// The stream that this log is of.
    pub fn stream(&self) -> StreamId {
        self.driver.stream()
    }

    /// Processes completions of the disk, and wakes the task that waits for them. Returns whether a commit has ended.
    /// Costs no system call.
    pub fn poll(&self) -> bool {
        self.driver.disk.poll()
    }

    /// Appends one group of edits, which stays within one frame; returns the lsn of the last. Only copies into a
    /// buffer.
    ///
    /// Always succeeds. The caller must check first that there is room ([`Self::is_full`], [`Self::space`]) and that
    /// the log is not poisoned; a group appended to a poisoned log never becomes durable.
    ///
    /// # Panics
    /// If there are no edits, or more than [`crate::encoding::frame::MAX_BODY`] bytes of them.
    #[inline]
    pub fn append(&self, edits: &EncodedEdits) -> Lsn {
        self.driver.append(edits)
    }

    /// Whether so many edits are unflushed that none should be appended until the callback of [`Self::on_progress`] is
    /// called.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.driver.is_full()
    }

    /// Why nothing becomes durable any more: a write or sync has failed. `None` if that has not happened. Poison is
    /// permanent.
    #[inline]
    pub fn is_poisoned(&self) -> Option<Rc<str>> {
        self.driver.poisoned()
    }

    /// Whether there is disk space for more edits. Cheap: checked before each write is planned.
    #[inline]
    pub fn space(&self) -> Space {
        self.driver.space()
    }

    /// Why there is no space for another segment, for the text of a refusal; `None` if there is.
    pub fn out_of_space(&self) -> Option<Rc<str>> {
        self.driver.next.out_of_space()
    }

    /// Commits the edits appended so far, without waiting for the flush interval.
    pub fn commit_now(&self) {
        self.driver.commit_now();
    }

    /// From now on, commits as soon as the previous commit is synced (`true`), or after the flush interval (`false`).
    pub fn set_eager(&self, eager: bool) {
        self.driver.set_eager(eager);
    }

    /// Sets the callback, replacing any earlier one. It is called on this core, outside of every borrow, after the
    /// synced or durable mark has moved, disk space has appeared or run out, or the log has ended or was poisoned.
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

    /// Sets the rule that says how far synced edits are durable. Without a rule all of them are, since no edit depends
    /// on another stream. The log asks the rule after every sync; if its answer changes in between, the caller calls
    /// [`Self::settle`].
    pub fn settle_by(&self, rule: SettlingRule) {
        self.driver.set_rule(rule);
    }

    /// Asks the rule of [`Self::settle_by`] again, and moves the durable mark.
    pub fn settle(&self) {
        self.driver.settle_now();
    }

    /// Bytes of edits that were appended and are not on disk yet.
    pub fn unflushed_bytes(&self) -> u64 {
        self.driver.writer.borrow().unflushed()
    }

    /// The marks of the stream, which this log updates.
    pub fn marks(&self) -> &Arc<StreamMarks> {
        &self.driver.marks
    }

    /// Statistics of this log.
    pub fn stats(&self) -> LogStats {
        self.driver.stats()
    }

    /// Writes everything, seals the stream, syncs, and ends the log. Nothing may be appended any more.
    ///
    /// # Errors
    /// Why the log is poisoned, if it is.
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
