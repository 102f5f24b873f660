//! What the mirror is given of a log: the durable frames in order, and the place of damage if there is any.

use std::sync::Arc;
use std::time::Duration;

use super::fault_tests::{flip, killed};
use super::marks::{StreamMarks, SyncedEnd};
use super::offline::Put;
use super::tail::{TailError, TailReader};
use crate::encoding::frame::BLOCK;
use crate::ids::Lsn;
use crate::storage::{OsFiles, StorageError};

#[test]
fn a_follower_is_told_that_the_log_begins_later() {
    let log = killed();
    let marks = Arc::new(StreamMarks::new());
    let last = *log.frames.last().unwrap();
    marks.set_synced(SyncedEnd { lsn: last.last, segment: last.segment, offset: last.offset + BLOCK as u64 });
    marks.set_durable(last.last);
    let follow = |from| TailReader::open(OsFiles, log.dir.path().to_owned(), log.id, log.stream, from, marks.clone());
    let wait = Duration::from_millis(1);
    for from in 1..=last.last.0 + 1 {
        let mut tail = follow(Lsn(from)).unwrap();
        let mut next = from;
        while let Some(frame) = tail.next(wait).unwrap() {
            assert!((frame.header.first.0..=frame.header.last().0).contains(&next));
            next = frame.header.last().0 + 1;
        }
        assert_eq!(next, last.last.0 + 1);
    }
    let segments = super::segments::listed(&OsFiles, log.dir.path(), log.stream).unwrap();
    std::fs::remove_file(log.path(segments[0])).unwrap();
    assert!(matches!(follow(Lsn(1)), Err(TailError::Dropped(first)) if first == segments[1]));
    assert!(follow(segments[1]).is_ok());
}

#[test]
fn a_follower_waits_for_what_becomes_durable_and_says_where_damage_is() {
    let log = killed();
    let end = |put: &Put| SyncedEnd {
        lsn: put.last,
        segment: put.segment,
        offset: (put.offset + put.bytes).next_multiple_of(BLOCK as u64),
    };
    let marks = Arc::new(StreamMarks::new());
    let durable_to = |put: &Put| {
        marks.set_synced(end(put));
        marks.set_durable(put.last);
    };
    durable_to(&log.frames[0]);
    let dir = log.dir.path().to_owned();
    let mut tail = TailReader::open(OsFiles, dir, log.id, log.stream, Lsn(1), marks.clone()).unwrap();
    assert!(tail.next(Duration::ZERO).unwrap().is_some());
    assert!(tail.next(Duration::ZERO).unwrap().is_none(), "no more is durable");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            durable_to(&log.frames[1]);
        });
        let second = tail.next(Duration::from_secs(60)).unwrap().map(|frame| frame.header.last());
        assert_eq!(second, Some(log.frames[1].last));
    });
    let damaged = log.frames[2];
    flip(&log, damaged.segment, damaged.offset + 40);
    durable_to(&damaged);
    let Err(TailError::Storage(StorageError::Corrupt(why))) = tail.next(Duration::ZERO) else {
        panic!("it is damaged")
    };
    assert_eq!((why.file, why.offset), (log.path(damaged.segment), damaged.offset));
}
