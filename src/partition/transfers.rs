//! The values that have moved between a core's partitions, and which partitions that binds together: their snapshots
//! are taken at one moment. Pure.
//!
//! A value that moves from partition P to partition Q must not be missing from a snapshot of P unless Q's has it
//! ([`crate::storage::Manifest`] has the rule). If the snapshots of the two were taken at different moments, there
//! would always be a transfer between these, under load, and none could ever be installed. So whoever takes a snapshot
//! of a partition takes those of all partitions that are bound to it, directly or through others, before the next edit.
//! Nothing that they have given away is then missing.
//!
//! A transfer binds until the target's older generation has it. Once more than a few partitions are bound together, the
//! policy hurries the snapshots that part them (`replication::master::policy`). If there are too many all the same, a
//! value that moves is logged as it is, and binds nothing.

use std::collections::BTreeMap;

use crate::ids::{Epoch, Lsn, PartitionId, Position};
use crate::storage::{PartitionMarks, Transfer};

/// The last transfer between each two partitions, from one to the other, as far as it may still bind them.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    last: BTreeMap<(PartitionId, PartitionId), Position>,
}

/// The part of all partitions that may be bound together: the checkpoint node copies them at one moment, and needs
/// memory for that.
const SHARE: usize = 16;
/// So many partitions may be bound together in any case.
const FEW: usize = 4;

/// Number of partitions out of `all` that may be bound together.
pub(super) fn most_bound(all: u16) -> usize {
    (usize::from(all) / SHARE).max(FEW)
}

/// Number of partitions out of `all` beyond which those that are bound together are to be parted soon.
pub(super) fn many_bound(all: u16) -> usize {
    (most_bound(all) / 4).max(2)
}

impl Transfers {
    /// Takes in a transfer, in the order of the edits.
    pub fn note(&mut self, Transfer { from, to, position }: Transfer) {
        self.last.insert((from, to), position);
    }

    /// Forgets the transfers that bind nothing any more; `marks` are the partitions', and tell of snapshots of `epoch`.
    pub fn forget_past(&mut self, marks: &[PartitionMarks], epoch: Epoch) {
        self.last.retain(|(_, to), position| {
            let older = marks[usize::from(to.0)].older_snapshot();
            older == Lsn(0) || Position::new(epoch, older) < *position
        });
    }

    /// The partitions that are bound to one of `partitions`, and these themselves, in order.
    pub fn bound_to(&self, partitions: &[PartitionId]) -> Vec<PartitionId> {
        let mut bound = partitions.to_vec();
        let mut seen = 0;
        while let Some(partition) = bound.get(seen).copied() {
            seen += 1;
            for (from, to) in self.last.keys() {
                let other = if *from == partition { to } else { from };
                if (*from == partition || *to == partition) && !bound.contains(other) {
                    bound.push(*other);
                }
            }
        }
        bound.sort_unstable();
        bound.dedup();
        bound
    }

    /// Those of `partitions` that values have come to.
    pub fn targets<'a>(&'a self, partitions: &'a [PartitionId]) -> impl Iterator<Item = PartitionId> + 'a {
        partitions.iter().copied().filter(|partition| self.last.keys().any(|(_, to)| to == partition))
    }

    /// The last transfer from a partition to each other one.
    pub fn of(&self, partition: PartitionId) -> Vec<Transfer> {
        let all = self.last.iter().map(|((from, to), position)| Transfer { from: *from, to: *to, position: *position });
        all.filter(|transfer| transfer.from == partition).collect()
    }
}

impl FromIterator<Transfer> for Transfers {
    fn from_iter<T: IntoIterator<Item = Transfer>>(transfers: T) -> Self {
        let mut last = BTreeMap::new();
        for Transfer { from, to, position } in transfers {
            let latest = last.entry((from, to)).or_insert(position);
            *latest = position.max(*latest);
        }
        Self { last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(2);

    fn transfer(from: u16, to: u16, epoch: u32, lsn: u64) -> Transfer {
        Transfer { from: PartitionId(from), to: PartitionId(to), position: Position::new(Epoch(epoch), Lsn(lsn)) }
    }

    fn bound_to(transfers: &Transfers, partition: u16) -> Vec<u16> {
        transfers.bound_to(&[PartitionId(partition)]).iter().map(|p| p.0).collect()
    }

    #[test]
    fn partitions_are_bound_in_both_directions_and_through_others() {
        let mut transfers: Transfers =
            [transfer(0, 1, 2, 5), transfer(2, 1, 2, 6), transfer(4, 5, 2, 7)].into_iter().collect();
        for partition in [0, 1, 2] {
            assert_eq!(bound_to(&transfers, partition), [0, 1, 2]);
        }
        assert_eq!((bound_to(&transfers, 3), bound_to(&transfers, 5)), (vec![3], vec![4, 5]));
        transfers.note(transfer(5, 0, 2, 9));
        assert_eq!(bound_to(&transfers, 4), [0, 1, 2, 4, 5]);
        assert_eq!(transfers.of(PartitionId(2)), [transfer(2, 1, 2, 6)]);
    }

    #[test]
    fn so_many_are_bound_together_as_the_node_can_copy_at_one_moment() {
        assert_eq!([4, 64, 256, 4096].map(most_bound), [4, 4, 16, 256]);
        assert_eq!([4, 64, 256, 4096].map(many_bound), [2, 2, 4, 64]);
    }

    #[test]
    fn a_transfer_binds_until_the_older_snapshot_of_the_target_has_it() {
        let all = [transfer(0, 1, 1, 50), transfer(1, 0, 2, 5), transfer(2, 3, 2, 9)];
        let marks: Vec<_> = (0..4).map(|_| PartitionMarks::new()).collect();
        let left = |marks: &[PartitionMarks]| {
            let mut transfers: Transfers = all.into_iter().collect();
            transfers.forget_past(marks, EPOCH);
            (0..4).flat_map(|p| transfers.of(PartitionId(p))).collect::<Vec<_>>()
        };
        assert_eq!(left(&marks), all);
        marks[0].set_older_snapshot(Lsn(4));
        marks[2].set_older_snapshot(Lsn(99));
        assert_eq!(left(&marks), all, "of the target, and not before the transfer");
        marks[0].set_older_snapshot(Lsn(5));
        marks[1].set_older_snapshot(Lsn(1));
        assert_eq!(left(&marks), [all[2]]);
    }
}
