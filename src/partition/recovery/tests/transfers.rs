//! A value that moves from one partition to another, recovered from snapshots from before and after that, whichever
//! prove bad, with any number of cores.

use super::*;
use crate::storage::{Arrival, Transfer};

/// The partition that the value leaves, and the one that it comes to.
const FROM: PartitionId = PartitionId(0);
const TO: PartitionId = PartitionId(3);
/// The edit that moves the value.
const MOVES: u64 = 3;
const LAST: u64 = 5;

fn at(lsn: u64) -> Position {
    Position::new(EPOCH, Lsn(lsn))
}

fn key_of(partition: PartitionId, partitions: Partitions, name: &str) -> Vec<u8> {
    let mut keys = (0..).map(|n: u32| format!("{name}{n}").into_bytes());
    keys.find(|key| partitions.of(slot_of(key)) == partition).expect("there are keys of every partition")
}

struct Moved {
    home: Home,
    edits: Vec<Edit<'static>>,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Moved {
    /// A stream whose third edit moves the value of a key to a key of another partition.
    fn new() -> Self {
        let home = Home::new(4, &[&[]]);
        let partitions = home.placement.partitions();
        let [old, new] = [key_of(FROM, partitions, "old"), key_of(TO, partitions, "new")];
        let put = |key: &[u8], value: &str| {
            let change = Change::PutString { value: value.as_bytes().to_vec().into(), expire_at: None };
            Edit::Key { db: Db(0), slot: slot_of(key), key: key.to_vec().into(), change }
        };
        let change = Change::Move { to_db: Db(0), to_key: new.clone().into() };
        let moves = Edit::Key { db: Db(0), slot: slot_of(&old), key: old.clone().into(), change };
        let other = key_of(PartitionId(1), partitions, "other");
        let edits = vec![put(&old, "moved"), put(&new, "replaced"), moves, put(&other, "1"), put(&other, "2")];
        let frames: Vec<_> = edits.iter().map(|edit| vec![edit.clone()]).collect();
        home.write_edits(0, &frames);
        Self { home, edits, old, new }
    }

    /// Installs snapshots of partitions, each at an edit, together; those that hold the move know of it if `knowing`.
    fn install(&self, snapshots: &[(PartitionId, u64)], knowing: bool) {
        let (data, partitions) = (&self.home.data, self.home.placement.partitions());
        let mut batch = Vec::new();
        for (partition, lsn) in snapshots.iter().copied() {
            let mut store = Store::new(partitions, 0..4);
            self.edits[..lsn as usize].iter().for_each(|edit| store.apply(edit).unwrap());
            let subject = Subject { id: data.id(), partitions, partition };
            let file = data.path().join(path::INCOMING).join(format!("upload{partition}"));
            let mut writer = SnapshotWriter::create_in(&self.home.process, &file, subject, at(lsn)).unwrap();
            for slot in partitions.slots(partition).map(Slot) {
                let mut bytes = Vec::new();
                let entries = store.write_section(slot, &mut bytes);
                let (bytes_len, digest) = (bytes.len() as u64, store.digest(slot).0);
                if entries > 0 {
                    let header = SectionHeader { slot, position: at(lsn), entries, bytes: bytes_len, digest };
                    writer.section(header, &bytes).unwrap();
                }
            }
            let installed = writer.finish().unwrap().installed;
            let given = knowing && partition == FROM && lsn >= MOVES;
            let transfers = given.then_some(Transfer { from: FROM, to: TO, position: at(MOVES) });
            batch.push((file, Arrival { partition, installed, transfers: transfers.into_iter().collect() }));
        }
        let batch: Vec<_> = batch.iter().map(|(file, arrival)| (file.as_path(), arrival.clone())).collect();
        data.install_snapshots(&batch).unwrap();
    }

    fn spoil(&self, partition: PartitionId, lsn: u64) {
        let file = path::snapshot(self.home.data.path(), partition, at(lsn));
        self.home.process.open(&file, Access::Write).unwrap().write_at(100, b"rot").unwrap();
    }

