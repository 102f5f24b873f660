//! Values that moved from one partition to another, and what they ask of the snapshots of the two; see the parent
//! module. Pure.

use super::{Generations, Installed, Manifest};
use crate::ids::{PartitionId, Position};
use crate::planted::{Bug, is_planted};

/// The last value that moved from one partition to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transfer {
    /// The partition that had the value.
    pub from: PartitionId,
    /// The partition that has got it.
    pub to: PartitionId,
    /// Position of the edit that moved it.
    pub position: Position,
}

/// A verified snapshot that is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The snapshot's partition.
    pub partition: PartitionId,
    /// Record of the file.
    pub installed: Installed,
    /// The last transfer from the partition to each other one that the snapshot has given away. Those may be missing
    /// that are in the target's older generation.
    pub transfers: Vec<Transfer>,
}

impl Manifest {
    /// The largest set of these snapshots, at most one of each partition, that can be installed together: whatever one
    /// of them has given away is then in the newest snapshot of the partition that got it, and whatever a snapshot that
    /// becomes the older generation has given away, in the older one. Returns for each whether it is in the set.
    pub fn fitting(&self, arrivals: &[&Arrival]) -> Vec<bool> {
        let mut fits = vec![true; arrivals.len()];
        // A snapshot that has to wait may make others wait.
        loop {
            let among = |partition| {
                let mut left = arrivals.iter().zip(&fits).filter(|(_, fits)| **fits).map(|(arrival, _)| *arrival);
                left.find(|arrival| arrival.partition == partition)
            };
            let late = (0..arrivals.len()).find(|n| fits[*n] && !self.fits(arrivals[*n], among));
            match late {
                Some(late) => fits[late] = false,
                None => return fits,
            }
        }
    }

    /// What keeps a snapshot from being installed by itself: partitions of which a newer snapshot is missing.
    pub fn missing_for<'a>(&'a self, arrival: &'a Arrival) -> impl Iterator<Item = PartitionId> + 'a {
        let newest = arrival.transfers.iter().filter(|t| !has(self.generations(t.to).newest, t));
        let given = self.transfers.iter().filter(|t| t.from == arrival.partition);
        let older = given.filter(|t| !has(self.generations(t.to).older, t));
        newest.chain(older).map(|t| t.to)
    }

    /// Whether `arrival` can be installed together with the snapshots that `among` finds by their partitions.
    fn fits<'a>(&self, arrival: &Arrival, among: impl Fn(PartitionId) -> Option<&'a Arrival>) -> bool {
        let newest = |p| among(p).map(|a| a.installed).or(self.generations(p).newest);
        let older = |p| {
            let Generations { newest, older } = self.generations(p);
            if among(p).is_some() { newest } else { older }
        };
        let mut given = self.transfers.iter().filter(|t| t.from == arrival.partition);
        (is_planted(Bug::TransfersIgnored) || arrival.transfers.iter().all(|t| has(newest(t.to), t)))
            && (is_planted(Bug::OlderTransfersIgnored) || given.all(|t| has(older(t.to), t)))
    }

    /// Makes each of these snapshots, which fit together, the newest generation of its partition. Returns for each what
    /// [`Self::install`] returns.
    pub fn install_all(&mut self, arrivals: &[Arrival]) -> Vec<Option<Installed>> {
        let thirds = arrivals.iter().map(|a| self.install(a.partition, a.installed)).collect();
        for arrival in arrivals {
            if self.generations(arrival.partition).newest != Some(arrival.installed) {
                continue;
            }
            self.transfers.retain(|t| t.from != arrival.partition);
            self.transfers.extend(&arrival.transfers);
        }
        let mut transfers = std::mem::take(&mut self.transfers);
        transfers.retain(|t| !has(self.generations(t.to).older, t));
        transfers.sort_unstable();
        self.transfers = transfers;
        thirds
    }
}

