//! From files to the partitions of one core: per partition the newest good snapshot, then the streams of each epoch in order.
//!
//! | newest snapshot | older snapshot | log from | outcome |
//! |---|---|---|---|
//! | good | – | its position | start |
//! | bad | good | the older one's position | start; the bad one is set aside |
//! | bad | bad, or none but expected | – | refuse |
//! | bad | none yet | the first edit | start, if the log still has it; otherwise refuse |
//! | written slot by slot | – | its position, which is its oldest slot's | start; in each slot, edits that it has already are skipped |
//! | none | none | the first edit that is kept | start: log is dropped only where it has no edits of a partition without snapshots |
//!
//! The number of cores may differ from that of the streams: each core reads every stream that has edits of its partitions.

use std::ops::Range;
use std::sync::Arc;

use super::load::LoadError;
use super::replica::{Place, Replica};
use crate::ids::{CoreId, Lsn, PartitionId, Placement, Position, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::snapshot::{SnapshotReader, Subject};
use crate::storage::{
    Corruption, DataDir, Files, Installed, Manifest, OsFiles, StorageError, StreamEnd, StreamReader, path,
};
use crate::store::Store;

/// The partitions of one core, and how they were found.
pub struct Recovered {
    /// Their data.
    pub store: Store,
    /// Where each stands, from the core's first partition on.
    pub places: Vec<Place>,
    /// The streams that were read, and where they end.
    pub ends: Vec<(StreamId, StreamEnd)>,
    /// Snapshots that proved bad and were done without. They are still in the manifest: nothing is changed unless all cores recover.
    pub bad: Vec<(PartitionId, Installed)>,
    /// What was read.
    pub tally: Tally,
}

/// What recovery has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Snapshot files.
    pub snapshots: u64,
    /// Entries in them.
    pub entries: u64,
    /// Their bytes.
    pub snapshot_bytes: u64,
    /// Snapshots that were bad, so that older ones and a longer log were used.
    pub bad_snapshots: u64,
    /// Edits applied from the log.
    pub edits: u64,
    /// Bytes of the log's frames read.
    pub log_bytes: u64,
    /// Barriers whose digests were compared.
    pub barriers: u64,
}

impl Tally {
    /// What two cores have read together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            snapshots: self.snapshots + other.snapshots,
            entries: self.entries + other.entries,
            snapshot_bytes: self.snapshot_bytes + other.snapshot_bytes,
            bad_snapshots: self.bad_snapshots + other.bad_snapshots,
            edits: self.edits + other.edits,
            log_bytes: self.log_bytes + other.log_bytes,
            barriers: self.barriers + other.barriers,
        }
    }
}

/// Recovers the partitions that `core` holds under `placement`. Blocks.
///
/// # Errors
/// If data is damaged or missing, so that the state cannot be known; or if the disk fails.
pub fn recover<F: Files>(dir: &DataDir<F>, placement: Placement, core: CoreId) -> Result<Recovered, StorageError> {
    let mut recovery = Recovery::begin(dir, placement, core);
    recovery.load_snapshots()?;
    recovery.replay()?;
    Ok(recovery.finish())
}

/// Records what all cores have found together, so that a new epoch may begin: snapshots that proved `bad`, and where the streams of
/// the epoch that was open end, as far as nobody has closed them.
///
/// # Errors
/// If the disk fails, or a stream of that epoch is not among `ends`.
pub fn settle<F: Files>(
    dir: &DataDir<F>,
    bad: impl IntoIterator<Item = (PartitionId, Installed)>,
    ends: &[(StreamId, StreamEnd)],
) -> Result<(), StorageError> {
    for (partition, installed) in bad {
        dir.discard_snapshot(partition, installed)?;
    }
    let manifest = dir.manifest();
    let Some(open) = manifest.open_epoch() else { return Ok(()) };
    let is_open = |core: &CoreId| open.streams[usize::from(core.0)].last.is_none();
    let found = |core| {
        let read = ends.iter().find(|(stream, _)| *stream == StreamId::new(open.epoch, core))?;
        Some((core, read.1.clone()))
    };
    // Each stream holds some core's partitions, so each that is open was read by somebody.
    let cores = (0..open.streams.len() as u16).map(CoreId);
    let all: Option<Vec<_>> = cores.filter(is_open).map(found).collect();
    let all = all.ok_or_else(|| {
        let path = path::epoch(dir.path(), open.epoch);
        StorageError::Unusable { path, why: "a stream was not read".to_owned() }
    })?;
    dir.end_epoch(open.epoch, &all)
}

