//! What is due by the clock, in slices of well below a millisecond, one a turn; and what is asked from outside of the
//! cores.

use std::time::{Duration, Instant};

use super::{Engine, Front};
use crate::encoding::resp::{Protocol, Reply};
use crate::ids::PartitionId;
use crate::partition::capture::Slice;
use crate::partition::order::{Order, Reporter};
use crate::storage::Disk;
use crate::time::UnixMillis;

/// How often a core looks for keys whose time has come.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);
/// Keys that one slice of expiry looks at.
const EXPIRY_SLICE: usize = 500;
/// How long a slice of a snapshot goes on, give or take what is written before it is asked again whether to.
const CAPTURE_SLICE: Duration = Duration::from_micros(400);
/// How many times as long the pause after such a slice is.
const PAUSES: u32 = 4;
/// Shortest pause after a slice of a snapshot.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// The pause when the disk is behind.
const DISK_PAUSE: Duration = Duration::from_millis(10);

/// Times at which periodic work of the core is due.
pub(super) struct Chores {
    reporter: Reporter,
    /// When the next slice of expiry is due; in the past while a round over the data is under way.
    pub(super) expire_at: Instant,
    /// Whether keys are removed whose time has come.
    pub(super) expires: bool,
    /// When the next slice of a snapshot is due, if this core takes one.
    pub(super) capture_at: Option<Instant>,
}

impl Chores {
    pub(super) const fn new(reporter: Reporter, now: Instant) -> Self {
        Self { reporter, expire_at: now, expires: true, capture_at: None }
    }
}

impl<D: Disk> Engine<D> {
    /// Does one slice of what is due by the clock.
    pub fn work_by_the_clock(&mut self) {
        if self.chores.capture_at.is_some_and(|at| at <= self.now) {
            // It pauses after each slice, so that expiry is not kept waiting.
            self.chores.capture_at = self.capture_slice().map(|pause| Instant::now() + pause);
            return;
        }
        // At the beginning of time no key has expired, but what was deleted is still freed.
        let wall = if self.chores.expires { self.wall } else { UnixMillis::new(0) };
        if self.chores.expire_at <= self.now && self.shard.expire(wall, EXPIRY_SLICE) {
            self.chores.expire_at = self.now + EXPIRE_EVERY;
        }
    }

    /// Does what is asked from outside of the cores. [`Order::Shutdown`] is for the core's loop to see to.
    pub fn obey(&mut self, order: Order, front: &mut impl Front<D>) {
        match order {
            Order::Barrier { partition, checkpoint } => {
                let barriers = self.shard.barrier(partition, checkpoint);
                barriers.into_iter().for_each(|barrier| self.chores.reporter.barrier(barrier));
            }
            Order::Capture(partition) => self.begin_capture(partition),
            Order::LogUsedUp(used_up) => self.shard.set_log_used_up(used_up),
            Order::Saved(caller, outcome) => {
                let mut bytes = Vec::new();
                let mut reply = Reply::new(&mut bytes, Protocol::Resp2);
                match outcome {
                    Ok(()) => reply.ok(),
                    Err(why) => reply.error(&format!("ERR the checkpoint failed: {why}")),
                }
                front.answer(caller, None, &bytes);
            }
            Order::Shutdown => {}
        }
    }

    /// Begins the snapshots of a partition and of those that are bound to it, or says why not.
    fn begin_capture(&mut self, partition: PartitionId) {
        let barriers = self.shard.begin_capture(partition);
        if barriers.is_empty() {
            let why = "the core takes another snapshot, or its log has failed";
            self.chores.reporter.slice(Slice::refusal(partition, why));
        }
        barriers.into_iter().for_each(|barrier| self.chores.reporter.barrier(barrier));
        self.chores.capture_at.get_or_insert(self.now);
    }

    /// Takes a slice, if a snapshot is being taken and there is room for it; returns how long to pause then.
    fn capture_slice(&mut self) -> Option<Duration> {
        if !self.shard.is_capturing() {
            return None;
        }
        if !self.chores.reporter.has_room() {
            return Some(DISK_PAUSE);
        }
        let began = Instant::now();
        let slice = self.shard.capture(|| began.elapsed() < CAPTURE_SLICE)?;
        let took = began.elapsed();
        self.counts.capture_slices += 1;
        self.counts.capture_max_us = self.counts.capture_max_us.max(took.as_micros() as u64);
        self.chores.reporter.slice(slice);
        Some((took * PAUSES).max(LEAST_PAUSE))
    }
}
