//! The manifest: what a data directory holds, as a value. Changes to it are pure; `directory` makes them durable.
//!
//! Always: only the newest epoch may be open, so every stream of an older one has its `last`; `first ≤ last + 1`; a
//! partition's newer snapshot is at a later position than its older one; neither is later than what its stream has
//! reached.
//!
//! A value that moves from partition P to partition Q with the edit at position m (a [`Transfer`]) would be lost to a
//! recovery from a snapshot of P that is after m and one of Q that is before. So for every transfer, and for the newest
//! generation as for the older one: if P's snapshot has reached m, Q's has, too. [`Manifest::fitting`] says which new
//! snapshots can be installed together so that this stays true.

pub mod codec;
pub(super) mod copies;
mod transfers;

pub use transfers::{Arrival, Transfer};

use crate::ids::{CoreId, DirectoryId, Epoch, Lsn, PartitionId, Partitions, Placement, Position, StreamId};

/// The contents of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Tells this data directory from every other.
    pub id: DirectoryId,
    /// How the slots are divided into partitions.
    pub partitions: Partitions,
    /// Epochs of which some log is kept, oldest first; the newest one always stays.
    pub epochs: Vec<EpochRecord>,
    /// The installed snapshots, per partition.
    pub snapshots: Vec<Generations>,
    /// The transfers that a newest snapshot has given away and the target's older generation does not have, in order.
    pub transfers: Vec<Transfer>,
}

/// One epoch: a life of the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Number of the epoch.
    pub epoch: Epoch,
    /// Streams of the epoch, one per core.
    pub streams: Vec<StreamRecord>,
}

/// One stream of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// The first edit that is still needed; segments with only earlier edits may be gone.
    pub first: Lsn,
    /// The last edit, once the stream was closed in good order or recovery has decided its cut; `None` before. The
    /// files may hold later edits, which are never read.
    pub last: Option<Lsn>,
}

impl StreamRecord {
    /// Whether no edit of the stream is needed any more.
    pub fn is_dropped(&self) -> bool {
        self.last.is_some_and(|last| self.first > last)
    }
}

/// The installed snapshots of a partition, at most two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// The newest snapshot.
    pub newest: Option<Installed>,
    /// The snapshot before the newest, kept with the log that follows it in case the newest proves bad.
    pub older: Option<Installed>,
}

/// Record of an installed snapshot file, which was verified as a whole before it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Position in the log of the snapshot's state.
    pub position: Position,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// CRC32 of the whole file.
    pub crc: u32,
    /// Digest of the partition: the wrapping sum of its slots' digests.
    pub digest: u64,
}

impl Manifest {
    /// The manifest of a new data directory.
    pub fn new(id: DirectoryId, partitions: Partitions) -> Self {
        let snapshots = vec![Generations::default(); usize::from(partitions.count())];
        Self { id, partitions, epochs: Vec::new(), snapshots, transfers: Vec::new() }
    }

    /// The manifest of a data directory that begins with `snapshots`, one for each partition in order, and without log.
    /// An earlier master has reached `reached`, no snapshot is later than that, and the next epoch follows the one of
    /// `reached`.
    pub fn of_snapshots(id: DirectoryId, partitions: Partitions, snapshots: Vec<Installed>, reached: Position) -> Self {
        // Which core held which partition in that epoch no longer matters: one stream, fully dropped, stands for all.
        let stream = StreamRecord { first: reached.lsn.next(), last: Some(reached.lsn) };
        let epochs = vec![EpochRecord { epoch: reached.epoch, streams: vec![stream] }];
        let generation = |newest| Generations { newest: Some(newest), older: None };
        let snapshots = snapshots.into_iter().map(generation).collect();
        Self { id, partitions, epochs, snapshots, transfers: Vec::new() }
    }

