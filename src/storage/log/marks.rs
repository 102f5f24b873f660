//! The marks of a stream: how far it is appended, written, synced, durable and mirrored, readable by every thread.
//!
//! Always: mirrored ≤ durable ≤ synced ≤ written ≤ appended.
//!
//! An edit is *synced* when its bytes are on disk. It is *durable* when, besides, no crash can cut it off any more: it
//! would be cut off if it followed a part of a transaction of which another stream has lost a part. What anybody is
//! told (replies, the checkpoint node, installed snapshots, dropped log) goes by `durable`; what only has to do with
//! the disk (buffers, commits) goes by `synced`.
//!
//! The core writes its marks with plain atomic stores. Followers sleep on a futex, and the core makes a system call
//! only if somebody sleeps. In the other direction, the checkpoint side raises `mirrored` and wakes the core.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
use std::time::Duration;

use rustix::thread::futex;

use crate::ids::Lsn;

/// Where the synced part of a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncedEnd {
    /// Last edit of the synced part; every edit up to it is on disk.
    pub lsn: Lsn,
    /// First lsn of the newest segment with synced bytes; 0 while there is none.
    pub segment: Lsn,
    /// Offset in that segment up to which its bytes (header and whole frames) are on disk.
    pub offset: u64,
}

/// The marks of one stream, shared between its core and the threads that follow it.
#[derive(Default)]
pub struct StreamMarks {
    core: CoreSide,
    mirror: MirrorSide,
}

// Each side has cache lines of its own, so that one side's stores do not slow the other's.
#[derive(Default)]
#[repr(align(128))]
struct CoreSide {
    appended: AtomicU64,
    written: AtomicU64,
    /// Version of the three fields after it; odd while they change.
    version: AtomicU32,
    synced: AtomicU64,
    segment: AtomicU64,
    offset: AtomicU64,
    durable: AtomicU64,
    ended: AtomicBool,
    file_bytes: AtomicU64,
    out_of_space: AtomicBool,
}

#[derive(Default)]
#[repr(align(128))]
struct MirrorSide {
    headroom: AtomicU64,
    mirrored: AtomicU64,
    /// Futex word; changes on every wake-up that finds a waiter.
    bell: AtomicU32,
    waiting: AtomicU32,
}

impl StreamMarks {
    /// Creates the marks of a stream before its first edit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lsn of the last edit that was applied and put into the log's buffers.
    pub fn appended(&self) -> Lsn {
        Lsn(self.core.appended.load(Acquire))
    }

    /// Lsn of the last edit handed to the disk.
    pub fn written(&self) -> Lsn {
        Lsn(self.core.written.load(Acquire))
    }

    /// Lsn of the last edit that is on disk.
    pub fn synced(&self) -> Lsn {
        Lsn(self.core.synced.load(Acquire))
    }

    /// Where the synced part ends; the three numbers are read consistently.
    pub fn synced_end(&self) -> SyncedEnd {
        read_unchanged(&self.core.version, || SyncedEnd {
            lsn: Lsn(self.core.synced.load(Relaxed)),
            segment: Lsn(self.core.segment.load(Relaxed)),
            offset: self.core.offset.load(Relaxed),
        })
    }

    /// Lsn of the last edit that is on disk and that no crash can cut off any more. A later [`Self::synced_end`] is
    /// never before it.
    pub fn durable(&self) -> Lsn {
        Lsn(self.core.durable.load(Acquire))
    }

    /// Waits until the durable mark differs from `seen`, the stream has ended, somebody rings, or `timeout` is over.
    /// Blocks the thread, so a core must not call it.
    pub fn wait(&self, seen: Lsn, timeout: Duration) {
        let timeout = futex::Timespec::try_from(timeout).ok();
        self.mirror.waiting.fetch_add(1, SeqCst);
        let rung = self.mirror.bell.load(SeqCst);
        // Pairs with the fence in `ring`: either this thread sees the new mark, or the core sees the waiter.
        fence(SeqCst);
        if self.durable() == seen && !self.has_ended() {
            // Whatever ended the wait (wake-up, timeout, signal), the caller checks again.
            let _ = futex::wait(&self.mirror.bell, futex::Flags::PRIVATE, rung, timeout.as_ref());
        }
        self.mirror.waiting.fetch_sub(1, SeqCst);
    }

