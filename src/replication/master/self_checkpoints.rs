//! Snapshots that the cores take themselves: takes their slices in, writes the files, verifies them, and installs each
//! once every edit in it is durable in the log.
//!
//! Always: an installed snapshot's newest section ≤ durable: a crash cannot take back an edit that a snapshot holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::install;
use super::side::MasterSide;
use super::waiting::Complete;
use crate::ids::{Lsn, PartitionId, Partitions, Position, SLOTS};
use crate::partition::capture::{End, SectionStart, Slice};
use crate::partition::order::Slices;
use crate::storage::snapshot::{SectionHeader, SnapshotReader, SnapshotWriter, Subject, Summary};
use crate::storage::{Arrival, Files, OsFiles, StorageError, Transfer, failpoint, path};
use crate::store::Store;

/// How often a complete snapshot is checked for being durable.
const LOOK: Duration = Duration::from_millis(5);
/// How often the thread checks whether the master is stopping, while it has nothing to do.
const IDLE: Duration = Duration::from_millis(100);

/// The body of the thread that writes and installs the cores' own snapshots.
pub(super) fn run(shared: &MasterSide, slices: &Slices) {
    super::accept::yield_to_others();
    let mut snapshots = SelfCheckpoints::<OsFiles>::default();
    while !shared.is_stopping() {
        let patience = if snapshots.complete.is_empty() { IDLE } else { LOOK };
        slices.next(patience, |slice| snapshots.on(shared, slice));
        snapshots.look(shared);
    }
}

/// The cores' own snapshots that are not installed yet.
pub(crate) struct SelfCheckpoints<F: Files> {
    /// Snapshots whose slices are still coming in.
    writing: BTreeMap<PartitionId, Writing<F>>,
    /// Snapshots that are written, and wait until every edit in them is durable.
    complete: Vec<Written>,
}

impl<F: Files> Default for SelfCheckpoints<F> {
    fn default() -> Self {
        Self { writing: BTreeMap::new(), complete: Vec::new() }
    }
}

/// A snapshot that a core is writing, and the file that it is written to.
struct Writing<F: Files> {
    barrier: Lsn,
    path: PathBuf,
    writer: SnapshotWriter<F>,
    newest: Lsn,
    transfers: Vec<Transfer>,
    started: Duration,
}

/// The state of a snapshot after a slice was written.
enum Progress<F: Files> {
    More(Writing<F>),
    Complete(Written),
}

/// A snapshot that is written, and waits until every edit in it is durable.
struct Written {
    partition: PartitionId,
    path: PathBuf,
    newest: Lsn,
    transfers: Vec<Transfer>,
    started: Duration,
    summary: Summary,
}

impl<F: Files> SelfCheckpoints<F> {
    /// Takes in a slice: writes it, and tells the policy.
    pub(crate) fn on(&mut self, shared: &MasterSide<F>, slice: Slice) {
        let partition = slice.partition;
        // Slices of a snapshot that has failed already may still come, and are ignored.
        let before = self.writing.remove(&partition).filter(|writing| writing.barrier == slice.barrier);
        let taken = match (slice.end, before) {
            (Some(End::Abandoned(why)), _) => Err(why.to_owned()),
            (_, Some(writing)) => writing.take(shared, &slice).map_err(|e| e.to_string()),
            (_, None) if slice.begins => {
                let begun = Writing::begin(shared, &slice);
                begun.and_then(|writing| writing.take(shared, &slice)).map_err(|e| e.to_string())
            }
            (_, None) => return,
        };
        let mut state = shared.state();
        let now = shared.clock.now();
        // The barriers of all partitions that are captured together come before the first slice.
        state.catch_up(now);
        match taken {
            Ok(Progress::More(writing)) => {
                state.policy.progress(partition, now);
                self.writing.insert(partition, writing);
            }
            Ok(Progress::Complete(complete)) => {
                state.policy.captured(partition, complete.summary.installed.position, now);
                self.complete.push(complete);
            }
            Err(why) => {
                drop(state);
                fail(shared, partition, &path(shared, partition, slice.barrier), &why);
            }
        }
    }

    /// Installs the complete snapshots whose edits are durable; fails those whose log has ended before that.
    pub(crate) fn look(&mut self, shared: &MasterSide<F>) {
        let (durable, waiting) = std::mem::take(&mut self.complete).into_iter().partition(|complete| {
            let core = shared.placement.core_of(complete.partition);
            let marks = &shared.streams[usize::from(core.0)];
            marks.durable() >= complete.newest || marks.has_ended()
        });
        self.complete = waiting;
        let durable: Vec<Written> = durable;
        durable.into_iter().for_each(|complete| complete.install(shared));
    }
}

