//! Recovery from real files on a model disk: a case for each row of the table of origins, and streams that are cut off.

mod transfers;

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::encoding::edit::{Change, Edit, EncodedEdits};
use crate::encoding::frame::{BLOCK, FRAME_HEADER};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, Epoch, Partitions, Slot};
use crate::partition::cut::{Tail, keep_all};
use crate::partition::origin::{Row, TABLE};
use crate::storage::StreamEnd;
use crate::storage::files::{Access, PlainFile, read_whole};
use crate::storage::log::segment::SegmentHeader;
use crate::storage::model::{Process, World};
use crate::storage::snapshot::{SectionHeader, SnapshotWriter, Subject};

const DIR: &str = "/master";
const EPOCH: Epoch = Epoch(1);
const SEGMENT: u64 = 64 * BLOCK as u64;

fn stream(core: u16) -> StreamId {
    StreamId::new(EPOCH, CoreId(core))
}

/// The key that edit `lsn` of a core's stream sets; it belongs to one of that core's partitions.
fn key(placement: Placement, core: u16, lsn: u64) -> Vec<u8> {
    let keys = (0..).map(|n: u32| format!("{core}.{lsn}.{n}").into_bytes());
    let mut own = keys.filter(|key| placement.core_of(placement.partitions().of(slot_of(key))) == CoreId(core));
    own.next().expect("there are keys of every core")
}

fn edit(placement: Placement, core: u16, lsn: u64) -> Edit<'static> {
    let key = key(placement, core, lsn);
    let change = Change::PutString { value: lsn.to_string().into_bytes().into(), expire_at: None };
    Edit::Key { db: Db(0), slot: slot_of(&key), key: key.into(), change }
}

/// A frame of a stream: its last edit, and the lsns that its header calls synced and durable.
type Said = (u64, u64, u64);

/// A data directory with an open epoch; each list of frames becomes one stream.
struct Home {
    process: Process,
    placement: Placement,
    data: DataDir<Process>,
}

impl Home {
    fn new(partitions: u16, streams: &[&[Said]]) -> Self {
        let process = World::new(1, 1).process(0);
        let partitions = Partitions::new(partitions).unwrap();
        let placement = Placement::new(partitions, streams.len() as u16).unwrap();
        let (data, _) = DataDir::open_in(process.clone(), Path::new(DIR), partitions).unwrap();
        data.begin_epoch(streams.len() as u16, SEGMENT).unwrap();
        let home = Self { process, placement, data };
        for (core, frames) in (0..).zip(streams) {
            home.write(core, frames);
        }
        home
    }

    fn segment(&self, core: u16) -> PathBuf {
        path::segment(self.data.path(), stream(core), Lsn(1))
    }

    /// Writes the whole of a stream's only segment, with edits that each set a key.
    fn write(&self, core: u16, frames: &[Said]) {
        let mut first = 1;
        let frames = frames.iter().map(|(last, synced, durable)| {
            let edits = (std::mem::replace(&mut first, last + 1)..=*last).map(|lsn| edit(self.placement, core, lsn));
            (edits.collect(), *synced, *durable)
        });
        self.write_frames(core, &frames.collect::<Vec<_>>());
    }

