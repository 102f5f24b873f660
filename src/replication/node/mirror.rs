//! All partitions as the node holds them, cut as the epoch at hand cuts them; and how far each is to be trusted. Pure.

use std::ops::Range;

use crate::ids::{PartitionId, Partitions, Position};
use crate::partition::replica::Replica;

/// What is known of a partition's state beside its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nothing speaks against it.
    #[default]
    Good,
    /// It differed from the master's, an edit contradicted it, or it cannot go on: it is to be made anew.
    Suspect,
    /// It was made anew, and has not agreed at a barrier since. If it differs then, the cause is not here, and it stays
    /// as it is.
    Renewed,
}

impl Trust {
    /// The state has contradicted the master's. Returns whether it is to be made anew: once, but not again and again.
    pub fn contradicted(&mut self) -> bool {
        if *self == Self::Good {
            *self = Self::Suspect;
        }
        *self == Self::Suspect
    }

    /// The log that would follow the state is not to be had, and a later state is: it is to be made anew.
    pub fn stranded(&mut self) {
        *self = Self::Suspect;
    }

    /// The state has agreed with the master's at a barrier.
    pub fn agreed(&mut self) {
        *self = Self::Good;
    }

    /// The state was made anew.
    pub fn renewed(&mut self) {
        if *self == Self::Suspect {
            *self = Self::Renewed;
        }
    }
}

/// Some neighbouring partitions.
pub struct Part {
    /// Their data and positions.
    pub replica: Replica,
    /// By partition, from the first of the replica on.
    trust: Vec<Trust>,
}

impl Part {
    /// So far empty partitions.
    pub fn empty(partitions: Partitions, owned: Range<u16>) -> Self {
        let trust = vec![Trust::Good; owned.len()];
        Self { replica: Replica::new(partitions, owned), trust }
    }

    /// The partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        self.replica.owned().map(PartitionId)
    }

    /// Where a partition's state is in the log.
    pub fn position(&self, partition: PartitionId) -> Position {
        self.replica.place(partition).map(|place| place.position).unwrap_or_default()
    }

    /// How far a partition of this part is to be trusted.
    ///
    /// # Panics
    /// If it is none of this part.
    pub fn trust(&mut self, partition: PartitionId) -> &mut Trust {
        &mut self.trust[usize::from(partition.0 - self.replica.owned().start)]
    }

    /// The stream of these partitions was followed up to `position`: no edit of them lies between there and where they
    /// are.
    pub fn advance(&mut self, position: Position) {
        self.partitions().for_each(|partition| self.replica.advance(partition, position));
    }

    /// Cuts it in front of each of `cuts`, which ascend. The parts in order; [`Self::join`] is the way back.
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

    /// Puts parts together that follow each other; `None` if there are none.
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
