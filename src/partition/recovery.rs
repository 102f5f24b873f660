//! Recovery of one core's partitions from files: per partition the newest good snapshot, then the streams of each epoch
//! in order.
//!
//! | step | type | what is in memory |
//! |---|---|---|
//! | [`plan`] | [`Planned`] | empty partitions |
//! | [`Planned::load_snapshots`] | [`Loaded`] | what [`super::origin`] says of each partition |
//! | [`Loaded::replay`] | [`Replayed`] | besides, every edit that is durable; edits after that are held back |
//! | [`Cut::decide`], from what all cores have found | [`Cut`] | |
//! | [`Replayed::finish`] | [`Recovered`] | besides, the edits that were held back, as far as the cut |
//!
//! Each step takes what the step before it returns, so none can be left out. Nothing is changed on disk until
//! [`Cut::record`].
//!
//! The number of cores may differ from the number of streams: each core reads every stream that holds edits of its
//! partitions. If a value has moved between partitions that are on different cores now, the cores cannot recover one by
//! one: [`Loaded::replay`] says so, and [`replay_together`] recovers the partitions of all cores together, on one
//! thread.
//!
//! Where a snapshot proves bad and an older one is used, snapshots that have given a value to its partition between the
//! two would leave that value nowhere; their older generations are used, too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::cut::{Cut, Findings, Rule};
use super::load::LoadError;
use super::origin::{Log, Origin, Snapshot, origin};
use super::replica::{Place, ReplayError, Replica};
use crate::encoding::frame::{Frame, FrameHeader};
use crate::ids::{CoreId, Lsn, PartitionId, Placement, Position, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::snapshot::{SnapshotReader, Subject};
use crate::storage::{
    Corruption, DataDir, Files, Generations, Installed, Manifest, StorageError, StreamReader, Transfer, path,
};
use crate::store::Store;

/// The recovered partitions of one core, with what was read for them.
pub struct Recovered {
    /// The data of the partitions.
    pub store: Store,
    /// The position of each partition, from the core's first partition on.
    pub places: Vec<Place>,
    /// The transfers that still bind partitions together: the targets' older generations do not have them.
    pub transfers: Vec<Transfer>,
    /// Counts of what was read.
    pub tally: Tally,
}

impl Recovered {
    /// Divides what was recovered by [`plan_all`] among the cores of `placement`. The first one gets the counts.
    fn divide(self, placement: Placement) -> Vec<Self> {
        let Self { mut store, mut places, transfers, tally } = self;
        let mut cores = Vec::new();
        for core in (0..placement.cores()).rev().map(CoreId) {
            let owned = placement.partitions_of(core);
            let theirs = |transfer: &&Transfer| owned.contains(&transfer.from.0);
            let transfers = transfers.iter().filter(theirs).copied().collect();
            let places = places.split_off(usize::from(owned.start));
            let tally = if core == CoreId(0) { tally } else { Tally::default() };
            cores.push(Self { store: store.split_off(owned), places, transfers, tally });
        }
        cores.reverse();
        cores
    }
}

/// Counts of what recovery has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Snapshot files loaded.
    pub snapshots: u64,
    /// Entries in the loaded snapshots.
    pub entries: u64,
    /// Bytes of the loaded snapshots.
    pub snapshot_bytes: u64,
    /// Snapshots that proved bad, so that an older one or a longer part of the log was used.
    pub bad_snapshots: u64,
    /// Edits applied from the log.
    pub edits: u64,
    /// Bytes of the log's frames read.
    pub log_bytes: u64,
    /// Barriers whose digests were compared.
    pub barriers: u64,
}

impl Tally {
    /// Adds the counts of another core.
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

/// Recovers the partitions of all cores, one core after the other, with the cut decided by `rule`. Records nothing.
/// Blocks.
///
/// # Errors
/// If data is damaged or missing, so that the state cannot be known, or if the disk fails.
pub fn recover_all<F: Files>(
    dir: &DataDir<F>,
    placement: Placement,
    rule: Rule<'_>,
) -> Result<(Vec<Recovered>, Vec<Findings>, Cut), StorageError> {
    let cores = (0..placement.cores()).map(CoreId);
    let replayed = cores.map(|core| plan(dir, placement, core).load_snapshots()?.replay());
    let Some(replayed) = replayed.collect::<Result<Option<Vec<_>>, _>>()? else {
        let (replayed, findings) = replay_together(dir)?;
        let cut = Cut::decide(dir, &findings, rule)?;
        return Ok((replayed.finish_for(placement, &cut)?, findings, cut));
    };
    let findings: Vec<_> = replayed.iter().map(|core| core.findings().clone()).collect();
    let cut = Cut::decide(dir, &findings, rule)?;
    let recovered = replayed.into_iter().map(|core| core.finish(&cut)).collect::<Result<_, _>>()?;
    Ok((recovered, findings, cut))
}

/// Plans to recover the partitions that `core` owns under `placement`.
pub fn plan<F: Files>(dir: &DataDir<F>, placement: Placement, core: CoreId) -> Planned<'_, F> {
    let replica = Replica::new(placement.partitions(), placement.partitions_of(core));
    let (manifest, tally, findings) = (dir.manifest(), Tally::default(), Findings::default());
    Planned(Recovery { dir, core, manifest, replica, tally, findings, is_entangled: false })
}