    /// Recovers with so many cores, checks that the value is where it was moved to and nowhere else, and returns what
    /// was recovered.
    fn recover(&self, cores: u16) -> Result<(Vec<Recovered>, Cut), StorageError> {
        let placement = Placement::new(self.home.placement.partitions(), cores).unwrap();
        let (recovered, _, cut) = recover_all(&self.home.data, placement, &keep_all)?;
        let get = |key: &[u8]| {
            let core = placement.core_of(placement.partitions().of(slot_of(key)));
            recovered[usize::from(core.0)].store.get(Db(0), slot_of(key), key).map(|entry| entry.value.digest())
        };
        assert!(get(&self.old).is_none() && get(&self.new).is_some());
        let mut live = Store::new(placement.partitions(), 0..4);
        self.edits.iter().for_each(|edit| live.apply(edit).unwrap());
        for partition in (0..4).map(PartitionId) {
            let core = &recovered[usize::from(placement.core_of(partition).0)];
            assert_eq!(core.store.digests(partition), live.digests(partition), "{cores} cores, {partition}");
        }
        Ok((recovered, cut))
    }
}

#[test]
fn the_value_is_where_it_was_moved_to_whatever_the_snapshots_are_from_and_however_many_cores_there_are() {
    for cores in 1..=4 {
        for from in [None, Some(2), Some(4)] {
            for to in [None, Some(2), Some(4)] {
                let moved = Moved::new();
                let snapshots: Vec<_> =
                    [from.map(|at| (FROM, at)), to.map(|at| (TO, at))].into_iter().flatten().collect();
                moved.install(&snapshots, false);
                if from == Some(4) && to != Some(4) {
                    let refused = moved.recover(cores).err().expect("the value is nowhere").to_string();
                    assert!(refused.contains("moved from partition 0 to 3 at 1.3"), "{refused}");
                } else {
                    let (recovered, _) = moved.recover(cores).unwrap();
                    let last_edits: Vec<_> =
                        recovered.iter().flat_map(|core| &core.places).map(|p| p.last_edit).collect();
                    assert_eq!(last_edits[0].lsn, Lsn(if from == Some(4) { 0 } else { MOVES }));
                    assert_eq!(last_edits[3].lsn, Lsn(if to == Some(4) { 0 } else { MOVES }));
                }
            }
        }
    }
}

#[test]
fn where_a_snapshot_is_bad_those_that_gave_it_a_value_are_not_used_either() {
    for cores in 1..=4 {
        let moved = Moved::new();
        moved.install(&[(FROM, 2), (TO, 2)], true);
        moved.install(&[(FROM, 4), (TO, 5)], true);
        moved.spoil(TO, 5);
        let (recovered, cut) = moved.recover(cores).unwrap();
        assert_eq!(recovered.iter().map(|core| core.tally.bad_snapshots).sum::<u64>(), 1, "one is bad");
        let transfers: Vec<_> = recovered.into_iter().flat_map(|core| core.transfers).collect();
        assert_eq!(transfers, [Transfer { from: FROM, to: TO, position: at(MOVES) }], "it still binds the two");
        cut.record(&moved.home.data).unwrap();
        let manifest = moved.home.data.manifest();
        let newest = [FROM, TO].map(|partition| manifest.generations(partition).newest.map(|n| n.position));
        assert_eq!((newest, &*manifest.transfers), ([Some(at(2)); 2], &[][..]), "both are discarded");
        moved.recover(cores).unwrap();
    }
}

#[test]
fn a_bad_snapshot_of_the_partition_that_gave_the_value_away_needs_no_other() {
    let moved = Moved::new();
    moved.install(&[(FROM, 2), (TO, 2)], true);
    moved.install(&[(FROM, 4), (TO, 5)], true);
    moved.spoil(FROM, 4);
    let (_, cut) = moved.recover(1).unwrap();
    cut.record(&moved.home.data).unwrap();
    let newest = |partition| moved.home.data.manifest().generations(partition).newest.map(|n| n.position);
    assert_eq!((newest(FROM), newest(TO)), (Some(at(2)), Some(at(LAST))));
}

#[test]
fn a_transfer_binds_until_the_older_snapshot_of_the_target_has_it() {
    let moved = Moved::new();
    let bound = |moved: &Moved| moved.recover(1).unwrap().0.remove(0).transfers.len();
    assert_eq!(bound(&moved), 1, "met in the log");
    moved.install(&[(FROM, 4), (TO, 4)], true);
    assert_eq!(bound(&moved), 1, "named by the manifest");
    moved.install(&[(TO, 5)], true);
    assert_eq!(bound(&moved), 0);
}