/// Whether a snapshot of the target has what was moved.
fn has(snapshot: Option<Installed>, transfer: &Transfer) -> bool {
    snapshot.is_some_and(|snapshot| snapshot.position >= transfer.position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DirectoryId, Epoch, Lsn, Partitions};

    fn at(lsn: u64) -> Position {
        Position::new(Epoch(1), Lsn(lsn))
    }

    fn transfer(from: u16, to: u16, lsn: u64) -> Transfer {
        Transfer { from: PartitionId(from), to: PartitionId(to), position: at(lsn) }
    }

    fn arrival(partition: u16, lsn: u64, transfers: &[Transfer]) -> Arrival {
        let installed = Installed { position: at(lsn), bytes: 1, crc: 2, digest: 3 };
        Arrival { partition: PartitionId(partition), installed, transfers: transfers.to_vec() }
    }

    fn manifest() -> Manifest {
        Manifest::new(DirectoryId([1; 16]), Partitions::new(4).unwrap())
    }

    fn fitting(manifest: &Manifest, arrivals: &[Arrival]) -> Vec<u16> {
        let fits = manifest.fitting(&arrivals.iter().collect::<Vec<_>>());
        arrivals.iter().zip(fits).filter(|(_, fits)| *fits).map(|(a, _)| a.partition.0).collect()
    }

    #[test]
    fn a_snapshot_waits_for_the_partition_that_it_gave_a_value_to() {
        let (given, mut m) = (transfer(0, 1, 5), manifest());
        let p = arrival(0, 6, &[given]);
        assert_eq!(fitting(&m, std::slice::from_ref(&p)), [0; 0]);
        assert_eq!(fitting(&m, &[p.clone(), arrival(1, 4, &[])]), [1], "that one is from before");
        assert_eq!(fitting(&m, &[p.clone(), arrival(1, 7, &[])]), [0, 1]);
        assert_eq!(m.missing_for(&p).collect::<Vec<_>>(), [PartitionId(1)]);
        m.install_all(&[arrival(1, 7, &[])]);
        assert_eq!(fitting(&m, std::slice::from_ref(&p)), [0], "the other one is there already");
        m.install_all(&[p]);
        assert_eq!(m.transfers, [given]);
    }

    #[test]
    fn a_snapshot_becomes_the_older_one_only_together_with_what_it_gave_away() {
        let (given, mut m) = (transfer(0, 1, 5), manifest());
        m.install_all(&[arrival(0, 6, &[given]), arrival(1, 7, &[])]);
        let next = arrival(0, 10, &[]);
        assert_eq!(
            fitting(&m, std::slice::from_ref(&next)),
            [0; 0],
            "the older one of 1 would be from before the transfer"
        );
        assert_eq!(fitting(&m, &[next.clone(), arrival(1, 11, &[])]), [0, 1]);
        m.install_all(&[arrival(1, 11, &[])]);
        assert_eq!(m.transfers, [], "both generations of 1 have it");
        assert_eq!(fitting(&m, &[next]), [0]);
    }

    #[test]
    fn those_that_wait_for_each_other_are_installed_together_and_one_that_is_missing_holds_up_all() {
        let ring = [arrival(0, 6, &[transfer(0, 1, 3)]), arrival(1, 7, &[transfer(1, 2, 4)]), {
            arrival(2, 8, &[transfer(2, 0, 5)])
        }];
        assert_eq!(fitting(&manifest(), &ring), [0, 1, 2]);
        assert_eq!(fitting(&manifest(), &ring[..2]), [0; 0]);
        assert_eq!(fitting(&manifest(), &ring[1..]), [0; 0]);
    }

    #[test]
    fn what_is_discarded_takes_its_transfers_along() {
        let mut m = manifest();
        m.install_all(&[arrival(0, 6, &[transfer(0, 1, 5)]), arrival(1, 7, &[])]);
        assert!(m.discard(PartitionId(0), arrival(0, 6, &[]).installed));
        assert_eq!(m.transfers, []);
    }

    /// Random transfers and snapshots, installed as soon as they fit: no pair of generations that recovery may take
    /// ever lacks a value.
    #[test]
    fn whatever_is_installed_no_generation_lacks_what_another_gave_away() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut m, mut all, mut waiting, mut lsn) = (manifest(), Vec::<Transfer>::new(), Vec::<Arrival>::new(), 0);
            for _ in 0..200 {
                lsn += 1;
                let (a, b) = (random.u16(0..4), random.u16(0..4));
                if random.bool() {
                    all.extend((a != b).then(|| transfer(a, b, lsn)));
                } else {
                    let given = (0..4).filter_map(|to| all.iter().rfind(|t| (t.from.0, t.to.0) == (a, to)).copied());
                    waiting.retain(|w| w.partition.0 != a);
                    waiting.push(arrival(a, lsn, &given.collect::<Vec<_>>()));
                }
                let fits = m.fitting(&waiting.iter().collect::<Vec<_>>());
                let mut fits = fits.into_iter();
                let (batch, rest) = std::mem::take(&mut waiting).into_iter().partition(|_| fits.next() == Some(true));
                waiting = rest;
                m.install_all(&batch);
                for t in &all {
                    let (from, to) = (m.generations(t.from), m.generations(t.to));
                    assert!(!has(from.newest, t) || has(to.newest, t), "seed {seed}: {t:?}");
                    assert!(!has(from.older, t) || has(to.older, t), "seed {seed}: {t:?}");
                    let is_kept = m.transfers.iter().any(|kept| (kept.from, kept.to) == (t.from, t.to));
                    assert!(!has(from.newest, t) || has(to.older, t) || is_kept, "seed {seed}: {t:?} is forgotten");
                }
            }
        }
    }
}