/// A recovery step by step, for those who measure it. The steps are to be taken in order.
pub struct Recovery<'a, F: Files = OsFiles> {
    dir: &'a DataDir<F>,
    manifest: Arc<Manifest>,
    replica: Replica,
    tally: Tally,
    ends: Vec<(StreamId, StreamEnd)>,
    bad: Vec<(PartitionId, Installed)>,
}

impl<'a, F: Files> Recovery<'a, F> {
    /// That of the partitions that `core` holds under `placement`.
    pub fn begin(dir: &'a DataDir<F>, placement: Placement, core: CoreId) -> Self {
        let replica = Replica::new(placement.partitions(), placement.partitions_of(core));
        let (manifest, tally) = (dir.manifest(), Tally::default());
        Self { dir, replica, tally, manifest, ends: Vec::new(), bad: Vec::new() }
    }

    /// Loads the newest good snapshot of every partition. Blocks.
    ///
    /// # Errors
    /// If one has no good snapshot and its log does not reach back to its first edit, or the disk fails.
    pub fn load_snapshots(&mut self) -> Result<(), StorageError> {
        self.replica.owned().map(PartitionId).try_for_each(|partition| self.load_newest_good(partition))
    }

    /// Replays the log. Blocks.
    ///
    /// # Errors
    /// If it is damaged, or the disk fails.
    pub fn replay(&mut self) -> Result<(), StorageError> {
        self.replay_all()?;
        self.check_ahead()
    }

    /// What was recovered.
    pub fn finish(self) -> Recovered {
        let Self { replica, tally, ends, bad, .. } = self;
        let places = replica.owned().filter_map(|p| replica.place(PartitionId(p))).collect();
        Recovered { store: replica.into_store(), places, ends, bad, tally }
    }