    /// Writes the whole of a stream's only segment: frames of these edits, each of which calls those before it durable.
    fn write_edits(&self, core: u16, frames: &[Vec<Edit<'static>>]) {
        let mut last = 0;
        let frames = frames.iter().map(|edits| {
            let before = last;
            last += edits.len() as u64;
            (edits.clone(), before, before)
        });
        self.write_frames(core, &frames.collect::<Vec<_>>());
    }

    fn write_frames(&self, core: u16, frames: &[(Vec<Edit<'static>>, u64, u64)]) {
        let mut file = vec![0; SEGMENT as usize];
        let header = SegmentHeader { stream: stream(core), first: Lsn(1), previous: Lsn(0), bytes: SEGMENT };
        header.write(self.data.id(), file.first_chunk_mut().unwrap());
        let (mut at, mut first) = (BLOCK, 1);
        for (frame, synced, durable) in frames {
            let last = first + frame.len() as u64 - 1;
            let mut edits = EncodedEdits::new();
            for edit in frame {
                let Edit::Key { slot, .. } = edit else { unreachable!("only keys are edited") };
                edits.push(self.placement.partitions().of(*slot), edit);
            }
            let header = FrameHeader {
                body_len: edits.as_bytes().len() as u32,
                count: edits.count(),
                stream: stream(core),
                seal: false,
                segment: Lsn(1),
                first: Lsn(first),
                synced: Lsn(*synced),
                durable: Lsn(*durable),
            };
            let frame = &mut file[at..at + header.padded_len()];
            frame[FRAME_HEADER..header.len()].copy_from_slice(edits.as_bytes());
            header.write(self.data.id(), frame);
            (at, first) = (at + header.padded_len(), last + 1);
        }
        self.process.put(&self.segment(core), file);
    }

    /// Installs a snapshot of the only partition at `lsn`; each slot is at `slots` if that is later.
    fn install(&self, lsn: u64, slots: u64) {
        let (partition, placement) = (PartitionId(0), self.placement);
        let mut store = Store::new(placement.partitions(), 0..1);
        (1..=slots.max(lsn)).for_each(|lsn| store.apply(&edit(placement, 0, lsn)).unwrap());
        let subject = Subject { id: self.data.id(), partitions: placement.partitions(), partition };
        let file = self.data.path().join(path::INCOMING).join("upload");
        let at = |lsn: u64| Position::new(EPOCH, Lsn(lsn));
        let mut writer = SnapshotWriter::create_in(&self.process, &file, subject, at(lsn)).unwrap();
        for slot in placement.partitions().slots(partition).map(Slot) {
            let mut bytes = Vec::new();
            let entries = store.write_section(slot, &mut bytes);
            if entries > 0 {
                let (position, digest) = (at(slots.max(lsn)), store.digest(slot).0);
                writer
                    .section(SectionHeader { slot, position, entries, bytes: bytes.len() as u64, digest }, &bytes)
                    .unwrap();
            }
        }
        let installed = writer.finish().unwrap().installed;
        self.data.install_snapshot(partition, &file, installed).unwrap();
    }

    /// Damages the snapshot at `lsn`, by removing its file or by overwriting some bytes.
    fn spoil(&self, lsn: u64, by_removal: bool) {
        let file = path::snapshot(self.data.path(), PartitionId(0), Position::new(EPOCH, Lsn(lsn)));
        if by_removal {
            self.process.remove(&file).unwrap();
        } else {
            self.process.open(&file, Access::Write).unwrap().write_at(200, b"rot").unwrap();
        }
    }

    /// Recovers with `cores` cores and the cut decided by `rule`. Returns the keys found of each stream, the counts and
    /// the cut.
    fn recover(&self, cores: u16, rule: Rule<'_>) -> Result<(Vec<BTreeSet<u64>>, Tally, Cut), StorageError> {
        let placement = Placement::new(self.placement.partitions(), cores).unwrap();
        let (recovered, _, cut) = recover_all(&self.data, placement, rule)?;
        let tally = recovered.iter().fold(Tally::default(), |sum, core| sum.plus(core.tally));
        let has = |key: &[u8]| {
            let slot = slot_of(key);
            recovered[usize::from(placement.core_of(placement.partitions().of(slot)).0)]
                .store
                .get(Db(0), slot, key)
                .is_some()
        };
        let keys = (0..self.placement.cores())
            .map(|core| (1..=20).filter(|lsn| has(&key(self.placement, core, *lsn))).collect());
        let keys: Vec<BTreeSet<u64>> = keys.collect();
        let all: usize = recovered.iter().map(|core| core.store.len(Db(0))).sum();
        assert_eq!(all, keys.iter().map(BTreeSet::len).sum::<usize>(), "nothing else is there");
        Ok((keys, tally, cut))
    }
}

fn up_to(last: u64) -> BTreeSet<u64> {
    (1..=last).collect()
}

/// A data directory with ten edits; the older snapshot holds four of them and the newest seven, if they exist.
fn case(newest: Snapshot, older: Snapshot, log: Log, by_removal: bool) -> Home {
    let home = Home::new(1, &[&[(4, 0, 0), (7, 4, 4), (10, 7, 7)]]);
    for (state, lsn) in [(older, 4), (newest, 7)] {
        if state != Snapshot::Missing {
            home.install(lsn, 0);
        }
    }
    if log == Log::Partial {
        home.data.drop_log(&[(stream(0), Lsn(3))]).unwrap();
    }
    for (state, lsn) in [(older, 4), (newest, 7)] {
        if state == Snapshot::Bad {
            home.spoil(lsn, by_removal);
        }
    }
    home
}

/// The expected outcome of a case: how many snapshots are loaded, how many are bad, and how many edits are replayed;
/// `None` if the start is refused.
fn expected(newest: Snapshot, older: Snapshot, log: Log) -> Option<(u64, u64, u64)> {
    use Snapshot::{Bad, Good, Missing};
    match (newest, older, log) {
        (Good, _, _) => Some((1, 0, 3)),
        (Bad, Good, _) => Some((1, 1, 6)),
        (Bad, Bad, Log::Whole) => Some((0, 2, 10)),
        (Bad, Missing, Log::Whole) => Some((0, 1, 10)),
        (Bad, _, Log::Partial) => None,
        (Missing, _, Log::Whole) => Some((0, 0, 10)),
        // The dropped log held no edits of the partition.
        (Missing, _, Log::Partial) => Some((0, 0, 10)),
    }
}

#[test]
fn each_row_of_the_table_of_origins_is_what_becomes_of_files() {
    use Snapshot::{Bad, Good, Missing};
    let mut met = BTreeSet::new();
    for newest in [Missing, Good, Bad] {
        // No manifest names an older snapshot without a newer one.
        let older: &[_] = if newest == Missing { &[Missing] } else { &[Missing, Good, Bad] };
        for (older, log) in older.iter().flat_map(|older| [(*older, Log::Whole), (*older, Log::Partial)]) {
            let what = format!("newest {newest:?}, older {older:?}, log {log:?}");
            let fits = |row: &Row| {
                row.newest == newest && row.older.is_none_or(|o| o == older) && row.log.is_none_or(|l| l == log)
            };
            let rows: Vec<_> = (0..TABLE.len()).filter(|row| fits(&TABLE[*row])).collect();
            assert_eq!(rows.len(), 1, "{what} is in one row of the table");
            met.extend(rows);
            for by_removal in [false, true] {
                let found = case(newest, older, log, by_removal).recover(1, &keep_all);
                let outcome = match found {
                    Ok((keys, tally, _)) => {
                        assert_eq!(keys, [up_to(10)], "{what}");
                        Some((tally.snapshots, tally.bad_snapshots, tally.edits))
                    }
                    Err(StorageError::Corrupt(_)) => None,
                    Err(other) => panic!("{what}: {other}"),
                };
                assert_eq!(outcome, expected(newest, older, log), "{what}");
            }
        }
    }
    assert_eq!(met.len(), TABLE.len(), "a row of the table fits nothing");
}

#[test]
fn a_manifest_with_an_older_snapshot_only_is_refused() {
    assert_eq!(origin(Snapshot::Missing, Log::Whole, || Ok::<_, ()>(Snapshot::Good)), Ok(Origin::Refused));
}

/// Two streams that are durable up to edit 3; the first ends with edit 9, the second with edit 7.
fn two_streams() -> Home {
    Home::new(4, &[&[(3, 0, 0), (6, 3, 3), (9, 6, 3)], &[(3, 0, 0), (5, 3, 3), (7, 3, 3)]])
}

#[test]
fn streams_are_kept_to_their_ends_unless_a_rule_cuts_them_off() {
    let home = two_streams();
    let tails = std::cell::RefCell::default();
    let rule = |found: &[Tail]| {
        tails.replace(found.to_vec());
        keep_all(found)
    };
    let (keys, _, cut) = home.recover(2, &rule).unwrap();
    assert_eq!(keys, [up_to(9), up_to(7)]);
    assert_eq!(cut.cut_off().count(), 0);
    let tail = |core, end| Tail { stream: stream(core), durable: Lsn(3), end: Lsn(end) };
    assert_eq!(tails.into_inner(), [tail(0, 9), tail(1, 7)]);
}

/// Whatever the number of cores, all replay exactly up to the cut, even where it falls inside a frame. The edits after
/// it are never read again, not even with another number of cores.
#[test]
fn a_cut_holds_for_every_core_and_for_good() {
    for (first, second) in [(3, 3), (4, 7), (5, 5), (6, 4), (7, 3), (9, 6), (9, 7)] {
        for (cores, later) in [(1, 2), (2, 4), (4, 1), (3, 2)] {
            let what = format!("{first}, {second} with {cores} cores, then {later}");
            let home = two_streams();
            let (keys, _, cut) = home.recover(cores, &|_| vec![Lsn(first), Lsn(second)]).unwrap();
            assert_eq!(keys, [up_to(first), up_to(second)], "{what}");
            let cut_off: Vec<_> = cut.cut_off().map(|(stream, last, end)| (stream.core.0, last.0, end.0)).collect();
            let expected = [(0, first, 9), (1, second, 7)].into_iter().filter(|(_, last, end)| last < end);
            assert_eq!(cut_off, expected.collect::<Vec<_>>(), "{what}");
            let before = [0, 1].map(|core| read_whole(&home.process, &home.segment(core)).unwrap());
            cut.record(&home.data).unwrap();
            let after = [0, 1].map(|core| read_whole(&home.process, &home.segment(core)).unwrap());
            assert!(before == after, "{what}: no byte changes");
            let refuse = |tails: &[Tail]| {
                assert_eq!(tails, [], "{what}: there is nothing to decide any more");
                Vec::new()
            };
            assert_eq!(home.recover(later, &refuse).unwrap().0, [up_to(first), up_to(second)], "{what}: again");
            home.data.begin_epoch(later, SEGMENT).unwrap();
            assert_eq!(home.recover(later, &keep_all).unwrap().0, [up_to(first), up_to(second)], "{what}: and again");
            // These frames are what the checkpoint node would be sent.
            for (core, last) in [(0, first), (1, second)] {
                let spec = home.data.stream(stream(core)).unwrap();
                let mut reader = StreamReader::open_in(&home.process, &spec, Lsn(1)).unwrap();
                let mut next = Lsn(1);
                while let Some(frame) = reader.next().unwrap() {
                    let parsed = Frame::parse(home.data.id(), frame.bytes).expect("a shortened frame is a good one");
                    assert_eq!((parsed.header, parsed.header.first), (frame.header, next), "{what}");
                    assert_eq!(parsed.edits().filter(Result::is_ok).count(), parsed.header.count as usize, "{what}");
                    next = parsed.header.last().next();
                }
                assert_eq!(next, Lsn(last + 1), "{what}");
            }
        }
    }
}

#[test]
fn a_cut_that_was_not_recorded_is_decided_anew() {
    let home = two_streams();
    assert_eq!(home.recover(2, &|_| vec![Lsn(4), Lsn(4)]).unwrap().0, [up_to(4), up_to(4)]);
    let (keys, _, cut) = home.recover(3, &|_| vec![Lsn(8), Lsn(3)]).unwrap();
    assert_eq!(keys, [up_to(8), up_to(3)]);
    cut.record(&home.data).unwrap();
    assert_eq!(home.recover(1, &keep_all).unwrap().0, [up_to(8), up_to(3)]);
}

#[test]
fn a_power_failure_between_the_cut_and_its_record_or_after_it_changes_nothing_that_was_served() {
    for steps in 0..40 {
        let home = two_streams();
        let (_, _, cut) = home.recover(2, &|_| vec![Lsn(5), Lsn(4)]).unwrap();
        home.process.die_after(steps, true);
        let recorded = cut.record(&home.data).is_ok() && home.process.is_alive();
        let world = home.process.world().clone();
        world.power_off(0);
        let (data, _) = DataDir::open_in(world.process(0), Path::new(DIR), home.placement.partitions()).unwrap();
        let home = Home { process: world.process(0), placement: home.placement, data };
        let lasts: Vec<_> = home.data.manifest().newest_epoch().unwrap().streams.iter().map(|s| s.last).collect();
        if recorded {
            assert_eq!(lasts, [Some(Lsn(5)), Some(Lsn(4))], "{steps}");
        } else {
            assert!(lasts == [None, None] || lasts == [Some(Lsn(5)), Some(Lsn(4))], "{steps}: {lasts:?}");
        }
        let expected = if lasts == [None, None] { [up_to(9), up_to(7)] } else { [up_to(5), up_to(4)] };
        assert_eq!(home.recover(2, &keep_all).unwrap().0, expected, "{steps}");
        if recorded && steps > 30 {
            return;
        }
    }
    panic!("the cut was never recorded");
}

#[test]
fn what_is_durable_is_never_cut_off_and_what_is_not_there_never_kept() {
    for (first, second, what) in
        [(2, 7, "below what frames say"), (9, 2, "in the other stream"), (10, 7, "beyond the end")]
    {
        let refused = two_streams().recover(2, &|_| vec![Lsn(first), Lsn(second)]).unwrap_err();
        assert!(refused.to_string().contains("it would be cut off after edit"), "{what}: {refused}");
    }
}

/// A snapshot is installed only when all that it holds is durable, so its position counts as durable even if no frame
/// says so.
#[test]
fn what_a_snapshot_holds_is_durable() {
    let frames: &[Said] = &[(3, 0, 0), (6, 0, 0), (9, 0, 0)];
    for (position, slots) in [(5, 5), (2, 5)] {
        let home = Home::new(1, &[frames]);
        home.install(position, slots);
        assert_eq!(home.recover(1, &|_| vec![Lsn(5)]).unwrap().0, [up_to(5)], "{position}");
        assert!(home.recover(1, &|_| vec![Lsn(4)]).is_err(), "{position}");
    }
}

#[test]
fn cores_that_read_a_stream_differently_do_not_agree_on_a_cut() {
    let home = two_streams();
    let end =
        |last, durable| StreamEnd { last: Lsn(last), durable: Lsn(durable), sealed: false, torn: None, unproven: None };
    let findings = |ends: &[(u16, u64, u64)]| {
        let ends = ends.iter().map(|(core, last, durable)| (stream(*core), end(*last, *durable)));
        ends.map(|found| Findings { ends: vec![found], bad: Vec::new() }).collect::<Vec<_>>()
    };
    let decide = |ends: &[(u16, u64, u64)], rule: Rule<'_>| Cut::decide(&home.data, &findings(ends), rule);
    assert!(decide(&[(0, 9, 3), (1, 7, 3), (1, 7, 5)], &keep_all).is_ok());
    let below = decide(&[(0, 9, 3), (1, 7, 3), (1, 7, 5)], &|_| vec![Lsn(9), Lsn(4)]);
    assert!(below.is_err(), "what one core knows to be durable, all do");
    let differing = decide(&[(0, 9, 3), (1, 7, 3), (1, 6, 3)], &keep_all).unwrap_err();
    assert!(differing.to_string().contains("read twice"), "{differing}");
    let missing = decide(&[(0, 9, 3)], &keep_all).unwrap_err();
    assert!(missing.to_string().contains("not read"), "{missing}");
}

#[test]
fn a_stream_that_was_closed_is_not_cut_off() {
    let home = two_streams();
    home.data.close_streams(EPOCH, &[(CoreId(0), Lsn(8))]).unwrap();
    let rule = |tails: &[Tail]| {
        assert_eq!(tails.len(), 1);
        vec![Lsn(4)]
    };
    let (keys, _, cut) = home.recover(2, &rule).unwrap();
    assert_eq!(keys, [up_to(8), up_to(4)]);
    cut.record(&home.data).unwrap();
    assert_eq!(home.recover(1, &keep_all).unwrap().0, [up_to(8), up_to(4)]);
}
