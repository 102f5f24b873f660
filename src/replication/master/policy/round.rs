//! When everything was last in snapshots, as Redis counts saves. Part of the policy.
//!
//! A round waits for snapshots of all partitions that were dirty when it began, and the next one begins after it. A
//! request (SAVE, BGSAVE) begins one of its own in place of the one under way.

use std::collections::BTreeMap;

use crate::ids::{PartitionId, Position};

/// The round under way, and how many were completed.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// What is still waited for, and from which position on a snapshot will do.
    waiting: BTreeMap<PartitionId, Position>,
    completed: u64,
}

impl Rounds {
    /// How many rounds were completed in this life.
    pub(super) const fn completed(&self) -> u64 {
        self.completed
    }

    /// Whether a round is under way.
    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A request's round begins; without anything to wait for it is complete.
    pub(super) fn begin(&mut self, waiting: impl IntoIterator<Item = (PartitionId, Position)>) {
        self.waiting = waiting.into_iter().collect();
        self.completed += u64::from(self.waiting.is_empty());
    }

    /// A round of its own begins, if there is anything to wait for.
    pub(super) fn begin_own(&mut self, waiting: impl Iterator<Item = (PartitionId, Position)>) {
        self.waiting.extend(waiting);
    }

    /// A snapshot is in the manifest.
    pub(super) fn installed(&mut self, partition: PartitionId, position: Position) {
        if self.waiting.get(&partition).is_some_and(|at| *at <= position) {
            self.waiting.remove(&partition);
            self.completed += u64::from(self.waiting.is_empty());
        }
    }
}
