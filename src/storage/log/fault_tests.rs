//! Recovery from a damaged log: every edit that was ever durable is read, or the start is refused with file and offset.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::extent::{StreamEnd, StreamSpec, TornTail};
use super::offline::{OfflineLog, Put, group};
use super::reader::StreamReader;
use crate::encoding::frame::{BLOCK, Frame, FrameHeader};
use crate::ids::{Epoch, Lsn, StreamId};
use crate::storage::{Corruption, OsFiles, StorageError, Unproven};

const BIG: usize = 5000;

fn spec(log: &OfflineLog) -> StreamSpec {
    let dir = log.dir.path().to_owned();
    StreamSpec { dir, id: log.id, stream: log.stream, first: Lsn(1), last: None, floor: Lsn(0) }
}

/// Reads a stream and returns where it ends, leaving out `unproven` and `durable`.
fn read(spec: &StreamSpec) -> Result<StreamEnd, Corruption> {
    Ok(StreamEnd { unproven: None, durable: Lsn(0), ..read_whole(spec)? })
}

fn read_whole(spec: &StreamSpec) -> Result<StreamEnd, Corruption> {
    let outcome = (|| {
        let mut reader = StreamReader::open(spec, spec.first)?;
        let mut next = None;
        while let Some(frame) = reader.next()? {
            assert!(frame.header.count > 0, "marks are passed over");
            assert!(next.is_none_or(|next| next == frame.header.first));
            assert_eq!(frame.edits().filter(Result::is_ok).count(), frame.header.count as usize);
            next = Some(frame.header.last().next());
        }
        Ok(reader.end().unwrap().clone())
    })();
    outcome.map_err(|e| match e {
        StorageError::Corrupt(corruption) => corruption,
        other => panic!("{other}"),
    })
}

