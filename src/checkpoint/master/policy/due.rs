//! Whose turn it is. Part of the policy.

use std::time::Duration;

use super::{BarrierRequest, COMPARE_EVERY, Policy, RETRY_AFTER, STUCK_AFTER};
use crate::ids::{CoreId, PartitionId};

impl Policy {
    /// The partition of `core` whose turn it is, if one is due, and whether somebody waits for it: such come first, then the one
    /// furthest behind.
    pub(super) fn next_due(&self, core: CoreId, now: Duration) -> Option<(PartitionId, bool)> {
        let due = self.placement.partitions_of(core).map(PartitionId).filter_map(|id| {
            let p = &self.partitions[usize::from(id.0)];
            let last_edit = self.last_edit(id);
            let (dirty, stale) = (p.is_dirty(last_edit), p.is_stale(last_edit));
            let behind = self.behind(core, id);
            let had_turn = p.newest.is_some_and(|newest| newest.epoch == self.epoch);
            let every_edits = if had_turn { self.pace.every_edits } else { p.first_edits };
            let wanted = p.wanted.is_some() && dirty;
            let by_edits = dirty && behind >= every_edits;
            let by_age = stale && now >= p.due_at;
            let under_way = self.pending.iter().any(|p| p.partition == id);
            let allowed = now >= p.not_before && p.diverged.is_none() && !under_way;
            (allowed && (wanted || by_edits || by_age)).then_some((wanted, behind, std::cmp::Reverse(id)))
        });
        due.max().map(|(wanted, _, id)| (id.0, wanted))
    }

    /// Barriers without a snapshot, for partitions edited since their last barrier; a few at a time.
    pub(super) fn comparisons(&mut self, core: CoreId, now: Duration, requests: &mut Vec<BarrierRequest>) {
        let owned = self.placement.partitions_of(core);
        let at_once = owned.len().div_ceil(256);
        let due: Vec<_> = owned
            .map(PartitionId)
            .filter(|id| {
                let p = &self.partitions[usize::from(id.0)];
                let edited = self.observed.last_edits.get(usize::from(id.0)).is_some_and(|last| *last > p.barrier);
                // One that differed has begun anew since, and no log is dropped before it has agreed.
                let every = if p.diverged.is_some() { RETRY_AFTER } else { COMPARE_EVERY };
                (edited || p.diverged.is_some()) && now.saturating_sub(p.barrier_at) >= every
            })
            .take(at_once)
            .collect();
        for partition in due {
            self.state_mut(partition).barrier_at = now;
            requests.push(BarrierRequest { partition, checkpoint: false });
        }
    }

    /// Ends the wait for checkpoints that show no sign of life.
    pub(super) fn give_up_stuck(&mut self, now: Duration) {
        let mut stuck = Vec::new();
        for pending in &mut self.pending {
            let core = usize::from(self.placement.core_of(pending.partition).0);
            let mirrored = self.observed.mirrored.get(core).copied().unwrap_or_default();
            if pending.placed.as_ref().is_some_and(|(at, _)| at.lsn > mirrored) {
                // The node is not there yet. Its own pace is no reason to give up.
                pending.moved = now;
            }
            if now.saturating_sub(pending.moved) >= STUCK_AFTER {
                stuck.push(pending.partition);
            }
        }
        stuck.into_iter().for_each(|p| self.give_up(p, "the checkpoint showed no progress", now));
    }
}
