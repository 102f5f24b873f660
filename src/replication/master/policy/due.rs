//! Which partition's turn it is for a checkpoint or a barrier. Part of the policy.

use std::time::Duration;

use super::{BarrierRequest, COMPARE_EVERY, Policy, RETRY_AFTER, STUCK_AFTER};
use crate::ids::{CoreId, PartitionId};

/// Why a checkpoint without progress is given up.
const STUCK: &str = "the checkpoint showed no progress";

impl Policy {
    /// The partition of `core` whose turn for a checkpoint it is, if one is due, and whether a request waits for it.
    /// Partitions that requests wait for come first, then those that are bound to many others, then the one furthest
    /// behind.
    pub(super) fn next_due(&self, core: CoreId, now: Duration) -> Option<(PartitionId, bool)> {
        let due = self.placement.partitions_of(core).map(PartitionId).filter_map(|id| {
            let p = &self.partitions[usize::from(id.0)];
            let last_edit = self.last_edit(id);
            let (dirty, stale) = (p.is_dirty(last_edit), p.is_stale(last_edit));
            let behind = self.behind(core, id, &self.observed);
            let had_turn = p.newest.is_some_and(|newest| newest.epoch == self.epoch);
            let every_edits = if had_turn { self.pace.every_edits } else { p.first_edits };
            let wanted = p.wanted.is_some() && dirty;
            let by_edits = dirty && behind >= every_edits;
            let by_age = stale && (now >= p.due_at || self.pressed);
            let under_way = self.pending.iter().any(|p| p.partition == id);
            let allowed = now >= p.not_before && p.diverged.is_none() && !under_way;
            let (wanted, unbinds) = (wanted || p.wanted_by_others, self.unbinds(id, now));
            let is_due = wanted || unbinds || by_edits || by_age;
            (allowed && is_due).then_some((wanted, unbinds, behind, std::cmp::Reverse(id)))
        });
        due.max().map(|(wanted, _, _, id)| (id.0, wanted))
    }

    /// Asks for barriers without a snapshot, for partitions that were edited since their last barrier; a few at a time.
    pub(super) fn comparisons(&mut self, core: CoreId, now: Duration, requests: &mut Vec<BarrierRequest>) {
        let owned = self.placement.partitions_of(core);
        let at_once = owned.len().div_ceil(256);
        let due: Vec<_> = owned
            .map(PartitionId)
            .filter(|id| {
                let p = &self.partitions[usize::from(id.0)];
                let edited = self.observed.last_edits.get(usize::from(id.0)).is_some_and(|last| *last > p.barrier);
                // A partition that differed is compared sooner: the node has begun it anew since, and no log is dropped
                // before it agrees.
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

    /// Gives up the checkpoints that show no progress.
    pub(super) fn give_up_stuck(&mut self, now: Duration) {
        let (mut stuck, mut own_stuck) = (Vec::new(), Vec::new());
        for pending in &mut self.pending {
            let core = usize::from(self.placement.core_of(pending.partition).0);
            let mirrored = self.observed.mirrored.get(core).copied().unwrap_or_default();
            if !pending.by_core && !pending.whole && pending.placed.as_ref().is_some_and(|(at, _)| at.lsn > mirrored) {
                // The node has not reached the barrier yet. That it is slow is no reason to give up.
                pending.moved = now;
            }
            if now.saturating_sub(pending.moved) >= STUCK_AFTER {
                let of = if pending.by_core { &mut own_stuck } else { &mut stuck };
                of.push(pending.partition);
            }
        }
        own_stuck.into_iter().for_each(|p| self.give_up(p, STUCK, now));
        stuck.into_iter().for_each(|p| self.not_delivered(p, STUCK, now));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BarrierReport, Observed, Pace};
    use super::*;
    use crate::ids::{DirectoryId, Epoch, Lsn, Partitions, Position};
    use crate::partition::order::Purpose;
    use crate::storage::{EpochRecord, Manifest, StreamRecord};

    /// The longest time that a partition was without a barrier, while every partition is edited all the time.
    fn longest_without_a_barrier(partitions: u16, cores: u16, checkpoints: bool) -> Duration {
        let mut manifest = Manifest::new(DirectoryId::default(), Partitions::new(partitions).unwrap());
        let streams = vec![StreamRecord { first: Lsn(1), last: None }; usize::from(cores)];
        manifest.epochs.push(EpochRecord { epoch: Epoch(1), streams });
        let every_edits = if checkpoints { 10_000 } else { u64::MAX };
        let mut policy = Policy::new(&manifest, &[], Pace { every_edits, every: Duration::from_secs(3600) });
        policy.node_up(Duration::ZERO);
        let (mut last, mut longest) = (vec![Duration::ZERO; usize::from(partitions)], Duration::ZERO);
        let mut ends = vec![Lsn(0); usize::from(cores)];
        for tick in 1..3000 {
            let now = Duration::from_millis(100 * tick);
            ends.iter_mut().for_each(|end| end.0 += 1000);
            let edited = |p: u16| ends[usize::from(policy.placement.core_of(PartitionId(p)).0)];
            let last_edits = (0..partitions).map(edited).collect();
            let observed =
                Observed { durable: ends.clone(), mirrored: ends.clone(), last_edits, ..Observed::default() };
            for BarrierRequest { partition, checkpoint } in policy.tick(now, observed) {
                let core = usize::from(policy.placement.core_of(partition).0);
                ends[core].0 += 1;
                let position = Position::new(Epoch(1), ends[core]);
                policy.executed(
                    BarrierReport {
                        partition,
                        position,
                        purpose: Purpose::for_node(checkpoint),
                        transfers: Vec::new(),
                        digests: Vec::new(),
                    },
                    now,
                );
                policy.compared(partition, position, false, now);
                if checkpoint {
                    policy.installed(partition, position, now);
                }
                let at = std::mem::replace(&mut last[usize::from(partition.0)], now);
                longest = longest.max(now - at);
            }
        }
        last.iter().map(|at| Duration::from_secs(300) - *at).fold(longest, Duration::max)
    }

    #[test]
    fn every_partition_that_is_edited_has_a_barrier_at_least_once_a_minute() {
        for (partitions, cores) in [(1, 1), (4, 2), (256, 1), (256, 4), (1024, 3), (16_384, 1), (16_384, 16)] {
            for checkpoints in [false, true] {
                let longest = longest_without_a_barrier(partitions, cores, checkpoints);
                assert!(longest <= Duration::from_secs(60), "{partitions} partitions, {cores} cores: {longest:?}");
            }
        }
    }
}