/// Plans to recover all partitions together.
fn plan_all<F: Files>(dir: &DataDir<F>) -> Planned<'_, F> {
    let all = Placement::new(dir.manifest().partitions, 1).expect("one core may have all partitions");
    plan(dir, all, CoreId(0))
}

/// Replays the streams of all partitions together, on this thread. Blocks.
///
/// # Errors
/// If data is damaged or missing, so that the state cannot be known, or if the disk fails.
pub fn replay_together<F: Files>(dir: &DataDir<F>) -> Result<(Replayed<'_, F>, Vec<Findings>), StorageError> {
    let replayed = plan_all(dir).load_snapshots()?.replay()?;
    let replayed = replayed.expect("no value has moved elsewhere if all partitions are here");
    let findings = vec![replayed.findings().clone()];
    Ok((replayed, findings))
}

/// A recovery that has not begun.
pub struct Planned<'a, F: Files>(Recovery<'a, F>);

impl<'a, F: Files> Planned<'a, F> {
    /// Loads the newest good snapshot of every partition. Blocks.
    ///
    /// # Errors
    /// If a partition has no good snapshot and its log does not reach back to its first edit, or if the disk fails.
    pub fn load_snapshots(mut self) -> Result<Loaded<'a, F>, StorageError> {
        let mut partitions = self.0.replica.owned().map(PartitionId);
        partitions.try_for_each(|partition| self.0.load_partition(partition, true))?;
        self.0.fall_back()?;
        Ok(Loaded(self.0))
    }
}

/// A recovery that has loaded the snapshots.
pub struct Loaded<'a, F: Files>(Recovery<'a, F>);

impl<'a, F: Files> Loaded<'a, F> {
    /// Replays the log as far as it is durable, and holds back the edits after that. `None` if a value has moved from
    /// or to a partition of another core, so that all have to be recovered together ([`replay_together`]). Blocks.
    ///
    /// # Errors
    /// If the log is damaged, or the disk fails.
    pub fn replay(mut self) -> Result<Option<Replayed<'a, F>>, StorageError> {
        let held = self.0.replay_all();
        if self.0.is_entangled {
            return Ok(None);
        }
        let held = held?;
        self.0.look_ahead()?;
        Ok(Some(Replayed { recovery: self.0, held }))
    }
}

/// A recovery that has replayed every durable edit.
pub struct Replayed<'a, F: Files> {
    recovery: Recovery<'a, F>,
    held: Vec<Held>,
}

/// A held-back frame: the cut may take away some of its edits. Only the last few commits of a stream have such frames.
struct Held {
    header: FrameHeader,
    bytes: Vec<u8>,
    file: PathBuf,
    offset: u64,
}

impl<F: Files> Replayed<'_, F> {
    /// What this core has found in the files that all cores have to know.
    pub const fn findings(&self) -> &Findings {
        &self.recovery.findings
    }

    /// Replays the held-back edits up to the cut; drops those after it.
    ///
    /// # Errors
    /// If an edit does not fit, or a digest at a barrier differs; both count as damage.
    pub fn finish(self, cut: &Cut) -> Result<Recovered, StorageError> {
        let Self { mut recovery, held } = self;
        for Held { mut header, mut bytes, file, offset } in held {
            let is_ignored = is_planted(Bug::CutIgnored) && recovery.core == CoreId(0);
            let last = cut.last(header.stream).filter(|_| !is_ignored).unwrap_or(header.last());
            if last < header.first {
                continue;
            }
            let damaged = |why: String| Corruption::new(&file, offset, why);
            if last < header.last() {
                let shorter = header.shorten(recovery.manifest.id, &mut bytes, last);
                header = shorter.map_err(|why| damaged(why.to_string()))?;
            }
            let frame = Frame { header, bytes: &bytes[..header.len()] };
            recovery.apply(&frame).map_err(damaged)?;
        }
        let transfers = recovery.transfers();
        let Recovery { replica, tally, .. } = recovery;
        let places = replica.owned().filter_map(|p| replica.place(PartitionId(p))).collect();
        Ok(Recovered { store: replica.into_store(), places, transfers, tally })
    }

    /// Does the same for partitions that were recovered together, and divides them among the cores of `placement`.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_for(self, placement: Placement, cut: &Cut) -> Result<Vec<Recovered>, StorageError> {
        Ok(self.finish(cut)?.divide(placement))
    }
}

