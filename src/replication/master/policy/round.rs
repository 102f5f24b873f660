//! Counts how often everything that had changed was brought into snapshots, as Redis counts saves. Part of the policy.
//!
//! A round waits for snapshots of all partitions that were dirty when it began; after it, the next round begins. A
//! request (SAVE, BGSAVE) begins a new round in place of the one under way.

use std::collections::BTreeMap;

use crate::ids::{PartitionId, Position};

/// The round under way, and the number of rounds completed.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The partitions that are still waited for, each with the position that its snapshot must reach.
    waiting: BTreeMap<PartitionId, Position>,
    completed: u64,
}

impl Rounds {
    /// Number of rounds completed since this start.
    pub(super) const fn completed(&self) -> u64 {
        self.completed
    }

    /// Whether a round is under way.
    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Begins the round of a request in place of the one under way. If there is nothing to wait for, it is complete at
    /// once.
    pub(super) fn begin(&mut self, waiting: impl IntoIterator<Item = (PartitionId, Position)>) {
        self.waiting = waiting.into_iter().collect();
        self.completed += u64::from(self.waiting.is_empty());
    }

    /// Begins a round without a request, if there is anything to wait for; none may be under way.
    pub(super) fn begin_unrequested(&mut self, waiting: impl Iterator<Item = (PartitionId, Position)>) {
        self.waiting.extend(waiting);
    }

    /// Takes in that the snapshot of `partition` at `position` is in the manifest.
    pub(super) fn installed(&mut self, partition: PartitionId, position: Position) {
        if self.waiting.get(&partition).is_some_and(|at| *at <= position) {
            self.waiting.remove(&partition);
            self.completed += u64::from(self.waiting.is_empty());
        }
    }
}