impl<F: Files> Writing<F> {
    fn begin(shared: &MasterSide<F>, slice: &Slice) -> Result<Self, StorageError> {
        let Slice { partition, barrier, .. } = *slice;
        let path = path(shared, partition, barrier);
        let position = Position::new(shared.epoch, barrier);
        let writer = SnapshotWriter::create_in(shared.dir.files(), &path, subject(shared, partition), position)?;
        failpoint::reach("own.begun");
        let (transfers, started) = (slice.transfers.clone(), shared.clock.now());
        Ok(Self { barrier, path, writer, newest: barrier, transfers, started })
    }

    /// Writes a slice, and finishes the file after the last one.
    fn take(mut self, shared: &MasterSide<F>, slice: &Slice) -> Result<Progress<F>, StorageError> {
        self.write(shared, slice)?;
        if slice.end.is_none() {
            return Ok(Progress::More(self));
        }
        let Self { path, mut writer, newest, transfers, started, .. } = self;
        writer.end_section();
        let summary = writer.finish()?;
        failpoint::reach("own.written");
        let partition = slice.partition;
        Ok(Progress::Complete(Written { partition, path, newest, transfers, started, summary }))
    }

    /// Writes the entries of a slice and the headers of the sections that begin in it.
    fn write(&mut self, shared: &MasterSide<F>, slice: &Slice) -> Result<(), StorageError> {
        let mut at = 0;
        for SectionStart { at: start, slot, lsn, entries, digest } in slice.sections.iter().copied() {
            self.writer.entries(&slice.bytes[at..start])?;
            self.writer.end_section();
            let position = Position::new(shared.epoch, lsn);
            self.writer.begin_section(SectionHeader { slot, position, entries, bytes: 0, digest })?;
            (at, self.newest) = (start, self.newest.max(lsn));
        }
        self.writer.entries(&slice.bytes[at..])
    }
}

impl Written {
    /// Verifies the file, and installs it in the data directory, at once or when the snapshots that it needs have come.
    fn install<F: Files>(self, shared: &MasterSide<F>) {
        let Self { partition, path, newest, transfers, started, summary } = self;
        let core = shared.placement.core_of(partition);
        if shared.streams[usize::from(core.0)].durable() < newest {
            return fail(shared, partition, &path, "the log ended before all edits of the snapshot were durable");
        }
        if let Err(why) = verify(shared, partition, &path, &summary) {
            return fail(shared, partition, &path, &why);
        }
        let arrival = Arrival { partition, installed: summary.installed, transfers };
        let complete = Complete { arrival, path: path.clone(), started, by_core: true };
        if let Err(e) = install::complete(shared, complete) {
            fail(shared, partition, &path, &e.to_string());
        }
    }
}

/// Reads the file again, and loads and digests each of its sections: log will be dropped for this snapshot, and no node
/// has compared it.
fn verify<F: Files>(
    shared: &MasterSide<F>,
    partition: PartitionId,
    path: &std::path::Path,
    written: &Summary,
) -> Result<(), String> {
    // Each slot is loaded as a partition of its own, so that only one at a time is in memory.
    let single = Partitions::new(SLOTS).ok_or("slots are not partitions")?;
    let open = SnapshotReader::open_in(shared.dir.files(), path, subject(shared, partition));
    let mut reader = open.map_err(|e| e.to_string())?;
    while let Some(section) = reader.next().map_err(|e| e.to_string())? {
        let SectionHeader { slot, entries, digest, .. } = section.header;
        let mut store = Store::new(single, slot.0..slot.0 + 1);
        store.load_section(slot, entries, section.entries).map_err(|e| e.to_string())?;
        if store.digest(slot).0 != digest {
            return Err(format!("slot {slot} has another digest than when it was captured"));
        }
    }
    let same = reader.summary() == Some(written);
    if same { Ok(()) } else { Err("the file is not what was written".to_owned()) }
}

/// Removes the file of a failed snapshot, and tells the policy.
fn fail<F: Files>(shared: &MasterSide<F>, partition: PartitionId, path: &std::path::Path, why: &str) {
    // The unfinished file is of no use. If it cannot be removed, the next attempt or the next start does that.
    let _ = shared.dir.files().remove(path);
    tracing::warn!(%partition, "the server's own checkpoint failed: {why}");
    let now = shared.clock.now();
    let mut state = shared.state();
    state.catch_up(now);
    state.counters.failed += 1;
    state.policy.capture_failed(partition, why, now);
    drop(state);
    shared.wake();
}

fn subject<F: Files>(shared: &MasterSide<F>, partition: PartitionId) -> Subject {
    Subject { id: shared.dir.id(), partitions: shared.partition_count(), partition }
}

