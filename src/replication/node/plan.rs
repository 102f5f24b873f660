//! Plans how a node catches up: which partitions go on from their state, which begin anew, and from where each stream
//! is followed. Pure.
//!
//! A partition can go on from its state at position `p` if that is neither behind the log nor ahead of it:
//!
//! | state at `p` | then |
//! |---|---|
//! | `p` below the master's floor for the partition | edits between `p` and the log are gone: begin anew |
//! | `p` in an epoch that the master has not had, or after the end of its stream there | the state holds edits that the master has lost: begin anew |
//! | `p` in an epoch of which the master keeps no log any more | go on: the log after the floor is complete |
//! | else | go on with the edit after `p` |
//!
//! To begin anew is to download the newest installed snapshot, or to begin empty if there is none: the log is whole
//! then.

use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Partitions, Placement, Position};
use crate::planted::{Bug, is_planted};
use crate::replication::protocol::Welcome;

/// A welcome that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The master's welcome.
    pub welcome: Welcome,
    /// How slots are divided into partitions.
    pub partitions: Partitions,
}

/// One stream of one epoch, and the part of it to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The epoch.
    pub epoch: Epoch,
    /// Which core owned which partition in this epoch.
    pub placement: Placement,
    /// The core whose stream it is.
    pub core: CoreId,
    /// The first edit that is wanted.
    pub from: Lsn,
    /// The last edit of an ended epoch; `None` in the present one.
    pub last: Option<Lsn>,
    /// The first edit at which a checkpoint barrier may be awaited: no snapshot is wanted at an earlier one.
    pub wanted_from: Lsn,
}

