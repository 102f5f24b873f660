//! Whether the node delivers snapshots. Part of the policy.
//!
//! A node that is connected but delivers no snapshots counts as no node: cores take their own wherever one is needed
//! ([`super::self_checkpoints`]). The node is still tried, with one snapshot at a time and a pause after each failure,
//! and is counted on again as soon as one of them is installed.
//!
//! | what happens | the node |
//! |---|---|
//! | it cannot write a snapshot, or its snapshot cannot be installed or shows no progress | fails |
//! | log had to be dropped for `PATIENCE`, and none of the node's snapshots was installed meanwhile | fails |
//! | one of its snapshots is complete and verified | delivers |
//!
//! If the cores cannot take snapshots, the node is counted on whatever happens.

use std::time::Duration;

use super::{PATIENCE, Policy, RETRY_AFTER, WANTED_AT_ONCE};
use crate::ids::{CoreId, PartitionId};
use crate::planted::{Bug, is_planted};

/// What is known of the node's deliveries. This outlives sessions.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Why the node does not deliver; `None` if it does.
    failure: Option<String>,
    /// Since when log has had to be dropped without a snapshot of the node being installed.
    awaited_since: Option<Duration>,
    /// When a node that does not deliver is tried next.
    try_at: Duration,
}

impl Policy {
    /// Why the node does not deliver; `None` if it does, as far as is known.
    pub fn node_failure(&self) -> Option<&str> {
        self.delivery.failure.as_deref()
    }

    /// Takes in that a snapshot of the node is complete and verified.
    pub fn delivered(&mut self) {
        self.delivery.failure = None;
        self.delivery.awaited_since = None;
    }

    /// Takes in that a node has opened a session: it is tried at once, and has `PATIENCE` to deliver.
    pub(super) fn expect_delivery(&mut self, now: Duration) {
        self.delivery.awaited_since = None;
        self.delivery.try_at = now;
    }

    /// Whether the node is to write the snapshots now; otherwise the cores do.
    pub(super) fn counts_on_node(&self) -> bool {
        let fails = self.delivery.failure.is_some() && self.cores_capture && !is_planted(Bug::FailingNodeCounts);
        self.connected && !fails
    }

    /// Takes in that the node will not deliver the awaited snapshot of `partition`.
    pub(super) fn not_delivered(&mut self, partition: PartitionId, why: &str, now: Duration) {
        if !self.cores_capture || is_planted(Bug::FailingNodeCounts) {
            return self.give_up(partition, why, now);
        }
        // Requests that wait for this snapshot go on: the core's own will do.
        let state = self.state_mut(partition);
        state.failed = true;
        state.not_before = now + RETRY_AFTER;
        self.fails(why, now);
    }

    /// Notes a failure if the node has delivered nothing for `PATIENCE` while log had to be dropped.
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
        if self.connected
            && self.cores_capture
            && self.delivery.failure.is_none()
            && now.saturating_sub(since) >= PATIENCE
        {
            self.fails("none of its snapshots was installed while log had to be dropped", now);
        }
    }

    /// Notes that the node does not deliver, and why.
    fn fails(&mut self, why: &str, now: Duration) {
        self.delivery.failure = Some(why.to_owned());
        self.delivery.try_at = now + RETRY_AFTER;
        // The node's other checkpoints are left to the cores.
        self.pending.retain(|pending| pending.by_core || pending.whole);
    }

    /// Most checkpoints that may be under way at a time in a core's stream if requests wait for them. Where partitions
    /// are bound together, a checkpoint is of several of them, and the next one may be of the same.
    pub(super) fn wanted_at_once(&self, core: CoreId) -> usize {
        if self.pending_in(core).any(|pending| !pending.transfers.is_empty()) { 1 } else { WANTED_AT_ONCE }
    }

    /// Whether the node may be asked for another snapshot in `core`'s stream, of which at most `most` may be under way.
    pub(super) fn may_ask_node(&self, core: CoreId, most: usize, now: Duration) -> bool {
        if self.counts_on_node() {
            return self.pending_in(core).filter(|pending| !pending.whole).count() < most;
        }
        now >= self.delivery.try_at && self.pending.iter().all(|pending| pending.by_core || pending.whole)
    }

    /// Whether a connected node was asked for a snapshot of `partition`, and has not used up `PATIENCE`.
    pub(super) fn is_tried_with(&self, partition: PartitionId, now: Duration) -> bool {
        let tried = |p: &super::Pending| p.partition == partition && !p.by_core && !p.whole && now < p.since + PATIENCE;
        self.connected && self.pending.iter().any(tried)
    }
}
