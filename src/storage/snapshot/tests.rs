//! A snapshot is read back as it was written, or refused.

use super::*;
use crate::ids::{Epoch, Lsn};
use crate::storage::StorageError;

fn subject() -> Subject {
    Subject { id: DirectoryId([3; 16]), partitions: Partitions::new(4096).unwrap(), partition: PartitionId(5) }
}

/// Writes sections of slots 20 and 22 of partition 5, which has slots 20 to 23.
fn write(path: &std::path::Path) -> Summary {
    let position = Position::new(Epoch(2), Lsn(40));
    let mut writer = SnapshotWriter::create(path, subject(), position).unwrap();
    for (slot, lsn, entries) in [(20, 40, &b"some entries"[..]), (22, 43, b"others")] {
        let position = Position::new(Epoch(2), Lsn(lsn));
        let bytes = entries.len() as u64;
        let header =
            SectionHeader { slot: Slot(slot), position, entries: 2, bytes, digest: u64::MAX - u64::from(slot) };
        writer.section(header, entries).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let written = write(&path);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((written.installed.bytes, written.installed.crc), (bytes.len() as u64, crc32fast::hash(&bytes)));
    assert_eq!(written.installed.digest, (u64::MAX - 20).wrapping_add(u64::MAX - 22));
    assert_eq!(written.digests, [u64::MAX - 20, 0, u64::MAX - 22, 0]);
    let mut reader = SnapshotReader::open(&path, subject()).unwrap();
    assert_eq!((reader.sections(), reader.bytes()), (2, bytes.len() as u64));
    let mut sections = Vec::new();
    while let Some(section) = reader.next().unwrap() {
        sections.push((section.header.slot.0, section.header.position.lsn.0, section.entries.to_vec()));
    }
    assert_eq!(sections, [(20, 40, b"some entries".to_vec()), (22, 43, b"others".to_vec())]);
    assert_eq!(reader.summary(), Some(&written));
    assert_eq!(verify(&path, subject()).unwrap(), written);
}

#[test]
fn a_section_that_comes_in_pieces_is_written_as_one_that_comes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, pieces] = ["whole", "pieces"].map(|name| dir.path().join(name));
    let written = write(&whole);
    let mut reader = SnapshotReader::open(&whole, subject()).unwrap();
    let mut writer = SnapshotWriter::create(&pieces, subject(), reader.position()).unwrap();
    while let Some(section) = reader.next().unwrap() {
        writer.begin_section(section.header).unwrap();
        section.entries.chunks(5).for_each(|piece| writer.entries(piece).unwrap());
        writer.end_section();
    }
    assert_eq!(writer.finish().unwrap(), written);
    assert_eq!(std::fs::read(&pieces).unwrap(), std::fs::read(&whole).unwrap());
}

#[test]
fn an_empty_slot_has_a_section_where_its_position_is_not_the_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let position = |lsn| Position::new(Epoch(2), Lsn(lsn));
    let mut writer = SnapshotWriter::create(&path, subject(), position(40)).unwrap();
    let header = SectionHeader { slot: Slot(21), position: position(41), entries: 0, bytes: 0, digest: 0 };
    writer.section(header, b"").unwrap();
    writer.finish().unwrap();
    let mut reader = SnapshotReader::open(&path, subject()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().header, header);
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn an_empty_partition_is_a_snapshot_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let written = SnapshotWriter::create(&path, subject(), Position::START).unwrap().finish().unwrap();
    assert_eq!(verify(&path, subject()).unwrap(), written);
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    write(&path);
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            std::fs::write(&path, damaged).unwrap();
            // A flipped version counts as damage too.
            assert!(matches!(verify(&path, subject()), Err(StorageError::Corrupt(_))), "byte {at}");
        }
        std::fs::write(&path, &bytes[..at]).unwrap();
        assert!(verify(&path, subject()).is_err(), "cut at {at}");
    }
    std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    assert!(verify(&path, subject()).is_err(), "longer");
}

#[test]
fn a_snapshot_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    write(&path);
    let others = [
        Subject { id: DirectoryId([4; 16]), ..subject() },
        Subject { partition: PartitionId(6), ..subject() },
        Subject { partitions: Partitions::new(2048).unwrap(), ..subject() },
    ];
    for other in others {
        assert!(verify(&path, other).is_err(), "{other:?}");
    }
    let missing = verify(&dir.path().join("b.snap"), subject());
    assert!(matches!(missing, Err(StorageError::Corrupt(_))), "it was there once");
}

#[test]
fn an_unfinished_file_is_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    drop(SnapshotWriter::create(&path, subject(), Position::START).unwrap());
    assert!(verify(&path, subject()).is_err());
}
