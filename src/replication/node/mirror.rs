//! The partitions that the node holds in memory, split by the cores of the epoch that is followed; and whether each can
//! be trusted. Pure.

use std::ops::Range;

use crate::ids::{PartitionId, Partitions, Position};
use crate::partition::replica::Replica;

/// Whether a partition's state can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nothing is known against the state.
    #[default]
    Good,
    /// The state differed from the master's, an edit contradicted it, the log after it is not available, or it does not
    /// belong together with another partition's: it is to be begun anew.
    Suspect,
    /// The state was begun anew, and has not agreed at a barrier since. If it differs again, the cause is not on this
    /// node, and the state stays as it is.
    Renewed,
}

impl Trust {
    /// Notes that the state contradicts the master's. Returns whether it is to be begun anew, which it is not again
    /// before it has agreed.
    pub fn contradicted(&mut self) -> bool {
        if *self == Self::Good {
            *self = Self::Suspect;
        }
        *self == Self::Suspect
    }

    /// Notes that the state cannot go on, though nothing is wrong with it: the log after it is not available, or
    /// another partition's state does not belong to it. It is to be begun anew from the master's snapshot.
    pub fn stranded(&mut self) {
        *self = Self::Suspect;
    }

    /// Notes that the state has agreed with the master's at a barrier.
    pub fn agreed(&mut self) {
        *self = Self::Good;
    }

    /// Notes that the state was begun anew.
    pub fn renewed(&mut self) {
        if *self == Self::Suspect {
            *self = Self::Renewed;
        }
    }
}

/// A range of adjacent partitions.
pub struct Part {
    /// Data and positions of the partitions.
    pub replica: Replica,
    /// Trust in each partition of the replica, in order.
    trust: Vec<Trust>,
}

impl Part {
    /// Empty partitions, all of them trusted.
    pub fn empty(partitions: Partitions, owned: Range<u16>) -> Self {
        let trust = vec![Trust::Good; owned.len()];
        Self { replica: Replica::new(partitions, owned), trust }
    }

    /// Iterates over the partitions of this part.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        self.replica.owned().map(PartitionId)
    }

    /// Position of a partition's state in the log.
    pub fn position(&self, partition: PartitionId) -> Position {
        self.replica.place(partition).map(|place| place.position).unwrap_or_default()
    }

    /// Whether a partition of this part can be trusted.
    ///
    /// # Panics
    /// If the partition is not in this part.
    pub fn trust(&mut self, partition: PartitionId) -> &mut Trust {
        &mut self.trust[usize::from(partition.0 - self.replica.owned().start)]
    }

    /// Advances the partitions to `position`, up to which their stream was followed: none of them has an edit between
    /// its own position and this.
    pub fn advance(&mut self, position: Position) {
        self.partitions().for_each(|partition| self.replica.advance(partition, position));
    }

    /// Splits the part in front of each partition in `cuts`, which must ascend. Returns the parts in order, which
    /// [`Self::join`] joins again.
    pub fn cut(mut self, cuts: &[u16]) -> Vec<Self> {
        let mut parts = Vec::with_capacity(cuts.len() + 1);
        for at in cuts.iter().rev() {
            let owned = self.replica.owned();
            if owned.start < *at && *at < owned.end {
                let trust = self.trust.split_off(usize::from(at - owned.start));
                parts.push(Self { replica: self.replica.split_off(*at..owned.end), trust });
            }
        }
        parts.push(self);
        parts.reverse();
        parts
    }

    /// Joins adjacent parts, given in order; `None` if there are none.
    pub fn join(parts: Vec<Self>) -> Option<Self> {
        parts.into_iter().reduce(|mut whole, part| {
            whole.replica.merge(part.replica);
            whole.trust.extend(part.trust);
            whole
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Lsn};

    #[test]
    fn parts_keep_positions_and_trust_however_they_are_cut() {
        let eight = Partitions::new(8).unwrap();
        let at = |p: PartitionId| Position::new(Epoch(1), Lsn(u64::from(p.0) + 1));
        let mut whole = Part::empty(eight, 0..8);
        for partition in whole.partitions() {
            whole.replica.set_position(partition, at(partition));
        }
        whole.trust(PartitionId(5)).contradicted();
        for cuts in [&[][..], &[4], &[1, 2, 7], &[0, 5, 6, 8]] {
            let mut parts = whole.cut(cuts);
            let starts: Vec<_> = parts.iter().skip(1).map(|p| p.replica.owned().start).collect();
            let inner: Vec<_> = cuts.iter().copied().filter(|c| (1..8).contains(c)).collect();
            assert_eq!(starts, inner);
            for part in &mut parts {
                for partition in part.partitions() {
                    assert_eq!(part.position(partition), at(partition));
                    assert_eq!(*part.trust(partition) == Trust::Suspect, partition.0 == 5);
                }
            }
            whole = Part::join(parts).unwrap();
        }
        whole.advance(at(PartitionId(3)));
        assert_eq!(whole.position(PartitionId(0)), at(PartitionId(3)));
        assert_eq!(whole.position(PartitionId(7)), at(PartitionId(7)));
    }

    #[test]
    fn a_suspect_is_made_anew_once_and_again_only_after_it_agreed() {
        let mut trust = Trust::Good;
        assert!(trust.contradicted());
        trust.renewed();
        assert!(!trust.contradicted(), "the cause is not here");
        trust.agreed();
        assert!(trust.contradicted());
    }
}