/// Path of the file that the snapshot at a barrier is written to: no upload has such a name, and the next start removes
/// the file.
fn path<F: Files>(shared: &MasterSide<F>, partition: PartitionId, barrier: Lsn) -> PathBuf {
    shared.dir.path().join(path::INCOMING).join(format!("own-{:05}-{:020}.part", partition.0, barrier.0))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::super::Options;
    use super::super::policy::{Pace, Policy};
    use super::*;
    use crate::auth::guard::Guard;
    use crate::encoding::edit::{Change, Edit};
    use crate::encoding::slot::slot_of;
    use crate::ids::Db;
    use crate::partition::order::reports;
    use crate::replication::clock::Clock;
    use crate::runtime::bell::Bell;
    use crate::runtime::inbox::Inbox;
    use crate::storage::{DataDir, PartitionMarks, StreamMarks};

    const PARTITION: PartitionId = PartitionId(0);

    /// The master's side of a register of one core whose log is empty.
    pub fn shared(dir: &std::path::Path) -> MasterSide {
        let partitions = Partitions::new(1).unwrap();
        let dir = Arc::new(DataDir::open(dir, partitions).unwrap().0);
        dir.begin_epoch(1, 64 << 10).unwrap();
        let pace = Pace { every_edits: 1, every: Duration::from_secs(1) };
        let policy = Policy::new(&dir.manifest(), &[], pace);
        let options = Options {
            dir,
            streams: vec![Arc::new(StreamMarks::new())],
            partitions: Arc::new([PartitionMarks::new()]),
            last_edits: Vec::new(),
            measured: Vec::new(),
            pace,
            listen: Vec::new(),
            guard: Arc::new(Guard::new(None)),
            protected: true,
            timeout: Duration::from_secs(60),
            cores: vec![Inbox::new(Arc::new(Bell::new().unwrap()))],
            reports: reports().1,
            cores_capture: false,
            max_log_bytes: None,
            child: None,
        };
        MasterSide::new(options, policy, Clock::start(), 0).0
    }

    /// The two slices of a partition with one key, captured after `barrier`, with its slot at `lsn`.
    fn slices(barrier: Lsn, lsn: Lsn) -> [Slice; 2] {
        let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
        let slot = slot_of(b"key");
        let change = Change::PutString { value: b"value"[..].into(), expire_at: None };
        store.apply(&Edit::Key { db: Db(0), slot, key: b"key"[..].into(), change }).unwrap();
        let mut bytes = Vec::new();
        let entries = store.write_section(slot, &mut bytes);
        let rest = bytes.split_off(7);
        let sections = vec![SectionStart { at: 0, slot, lsn, entries, digest: store.digest(slot).0 }];
        let first =
            Slice { partition: PARTITION, barrier, begins: true, bytes, sections, end: None, ..Slice::default() };
        let last =
            Slice { bytes: rest, sections: Vec::new(), begins: false, end: Some(End::Complete), ..Slice::default() };
        [first, Slice { partition: PARTITION, barrier, ..last }]
    }

    fn take(shared: &MasterSide, slices: impl IntoIterator<Item = Slice>) -> bool {
        let mut snapshots = SelfCheckpoints::default();
        slices.into_iter().for_each(|slice| snapshots.on(shared, slice));
        snapshots.look(shared);
        shared.dir.manifest().generations(PARTITION).newest.is_some()
    }

    #[test]
    fn a_snapshot_is_installed_only_when_every_edit_in_it_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        assert!(!take(&shared, slices(Lsn(0), Lsn(1))), "edit 1 is not on disk");
        assert!(!take(&shared, slices(Lsn(1), Lsn(1))), "nor is the barrier");
        assert!(take(&shared, slices(Lsn(0), Lsn(0))), "and this holds neither");
    }

    #[test]
    fn what_is_not_what_was_captured_is_not_installed() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        let wrong: [fn(&mut [Slice; 2]); 6] = [
            |slices| slices[0].sections[0].digest ^= 1,
            |slices| slices[0].sections[0].entries += 1,
            |slices| slices[0].bytes[0] ^= 1,
            |slices| slices[1].bytes.truncate(1),
            |slices| slices[0].begins = false,
            |slices| slices[1].end = Some(End::Abandoned("of itself")),
        ];
        for (n, spoil) in wrong.iter().enumerate() {
            let mut spoiled = slices(Lsn(0), Lsn(0));
            spoil(&mut spoiled);
            assert!(!take(&shared, spoiled), "{n}");
            assert_eq!(shared.dir.files().list(&shared.dir.path().join(path::INCOMING)).unwrap(), [""; 0], "{n}");
        }
        assert!(take(&shared, slices(Lsn(0), Lsn(0))));
    }
}