    fn load_newest_good(&mut self, partition: PartitionId) -> Result<(), StorageError> {
        let generations = self.manifest.generations(partition);
        let mut worst = None;
        for installed in [generations.newest, generations.older].into_iter().flatten() {
            match self.load(partition, &installed) {
                Ok(()) => {
                    if is_planted(Bug::SnapshotAhead) {
                        let Position { epoch, lsn } = installed.position;
                        self.replica.set_position(partition, Position::new(epoch, lsn.next()));
                    }
                    return Ok(());
                }
                Err(error @ StorageError::Corrupt(_)) => {
                    tracing::error!(%partition, %error, "a snapshot is bad; an older one and a longer log are used");
                    self.replica.reset(partition);
                    self.tally.bad_snapshots += 1;
                    self.bad.push((partition, installed));
                    worst = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match worst {
            Some(error) if !self.manifest.keeps_whole_log(partition) => Err(error),
            _ => Ok(()),
        }
    }

    /// Fills a partition from a snapshot.
    fn load(&mut self, partition: PartitionId, installed: &Installed) -> Result<(), StorageError> {
        let subject = Subject { id: self.manifest.id, partitions: self.manifest.partitions, partition };
        let file = path::snapshot(self.dir.path(), partition, installed.position);
        let summary = self.replica.load(SnapshotReader::open_in(self.dir.files(), &file, subject)?).map_err(
            |error| match error {
                LoadError::Storage(error) => error,
                other => Corruption::new(&file, 0, other.to_string()).into(),
            },
        )?;
        if summary.installed != *installed {
            return Err(Corruption::new(&file, 0, "not the snapshot that the manifest names").into());
        }
        self.tally.entries += summary.entries;
        self.tally.snapshots += 1;
        self.tally.snapshot_bytes += installed.bytes;
        Ok(())
    }

    /// Replays every stream that has edits of these partitions, oldest epoch first.
    fn replay_all(&mut self) -> Result<(), StorageError> {
        let owned = self.replica.owned();
        let streams: Vec<_> = self.manifest.kept_streams().collect();
        for (stream, record) in streams {
            let Some(placement) = self.manifest.placement(stream.epoch) else { continue };
            let theirs = placement.partitions_of(stream.core);
            let common = owned.start.max(theirs.start)..owned.end.min(theirs.end);
            if common.is_empty() {
                continue;
            }
            let from = self.first_needed(stream, common).max(record.first);
            // An ended stream of which nothing is needed is not even opened; where an open one ends must be found out.
            if record.last.is_none_or(|last| from <= last) {
                self.replay_stream(stream, from)?;
            }
        }
        Ok(())
    }

    /// Slots of a snapshot that was written slot by slot may be ahead of it, but not of the log, which was on disk before the snapshot
    /// was installed: a log that ends before them has lost edits, though nothing in it says so.
    fn check_ahead(&self) -> Result<(), StorageError> {
        for (partition, newest) in self.replica.ahead() {
            let core = self.manifest.placement(newest.epoch).map(|placement| placement.core_of(partition));
            // Log that is dropped was not needed.
            let Some(stream) = core.map(|core| StreamId::new(newest.epoch, core)) else { continue };
            let found = self.ends.iter().find(|(s, _)| *s == stream).map(|(_, end)| end.last);
            let end = found.or_else(|| self.manifest.stream(stream)?.last);
            if let Some(end) = end.filter(|end| *end < newest.lsn) {
                let file = path::stream(self.dir.path(), stream);
                let why = format!(
                    "the log ends with edit {end}, but a snapshot of partition {partition} has slots at {newest}"
                );
                return Err(Corruption::new(&file, 0, why).into());
            }
        }
        Ok(())
    }

    /// The first lsn of `stream` that any of `partitions` has not seen.
    fn first_needed(&self, stream: StreamId, partitions: Range<u16>) -> Lsn {
        let position = |p| self.replica.place(PartitionId(p)).map_or(Position::START, |place| place.position);
        let next = |at: Position| match at.epoch.cmp(&stream.epoch) {
            std::cmp::Ordering::Less => Lsn(1),
            std::cmp::Ordering::Equal => at.lsn.next(),
            std::cmp::Ordering::Greater => Lsn(u64::MAX),
        };
        partitions.map(|p| next(position(p))).min().unwrap_or(Lsn(1))
    }

    fn replay_stream(&mut self, stream: StreamId, from: Lsn) -> Result<(), StorageError> {
        let Some(spec) = self.dir.stream(stream) else { return Ok(()) };
        let mut reader = StreamReader::open_in(self.dir.files(), &spec, from)?;
        while let Some(frame) = reader.next()? {
            self.tally.log_bytes += frame.bytes.len() as u64;
            let mut differing = Vec::new();
            let mut barriers = 0;
            let applied = self.replica.apply(&frame, |_, reached| {
                barriers += 1;
                differing.extend(reached.differing);
            });
            self.tally.barriers += barriers;
            let why = match applied {
                Ok(edits) if differing.is_empty() => {
                    self.tally.edits += edits;
                    continue;
                }
                Ok(_) => {
                    format!("at a barrier, slots {differing:?} have other digests than they had when it was written")
                }
                Err(error) => error.to_string(),
            };
            let (file, offset) = reader.place().unwrap_or((self.dir.path(), 0));
            return Err(Corruption::new(file, offset, why).into());
        }
        if let Some(end) = reader.end() {
            self.ends.push((stream, end.clone()));
        }
        Ok(())
    }
}
