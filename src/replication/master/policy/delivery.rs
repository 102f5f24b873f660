//! Whether the node does what it is there for. Part of the policy.
//!
//! A node that is connected but delivers no snapshots counts as no node: cores take their own wherever one is needed
//! ([`super::self_checkpoints`]). The node is still tried, with one snapshot at a time and a pause after each failure,
//! and counts again as soon as one of them is installed.
//!
//! | what happens | the node |
//! |---|---|
//! | it cannot write a snapshot, its snapshot cannot be installed, or shows no progress | fails |
//! | for `PATIENCE` log had to be dropped, and none of its snapshots was installed | fails |
//! | one of its snapshots is installed | delivers |
//!
//! Where the cores cannot take snapshots, nobody but the node can be counted on, and it is.

use std::time::Duration;

use super::{PATIENCE, Policy, RETRY_AFTER};
use crate::ids::{CoreId, PartitionId};
use crate::planted::{Bug, is_planted};

/// What is known of the node's doings. It outlives sessions.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Why it does not deliver.
    failure: Option<String>,
    /// Since when log must be dropped and no snapshot of the node has been installed.
    awaited_since: Option<Duration>,
    /// When one that fails is tried next.
    try_at: Duration,
}

impl Policy {
    /// Why the node does not deliver; `None` if it does, as far as is known.
    pub fn node_failure(&self) -> Option<&str> {
        self.delivery.failure.as_deref()
    }

    /// A snapshot that the node made is in the manifest.
    pub fn delivered(&mut self) {
        self.delivery.failure = None;
        self.delivery.awaited_since = None;
    }

    /// A node has opened a session: it is tried at once, and has its time.
    pub(super) fn expect_delivery(&mut self, now: Duration) {
        self.delivery.awaited_since = None;
        self.delivery.try_at = now;
    }

    /// Whether snapshots are the node's business now.
    pub(super) fn counts_on_node(&self) -> bool {
        let fails = self.delivery.failure.is_some() && self.own && !is_planted(Bug::FailingNodeCounts);
        self.connected && !fails
    }

    /// The node will not deliver the snapshot of `partition` that was waited for.
    pub(super) fn not_delivered(&mut self, partition: PartitionId, why: &str, now: Duration) {
        if !self.own || is_planted(Bug::FailingNodeCounts) {
            return self.give_up(partition, why, now);
        }
        // Whoever waits for it gets the core's own.
        let state = self.state_mut(partition);
        state.failed = true;
        state.not_before = now + RETRY_AFTER;
        self.fails(why, now);
    }

    /// Looks whether the node leaves the log to grow.
    pub(super) fn await_delivery(&mut self, now: Duration) {
        let holds_log = |(id, state): (PartitionId, &super::Partition)| {
            state.diverged.is_none() && state.is_stale(self.last_edit(id))
        };
        let is_awaited = self.pressed && (0..).map(PartitionId).zip(&self.partitions).any(holds_log);
        if !is_awaited {
            self.delivery.awaited_since = None;
            return;
        }
        let since = *self.delivery.awaited_since.get_or_insert(now);
        if self.connected && self.own && self.delivery.failure.is_none() && now.saturating_sub(since) >= PATIENCE {
            self.fails("none of its snapshots has come while the log must get shorter", now);
        }
    }

    fn fails(&mut self, why: &str, now: Duration) {
        self.delivery.failure = Some(why.to_owned());
        self.delivery.try_at = now + RETRY_AFTER;
        // What else it was to deliver is the cores' now.
        self.pending.retain(|pending| pending.own);
    }

    /// Whether the node may be asked for another snapshot in `core`'s stream.
    pub(super) fn may_ask_node(&self, core: CoreId, most: usize, now: Duration) -> bool {
        if self.counts_on_node() {
            return self.pending_in(core).count() < most;
        }
        now >= self.delivery.try_at && self.pending.iter().all(|pending| pending.own)
    }

    /// Whether the node is being tried with `partition`, and still has time.
    pub(super) fn is_tried_with(&self, partition: PartitionId, now: Duration) -> bool {
        let tried = |p: &super::Pending| p.partition == partition && !p.own && now < p.since + PATIENCE;
        self.connected && self.pending.iter().any(tried)
    }
}
