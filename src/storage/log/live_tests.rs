//! The live log on the real disk, and its readers.

use std::future::poll_fn;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use rustix::event::{EventfdFlags, eventfd};

use super::offline::group;
use super::*;
use crate::encoding::edit::Edit;
use crate::encoding::frame::Frame;
use crate::ids::{CoreId, Partitions};
use crate::storage::files::{Access, PlainFile};
use crate::storage::probe::SyncMethod;
use crate::storage::{DataDir, Files, OsFiles, StreamReader, TailReader, path};

struct Setup {
    data: DataDir,
    options: LogOptions,
    _dir: tempfile::TempDir,
}

fn setup(segment_bytes: u64, sync: Probed) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(dir.path(), Partitions::new(4).unwrap()).unwrap();
    let epoch = data.begin_epoch(1, segment_bytes).unwrap();
    let options = LogOptions {
        dir: dir.path().to_owned(),
        id: data.id(),
        stream: StreamId::new(epoch, CoreId(0)),
        segment_bytes,
        buffer_bytes: 64 << 10,
        buffers: 4,
        flush_interval: Duration::from_millis(5),
        sync,
        commit: Commit::Async,
    };
    Setup { data, options, _dir: dir }
}

pub(super) fn on_core<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(4 << 20);
    executor.spawn(move || async move { work().await }).unwrap().join().unwrap()
}

/// Polls the log, as the core's loop does.
async fn poll(log: Log) {
    loop {
        log.poll();
        glommio::timer::sleep(Duration::from_micros(100)).await;
    }
}

/// Reads the whole stream; returns the number of edits and where it ends.
fn read_back(data: &DataDir, stream: StreamId) -> (u64, extent::StreamEnd) {
    let mut reader = StreamReader::open(&data.stream(stream).unwrap(), Lsn(1)).unwrap();
    let mut next = 1;
    while let Some(frame) = reader.next().unwrap() {
        for edit in frame.edits() {
            let (lsn, bytes) = edit.unwrap();
            assert_eq!(lsn, Lsn(next));
            Edit::decode(bytes).unwrap();
            next += 1;
        }
    }
    (next - 1, reader.end().unwrap().clone())
}

#[test]
fn who_drives_the_log_learns_of_each_commit_that_begins() {
    let setup = setup(64 << 10, Probed::default());
    let options = setup.options.clone();
    let (durable, segments) = on_core(async move || {
        let log = Log::open(options, Arc::default()).await.unwrap();
        let driver = log.clone();
        let driving = glommio::spawn_local(async move {
            loop {
                // Only this says when there is something to poll.
                poll_fn(|context| driver.poll_committing(context)).await;
                while driver.is_committing() {
                    driver.poll();
                    glommio::timer::sleep(Duration::from_micros(100)).await;
                }
            }
        });
        let began = Instant::now();
        // Each group is alone in its commit, even one that needs a new segment.
        for _ in 0..40 {
            let lsn = log.append(&group(1, 3000));
            while log.durable() < lsn && began.elapsed() < Duration::from_secs(60) {
                glommio::timer::sleep(Duration::from_micros(100)).await;
            }
        }
        let (durable, segments) = (log.durable(), log.stats().segments);
        driving.cancel().await;
        log.close().await.unwrap();
        (durable, segments)
    });
    assert_eq!(durable, Lsn(40), "a commit has begun and nobody knew");
    assert!(segments > 1);
}

