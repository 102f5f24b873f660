//! The core's own snapshots: slices of well below a millisecond, one in a turn, with pauses four times as long.

use std::time::{Duration, Instant};

use super::worker::Worker;
use crate::ids::PartitionId;
use crate::partition::capture::Slice;

/// How long a slice goes on, give or take what is written before it is asked again whether to.
const SLICE: Duration = Duration::from_micros(400);
/// How many times as long the pause after a slice is.
const PAUSES: u32 = 4;
/// The shortest pause.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// The pause when the disk is behind.
const WAIT: Duration = Duration::from_millis(10);

impl Worker {
    /// Begins a snapshot of a partition, or says why not.
    pub(super) fn begin_capture(&mut self, partition: PartitionId) {
        match self.shard.begin_capture(partition) {
            Some(barrier) => (self.shared.process.barrier_placed)(barrier),
            None => {
                let refusal = Slice::refusal(partition, "the core takes another snapshot, or its log has failed");
                (self.shared.process.captured)(refusal);
            }
        }
    }

    /// Takes a slice, if a snapshot is being taken and there is room for it; returns how long to pause then.
    pub(super) fn capture_slice(&mut self) -> Option<Duration> {
        if !self.shard.is_capturing() {
            return None;
        }
        if !(self.shared.process.has_room)(()) {
            return Some(WAIT);
        }
        let began = Instant::now();
        let slice = self.shard.capture(|| began.elapsed() < SLICE)?;
        let took = began.elapsed();
        self.stats.capture_slices += 1;
        self.stats.capture_max_us = self.stats.capture_max_us.max(took.as_micros() as u64);
        (self.shared.process.captured)(slice);
        Some((took * PAUSES).max(LEAST_PAUSE))
    }
}