    /// The newest epoch.
    pub fn newest_epoch(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// The newest epoch, if any of its streams has no recorded end.
    pub fn open_epoch(&self) -> Option<&EpochRecord> {
        self.newest_epoch().filter(|e| e.streams.iter().any(|s| s.last.is_none()))
    }

    /// The record of a stream.
    pub fn stream(&self, stream: StreamId) -> Option<StreamRecord> {
        let epoch = self.epochs.iter().find(|e| e.epoch == stream.epoch)?;
        epoch.streams.get(usize::from(stream.core.0)).copied()
    }

    /// The streams that may hold needed edits, in the order in which a partition must receive their edits.
    pub fn kept_streams(&self) -> impl Iterator<Item = (StreamId, StreamRecord)> {
        self.epochs.iter().flat_map(|e| {
            let records = (0u16..).zip(&e.streams);
            records
                .map(|(core, record)| (StreamId::new(e.epoch, CoreId(core)), *record))
                .filter(|(_, r)| !r.is_dropped())
        })
    }

    /// Which core held which partition in `epoch`; `None` if the manifest does not have the epoch.
    pub fn placement(&self, epoch: Epoch) -> Option<Placement> {
        let record = self.epochs.iter().find(|e| e.epoch == epoch)?;
        Placement::new(self.partitions, u16::try_from(record.streams.len()).ok()?)
    }

    /// The installed snapshots of a partition.
    pub fn generations(&self, partition: PartitionId) -> Generations {
        self.snapshots.get(usize::from(partition.0)).copied().unwrap_or_default()
    }

    /// Whether the log reaches back to the first edit that the partition ever had.
    pub fn keeps_whole_log(&self, partition: PartitionId) -> bool {
        let from_start = self.epochs.first().is_none_or(|e| e.epoch == Epoch(1));
        from_start
            && self.epochs.iter().all(|e| {
                let core = self.placement(e.epoch).map(|placement| placement.core_of(partition));
                let record = core.and_then(|core| e.streams.get(usize::from(core.0)));
                record.is_some_and(|r| r.first <= Lsn(1))
            })
    }

    /// The position after which the log has every edit of the partition; state older than this cannot be brought up to
    /// date.
    pub fn floor(&self, partition: PartitionId) -> Position {
        let Generations { newest, older } = self.generations(partition);
        // Log is dropped behind the oldest snapshot of a partition or, without snapshots, where it has none of the
        // partition's edits.
        older.or(newest).map_or(Position::START, |oldest| oldest.position.min(self.unbroken_from(partition)))
    }

    /// The position after which every edit of the partition's streams is kept, including edits of other partitions.
    fn unbroken_from(&self, partition: PartitionId) -> Position {
        let forgotten = self.epochs.first().filter(|e| e.epoch > Epoch(1));
        let mut from = forgotten.map_or(Position::START, |e| Position::new(e.epoch, Lsn(0)));
        for e in &self.epochs {
            let core = self.placement(e.epoch).map(|placement| placement.core_of(partition));
            let record = core.and_then(|core| e.streams.get(usize::from(core.0)));
            if let Some(record) = record.filter(|record| record.first > Lsn(1)) {
                from = Position::new(e.epoch, Lsn(record.first.0 - 1));
            }
        }
        from
    }

    /// Begins the next epoch, with `cores` streams.
    ///
    /// # Panics
    /// If the epoch before has not ended, or there are no cores or more of them than partitions.
    pub fn begin_epoch(&mut self, cores: u16) -> Epoch {
        assert!(self.open_epoch().is_none(), "an epoch begins after the one before has ended");
        assert!(Placement::new(self.partitions, cores).is_some(), "every core has a partition");
        let epoch = Epoch(self.newest_epoch().map_or(0, |e| e.epoch.0) + 1);
        let streams = vec![StreamRecord { first: Lsn(1), last: None }; usize::from(cores)];
        self.epochs.push(EpochRecord { epoch, streams });
        epoch
    }

    /// Records the last edits of these streams of the newest epoch.
    ///
    /// # Errors
    /// If `epoch` is not the newest, or one of the streams does not belong to it or has ended already.
    pub fn end_streams(&mut self, epoch: Epoch, lasts: &[(CoreId, Lsn)]) -> Result<(), &'static str> {
        let newest = self.epochs.last_mut().filter(|e| e.epoch == epoch).ok_or("the epoch is not the newest")?;
        for (core, last) in lasts {
            let stream = newest.streams.get_mut(usize::from(core.0)).ok_or("the epoch has no such stream")?;
            if stream.last.is_some() {
                return Err("the stream has ended already");
            }
            stream.last = Some(*last);
            // Dropped edits were not needed, even if recovery found an end before them.
            stream.first = stream.first.min(last.next());
        }
        Ok(())
    }