    /// Wakes the threads in [`Self::wait`], so that they check again whether they should go on.
    pub fn ring(&self) {
        fence(SeqCst);
        if self.mirror.waiting.load(SeqCst) > 0 {
            self.mirror.bell.fetch_add(1, SeqCst);
            let _ = futex::wake(&self.mirror.bell, futex::Flags::PRIVATE, u32::MAX >> 1);
        }
    }

    /// Whether the stream has ended: nothing more becomes durable, because the log was closed or a write failed.
    pub fn has_ended(&self) -> bool {
        self.core.ended.load(Acquire)
    }

    /// Lsn of the last edit that the checkpoint node holds.
    pub fn mirrored(&self) -> Lsn {
        Lsn(self.mirror.mirrored.load(Acquire))
    }

    /// Notes that the checkpoint node holds every edit up to `lsn`. The mark never moves back. Returns whether it has
    /// moved, of which the core must then be told.
    pub fn set_mirrored(&self, lsn: Lsn) -> bool {
        self.mirror.mirrored.fetch_max(lsn.0, Release) < lsn.0
    }

    /// Notes that the core has put edits up to `lsn` into its buffers.
    #[inline]
    pub(super) fn set_appended(&self, lsn: Lsn) {
        self.core.appended.store(lsn.0, Release);
    }

    /// Notes that edits up to `lsn` were handed to the disk; they are not safe yet.
    pub(super) fn set_written(&self, lsn: Lsn) {
        self.core.written.store(lsn.0, Release);
    }

    /// Notes that everything before `end` is on disk. Only the core calls this.
    pub(super) fn set_synced(&self, end: SyncedEnd) {
        let version = self.core.version.load(Relaxed);
        self.core.version.store(version.wrapping_add(1), Relaxed);
        fence(Release);
        self.core.synced.store(end.lsn.0, Relaxed);
        self.core.segment.store(end.segment.0, Relaxed);
        self.core.offset.store(end.offset, Relaxed);
        self.core.version.store(version.wrapping_add(2), Release);
    }

    /// Notes that every edit up to `lsn` is durable, and wakes waiters. The edits must be synced. Only the core calls
    /// this.
    pub(super) fn set_durable(&self, lsn: Lsn) {
        self.core.durable.store(lsn.0, Release);
        self.ring();
    }

    /// Lsn of the last edit of a stream that has ended, if all of the stream is durable. `None` otherwise: where the
    /// stream ends is then unknown until recovery has looked at all streams.
    pub fn settled_end(&self) -> Option<Lsn> {
        let (durable, synced) = (self.durable(), self.synced());
        (self.has_ended() && durable == synced).then_some(durable)
    }

    /// Bytes of all segment files that the stream has made, including removed ones and prepared space.
    pub fn file_bytes(&self) -> u64 {
        self.core.file_bytes.load(Relaxed)
    }

    /// Adds `delta` bytes to [`Self::file_bytes`]; negative if a prepared file was given up.
    pub(super) fn add_file_bytes(&self, delta: i64) {
        self.core.file_bytes.store(self.file_bytes().wrapping_add_signed(delta), Relaxed);
    }

    /// Whether there is no disk space for another segment.
    pub fn is_out_of_space(&self) -> bool {
        self.core.out_of_space.load(Relaxed)
    }

    pub(super) fn set_out_of_space(&self, is_so: bool) {
        self.core.out_of_space.store(is_so, Relaxed);
    }

    /// Bytes of free disk space that new segments must leave, so that there is room for a snapshot, which then frees
    /// log.
    pub fn headroom(&self) -> u64 {
        self.mirror.headroom.load(Relaxed)
    }

    /// Sets [`Self::headroom`]; the log respects it when it prepares its next segment.
    pub fn set_headroom(&self, bytes: u64) {
        self.mirror.headroom.store(bytes, Relaxed);
    }

