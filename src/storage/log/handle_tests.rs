//! What a log's handle reports, over a model disk: when edits are written, how much room there is, what was prepared.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::crash_tests::{ID, STREAM, make_first_segment, recover};
use super::offline::group;
use super::*;
use crate::encoding::frame::BLOCK;
use crate::storage::files::{Access, PlainFile};
use crate::storage::model::{Executor, Process, World};
use crate::storage::{Files, path};

const BLOCK_BYTES: u64 = BLOCK as u64;
/// Longer than the model disk takes for a few operations.
const A_WHILE: Duration = Duration::from_secs(3);

/// Options with segments of `blocks` blocks; edits wait for an hour unless somebody wants them written.
fn options(blocks: u64) -> LogOptions {
    LogOptions {
        dir: PathBuf::from("/model"),
        id: ID,
        stream: STREAM,
        segment_bytes: blocks * BLOCK_BYTES,
        buffer_bytes: 2 * BLOCK,
        buffers: 2,
        flush_interval: Duration::from_secs(3600),
        sync: Probed::default(),
        commit: Commit::Async,
    }
}

/// Runs `work` with a new log.
fn on_log(options: LogOptions, work: impl AsyncFnOnce(Log<Process>, Process)) -> World {
    let process = World::new(options.segment_bytes, 1).process(0);
    make_first_segment(&process, &options);
    on_first_segment(process, options, work)
}

fn on_first_segment(process: Process, options: LogOptions, work: impl AsyncFnOnce(Log<Process>, Process)) -> World {
    let world = process.world().clone();
    let task = async move {
        let marks = Arc::new(StreamMarks::new());
        let log = Log::open_on(process.clone(), options, marks.clone()).await.unwrap();
        assert!(Arc::ptr_eq(log.marks(), &marks));
        work(log, process).await;
    };
    assert!(Executor::new(&world).run(task, Duration::from_secs(100_000)), "it waits for ever");
    world
}

/// Limits the disk to the space in use.
fn fill_disk(world: &World) {
    world.disk(0, |disk, _| disk.capacity = Some(disk.used()));
}

fn empty_disk(world: &World) {
    world.disk(0, |disk, _| disk.capacity = None);
}

#[test]
fn edits_wait_for_the_interval_unless_somebody_wants_them_written() {
    on_log(options(40), async |log, process| {
        let world = process.world();
        let append = || log.append(&group(1, 100));
        let bytes = group(1, 100).as_bytes().len() as u64;
        append();
        world.sleep(A_WHILE).await;
        assert_eq!((log.durable(), log.unflushed_bytes()), (Lsn(0), bytes));
        log.commit_now();
        world.sleep(A_WHILE).await;
        assert_eq!((log.durable(), log.unflushed_bytes()), (Lsn(1), 0));
        append();
        world.sleep(A_WHILE).await;
        assert_eq!(log.durable(), Lsn(1), "it was wanted once");
        log.set_eager(true);
        world.sleep(A_WHILE).await;
        assert_eq!(log.durable(), Lsn(2));
        append();
        world.sleep(A_WHILE).await;
        assert_eq!(log.durable(), Lsn(3));
        log.set_eager(false);
        append();
        world.sleep(A_WHILE).await;
        assert_eq!(log.durable(), Lsn(3));
        world.sleep(Duration::from_secs(3600)).await;
        assert_eq!(log.durable(), Lsn(4), "the interval is over");
    });
    on_log(LogOptions { commit: Commit::Eager, ..options(40) }, async |log, process| {
        log.append(&group(1, 100));
        process.world().sleep(A_WHILE).await;
        assert_eq!(log.durable(), Lsn(1));
        let stats = log.stats();
        assert!(0 < stats.commit_p50_us && stats.commit_p50_us <= stats.commit_p99_us, "{stats:?}");
        assert!(stats.commit_p99_us <= stats.commit_max_us, "{stats:?}");
    });
}

#[test]
fn a_log_is_full_when_as_much_is_unwritten_as_its_buffers_hold() {
    on_log(options(40), async |log, _| {
        let mut n = 0;
        while log.unflushed_bytes() < 6 * BLOCK_BYTES {
            assert_eq!(log.is_full(), log.unflushed_bytes() >= 4 * BLOCK_BYTES, "{n} edits");
            log.append(&group(1, 500));
            n += 1;
        }
        log.close().await.unwrap();
        assert_eq!((log.durable(), log.is_full()), (Lsn(n), false));
    });
}

#[test]
fn on_a_full_disk_the_last_room_is_for_what_frees_and_none_is_taken_beyond_it() {
    // The reserve is twice what the buffers hold, but at most a quarter of a segment.
    for (blocks, reserve) in [(40, 8 * BLOCK_BYTES), (16, 4 * BLOCK_BYTES)] {
        on_log(options(blocks), async |log, process| {
            let world = process.world();
            fill_disk(world);
            let mut spaces = Vec::new();
            loop {
                log.append(&group(1, 100));
                log.commit_now();
                world.sleep(A_WHILE).await;
                let room = log.driver.writer.borrow().room();
                let is_full = log.out_of_space().is_some();
                assert_eq!(log.marks().is_out_of_space(), is_full);
                // One block for the commit, and one for a mark.
                let is_prepared = room + BLOCK_BYTES <= blocks * BLOCK_BYTES / 4 * 3;
                assert_eq!(is_full, is_prepared, "when a quarter of this one is used, the next one is prepared");
                let expected = match room {
                    room if !is_full || room >= reserve => Space::Enough,
                    room if room >= reserve / 4 => Space::Reserve,
                    _ => Space::Exhausted,
                };
                assert_eq!(log.space(), expected, "{blocks} blocks, of which {} are left", room / BLOCK_BYTES);
                spaces.push(expected);
                if room == 0 {
                    break;
                }
            }
            assert!([Space::Enough, Space::Reserve, Space::Exhausted].iter().all(|space| spaces.contains(space)));
            empty_disk(world);
            world.sleep(A_WHILE).await;
            assert_eq!((log.space(), log.out_of_space()), (Space::Enough, None));
            log.append(&group(1, 100));
            log.close().await.unwrap();
            assert_eq!(log.durable(), log.appended());
        });
    }
}