    /// Makes `installed` the newest generation of `partition`. Returns the generation that is then no longer kept: the
    /// third, `None` if there was no third, or `Some(installed)` if it is not newer than the newest.
    pub fn install(&mut self, partition: PartitionId, installed: Installed) -> Option<Installed> {
        let generations = self.snapshots.get_mut(usize::from(partition.0))?;
        if generations.newest.is_some_and(|newest| newest.position >= installed.position) {
            return Some(installed);
        }
        let third = generations.older;
        *generations = Generations { newest: Some(installed), older: generations.newest };
        third
    }

    /// Removes a generation that proved bad. Returns whether it was there.
    pub fn discard(&mut self, partition: PartitionId, bad: Installed) -> bool {
        let Some(generations) = self.snapshots.get_mut(usize::from(partition.0)) else { return false };
        if generations.newest == Some(bad) {
            generations.newest = generations.older.take();
            // All that the older generation has given away is in the older generations of other partitions.
            self.transfers.retain(|transfer| transfer.from != partition);
            true
        } else {
            generations.older.take_if(|older| *older == bad).is_some()
        }
    }

    /// Notes that edits of `stream` before `first` are no longer needed. Returns whether that changes anything.
    pub fn drop_log(&mut self, stream: StreamId, first: Lsn) -> bool {
        let epoch = self.epochs.iter_mut().find(|e| e.epoch == stream.epoch);
        let Some(record) = epoch.and_then(|e| e.streams.get_mut(usize::from(stream.core.0))) else { return false };
        let first = record.last.map_or(first, |last| first.min(last.next()));
        let is_news = first > record.first;
        record.first = record.first.max(first);
        is_news
    }

    /// Removes the oldest epochs without needed edits, but never the newest epoch.
    pub fn forget_dropped_epochs(&mut self) {
        let kept = self.epochs.len().saturating_sub(1);
        let forgotten =
            self.epochs[..kept].iter().take_while(|e| e.streams.iter().all(StreamRecord::is_dropped)).count();
        self.epochs.drain(..forgotten);
    }