    /// Notes that the stream has ended, and wakes waiters.
    pub(super) fn set_ended(&self) {
        self.core.ended.store(true, Release);
        self.ring();
    }
}

/// Calls `read` until `version` has not changed meanwhile: a writer makes it odd before a change and even after it.
#[inline]
fn read_unchanged<T>(version: &AtomicU32, read: impl Fn() -> T) -> T {
    loop {
        let before = version.load(Acquire);
        let value = read();
        fence(Acquire);
        if before.is_multiple_of(2) && before == version.load(Relaxed) {
            return value;
        }
        std::hint::spin_loop();
    }
}

impl fmt::Debug for StreamMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMarks")
            .field("appended", &self.appended())
            .field("written", &self.written())
            .field("synced", &self.synced_end())
            .field("durable", &self.durable())
            .field("mirrored", &self.mirrored())
            .finish()
    }
}

/// Counters of one partition's edits in this epoch, written by its core on every edit and read by the checkpoint
/// policy.
#[derive(Debug, Default)]
pub struct PartitionMarks {
    last_edit: AtomicU64,
    edits: AtomicU64,
    bytes: AtomicU64,
    older_snapshot: AtomicU64,
    crowded: AtomicU64,
}

impl PartitionMarks {
    /// Creates the counters of a partition without edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more edit, at `lsn`, of `bytes` bytes. Only the partition's core calls this.
    #[inline]
    pub fn note(&self, lsn: Lsn, bytes: u64) {
        // There is one writer, so a load and a store replace an atomic addition at less cost.
        self.last_edit.store(lsn.0, Relaxed);
        self.edits.store(self.edits.load(Relaxed) + 1, Relaxed);
        self.bytes.store(self.bytes.load(Relaxed) + bytes, Release);
    }

    /// Notes the position of the partition's older snapshot, once it was made in this epoch.
    pub fn set_older_snapshot(&self, lsn: Lsn) {
        self.older_snapshot.store(lsn.0, Release);
    }

    /// Lsn of the partition's older installed snapshot; 0 if it was not made in this epoch.
    pub fn older_snapshot(&self) -> Lsn {
        Lsn(self.older_snapshot.load(Acquire))
    }

    /// Notes that values which have moved up to `lsn` bind the partition together with many others.
    pub fn set_crowded(&self, lsn: Lsn) {
        self.crowded.store(lsn.0, Release);
    }

    /// Lsn of the last move of a value that has bound the partition together with many others in this epoch; 0 if there
    /// was none.
    pub fn crowded(&self) -> Lsn {
        Lsn(self.crowded.load(Acquire))
    }

    /// Lsn of the partition's last edit in this epoch; 0 if there was none.
    pub fn last_edit(&self) -> Lsn {
        Lsn(self.last_edit.load(Acquire))
    }

    /// Number of the partition's edits in this epoch.
    pub fn edits(&self) -> u64 {
        self.edits.load(Acquire)
    }

