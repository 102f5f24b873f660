//! Snapshots that the master's cores take themselves while no node delivers any (`delivery`). Part of the policy.
//!
//! A core takes one snapshot at a time, with those of the partitions that are bound to it. A partition that a request
//! waits for comes first, then one that is bound to many others, then the one with the oldest older generation: that
//! one keeps log from being dropped.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Pending, Policy};
use crate::ids::{CoreId, PartitionId, Position};

impl Policy {
    /// Sets whether log must be dropped soon: if so, every partition with edits after its older generation is due,
    /// whatever the pace.
    pub fn set_pressed(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Sets whether cores can take snapshots themselves: if so, a request for a checkpoint is not refused because no
    /// node is connected.
    pub fn set_cores_capture(&mut self, can: bool) {
        self.cores_capture = can;
    }

    /// Returns the partitions whose cores are to take a snapshot now.
    pub fn captures(&mut self, now: Duration) -> Vec<PartitionId> {
        if self.counts_on_node() {
            return Vec::new();
        }
        self.give_up_stuck(now);
        let mut partitions = Vec::new();
        for core in self.running_cores() {
            if self.pending_in(core).any(|pending| pending.by_core && !pending.whole) {
                continue;
            }
            if let Some(partition) = self.next_capture(core, now) {
                // The node's checkpoint of this partition is given up: should the node come to its barrier, the master
                // will not want the snapshot.
                self.pending.retain(|p| p.partition != partition);
                self.pending.push(Pending::new(partition, now, true));
                self.state_mut(partition).barrier_at = now;
                partitions.push(partition);
            }
        }
        partitions
    }

    /// The partition of `core` that is to be captured next, if there is one.
    fn next_capture(&self, core: CoreId, now: Duration) -> Option<PartitionId> {
        let due = self.placement.partitions_of(core).map(PartitionId).filter_map(|id| {
            let state = &self.partitions[usize::from(id.0)];
            let last_edit = self.last_edit(id);
            let wanted = state.wanted.is_some() && state.is_dirty(last_edit);
            let holds_log = self.pressed && state.is_stale(last_edit);
            let waits = self.pending.iter().any(|pending| pending.partition == id && pending.whole);
            let allowed = now >= state.capture_not_before && state.diverged.is_none();
            let allowed = allowed && !waits && !self.is_tried_with(id, now);
            let (wanted, unbinds) = (wanted || state.wanted_by_others, self.unbinds(id, now));
            let is_due = wanted || unbinds || holds_log;
            (allowed && is_due).then_some((wanted, unbinds, Reverse((state.older, state.newest, id))))
        });
        due.max().map(|(_, _, Reverse((_, _, id)))| id)
    }

    /// Takes in that a core has completed its snapshot of `partition` at `position`, which is not installed yet.
    pub fn captured(&mut self, partition: PartitionId, position: Position, now: Duration) {
        if let Some(pending) = self.pending_of(partition).filter(|p| p.by_core) {
            pending.placed = Some((position, Vec::new()));
            pending.moved = now;
        }
    }

    /// Takes in that a core could not take its snapshot of `partition`, or that it could not be installed.
    pub fn capture_failed(&mut self, partition: PartitionId, why: &str, now: Duration) {
        if self.pending_of(partition).is_some_and(|p| p.by_core) {
            self.give_up(partition, why, now);
        }
    }
}