#[test]
fn a_first_segment_from_the_reserve_is_for_what_frees_until_there_is_space() {
    let process = World::new(1, 1).process(0);
    make_first_segment(&process, &options(20));
    fill_disk(process.world());
    let world = on_first_segment(process, options(40), async |log, process| {
        let world = process.world();
        let state = || (log.space(), log.out_of_space().is_some());
        assert_eq!(state(), (Space::Reserve, true));
        log.append(&group(1, 100));
        world.sleep(A_WHILE).await;
        assert_eq!(state(), (Space::Reserve, true));
        empty_disk(world);
        world.sleep(A_WHILE).await;
        assert_eq!(state(), (Space::Enough, false));
        log.close().await.unwrap();
    });
    assert_eq!(recover(&world).unwrap(), 1);
}

#[test]
fn a_poisoned_log_says_why_and_writes_no_more() {
    on_log(options(40), async |log, process| {
        assert_eq!(log.is_poisoned(), None);
        process.world().disk(0, |disk, _| disk.write_fails_in = Some(0));
        log.append(&group(1, 100));
        log.commit_now();
        process.world().sleep(A_WHILE).await;
        let why = log.is_poisoned().expect("a write has failed");
        assert!(why.contains("cannot write and sync"), "{why}");
        assert!(log.marks().has_ended());
        assert_eq!(log.close().await, Err(why));
        assert_eq!(log.durable(), Lsn(0));
    });
}

#[test]
fn what_was_prepared_for_a_segment_goes_with_the_log_and_is_counted_while_it_is_there() {
    let next = path::stream(&options(40).dir, STREAM).join(path::NEXT);
    let of_one = 40 * BLOCK_BYTES;
    let segments = |log: &Log<Process>| (log.stats().segments, log.marks().file_bytes() / of_one);
    for (edits, begun, is_full) in [(2, 1, false), (8, 1, false), (22, 2, false), (8, 1, true)] {
        on_log(options(40), async |log, process| {
            if is_full {
                fill_disk(process.world());
            }
            for _ in 0..edits {
                log.append(&group(1, 100));
                log.commit_now();
                process.world().sleep(A_WHILE).await;
            }
            // The second segment was prepared, but not the third.
            let is_prepared = edits == 8 && !is_full;
            assert_eq!(process.exists(&next), is_prepared, "{edits} edits");
            assert_eq!(segments(&log), (begun, begun + u64::from(is_prepared)));
            log.close().await.unwrap();
            empty_disk(process.world());
            process.world().sleep(A_WHILE).await;
            assert!(!process.exists(&next), "{edits} edits");
            assert_eq!((segments(&log), log.marks().file_bytes()), ((begun, begun), begun * of_one));
        });
    }
}

#[test]
fn a_frame_larger_than_a_segment_gets_one_of_its_own_size() {
    let world = on_log(options(10), async |log, process| {
        let (small, large) = (group(1, 100), group(1, 30 * BLOCK));
        for edits in [&small, &large, &small] {
            log.append(edits);
            log.commit_now();
            process.world().sleep(A_WHILE).await;
        }
        log.close().await.unwrap();
        assert_eq!(log.durable(), Lsn(3));
        let dir = path::stream(&options(10).dir, STREAM);
        let names = Files::list(&process, &dir).unwrap();
        let sizes = names.iter().map(|name| Files::open(&process, &dir.join(name), Access::Read)?.size());
        let sizes: Vec<_> = sizes.collect::<Result<_, _>>().unwrap();
        assert!(sizes.iter().any(|size| *size > 30 * BLOCK_BYTES), "{sizes:?}");
        assert_eq!((log.marks().file_bytes(), log.stats().segments), (sizes.iter().sum(), sizes.len() as u64));
    });
    assert_eq!(recover(&world).unwrap(), 3);
}

#[test]
fn a_share_of_the_disk_is_left_to_checkpoints() {
    let (segment, total) = (40 * BLOCK_BYTES, 6400 * BLOCK_BYTES);
    for (free, is_enough) in [(segment + total / 64, true), (segment + total / 64 - 1, false)] {
        on_log(options(40), async |log, process| {
            let ballast = total - segment - free;
            process.put(std::path::Path::new("/ballast"), vec![0; ballast as usize]);
            process.world().disk(0, |disk, _| disk.capacity = Some(total));
            for _ in 0..8 {
                log.append(&group(1, 100));
                log.commit_now();
                process.world().sleep(A_WHILE).await;
            }
            assert_eq!(log.out_of_space().is_none(), is_enough, "{free} bytes are free");
        });
    }
}