    /// Whether the invariants in this module's docs hold, as far as a manifest alone can show.
    fn is_consistent(&self) -> bool {
        let in_order = self.epochs.windows(2).all(|pair| pair[0].epoch < pair[1].epoch);
        let older = self.epochs.len().saturating_sub(1);
        let ended = self.epochs[..older].iter().all(|e| e.streams.iter().all(|s| s.last.is_some()));
        let placed = self.epochs.iter().all(|e| self.placement(e.epoch).is_some());
        let possible = |s: &StreamRecord| s.first.is_possible() && s.last.is_none_or(Lsn::is_possible);
        let sane = |s: &StreamRecord| possible(s) && s.first.0 >= 1 && s.last.is_none_or(|last| s.first <= last.next());
        let sane = self.epochs.iter().flat_map(|e| &e.streams).all(sane);
        let generations = self.snapshots.iter().all(|g| match (g.newest, g.older) {
            (Some(newest), Some(older)) => older.position < newest.position,
            (None, older) => older.is_none(),
            _ => true,
        });
        let known = |p: PartitionId| p.0 < self.partitions.count();
        let transfers = self.transfers.iter().all(|t| t.from != t.to && known(t.from) && known(t.to));
        in_order && ended && placed && sane && generations && transfers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(epoch: u32, lsn: u64) -> Installed {
        Installed { position: Position::new(Epoch(epoch), Lsn(lsn)), bytes: 1, crc: 2, digest: 3 }
    }

    fn manifest() -> Manifest {
        Manifest::new(DirectoryId([1; 16]), Partitions::new(4).unwrap())
    }

    #[test]
    fn two_generations_are_kept_and_repeats_change_nothing() {
        let (mut m, p) = (manifest(), PartitionId(2));
        assert_eq!(m.install(p, installed(1, 5)), None);
        assert_eq!(m.install(p, installed(1, 5)), Some(installed(1, 5)));
        assert_eq!(m.install(p, installed(1, 9)), None);
        assert_eq!(m.install(p, installed(1, 4)), Some(installed(1, 4)));
        assert_eq!(m.install(p, installed(2, 1)), Some(installed(1, 5)));
        assert_eq!(m.generations(p), Generations { newest: Some(installed(2, 1)), older: Some(installed(1, 9)) });
        assert!(m.discard(p, installed(2, 1)) && !m.discard(p, installed(2, 1)));
        assert_eq!(m.generations(p), Generations { newest: Some(installed(1, 9)), older: None });
    }

    #[test]
    fn an_older_generation_that_is_bad_goes_alone_and_no_other_goes_for_it() {
        let (mut m, p) = (manifest(), PartitionId(2));
        m.install(p, installed(1, 5));
        m.install(p, installed(1, 9));
        assert!(!m.discard(p, installed(1, 7)) && !m.discard(PartitionId(9), installed(1, 5)));
        assert_eq!(m.generations(p), Generations { newest: Some(installed(1, 9)), older: Some(installed(1, 5)) });
        assert!(m.discard(p, installed(1, 5)));
        assert_eq!(m.generations(p), Generations { newest: Some(installed(1, 9)), older: None });
    }

    #[test]
    fn numbers_that_no_stream_reaches_are_no_manifest() {
        for (first, last) in [(1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1)] {
            let mut m = manifest();
            m.epochs.push(EpochRecord {
                epoch: Epoch(1),
                streams: vec![StreamRecord { first: Lsn(first), last: Some(Lsn(last)) }],
            });
            assert!(!m.is_consistent(), "{first} to {last}");
        }
    }

    /// Each invariant in this module's docs, broken in the last of several epochs, streams or partitions.
    #[test]
    fn what_is_impossible_anywhere_is_no_manifest() {
        let ended = |last| StreamRecord { first: Lsn(1), last: Some(Lsn(last)) };
        let good = || {
            let mut m = manifest();
            m.epochs = (1..=3).map(|n| EpochRecord { epoch: Epoch(n), streams: vec![ended(9), ended(0)] }).collect();
            m.snapshots[3] = Generations { newest: Some(installed(2, 5)), older: Some(installed(2, 4)) };
            m
        };
        assert!(good().is_consistent());
        type Damage = fn(&mut Manifest);
        let broken: [(&str, Damage); 9] = [
            ("an epoch comes twice", |m| m.epochs[2].epoch = Epoch(2)),
            ("an older epoch is open", |m| m.epochs[1].streams[1].last = None),
            ("an epoch has no streams", |m| m.epochs[2].streams.clear()),
            ("an epoch has more streams than partitions", |m| m.epochs[2].streams = vec![m.epochs[2].streams[0]; 5]),
            ("a stream begins with no edit", |m| m.epochs[2].streams[1].first = Lsn(0)),
            ("a stream begins after its end", |m| m.epochs[2].streams[1].first = Lsn(2)),
            ("the newer snapshot is older", |m| m.snapshots[3].older = Some(installed(2, 6))),
            ("both snapshots are one", |m| m.snapshots[3].older = m.snapshots[3].newest),
            ("there is only an older snapshot", |m| m.snapshots[3].newest = None),
        ];
        for (what, break_it) in broken {
            let mut m = good();
            break_it(&mut m);
            assert!(!m.is_consistent(), "{what}");
        }
    }

    #[test]
    fn state_is_too_old_where_log_after_it_is_gone() {
        let p = PartitionId(3);
        let mut m = manifest();
        let first = m.begin_epoch(2);
        m.install(p, installed(1, 5));
        assert_eq!(m.floor(p), Position::START, "the whole log is there");
        m.drop_log(StreamId::new(first, CoreId(1)), Lsn(4));
        assert_eq!(m.floor(p), Position::new(first, Lsn(3)), "to where the log reaches back");
        m.install(p, installed(1, 9));
        m.drop_log(StreamId::new(first, CoreId(1)), Lsn(6));
        assert_eq!(m.floor(p), installed(1, 5).position, "to the older generation");
        m.discard(p, installed(1, 9));
        assert_eq!(m.floor(p), installed(1, 5).position, "the older generation is the only one now");
        assert_eq!(m.floor(PartitionId(2)), Position::START, "a partition without snapshots lacks nothing");
        m.end_streams(first, &[(CoreId(0), Lsn(0)), (CoreId(1), Lsn(12))]).unwrap();
        m.begin_epoch(1);
        m.drop_log(StreamId::new(first, CoreId(1)), Lsn(13));
        m.forget_dropped_epochs();
        assert_eq!(m.floor(p), installed(1, 5).position);
    }

    #[test]
    fn what_begins_with_snapshots_goes_on_in_the_next_epoch_and_lacks_all_log() {
        let snapshots = [(2, 7), (3, 4), (3, 9), (3, 9)].map(|(epoch, lsn)| installed(epoch, lsn));
        let partitions = Partitions::new(4).unwrap();
        let mut m =
            Manifest::of_snapshots(DirectoryId([1; 16]), partitions, snapshots.to_vec(), installed(3, 9).position);
        assert!(m.is_consistent() && m.open_epoch().is_none());
        assert_eq!(m.kept_streams().count(), 0);
        for (partition, snapshot) in (0..).map(PartitionId).zip(snapshots) {
            assert!(!m.keeps_whole_log(partition));
            assert_eq!(m.floor(partition), snapshot.position);
        }
        assert_eq!(m.begin_epoch(2), Epoch(4));
        assert!(m.is_consistent());
    }

    #[test]
    fn an_epoch_is_forgotten_when_all_its_streams_are_dropped_but_never_the_newest() {
        let mut m = manifest();
        let first = m.begin_epoch(2);
        m.end_streams(first, &[(CoreId(1), Lsn(0))]).unwrap();
        assert_eq!(m.open_epoch().map(|e| e.epoch), Some(first), "one of two streams was closed");
        m.end_streams(first, &[(CoreId(0), Lsn(10))]).unwrap();
        assert_eq!(m.end_streams(first, &[(CoreId(0), Lsn(11))]), Err("the stream has ended already"));
        assert_eq!(m.end_streams(first, &[(CoreId(2), Lsn(11))]), Err("the epoch has no such stream"));
        let stream = |core| StreamId::new(first, CoreId(core));
        assert!(m.keeps_whole_log(PartitionId(0)));
        assert!(m.drop_log(stream(0), Lsn(10)) && !m.drop_log(stream(0), Lsn(10)), "once is news");
        assert!(!m.stream(stream(0)).unwrap().is_dropped(), "its last edit is needed");
        assert!(m.drop_log(stream(0), Lsn(11)) && !m.drop_log(stream(0), Lsn(3)));
        assert!(m.stream(stream(0)).unwrap().is_dropped());
        assert!(!m.keeps_whole_log(PartitionId(0)) && m.keeps_whole_log(PartitionId(3)));
        m.forget_dropped_epochs();
        assert_eq!(m.epochs.len(), 1, "the newest");
        assert_eq!(m.begin_epoch(4), Epoch(2));
        assert_eq!(m.end_streams(first, &[(CoreId(0), Lsn(1))]), Err("the epoch is not the newest"));
        m.forget_dropped_epochs();
        assert_eq!((m.epochs.len(), m.is_consistent()), (1, true));
        assert_eq!(m.kept_streams().count(), 4);
    }
}