impl Terms {
    /// Checks a welcome.
    ///
    /// # Errors
    /// If the welcome contradicts itself.
    pub fn new(welcome: Welcome) -> Result<Self, &'static str> {
        let count = u16::try_from(welcome.kept.len()).ok();
        let partitions = count.and_then(Partitions::new).ok_or("an impossible number of partitions")?;
        let grows = welcome.epochs.is_sorted_by(|(a, _), (b, _)| a < b);
        if !grows || welcome.epochs.last().map(|(e, _)| *e) != Some(welcome.epoch) {
            return Err("epochs out of order");
        }
        for (_, streams) in &welcome.epochs {
            let cores = u16::try_from(streams.len()).ok().and_then(|cores| Placement::new(partitions, cores));
            cores.ok_or("an impossible number of cores")?;
            if streams.iter().any(|s| s.first.0 == 0 || !s.last.is_possible() || s.first > s.last.next()) {
                return Err("a stream that ends before it begins");
            }
        }
        Ok(Self { welcome, partitions })
    }

    /// Which core owned which partition in an epoch with this number of streams.
    fn placement(&self, streams: usize) -> Option<Placement> {
        Placement::new(self.partitions, u16::try_from(streams).ok()?)
    }

    /// Whether `partition` can go on from a state at `position`; see the module.
    pub fn goes_on(&self, partition: PartitionId, position: Position) -> bool {
        let Some(kept) = self.welcome.kept.get(usize::from(partition.0)) else { return false };
        if position < kept.floor || position.epoch > self.welcome.epoch {
            return false;
        }
        let Some((_, streams)) = self.welcome.epochs.iter().find(|(epoch, _)| *epoch == position.epoch) else {
            return true;
        };
        let end = self.placement(streams.len()).map(|p| streams[usize::from(p.core_of(partition).0)].last);
        end.is_some_and(|end| position.lsn <= end)
    }

    /// The streams to follow, epoch by epoch, for partitions at these positions. Streams of one epoch can be followed
    /// at once, but only after all streams of the epoch before. The last list is the present epoch's and has all of its
    /// streams.
    pub fn legs(&self, positions: &[Position]) -> Vec<Vec<Leg>> {
        let epochs = self.welcome.epochs.iter().filter_map(|(epoch, streams)| {
            let placement = self.placement(streams.len())?;
            let present = *epoch == self.welcome.epoch;
            let legs = (0..).map(CoreId).zip(streams).filter_map(|(core, stream)| {
                let held = placement.partitions_of(core).map(usize::from);
                let next =
                    held.map(|p| positions.get(p).copied().unwrap_or_default()).map(|p| match p.epoch.cmp(epoch) {
                        std::cmp::Ordering::Less => Lsn(1),
                        std::cmp::Ordering::Equal => p.lsn.next(),
                        std::cmp::Ordering::Greater => stream.last.next(),
                    });
                // Edits before the stream's first one are in every partition's state: no partition is below its floor.
                let from = next.min().unwrap_or_default().max(stream.first);
                let from = if is_planted(Bug::FollowedLate) { from.next() } else { from };
                let (last, wanted_from) = ((!present).then_some(stream.last), stream.wanted_from);
                let wanted = present || from <= stream.last;
                wanted.then_some(Leg { epoch: *epoch, placement, core, from, last, wanted_from })
            });
            Some(legs.collect())
        });
        epochs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::protocol::{Kept, StreamInfo};

    fn at(epoch: u32, lsn: u64) -> Position {
        Position::new(Epoch(epoch), Lsn(lsn))
    }

    fn stream(first: u64, last: u64) -> StreamInfo {
        StreamInfo { first: Lsn(first), last: Lsn(last), wanted_from: Lsn(last + 1) }
    }

    /// No log of epochs 1 and 3 is kept. Epoch 2 had one core, and its log is kept from edit 11 to 20. Epoch 4, the
    /// present one, has two cores.
    fn terms() -> Terms {
        let kept = |floor| Kept { floor, newest: at(2, 15) };
        let epochs = vec![(Epoch(2), vec![stream(11, 20)]), (Epoch(4), vec![stream(1, 30), stream(1, 40)])];
        let kept = vec![kept(at(2, 10)), kept(at(1, 7)), kept(Position::START), kept(at(2, 12))];
        Terms::new(Welcome { session: 1, directory: [0; 16], epoch: Epoch(4), epochs, kept }).unwrap()
    }

    #[test]
    fn state_goes_on_unless_it_is_behind_or_ahead_of_the_log() {
        let table = [
            (0, at(2, 9), false, "below the floor"),
            (0, at(2, 10), true, "at the floor"),
            (0, at(2, 20), true, "at the end of its epoch"),
            (0, at(2, 21), false, "after the end of its epoch"),
            (0, at(3, 1), true, "in an epoch that is forgotten"),
            (0, at(4, 30), true, "at the end of the present stream"),
            (0, at(4, 31), false, "ahead of the present stream"),
            (3, at(4, 40), true, "at the end of the other stream"),
            (3, at(5, 1), false, "in an epoch to come"),
            (1, at(1, 7), true, "idle since a forgotten epoch"),
            (1, at(1, 6), false, "below the floor in a forgotten epoch"),
            (2, Position::START, true, "empty, and the log is whole"),
            (9, at(4, 1), false, "no such partition"),
        ];
        for (partition, position, goes_on, what) in table {
            assert_eq!(terms().goes_on(PartitionId(partition), position), goes_on, "{what}");
        }
    }

    fn legs(positions: [Position; 4]) -> Vec<Vec<(u32, u16, u64, bool)>> {
        let brief = |l: &Leg| (l.epoch.0, l.core.0, l.from.0, l.last.is_none());
        terms().legs(&positions).iter().map(|epoch| epoch.iter().map(brief).collect()).collect()
    }

    #[test]
    fn streams_are_followed_from_the_first_edit_that_any_of_their_partitions_lacks() {
        let both = |from_2, from_4: [u64; 2]| {
            vec![vec![(2, 0, from_2, false)], vec![(4, 0, from_4[0], true), (4, 1, from_4[1], true)]]
        };
        let [idle, early, late] = [at(1, 7), at(2, 12), at(2, 20)];
        assert_eq!(legs([early, late, late, late]), both(13, [1, 1]));
        assert_eq!(legs([early, idle, late, at(4, 3)]), both(11, [1, 1]));
        assert_eq!(legs([late, late, at(4, 40), at(4, 3)]), [vec![], both(0, [1, 4])[1].clone()]);
        assert_eq!(legs([at(4, 30); 4])[0], []);
        assert_eq!(legs([at(4, 30); 4])[1], [(4, 0, 31, true), (4, 1, 31, true)]);
    }

    #[test]
    fn a_welcome_that_contradicts_itself_is_refused() {
        let good = terms().welcome;
        let mut bad = vec![good.clone(); 5];
        bad[0].kept.pop();
        bad[1].epochs.reverse();
        bad[2].epochs[0].1[0].first = Lsn(22);
        bad[3].epochs[0].1.clear();
        bad[4].epoch = Epoch(5);
        assert!(Terms::new(good).is_ok());
        assert!(bad.into_iter().all(|welcome| Terms::new(welcome).is_err()));
    }
}
