//! Snapshots that the master's cores take themselves, because no node is there that delivers them (`delivery`). Part of
//! the policy.
//!
//! A core takes one at a time. The partition comes first that somebody waits for, then the one whose older generation
//! lies furthest back: it is what holds the log.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Pending, Policy};
use crate::ids::{CoreId, PartitionId, Position};

impl Policy {
    /// Whether log must be dropped soon: every partition with edits after its older generation is then due, whatever
    /// the pace.
    pub fn set_pressed(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Whether cores can take snapshots themselves: then nobody who waits for one is sent away for want of a node.
    pub fn set_own(&mut self, own: bool) {
        self.own = own;
    }

    /// Partitions whose cores are to take a snapshot now.
    pub fn captures(&mut self, now: Duration) -> Vec<PartitionId> {
        if self.counts_on_node() {
            return Vec::new();
        }
        self.give_up_stuck(now);
        let mut partitions = Vec::new();
        for core in self.running_cores() {
            if self.pending_in(core).any(|pending| pending.own) {
                continue;
            }
            if let Some(partition) = self.next_own(core, now) {
                // Barriers that the node has not come to are of no use for this one; should it come back, it is offered
                // the snapshot.
                self.pending.retain(|p| p.partition != partition);
                self.pending.push(Pending { partition, since: now, moved: now, placed: None, own: true });
                self.state_mut(partition).barrier_at = now;
                partitions.push(partition);
            }
        }
        partitions
    }

    fn next_own(&self, core: CoreId, now: Duration) -> Option<PartitionId> {
        let due = self.placement.partitions_of(core).map(PartitionId).filter_map(|id| {
            let state = &self.partitions[usize::from(id.0)];
            let last_edit = self.last_edit(id);
            let wanted = state.wanted.is_some() && state.is_dirty(last_edit);
            let holds_log = self.pressed && state.is_stale(last_edit);
            let allowed = now >= state.own_not_before && state.diverged.is_none() && !self.is_tried_with(id, now);
            (allowed && (wanted || holds_log)).then_some((wanted, Reverse((state.older, state.newest, id))))
        });
        due.max().map(|(_, Reverse((_, _, id)))| id)
    }

    /// A core has come to the end of the snapshot that it took; it is not installed yet.
    pub fn captured(&mut self, partition: PartitionId, position: Position, now: Duration) {
        if let Some(pending) = self.pending_of(partition).filter(|p| p.own) {
            pending.placed = Some((position, Vec::new()));
            pending.moved = now;
        }
    }

    /// The snapshot that a core was to take will not come, or could not be installed.
    pub fn capture_failed(&mut self, partition: PartitionId, why: &str, now: Duration) {
        if self.pending_of(partition).is_some_and(|p| p.own) {
            self.give_up(partition, why, now);
        }
    }
}