    /// Bytes that the partition's edits of this epoch take in the log.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_follower_misses_no_durable_edit_and_sees_every_end_whole() {
        let marks = Arc::new(StreamMarks::new());
        let follower = std::thread::spawn({
            let marks = marks.clone();
            move || {
                let mut seen = Lsn(0);
                while !marks.has_ended() || seen.0 < 100_000 {
                    marks.wait(seen, Duration::from_secs(20));
                    let durable = marks.durable();
                    assert!(durable >= seen);
                    let end = marks.synced_end();
                    assert!(end.lsn >= durable, "an edit is durable before it is synced");
                    assert_eq!((end.segment.0, end.offset), (end.lsn.0 * 2, end.lsn.0 * 3));
                    seen = durable;
                }
            }
        });
        for n in 1..=100_000 {
            marks.set_synced(SyncedEnd { lsn: Lsn(n), segment: Lsn(n * 2), offset: n * 3 });
            marks.set_durable(Lsn(n));
        }
        marks.set_ended();
        follower.join().unwrap();
    }

    #[test]
    fn an_end_that_changes_while_it_is_read_is_read_again() {
        let marks = StreamMarks::new();
        let reads = std::cell::Cell::new(0);
        let (lsn, offset) = read_unchanged(&marks.core.version, || {
            reads.set(reads.get() + 1);
            let lsn = marks.core.synced.load(Relaxed);
            if reads.get() < 3 {
                let n = reads.get();
                marks.set_synced(SyncedEnd { lsn: Lsn(n), segment: Lsn(1), offset: n });
            }
            (lsn, marks.core.offset.load(Relaxed))
        });
        assert_eq!((lsn, offset, reads.get()), (2, 2, 3));
    }

    #[test]
    fn an_end_that_is_being_changed_is_not_read() {
        let marks = StreamMarks::new();
        marks.core.version.store(1, Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                marks.core.offset.store(7, Relaxed);
                marks.core.version.store(2, Release);
            });
            assert_eq!(marks.synced_end().offset, 7);
        });
    }

    #[test]
    fn only_a_stream_that_has_ended_with_all_of_it_durable_is_settled() {
        let marks = StreamMarks::new();
        let synced_to = |n| marks.set_synced(SyncedEnd { lsn: Lsn(n), segment: Lsn(1), offset: 4096 * n });
        synced_to(5);
        marks.set_durable(Lsn(5));
        assert_eq!(marks.settled_end(), None, "it goes on");
        marks.set_ended();
        assert_eq!(marks.settled_end(), Some(Lsn(5)));
        synced_to(6);
        assert_eq!(marks.settled_end(), None, "a crash may still cut off edit 6");
    }

    #[test]
    fn mirrored_never_moves_back_and_says_when_it_moves() {
        let marks = StreamMarks::new();
        let moved: Vec<bool> = [3, 2, 3, 5].map(|lsn| marks.set_mirrored(Lsn(lsn))).into();
        assert_eq!((marks.mirrored(), moved), (Lsn(5), vec![true, false, false, true]));
    }

    fn durable_to(marks: &StreamMarks, lsn: u64) {
        marks.set_synced(SyncedEnd { lsn: Lsn(lsn), ..SyncedEnd::default() });
        marks.set_durable(Lsn(lsn));
    }

    #[test]
    fn what_a_partition_has_had_is_the_sum_of_its_edits() {
        let marks = PartitionMarks::new();
        assert_eq!((marks.last_edit(), marks.edits(), marks.bytes()), (Lsn(0), 0, 0));
        marks.note(Lsn(4), 100);
        marks.note(Lsn(9), 20);
        assert_eq!((marks.last_edit(), marks.edits(), marks.bytes()), (Lsn(9), 2, 120));
    }

    #[test]
    fn who_waits_is_woken_by_a_new_end_by_the_last_one_and_by_a_ring() {
        let marks = StreamMarks::new();
        let wake: [fn(&StreamMarks); 3] = [
            |marks| durable_to(marks, 1),
            StreamMarks::ring,
            |marks| {
                marks.set_ended();
            },
        ];
        for wake in wake {
            let seen = marks.durable();
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let began = std::time::Instant::now();
                    marks.wait(seen, Duration::from_secs(60));
                    began.elapsed()
                });
                while marks.mirror.waiting.load(SeqCst) == 0 && !waiting.is_finished() {
                    std::thread::yield_now();
                }
                // Gives the waiter time to fall asleep; a ring before that is not heard.
                std::thread::sleep(Duration::from_millis(50));
                wake(&marks);
                assert!(waiting.join().unwrap() < Duration::from_secs(30), "nobody has woken it");
            });
        }
    }

    #[test]
    fn who_has_not_seen_the_end_or_will_see_no_other_does_not_wait() {
        let (marks, long) = (StreamMarks::new(), Duration::from_secs(60));
        let began = std::time::Instant::now();
        durable_to(&marks, 1);
        marks.wait(Lsn(0), long);
        assert!(began.elapsed() < long / 2, "there is something new");
        let began = std::time::Instant::now();
        marks.wait(Lsn(1), Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50), "there was nothing new");
        marks.set_ended();
        marks.wait(Lsn(1), long);
        assert!(began.elapsed() < long / 2, "it waits for what will not come");
    }
}
