//! The log over a model disk: whatever instant it crashes at, all durable edits are read back, and nothing but a prefix
//! of the edits is.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::driver::Driver;
use super::extent::StreamSpec;
use super::offline::group;
use super::reader::StreamReader;
use super::segment::SegmentHeader;
use super::*;
use crate::encoding::frame::BLOCK;
use crate::ids::{CoreId, Epoch};
use crate::storage::model::{Executor, Process, World};
use crate::storage::{TailReader, path};

pub(super) const ID: DirectoryId = DirectoryId([5; 16]);
pub(super) const STREAM: StreamId = StreamId::new(Epoch(1), CoreId(0));

fn options(random: &mut fastrand::Rng) -> LogOptions {
    LogOptions {
        dir: PathBuf::from("/model"),
        id: ID,
        stream: STREAM,
        segment_bytes: random.u64(12..40) * BLOCK as u64,
        buffer_bytes: random.usize(2..5) * BLOCK,
        buffers: random.usize(2..4),
        flush_interval: Duration::from_millis(5),
        sync: Probed { zero_fill: random.bool(), ..Probed::default() },
        commit: if random.bool() { Commit::Eager } else { Commit::Async },
    }
}

/// Creates a disk with a stream's fresh first segment.
fn fresh(seed: u64) -> (Process, LogOptions) {
    let process = World::new(seed, 1).process(0);
    let options = process.world().draw(options);
    make_first_segment(&process, &options);
    (process, options)
}

pub(super) fn make_first_segment(process: &Process, options: &LogOptions) {
    let header = SegmentHeader { stream: STREAM, first: Lsn(1), previous: Lsn(0), bytes: options.segment_bytes };
    let mut bytes = vec![0; options.segment_bytes as usize];
    header.write(ID, bytes.first_chunk_mut().unwrap());
    process.put(&path::segment(&options.dir, STREAM, Lsn(1)), bytes);
}

/// What a client was told about its edits.
#[derive(Default)]
struct Told {
    appended: Cell<u64>,
    poisoned: RefCell<Option<Rc<str>>>,
    refused: Cell<u64>,
    closed: Cell<Option<bool>>,
}

/// Appends groups of all sizes at all times; closes the log in the end.
async fn client(process: Process, options: LogOptions, marks: Arc<StreamMarks>, told: Rc<Told>, groups: usize) {
    let world = process.world().clone();
    let log = Driver::open(process, options, marks).await.unwrap();
    for _ in 0..groups {
        let (edits, bytes, pause) = world.draw(|random| {
            let large = random.u8(..) < 10;
            let bytes = if large { random.usize(5_000..90_000) } else { random.usize(0..900) };
            (random.usize(1..5), bytes, if random.u8(..) < 100 { random.u64(1..9_000) } else { 0 })
        });
        if pause > 0 {
            world.sleep(Duration::from_micros(pause)).await;
        }
        if let Some(why) = log.poisoned() {
            told.poisoned.replace(Some(why));
            break;
        }
        if log.is_full() || log.space() != Space::Enough {
            told.refused.set(told.refused.get() + 1);
            world.sleep(Duration::from_millis(3)).await;
            continue;
        }
        told.appended.set(log.append(&group(edits, bytes)).0);
        if world.once_in(12) {
            log.commit_now();
        }
    }
    told.closed.set(Some(log.close().await.is_ok()));
}

/// Reads the stream after a power failure; returns its last edit.
pub(super) fn recover(world: &World) -> Result<u64, StorageError> {
    world.power_off(0);
    let dir = PathBuf::from("/model");
    let spec = StreamSpec { dir, id: ID, stream: STREAM, first: Lsn(1), last: None, floor: Lsn(0) };
    let mut reader = StreamReader::open_in(&world.process(0), &spec, Lsn(1))?;
    let mut next = Lsn(1);
    while let Some(frame) = reader.next()? {
        assert_eq!(frame.header.first, next);
        assert_eq!(frame.edits().filter(Result::is_ok).count(), frame.header.count as usize);
        next = frame.header.last().next();
    }
    Ok(next.0 - 1)
}