/// The state that all steps of a recovery share.
struct Recovery<'a, F: Files> {
    dir: &'a DataDir<F>,
    core: CoreId,
    manifest: Arc<Manifest>,
    replica: Replica,
    tally: Tally,
    findings: Findings,
    /// Whether a value has moved between this core's partitions and another one's.
    is_entangled: bool,
}

impl<F: Files> Recovery<'_, F> {
    /// Fills a partition from the origin that the table in [`super::origin`] gives. If its newest snapshot is not
    /// `usable`, it counts as bad.
    fn load_partition(&mut self, partition: PartitionId, usable: bool) -> Result<(), StorageError> {
        let Generations { newest, older } = self.manifest.generations(partition);
        let log = if self.manifest.keeps_whole_log(partition) { Log::Whole } else { Log::Partial };
        let mut worst = None;
        let newest = match newest.filter(|_| !usable) {
            Some(unusable) => {
                self.replica.reset(partition);
                self.findings.bad.push((partition, unusable));
                Snapshot::Bad
            }
            None => self.try_to_load(partition, newest, &mut worst)?,
        };
        match origin(newest, log, || self.try_to_load(partition, older, &mut worst))? {
            Origin::Newest | Origin::Older => {}
            Origin::Log => self.replica.reset(partition),
            Origin::Refused => {
                let file = path::partition(self.dir.path(), partition);
                let unexplained = || Corruption::new(&file, 0, "these are not the snapshots that a manifest names");
                return Err(worst.unwrap_or_else(|| unexplained().into()));
            }
        }
        Ok(())
    }

    /// Takes older generations of partitions that have given a value to one which was filled from an older snapshot,
    /// and of those that have given one to them. The manifest's rule makes sure that the older generations belong
    /// together.
    fn fall_back(&mut self) -> Result<(), StorageError> {
        let manifest = self.manifest.clone();
        let at = |replica: &Replica, partition| replica.place(partition).map(|place| place.position);
        loop {
            let is_lost = |t: &&Transfer| {
                at(&self.replica, t.from).is_some_and(|at| at >= t.position)
                    && at(&self.replica, t.to).is_some_and(|at| at < t.position)
            };
            let Some(Transfer { from, to, .. }) = manifest.transfers.iter().find(is_lost).copied() else {
                return Ok(());
            };
            let is_used = |installed: &Installed| at(&self.replica, from) >= Some(installed.position);
            if !manifest.generations(from).newest.as_ref().is_some_and(is_used) {
                // Not a manifest that this program writes: the replay will say what is lost.
                return Ok(());
            }
            tracing::error!(partition = %from, "an older snapshot is used: that of partition {to} has not got a value");
            self.load_partition(from, false)?;
        }
    }

    /// The transfers that still bind partitions together, once the snapshots that proved bad are discarded.
    fn transfers(&self) -> Vec<Transfer> {
        if is_planted(Bug::TransfersForgotten) {
            return Vec::new();
        }
        let older = |partition| {
            let Generations { newest, older } = self.manifest.generations(partition);
            let is_bad = |installed: &Installed| self.findings.bad.contains(&(partition, *installed));
            newest.filter(|newest| !is_bad(newest)).and(older).map(|older| older.position)
        };
        let mut last = BTreeMap::new();
        for transfer in self.manifest.transfers.iter().copied().chain(self.replica.transfers()) {
            let latest = last.entry((transfer.from, transfer.to)).or_insert(transfer);
            *latest = (*latest).max(transfer);
        }
        let owned = self.replica.owned();
        let binds = |t: &Transfer| owned.contains(&t.from.0) && older(t.to).is_none_or(|older| older < t.position);
        last.into_values().filter(binds).collect()
    }

    /// Fills a partition from a snapshot, if one is installed. If the snapshot is bad, leaves the reason in `worst`.
    fn try_to_load(
        &mut self,
        partition: PartitionId,
        installed: Option<Installed>,
        worst: &mut Option<StorageError>,
    ) -> Result<Snapshot, StorageError> {
        let Some(installed) = installed else { return Ok(Snapshot::Missing) };
        match self.load(partition, &installed) {
            Ok(()) => {
                if is_planted(Bug::SnapshotAhead) {
                    let Position { epoch, lsn } = installed.position;
                    self.replica.set_position(partition, Position::new(epoch, lsn.next()));
                }
                Ok(Snapshot::Good)
            }
            Err(error @ StorageError::Corrupt(_)) => {
                tracing::error!(%partition, %error, "a snapshot is bad; an older one and a longer log are used");
                self.replica.reset(partition);
                self.tally.bad_snapshots += 1;
                self.findings.bad.push((partition, installed));
                *worst = Some(error);
                Ok(Snapshot::Bad)
            }
            Err(error) => Err(error),
        }
    }

    /// Fills a partition from a snapshot, which must be the one that the manifest names.
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

    /// Replays every stream that has edits of these partitions, oldest epoch first. Returns the frames held back; all
    /// are of the newest epoch, so nothing later has been replayed.
    fn replay_all(&mut self) -> Result<Vec<Held>, StorageError> {
        let mut held = Vec::new();
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
            // A stream with a known end of which nothing is needed is not opened; without one, its end must be found
            // out.
            if record.last.is_none_or(|last| from <= last) {
                self.replay_stream(stream, from, &mut held)?;
            }
        }
        Ok(held)
    }

    /// Checks that the log reaches as far as the slots of a snapshot that was written slot by slot. Such slots may be
    /// ahead of the snapshot, but not of what was durable when it was installed: a log that ends before them has lost
    /// edits, though nothing in it says so.
    fn look_ahead(&mut self) -> Result<(), StorageError> {
        for (partition, newest) in self.replica.ahead() {
            let core = self.manifest.placement(newest.epoch).map(|placement| placement.core_of(partition));
            // No placement: the epoch's log was dropped, so it was not needed.
            let Some(stream) = core.map(|core| StreamId::new(newest.epoch, core)) else { continue };
            let mut ends = self.findings.ends.iter_mut();
            let found = ends.find(|(s, _)| *s == stream).map(|(_, end)| end);
            let end = match found {
                Some(end) => {
                    end.durable = end.durable.max(newest.lsn);
                    Some(end.last)
                }
                None => self.manifest.stream(stream).and_then(|record| record.last),
            };
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

    /// The first lsn of `stream` that any of `partitions` still needs.
    fn first_needed(&self, stream: StreamId, partitions: Range<u16>) -> Lsn {
        let position = |p| self.replica.place(PartitionId(p)).map_or(Position::START, |place| place.position);
        let next = |at: Position| match at.epoch.cmp(&stream.epoch) {
            std::cmp::Ordering::Less => Lsn(1),
            std::cmp::Ordering::Equal => at.lsn.next(),
            std::cmp::Ordering::Greater => Lsn(u64::MAX),
        };
        partitions.map(|p| next(position(p))).min().unwrap_or(Lsn(1))
    }

    fn replay_stream(&mut self, stream: StreamId, from: Lsn, held: &mut Vec<Held>) -> Result<(), StorageError> {
        let Some(spec) = self.dir.stream(stream) else { return Ok(()) };
        let mut reader = StreamReader::open_in(self.dir.files(), &spec, from)?;
        while let Some(frame) = reader.next_durable()? {
            self.tally.log_bytes += frame.bytes.len() as u64;
            if let Err(why) = self.apply(&frame) {
                let (file, offset) = reader.place().unwrap_or((self.dir.path(), 0));
                return Err(Corruption::new(file, offset, why).into());
            }
        }
        while let Some(Frame { header, bytes }) = reader.next()? {
            self.tally.log_bytes += bytes.len() as u64;
            self.is_entangled |= self.replica.is_entangled(&Frame { header, bytes });
            let bytes = bytes.to_vec();
            let (file, offset) = reader.place().unwrap_or((self.dir.path(), 0));
            held.push(Held { header, bytes, file: file.to_owned(), offset });
        }
        if let Some(end) = reader.end() {
            self.findings.ends.push((stream, end.clone()));
        }
        Ok(())
    }

    /// Applies a frame. Returns why, if an edit does not fit or a digest at a barrier differs.
    fn apply(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let mut differing = Vec::new();
        let barriers = &mut self.tally.barriers;
        let applied = self.replica.apply(frame, |_, reached| {
            *barriers += 1;
            differing.extend(reached.differing);
        });
        self.is_entangled |= matches!(applied, Err(ReplayError::Elsewhere(_)));
        self.tally.edits += applied.map_err(|error| error.to_string())?;
        if differing.is_empty() {
            return Ok(());
        }
        Err(format!("at a barrier, slots {differing:?} have other digests than they had when it was written"))
    }
}

#[cfg(test)]
mod tests;