#[test]
fn what_is_appended_is_read_back_and_followed_over_many_segments() {
    for method in [SyncMethod::DsyncWrite, SyncMethod::WriteThenFdatasync] {
        for zero_fill in [false, true] {
            let setup = setup(512 << 10, Probed { method, zero_fill, ..Probed::default() });
            let options = setup.options.clone();
            let marks = Arc::new(StreamMarks::new());
            let follower = std::thread::spawn({
                let (options, marks) = (options.clone(), marks.clone());
                move || {
                    let LogOptions { dir, id, stream, .. } = options;
                    let mut tail = TailReader::open(OsFiles, dir, id, stream, Lsn(1), marks.clone()).unwrap();
                    let mut last = Lsn(0);
                    while !marks.has_ended() || last < marks.durable() {
                        if let Some(frame) = tail.next(Duration::from_millis(50)).unwrap() {
                            assert_eq!(frame.header.first, last.next());
                            assert_eq!(Frame::parse(id, frame.bytes).unwrap().header, frame.header);
                            last = frame.header.last();
                        }
                    }
                    last
                }
            });
            let prepared = path::stream(&options.dir, options.stream).join(path::NEXT);
            let appended = on_core(async move || {
                let log = Log::open(options, marks).await.unwrap();
                glommio::spawn_local(poll(log.clone())).detach();
                let progress = Rc::new(std::cell::Cell::new(0));
                log.on_progress({
                    let progress = progress.clone();
                    Rc::new(move || progress.set(progress.get() + 1))
                });
                for n in 0..300 {
                    while log.is_full() {
                        glommio::timer::sleep(Duration::from_micros(200)).await;
                    }
                    log.append(&group(1 + n % 5, 3000));
                    if n % 100 == 0 {
                        // The group is larger than a buffer, and once larger than a segment.
                        log.append(&group(1, if n == 100 { 900 << 10 } else { 100 << 10 }));
                    }
                    if n % 7 == 0 {
                        log.commit_now();
                        glommio::timer::sleep(Duration::from_micros(100)).await;
                    }
                }
                log.close().await.unwrap();
                // Space that was prepared and is not needed is removed with the log, perhaps only once its preparation
                // is complete.
                while prepared.exists() {
                    glommio::timer::sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(log.durable(), log.appended());
                assert!(log.stats().segments > 4 && progress.get() > 10, "{:?}", log.stats());
                log.appended()
            });
            let (edits, end) = read_back(&setup.data, setup.options.stream);
            assert_eq!((edits, end.sealed, end.torn.clone()), (appended.0, true, None));
            assert_eq!(follower.join().unwrap(), appended);
            setup.data.end_epoch(setup.options.stream.epoch, &[(CoreId(0), end.last)], []).unwrap();
            assert_eq!(read_back(&setup.data, setup.options.stream).0, appended.0);
        }
    }
}

#[test]
fn what_the_disk_has_done_signals_a_loop_that_rests_and_no_other() {
    // One operation per commit, so that there is one completion to signal.
    let setup = setup(64 << 10, Probed { method: SyncMethod::DsyncWrite, ..Probed::default() });
    let options = setup.options.clone();
    let segment = path::segment(&options.dir, options.stream, Lsn(1));
    let signalled = on_core(async move || {
        let log = Log::open(options, Arc::default()).await.unwrap();
        let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        log.signal(event.as_fd()).unwrap();
        assert!(log.is_idle());
        // The lock tells readers of the segment that somebody may still write to it.
        let file = OsFiles.open(&segment, Access::Read).unwrap();
        assert!(!PlainFile::lock_shared(&file, Duration::ZERO).unwrap());
        let mut signalled = Vec::new();
        for rests in [false, true, false] {
            log.set_alert(rests);
            log.append(&group(1, 100));
            log.commit_now();
            while !log.is_committing() {
                glommio::timer::sleep(Duration::from_micros(100)).await;
            }
            // This blocks the core, so nobody polls.
            let began = Instant::now();
            while log.is_idle() && began.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(!log.is_idle(), "there is a completion to poll");
            let read = || rustix::io::read(&event, &mut [0; 8]).is_ok();
            let mut is_signalled = read();
            while rests && !is_signalled && began.elapsed() < Duration::from_secs(30) {
                is_signalled = read();
            }
            signalled.push(is_signalled);
            while log.is_committing() {
                log.poll();
                glommio::timer::sleep(Duration::from_micros(100)).await;
            }
            assert!(log.is_idle());
        }
        log.close().await.unwrap();
        assert!(PlainFile::lock_shared(&file, Duration::from_secs(30)).unwrap());
        signalled
    });
    assert_eq!(signalled, [false, true, false]);
}