#[test]
fn whatever_instant_it_crashes_at_the_durable_is_read_back() {
    for seed in 0..1_500 {
        let (process, options) = fresh(seed);
        let world = process.world().clone();
        let (marks, told) = (Arc::new(StreamMarks::new()), Rc::new(Told::default()));
        let groups = 150;
        // Some runs last until the client has finished.
        let until = Duration::from_micros(world.draw(|random| random.u64(1..900_000)));
        Executor::new(&world).run(client(process, options, marks.clone(), told.clone(), groups), until);
        let durable = marks.durable().0;
        assert!(durable <= marks.written().0 && marks.written() <= marks.appended(), "seed {seed}");
        let last = recover(&world).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!((durable..=told.appended.get()).contains(&last), "seed {seed}: {durable} ≤ {last}");
        if told.closed.get() == Some(true) {
            assert_eq!(last, told.appended.get(), "seed {seed}: closed");
        }
    }
}

#[test]
fn a_failed_write_or_sync_is_the_end_and_is_never_tried_again() {
    let mut poisoned = 0;
    for seed in 0..250 {
        let (process, options) = fresh(seed);
        let world = process.world().clone();
        let n = world.draw(|random| random.u64(0..60));
        world.disk(0, |disk, _| {
            *(if seed % 2 == 0 { &mut disk.write_fails_in } else { &mut disk.sync_fails_in }) = Some(n);
        });
        let (marks, told) = (Arc::new(StreamMarks::new()), Rc::new(Told::default()));
        if options.sync.zero_fill && n < 20 {
            // The fault would strike before the log is open; `open` then fails.
            continue;
        }
        let task = client(process, options, marks.clone(), told.clone(), 150);
        Executor::new(&world).run(task, Duration::from_secs(60));
        if world.disk(0, |disk, _| disk.struck) == 0 {
            continue;
        }
        poisoned += 1;
        let (durable, ended) = (marks.durable(), marks.has_ended());
        assert_eq!((told.closed.get(), ended), (Some(false), true), "seed {seed}");
        assert!(durable <= marks.appended());
        // What was called durable before is still there, whatever else is.
        match recover(&world) {
            Ok(last) => assert!(last >= durable.0, "seed {seed}"),
            Err(e) => panic!("seed {seed}: {e}"),
        }
    }
    assert!(poisoned > 50, "{poisoned}");
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_space_again() {
    for seed in 0..60 {
        let (process, options) = fresh(seed);
        let world = process.world().clone();
        let size = options.segment_bytes;
        world.disk(0, |disk, _| disk.capacity = Some(2 * size + size / 2));
        let (marks, told) = (Arc::new(StreamMarks::new()), Rc::new(Told::default()));
        let helper = {
            let (world, told) = (world.clone(), told.clone());
            async move {
                while told.refused.get() < 100 {
                    world.sleep(Duration::from_millis(50)).await;
                }
                world.disk(0, |disk, _| disk.capacity = None);
            }
        };
        process.spawn(helper);
        let task = client(process, options, marks.clone(), told.clone(), 1500);
        Executor::new(&world).run(task, Duration::from_secs(600));
        assert!(told.refused.get() >= 100 && told.poisoned.borrow().is_none(), "seed {seed}");
        assert_eq!(told.closed.get(), Some(true), "seed {seed}");
        assert_eq!(marks.durable().0, told.appended.get(), "seed {seed}");
        assert_eq!(recover(&world).unwrap(), told.appended.get(), "seed {seed}");
    }
}

#[test]
fn the_last_bytes_of_a_full_disk_are_left_to_checkpoints() {
    for seed in 0..20 {
        let (process, options) = fresh(seed);
        let world = process.world().clone();
        let headroom = options.segment_bytes * 3 / 2;
        world.disk(0, |disk, _| disk.capacity = Some(options.segment_bytes * 4));
        let (marks, told) = (Arc::new(StreamMarks::new()), Rc::new(Told::default()));
        marks.set_headroom(headroom);
        let helper = {
            let (process, world, told, marks) = (process.clone(), world.clone(), told.clone(), marks.clone());
            async move {
                while told.refused.get() < 100 {
                    world.sleep(Duration::from_millis(50)).await;
                }
                let room = process.room(Path::new("anywhere")).await.unwrap();
                assert!(room.free >= headroom && marks.is_out_of_space(), "seed {seed}: {room:?}");
                // A checkpoint has used the headroom, and has had log dropped.
                marks.set_headroom(0);
                world.disk(0, |disk, _| disk.capacity = None);
            }
        };
        process.spawn(helper);
        let task = client(process, options, marks.clone(), told.clone(), 1500);
        Executor::new(&world).run(task, Duration::from_secs(600));
        assert!(told.refused.get() >= 100 && told.poisoned.borrow().is_none(), "seed {seed}");
        assert_eq!(marks.durable().0, told.appended.get(), "seed {seed}");
        assert!(!marks.is_out_of_space());
    }
}

/// The durable mark, the followers of the stream and the frames' headers all wait for the rule, even for synced edits.
#[test]
fn what_is_synced_is_durable_when_the_rule_says_so() {
    let (process, options) = fresh(7);
    let world = process.world().clone();
    let task = {
        let (process, world, marks) = (process.clone(), world.clone(), Arc::new(StreamMarks::new()));
        async move {
            let log = Log::open_on(process.clone(), options.clone(), marks.clone()).await.unwrap();
            let (certain, called) = (Rc::new(Cell::new(Lsn(0))), Rc::new(Cell::new(0)));
            log.settle_by({
                let certain = certain.clone();
                Rc::new(move |_| certain.get())
            });
            for edits in [3, 2] {
                let last = log.append(&group(edits, 50));
                log.commit_now();
                while log.synced() < last {
                    world.sleep(Duration::from_millis(1)).await;
                }
            }
            log.on_progress({
                let called = called.clone();
                Rc::new(move || called.set(called.get() + 1))
            });
            let mut tail = TailReader::open(process, options.dir, ID, STREAM, Lsn(1), marks.clone()).unwrap();
            let mut follow = || tail.next(Duration::ZERO).unwrap().map(|frame| frame.header.last().0);
            assert_eq!(
                (log.synced(), log.durable(), marks.durable(), log.unflushed_bytes()),
                (Lsn(5), Lsn(0), Lsn(0), 0)
            );
            assert_eq!(follow(), None);
            certain.set(Lsn(4));
            log.settle();
            assert_eq!((log.durable(), marks.durable(), called.get()), (Lsn(4), Lsn(4), 1));
            assert_eq!((follow(), follow()), (Some(3), None), "not all of the second frame is durable");
            log.settle();
            assert_eq!(called.get(), 1, "nothing has moved");
            // When the log is idle, a mark records the durable lsn.
            world.sleep(Duration::from_millis(100)).await;
            certain.set(Lsn(3));
            log.settle();
            assert_eq!(log.durable(), Lsn(4), "it never moves back");
            log.close().await.unwrap();
            assert_eq!((marks.has_ended(), marks.settled_end()), (true, None));
            certain.set(Lsn(9));
            log.settle();
            assert_eq!((marks.durable(), marks.settled_end(), follow()), (Lsn(5), Some(Lsn(5)), Some(5)));
        }
    };
    assert!(Executor::new(&world).run(task, Duration::from_secs(10)));
    world.power_off(0);
    let dir = PathBuf::from("/model");
    let spec = StreamSpec { dir, id: ID, stream: STREAM, first: Lsn(1), last: None, floor: Lsn(0) };
    let mut reader = StreamReader::open_in(&world.process(0), &spec, Lsn(1)).unwrap();
    while reader.next().unwrap().is_some() {}
    let end = reader.end().unwrap();
    assert_eq!((end.last, end.durable, end.sealed), (Lsn(5), Lsn(4), true));
}