pub(super) fn flip(log: &OfflineLog, segment: Lsn, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(log.path(segment)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn end(last: u64) -> StreamEnd {
    StreamEnd { last: Lsn(last), durable: Lsn(0), sealed: false, torn: None, unproven: None }
}

/// Writes three segments with several frames each, some commits of several frames; killed, so without a seal, and
/// before the last mark.
pub(super) fn killed() -> OfflineLog {
    killed_with(Lsn(u64::MAX))
}

/// As [`killed`], but only edits up to `most_durable` are durable, though all are synced.
fn killed_with(most_durable: Lsn) -> OfflineLog {
    let mut log = OfflineLog::new(10 * BLOCK as u64);
    log.most_durable = most_durable;
    for _ in 0..3 {
        log.commit(&[group(2, 50)]);
        log.commit(&[group(1, BIG), group(2, BIG / 3), group(1, 9)]);
        log.commit(&[group(3, 20)]);
        log.mark(false);
    }
    log.commit(&[group(1, 300)]);
    assert!(log.frames.last().unwrap().segment > log.frames[5].segment);
    log
}

/// Offsets of a frame's bytes (with `true`), and of some of the zeros after it (with `false`).
fn bytes_of(frame: &Put) -> impl Iterator<Item = (u64, bool)> {
    let (start, end) = (frame.offset, frame.offset + frame.bytes);
    // Bytes of long bodies are all alike, so only their ends and some bytes between are included.
    let dense = (start..end).filter(move |at| at - start < 400 || end - at < 8 || at % 97 == 0);
    let padding = (end..end.next_multiple_of(BLOCK as u64)).step_by(509);
    dense.map(|at| (at, true)).chain(padding.map(|at| (at, false)))
}

#[test]
fn a_flipped_byte_anywhere_in_a_frame_is_refused_with_file_and_offset() {
    let log = killed();
    let last = log.frames.last().unwrap().last;
    assert_eq!(read(&spec(&log)), Ok(end(last.0)));
    for frame in &log.frames {
        for (at, is_frame) in bytes_of(frame) {
            flip(&log, frame.segment, at);
            let outcome = read(&spec(&log));
            // A mark before the end of a segment, or before the last frame, proves nothing that other frames do not
            // prove.
            if is_frame && frame.first > frame.last && at < frame.offset + frame.bytes {
                match outcome {
                    Ok(ref found) => assert_eq!(found.last, last),
                    Err(ref refused) => assert_eq!(refused.offset, frame.offset),
                }
            } else if is_frame {
                let refused = outcome.unwrap_err();
                assert_eq!((&refused.file, refused.offset), (&log.path(frame.segment), frame.offset), "{refused}");
            } else {
                assert_eq!(outcome, Ok(end(last.0)), "padding");
            }
            flip(&log, frame.segment, at);
        }
    }
}

#[test]
fn a_flipped_byte_in_a_segments_header_is_refused() {
    let log = killed();
    for segment in log.frames.iter().map(|f| f.segment).collect::<std::collections::BTreeSet<_>>() {
        for at in (0..80).chain((80..BLOCK as u64).step_by(251)) {
            flip(&log, segment, at);
            let refused = read(&spec(&log)).unwrap_err();
            assert_eq!((refused.file, refused.offset), (log.path(segment), 0));
            flip(&log, segment, at);
        }
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let log = killed();
    for segment in log.frames.iter().map(|f| f.segment).collect::<std::collections::BTreeSet<_>>() {
        let whole = std::fs::read(log.path(segment)).unwrap();
        let file = OpenOptions::new().write(true).open(log.path(segment)).unwrap();
        let at_frames = log.frames.iter().filter(|f| f.segment == segment).flat_map(|f| [f.offset, f.offset + f.bytes]);
        for len in (0..whole.len() as u64).step_by(61).chain(at_frames) {
            file.set_len(len).unwrap();
            assert_eq!(read(&spec(&log)).unwrap_err().file, log.path(segment), "cut at {len}");
            file.write_all_at(&whole[len as usize..], len).unwrap();
        }
    }
}

/// Every way in which the sectors of the last commit can have reached the disk or not.
#[test]
fn the_last_commit_torn_in_any_way_is_cut_off_or_whole() {
    let mut log = OfflineLog::new(16 * BLOCK as u64);
    log.commit(&[group(3, 50)]);
    log.commit(&[group(1, 8000), group(1, 1500), group(1, 7000)]);
    let torn: Vec<Put> = log.frames[1..].to_vec();
    assert_eq!(torn.len(), 3);
    let sectors: Vec<(usize, u64)> = (0..torn.len())
        .flat_map(|n| (0..torn[n].bytes.div_ceil(512)).map(move |s| (n, s)))
        .map(|(n, s)| (n, torn[n].offset + s * 512))
        .collect();
    let whole = std::fs::read(log.path(Lsn(1))).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let prefixes = (0..=sectors.len()).map(|kept| (0..sectors.len()).map(|s| s < kept).collect::<Vec<bool>>());
    let single = (0..sectors.len()).map(|lost| (0..sectors.len()).map(|s| s != lost).collect());
    let any = (0..300).map(|_| sectors.iter().map(|_| random.bool()).collect());
    for kept in prefixes.chain(single).chain(any) {
        let mut bytes = whole.clone();
        let mut is_whole = [true; 3];
        for ((n, at), _) in sectors.iter().zip(&kept).filter(|(_, kept)| !**kept) {
            bytes[*at as usize..*at as usize + 512].fill(0);
            is_whole[*n] = false;
        }
        log.write_at(Lsn(1), 0, &bytes);
        let good = is_whole.iter().take_while(|whole| **whole).count();
        let found = read(&spec(&log)).unwrap();
        assert_eq!(found.last, log.frames[good].last, "{kept:?}");
        if let Some(torn) = log.frames.get(good + 1) {
            let last_byte = bytes.iter().rposition(|b| *b != 0).unwrap() as u64 + 1;
            let left = last_byte.saturating_sub(torn.offset);
            let remains = TornTail { file: log.path(Lsn(1)), offset: torn.offset, bytes: left };
            assert_eq!(found.torn, (left > 0).then_some(remains));
        }
    }
}

/// Devices write a sector word by word, so it may be there up to any word.
#[test]
fn a_last_commit_with_a_sector_torn_within_is_cut_off() {
    let mut log = OfflineLog::new(16 * BLOCK as u64);
    log.commit(&[group(3, 50)]);
    log.commit(&[group(1, 2000)]);
    let [before, torn] = [log.frames[0], log.frames[1]];
    let whole = std::fs::read(log.path(Lsn(1))).unwrap();
    for word in (torn.offset..torn.offset + torn.bytes).step_by(8) {
        let end = (word / 512 + 1) * 512;
        let mut bytes = whole.clone();
        bytes[word as usize..end as usize].fill(0);
        log.write_at(Lsn(1), 0, &bytes);
        assert_eq!(read(&spec(&log)).map(|end| end.last), Ok(before.last), "torn at {word}");
    }
}

#[test]
fn a_torn_frame_that_was_once_durable_is_refused() {
    let mut log = OfflineLog::new(16 * BLOCK as u64);
    log.commit(&[group(3, 50)]);
    log.commit(&[group(1, 5000)]);
    let torn = log.frames[1];
    let lose = |log: &OfflineLog| log.write_at(torn.segment, torn.offset + 1024, &[0; 512]);
    lose(&log);
    assert_eq!(read(&spec(&log)).unwrap().last, Lsn(3), "nothing says that it was durable");
    assert!(read(&StreamSpec { floor: torn.last, ..spec(&log) }).is_err(), "a snapshot holds it");
    assert!(read(&StreamSpec { last: Some(torn.last), ..spec(&log) }).is_err(), "the manifest knows it");
    log.mark(false);
    assert_eq!(read(&spec(&log)).unwrap_err().offset, torn.offset, "the mark says so");
    log.write_at(torn.segment, log.frames[2].offset, &[0; BLOCK]);
    assert_eq!(read(&spec(&log)).unwrap().last, Lsn(3), "nothing says so any more");
}

/// The proof that an invalid frame was on disk may be longer than what is read at once.
#[test]
fn a_proof_is_found_however_long_it_is() {
    let mut log = OfflineLog::new(40 * BLOCK as u64);
    log.commit(&[group(3, 50)]);
    log.commit(&[group(1, 2000)]);
    log.commit(&[group(1, 60_000)]);
    let [torn, proof] = [log.frames[1], log.frames[2]];
    log.write_at(torn.segment, torn.offset + 512, &[0; 512]);
    assert_eq!(read(&spec(&log)).unwrap_err().offset, torn.offset, "the frame after it says that it was on disk");
    flip(&log, proof.segment, proof.offset + 50_000);
    assert_eq!(read(&spec(&log)).unwrap().last, Lsn(3), "nothing says so any more");
}

#[test]
fn what_another_stream_has_proves_nothing() {
    let mut log = OfflineLog::new(16 * BLOCK as u64);
    log.commit(&[group(3, 50)]);
    log.commit(&[group(1, 2000)]);
    let torn = log.frames[1];
    log.write_at(torn.segment, torn.offset + 512, &[0; 512]);
    for (epoch, is_proof) in [(log.stream.epoch, true), (Epoch(7), false)] {
        let stream = StreamId::new(epoch, log.stream.core);
        let (segment, first, synced, durable) = (torn.segment, torn.last.next(), torn.last, torn.last);
        let header = FrameHeader { body_len: 0, count: 0, stream, seal: false, segment, first, synced, durable };
        let mut mark = [0; BLOCK];
        header.write(log.id, &mut mark);
        log.write_at(torn.segment, torn.offset + 3 * BLOCK as u64, &mark);
        assert_eq!(read(&spec(&log)).is_err(), is_proof, "a mark of stream {stream}");
    }
}

#[test]
fn a_missing_segment_is_refused_but_one_that_was_dropped_is_not_missed() {
    let log = killed();
    let segments: Vec<Lsn> = super::segments::listed(&OsFiles, log.dir.path(), log.stream).unwrap();
    assert!(segments.len() >= 3);
    let last = log.frames.last().unwrap().last;
    for missing in &segments[..segments.len() - 1] {
        let bytes = std::fs::read(log.path(*missing)).unwrap();
        std::fs::remove_file(log.path(*missing)).unwrap();
        assert!(read(&spec(&log)).is_err(), "segment {missing}");
        let dropped = StreamSpec { first: segments[1], ..spec(&log) };
        assert_eq!(read(&dropped).is_ok(), *missing == Lsn(1));
        std::fs::write(log.path(*missing), bytes).unwrap();
    }
    assert_eq!(read(&spec(&log)), Ok(end(last.0)));
    assert!(read(&StreamSpec { first: last.next().next(), last: Some(last), ..spec(&log) }).is_ok(), "all dropped");
}

#[test]
fn a_newest_segment_without_frames_is_good() {
    let mut log = OfflineLog::new(10 * BLOCK as u64);
    assert_eq!(read(&spec(&log)), Ok(end(0)));
    log.commit(&[group(2, 50)]);
    log.roll(0);
    assert_eq!(read(&spec(&log)), Ok(end(2)));
}

#[test]
fn a_good_frame_in_the_wrong_place_is_refused() {
    let mut log = killed();
    let (first, last) = (log.frames[0], *log.frames.last().unwrap());
    let bytes = std::fs::read(log.path(first.segment)).unwrap();
    let frame = &bytes[first.offset as usize..][..BLOCK];
    // First where the next frame would go, then over another frame.
    log.write_at(last.segment, last.offset + BLOCK as u64, frame);
    assert_eq!(read(&spec(&log)).unwrap_err().offset, last.offset + BLOCK as u64);
    log.write_at(last.segment, last.offset, frame);
    assert_eq!(read(&spec(&log)).unwrap_err().offset, last.offset);
    // The same place in another data directory.
    log.id.0[0] ^= 1;
    assert!(read(&spec(&log)).is_err());
}

#[test]
fn a_huge_length_is_bounded_by_the_file() {
    let log = killed();
    let last = *log.frames.last().unwrap();
    for length in [10 * BLOCK as u32, 0x7fff_0000, u32::MAX] {
        log.write_at(last.segment, last.offset + 8, &length.to_le_bytes());
        assert_eq!(read(&spec(&log)).unwrap_err().offset, last.offset);
    }
}

#[test]
fn after_its_known_end_a_stream_is_not_looked_at() {
    let log = killed();
    let known = log.frames[log.frames.len() - 2];
    let ended = StreamSpec { last: Some(known.last), ..spec(&log) };
    let last = log.frames.last().unwrap();
    log.write_at(last.segment, last.offset, &[0xff; BLOCK]);
    assert_eq!(read(&ended), Ok(end(known.last.0)));
    let beyond = StreamSpec { last: Some(last.last.next()), ..spec(&log) };
    assert!(read(&beyond).is_err(), "an end that is not reached");
}

#[test]
fn a_sealed_stream_ends_at_its_seal() {
    let mut log = killed();
    log.mark(true);
    let (last, seal) = (log.frames[log.frames.len() - 2].last, *log.frames.last().unwrap());
    assert_eq!(read(&spec(&log)), Ok(StreamEnd { sealed: true, ..end(last.0) }));
    // What the seal proves cannot be lost; the seal itself can, and then proves nothing.
    flip(&log, seal.segment, log.frames[log.frames.len() - 2].offset + 50);
    assert!(read(&spec(&log)).is_err());
}

#[test]
fn the_last_frames_are_unproven_until_a_later_header_says_that_they_are_on_disk() {
    let mut log = killed();
    let last = *log.frames.last().unwrap();
    let file = log.path(last.segment);
    let unproven = Unproven { file, offset: last.offset, bytes: last.bytes.next_multiple_of(BLOCK as u64) };
    assert_eq!(read_whole(&spec(&log)).unwrap().unproven, Some(unproven));
    log.mark(false);
    assert_eq!(read_whole(&spec(&log)).unwrap().unproven, None);
}

#[test]
fn reading_can_begin_anywhere() {
    let log = killed();
    for frame in &log.frames {
        let mut reader = StreamReader::open(&spec(&log), frame.first).unwrap();
        let next = log.frames.iter().find(|f| f.last >= frame.first && f.first <= f.last).unwrap();
        let found = reader.next().unwrap().map(|f| (f.header.first, f.header.last()));
        assert_eq!(found, Some((next.first, next.last)));
        let place = reader.place().map(|(file, offset)| (file.to_owned(), offset));
        assert_eq!(place, Some((log.path(next.segment), next.offset)));
    }
}

#[test]
fn a_segment_file_is_read_by_itself_with_its_marks() {
    let log = killed();
    let (mut reader, header) = StreamReader::open_file(&log.path(Lsn(1))).unwrap();
    assert_eq!((reader.id(), header.stream, header.first), (log.id, log.stream, Lsn(1)));
    let mut found = Vec::new();
    while let Some(frame) = reader.next_with_marks().unwrap() {
        found.push((frame.header.first, frame.header.last()));
    }
    let in_it = log.frames.iter().filter(|frame| frame.segment == Lsn(1));
    assert_eq!(found, in_it.map(|frame| (frame.first, frame.last)).collect::<Vec<_>>());
    assert!(found.iter().any(|(first, last)| first > last), "a mark");
}

#[test]
fn the_late_writes_of_a_killed_process_are_waited_for() {
    let log = killed();
    let last = *log.frames.last().unwrap();
    let bytes = std::fs::read(log.path(last.segment)).unwrap();
    log.write_at(last.segment, last.offset, &[0; BLOCK]);
    // The kernel keeps a killed process's file open, and with it the lock, until its last write has landed.
    let file = OpenOptions::new().write(true).open(log.path(last.segment)).unwrap();
    file.lock().unwrap();
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        file.write_all_at(&bytes[last.offset as usize..][..BLOCK], last.offset).unwrap();
    });
    assert_eq!(read(&spec(&log)), Ok(end(last.last.0)));
    late.join().unwrap();
}

/// Frames that the frames read so far call durable are returned first, whatever piece or segment they were in; the
/// others follow.
#[test]
fn frames_that_are_not_durable_are_told_apart() {
    let last = killed().frames.last().unwrap().last;
    for most in 0..=last.0 + 1 {
        let log = killed_with(Lsn(most));
        // The last commit became durable only after its frames were written.
        let durable = Lsn(most).min(log.frames.iter().rev().find(|frame| frame.last < last).unwrap().last);
        let mut reader = StreamReader::open(&spec(&log), Lsn(1)).unwrap();
        let (mut given, mut held) = (Lsn(0), Lsn(0));
        while let Some(frame) = reader.next_durable().unwrap() {
            assert_eq!(frame.header.first, given.next());
            (given, held) = (frame.header.last(), frame.header.last());
        }
        assert!(given <= durable, "{most}");
        let mut is_first = true;
        while let Some(frame) = reader.next().unwrap() {
            assert_eq!(frame.header.first, held.next());
            held = frame.header.last();
            assert!(!std::mem::take(&mut is_first) || held > durable, "{most}: a durable frame is held back");
        }
        assert_eq!((held, reader.end().unwrap().durable), (last, durable), "{most}");
    }
}

#[test]
fn a_recorded_end_within_a_frame_is_the_end_of_that_frame() {
    let log = killed();
    let last = log.frames.last().unwrap().last;
    for end in (0..=last.0).map(Lsn) {
        let mut reader = StreamReader::open(&StreamSpec { last: Some(end), ..spec(&log) }, Lsn(1)).unwrap();
        let mut next = Lsn(1);
        while let Some(frame) = reader.next_durable().unwrap() {
            assert_eq!(frame.header.first, next);
            assert_eq!(Frame::parse(log.id, frame.bytes).unwrap().header, frame.header);
            for edit in frame.edits() {
                assert_eq!(edit.unwrap().0, next);
                next = next.next();
            }
        }
        assert!(reader.next().unwrap().is_none());
        let found = reader.end().unwrap();
        assert_eq!((next, found.last, found.durable, &found.torn), (end.next(), end, end, &None));
    }
}

#[test]
fn a_recorded_end_in_a_damaged_frame_is_refused() {
    let log = killed();
    let frame = log.frames.iter().find(|frame| frame.last > frame.first).unwrap();
    flip(&log, frame.segment, frame.offset + frame.bytes - 1);
    let refused = read(&StreamSpec { last: Some(frame.first), ..spec(&log) }).unwrap_err();
    assert_eq!((&refused.file, refused.offset), (&log.path(frame.segment), frame.offset), "{refused}");
}

#[test]
fn a_segment_of_another_version_is_refused_by_name() {
    let log = killed();
    let mut header = std::fs::read(log.path(Lsn(1))).unwrap();
    header.truncate(BLOCK);
    header[8] = 1;
    log.write_at(Lsn(1), 0, &header);
    let refused = read(&spec(&log)).unwrap_err().to_string();
    assert!(refused.contains("format version 1, but this program knows only version 4"), "{refused}");
}
