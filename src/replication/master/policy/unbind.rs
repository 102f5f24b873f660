//! Hurries the snapshots that part partitions which many transfers have bound together. Part of the policy.
//!
//! A transfer binds two partitions until the older snapshot of the one that got the value has it, so until two
//! snapshots have been taken of that one since. At the usual pace this takes minutes, and once too many partitions are
//! bound together, large values that move between them are logged whole (`partition::transfers`). So as soon as many
//! are bound together, their core names the partitions whose snapshots would part them, and these are due one after the
//! other, with a pause in between. While few are bound together, nothing is hurried.

use std::time::Duration;

use super::Policy;
use crate::ids::{PartitionId, Position};

/// Pause between two snapshots of a partition that are taken for this.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

impl Policy {
    /// Whether a snapshot of a partition is due to part it from the others that it is bound to.
    pub(super) fn unbinds(&self, partition: PartitionId, now: Duration) -> bool {
        let state = &self.partitions[usize::from(partition.0)];
        let Some(crowded) = self.observed.crowded.get(usize::from(partition.0)).filter(|lsn| lsn.0 > 0) else {
            return false;
        };
        let has_both = state.older.is_some_and(|older| older >= Position::new(self.epoch, *crowded));
        !has_both && now >= state.unbinds_from
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BarrierReport, BarrierRequest, Observed, Pace};
    use super::*;
    use crate::ids::{DirectoryId, Epoch, Lsn, Partitions};
    use crate::partition::order::Purpose;
    use crate::storage::{EpochRecord, Manifest, StreamRecord};

    const CROWDED: PartitionId = PartitionId(2);

    /// A policy of one core, in whose stream the edit 10 has bound too many partitions to one; and what it observes.
    fn crowded() -> (Policy, Observed) {
        let mut manifest = Manifest::new(DirectoryId::default(), Partitions::new(4).unwrap());
        manifest
            .epochs
            .push(EpochRecord { epoch: Epoch(1), streams: vec![StreamRecord { first: Lsn(1), last: None }] });
        let pace = Pace { every_edits: u64::MAX, every: Duration::from_secs(3600) };
        let crowded = vec![Lsn(0), Lsn(0), Lsn(10), Lsn(0)];
        let (durable, mirrored) = (vec![Lsn(10)], vec![Lsn(10)]);
        let observed = Observed { durable, mirrored, last_edits: vec![Lsn(10); 4], crowded, ..Observed::default() };
        (Policy::new(&manifest, &[], pace), observed)
    }

    #[test]
    fn a_partition_that_is_bound_to_many_has_two_snapshots_within_seconds_and_no_other_has_one() {
        for by_core in [false, true] {
            let (mut policy, observed) = crowded();
            if by_core {
                policy.set_cores_capture(true);
            } else {
                policy.node_up(Duration::ZERO);
            }
            let mut taken = Vec::new();
            for tick in 1..200 {
                let now = Duration::from_millis(100 * tick);
                let asked = policy.tick(now, observed.clone());
                let checkpoints = asked.into_iter().filter(|request| request.checkpoint);
                let due: Vec<_> = checkpoints.map(|BarrierRequest { partition, .. }| partition).collect();
                for partition in due.into_iter().chain(policy.captures(now)) {
                    let position = Position::new(Epoch(1), Lsn(10 + tick));
                    let purpose = if by_core { Purpose::OwnSnapshot } else { Purpose::NodeSnapshot };
                    let (transfers, digests) = (Vec::new(), Vec::new());
                    policy.executed(BarrierReport { partition, position, purpose, transfers, digests }, now);
                    policy.installed(partition, position, now);
                    taken.push((partition, now));
                }
            }
            let [(CROWDED, first), (CROWDED, second)] = taken[..] else { panic!("{taken:?}") };
            assert!(first < PAUSE && second - first >= PAUSE && second < 4 * PAUSE, "{taken:?}");
        }
    }
}
