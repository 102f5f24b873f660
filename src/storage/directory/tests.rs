//! A data directory after a crash at any step, with files that are not ours, and opened twice.

use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::encoding::frame::BLOCK;
use crate::ids::{CoreId, Epoch, PartitionId, Position, Slot};
use crate::storage::files::list;
use crate::storage::model::World;
use crate::storage::snapshot::{SectionHeader, SnapshotWriter, Subject, verify};
use crate::storage::{Installed, Unproven};

const PARTITION: PartitionId = PartitionId(1);

fn partitions() -> Partitions {
    Partitions::new(4).unwrap()
}

fn open(dir: &Path) -> DataDir {
    DataDir::open(dir, partitions()).unwrap().0
}

fn subject(data: &DataDir) -> Subject {
    Subject { id: data.id(), partitions: partitions(), partition: PARTITION }
}

fn upload(data: &DataDir, position: Position) -> (PathBuf, Installed) {
    let file = data.path().join(path::INCOMING).join("upload");
    let mut writer = SnapshotWriter::create(&file, subject(data), position).unwrap();
    let slot = Slot(partitions().slots(PARTITION).start);
    writer.section(SectionHeader { slot, position, entries: 1, bytes: 5, digest: 77 }, b"entry").unwrap();
    let summary = writer.finish().unwrap();
    (file, summary.installed)
}

/// Positions of the snapshots that [`live`] installs.
fn positions() -> [Position; 3] {
    [Position::new(Epoch(1), Lsn(5)), Position::new(Epoch(1), Lsn(12)), Position::new(Epoch(2), Lsn(3))]
}

/// Lives through two epochs, three snapshots, and a truncation that drops the first epoch and a part of the second.
fn live(dir: &Path) {
    let data = open(dir);
    let [first, second, third] = positions();
    let stream = |epoch, core| StreamId::new(Epoch(epoch), CoreId(core));
    data.begin_epoch(2, 4096).unwrap();
    for position in [first, second] {
        let (file, installed) = upload(&data, position);
        data.install_snapshot(PARTITION, &file, installed).unwrap();
    }
    data.end_epoch(Epoch(1), &[(CoreId(0), Lsn(12)), (CoreId(1), Lsn(0))], []).unwrap();
    data.begin_epoch(1, 4096).unwrap();
    for segment in [3, 9] {
        std::fs::write(path::segment(dir, stream(2, 0), Lsn(segment)), b"a segment").unwrap();
    }
    let (file, installed) = upload(&data, third);
    data.install_snapshot(PARTITION, &file, installed).unwrap();
    data.drop_log(&[(stream(1, 0), Lsn(13)), (stream(2, 0), Lsn(4))]).unwrap();
}

/// The test below runs this in a process of its own, which dies on the way; alone, this does nothing.
#[test]
fn dies_on_the_way() {
    if let Some(dir) = std::env::var_os("ROLLBOOK_TEST_DIR") {
        live(Path::new(&dir));
    }
}

/// Checks what must hold after a crash at any moment of [`live`].
fn check(dir: &Path, what: &str) {
    let data = open(dir);
    let manifest = data.manifest();
    let generations = manifest.generations(PARTITION);
    let installed: Vec<_> = [generations.older, generations.newest].into_iter().flatten().collect();
    // The generations are two successive ones of those installed, or the first, or none; each file is there and whole.
    let found: Vec<_> = installed.iter().map(|s| s.position).collect();
    assert!(positions().windows(found.len().max(1)).any(|w| found.is_empty() || w == found), "{what}: {found:?}");
    for snapshot in &installed {
        let summary = verify(&path::snapshot(dir, PARTITION, snapshot.position), subject(&data)).unwrap();
        assert_eq!(summary.installed, *snapshot, "{what}");
    }
    // Every segment that the manifest says is needed is there, and segments of no other epoch are.
    for (stream, record) in manifest.kept_streams() {
        let spec = data.stream(stream).unwrap();
        assert!(!crate::storage::log::segments::plan(&OsFiles, &spec, record.first).unwrap().is_empty(), "{what}");
    }
    let epochs = list(&OsFiles, &dir.join(path::LOG)).unwrap();
    let expected: Vec<_> = manifest.epochs.iter().map(|e| format!("{:010}", e.epoch.0)).collect();
    assert_eq!(epochs, expected, "{what}");
    // Log is gone only where the older generation makes it superfluous.
    let oldest_kept = manifest.stream(StreamId::new(Epoch(2), CoreId(0))).map_or(Lsn(1), |r| r.first);
    assert!(oldest_kept == Lsn(1) || found == positions()[1..], "{what}");
    // A next epoch can begin.
    if let Some(open) = manifest.open_epoch() {
        let ends: Vec<_> = (0..).map(CoreId).zip(&open.streams).map(|(core, _)| (core, Lsn(20))).collect();
        data.end_epoch(open.epoch, &ends, []).unwrap();
    }
    let before = manifest.newest_epoch().map_or(Epoch(0), |e| e.epoch);
    assert_eq!(data.begin_epoch(2, 4096).unwrap(), Epoch(before.0 + 1), "{what}");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    let whole = tempfile::tempdir().unwrap();
    live(whole.path());
    check(whole.path(), "no crash");
    let steps = [
        ("manifest.copy-written", 16),
        ("epoch.segments-made", 2),
        ("epoch.synced", 1),
        ("install.synced", 3),
        ("install.moved", 3),
        ("install.recorded", 3),
        ("truncate.recorded", 1),
    ];
    for (step, times) in steps {
        for time in 1..=times {
            let dir = tempfile::tempdir().unwrap();
            let died = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "storage::directory::tests::dies_on_the_way"])
                .env("ROLLBOOK_TEST_DIR", dir.path())
                .env("ROLLBOOK_FAILPOINT", format!("{step}:{time}"))
                .output()
                .unwrap();
            assert!(!died.status.success(), "{step}:{time} was never reached");
            check(dir.path(), &format!("{step}:{time}"));
        }
    }
}

/// The next process reads what a killed one has left in the page cache only: once the ends are decided, no power
/// failure takes it away.
#[test]
fn every_stream_is_on_disk_once_its_end_is_decided() {
    for seed in 0..20 {
        let world = World::new(seed, 1);
        let (process, dir) = (world.process(0), Path::new("/master"));
        let (data, _) = DataDir::open_in(process.clone(), dir, partitions()).unwrap();
        let epoch = data.begin_epoch(3, 16 << 10).unwrap();
        let segments = [0, 1, 2].map(|core| path::segment(dir, StreamId::new(epoch, CoreId(core)), Lsn(1)));
        for segment in &segments {
            let file = Files::open(&process, segment, Access::Write).unwrap();
            file.write_at(BLOCK as u64, &[1; BLOCK]).unwrap();
        }
        data.end_epoch(epoch, &[0, 1, 2].map(|core| (CoreId(core), Lsn(1))), []).unwrap();
        drop(data);
        world.power_off(0);
        for segment in &segments {
            let bytes = files::read_whole(&world.process(0), segment).unwrap();
            assert!(bytes[BLOCK..2 * BLOCK] == [1; BLOCK], "seed {seed}: {}", segment.display());
        }
    }
}

#[test]
fn a_directory_is_one_process_and_one_number_of_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    assert!(matches!(DataDir::open(dir.path(), partitions()), Err(StorageError::InUse { .. })));
    assert!(matches!(DataDir::open_read_only(dir.path()), Err(StorageError::InUse { .. })));
    drop(first);
    let other = DataDir::open(dir.path(), Partitions::new(8).unwrap());
    assert!(matches!(other, Err(StorageError::Unusable { .. })));
    assert!(DataDir::open_read_only(dir.path()).unwrap().is_some());
}

/// A child that another thread has forked holds the lock until its exec, even after this process has released it.
#[test]
fn a_lock_that_is_given_back_within_a_moment_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    for read_only in [false, true] {
        let lock = std::fs::File::open(dir.path().join(path::LOCK)).unwrap();
        lock.try_lock().unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(LOCK_PATIENCE / 4);
            drop(lock);
        });
        if read_only {
            assert!(DataDir::open_read_only(dir.path()).unwrap().is_some());
        } else {
            open(dir.path());
        }
        holder.join().unwrap();
    }
}

#[test]
fn what_is_not_ours_is_left_and_what_belongs_to_nothing_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path());
    let strangers = ["notes.txt", "log/notes.txt", "snapshots/notes.txt", "log/0000000002/00000/notes.txt"];
    for stranger in strangers {
        std::fs::write(dir.path().join(stranger), b"mine").unwrap();
    }
    let orphan = path::snapshot(dir.path(), PARTITION, Position::new(Epoch(7), Lsn(7)));
    std::fs::write(&orphan, b"orphan").unwrap();
    let looked = DataDir::open_read_only(dir.path()).unwrap().unwrap().1;
    assert_eq!(looked.set_aside, std::slice::from_ref(&orphan));
    assert!(orphan.exists());
    let (_data, found) = DataDir::open(dir.path(), partitions()).unwrap();
    assert_eq!(found.set_aside.len(), 1);
    assert!(!orphan.exists() && std::fs::read(&found.set_aside[0]).unwrap() == b"orphan");
    assert_eq!(found.unknown, looked.unknown);
    assert!(strangers.iter().all(|stranger| dir.path().join(stranger).exists()));
}

#[test]
fn an_epoch_with_edits_that_the_manifest_does_not_know_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let old = path::MANIFESTS.map(|name| std::fs::read(dir.path().join(name)).unwrap());
    let epoch = data.begin_epoch(1, 64 << 10).unwrap();
    let segment = path::segment(dir.path(), StreamId::new(epoch, CoreId(0)), Lsn(1));
    drop(data);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096] = 1;
    std::fs::write(&segment, bytes).unwrap();
    for (name, bytes) in path::MANIFESTS.iter().zip(old) {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let refused = DataDir::open(dir.path(), partitions()).unwrap_err();
    assert!(matches!(refused, StorageError::Corrupt(ref c) if c.file == segment), "{refused}");
}

#[test]
fn data_without_a_manifest_is_not_an_empty_directory() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path());
    for name in path::MANIFESTS {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert!(matches!(DataDir::open(dir.path(), partitions()), Err(StorageError::Corrupt(_))));
    assert!(matches!(DataDir::open_read_only(dir.path()), Err(StorageError::Corrupt(_))));
}

#[test]
fn the_last_snapshot_is_not_forgotten_when_the_log_is_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path());
    let data = open(dir.path());
    let [_, second, third] = positions();
    let generations = data.manifest().generations(PARTITION);
    data.discard_snapshots(&[(PARTITION, generations.newest.unwrap())]).unwrap();
    assert!(!path::snapshot(dir.path(), PARTITION, third).exists());
    data.discard_snapshots(&[(PARTITION, generations.older.unwrap())]).unwrap();
    assert_eq!(data.manifest().generations(PARTITION).newest.map(|s| s.position), Some(second));
    assert!(path::snapshot(dir.path(), PARTITION, second).exists());
}

#[test]
fn a_snapshot_that_is_not_newer_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path());
    let data = open(dir.path());
    let before = data.manifest();
    for position in positions() {
        let (file, installed) = upload(&data, position);
        data.install_snapshot(PARTITION, &file, installed).unwrap();
        assert!(!file.exists());
    }
    assert_eq!(data.manifest(), before);
}

/// Segments wholly behind a cut are never read; they are removed with the rest of their stream, even if their epoch is
/// still needed.
#[test]
fn segments_behind_a_cut_go_when_their_stream_is_not_needed_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let epoch = data.begin_epoch(2, 4096).unwrap();
    let stream = StreamId::new(epoch, CoreId(0));
    let segments = [1, 4, 9].map(|first| path::segment(dir.path(), stream, Lsn(first)));
    segments[1..].iter().for_each(|segment| std::fs::write(segment, b"a segment").unwrap());
    data.end_epoch(epoch, &[(CoreId(0), Lsn(5)), (CoreId(1), Lsn(7))], []).unwrap();
    let spec = data.stream(stream).unwrap();
    let read = crate::storage::log::segments::plan(&OsFiles, &spec, Lsn(1)).unwrap();
    assert_eq!(read.iter().map(|(first, _)| first.0).collect::<Vec<_>>(), [1, 4]);
    data.begin_epoch(1, 4096).unwrap();
    data.drop_log(&[(stream, Lsn(5))]).unwrap();
    assert_eq!(segments.each_ref().map(|segment| segment.exists()), [false, true, true]);
    data.drop_log(&[(stream, Lsn(6))]).unwrap();
    assert_eq!(segments.each_ref().map(|segment| segment.exists()), [false; 3]);
    assert_eq!(data.manifest().epochs.len(), 2, "the other stream is needed");
}

#[test]
fn starts_on_a_full_disk_are_paid_for_by_the_reserve_as_long_as_it_lasts() {
    let world = World::new(1, 1);
    let (process, dir) = (world.process(0), Path::new("/master"));
    let (data, _) = DataDir::open_in(process.clone(), dir, partitions()).unwrap();
    let size = |file: &Path| Files::open(&process, file, Access::Read).unwrap().size().unwrap();
    let begin = || {
        let epoch = data.begin_epoch(2, 256 << 10)?;
        let sizes = [0, 1].map(|core| size(&path::segment(dir, StreamId::new(epoch, CoreId(core)), Lsn(1))));
        data.end_epoch(epoch, &[(CoreId(0), Lsn(0)), (CoreId(1), Lsn(0))], [])?;
        Ok::<_, StorageError>((epoch, sizes))
    };
    let capacity = |bytes: fn(u64) -> Option<u64>| world.disk(0, |disk, _| disk.capacity = bytes(disk.used()));
    assert_eq!(begin().unwrap(), (Epoch(1), [256 << 10; 2]));
    let reserve = size(&dir.join(path::RESERVE));
    for start in 1..=4 {
        capacity(Some);
        assert_eq!(begin().unwrap(), (Epoch(1 + start), [64 << 10; 2]), "a smaller segment for each core");
    }
    assert!(!process.exists(&dir.join(path::RESERVE)), "it is used up, and does not stay as an empty file");
    capacity(Some);
    assert!(begin().unwrap_err().is_disk_full());
    capacity(|_| None);
    assert_eq!(begin().unwrap(), (Epoch(6), [256 << 10; 2]));
    assert_eq!(size(&dir.join(path::RESERVE)), reserve, "it is filled again");
}

/// The kernel calls clean what a failed sync has left in the cache, though it is not on disk: it must be written again.
#[test]
fn what_nothing_proves_to_be_on_disk_is_written_again_before_its_end_is_recorded() {
    let world = World::new(1, 1);
    let (process, dir) = (world.process(0), Path::new("/master"));
    let (data, _) = DataDir::open_in(process.clone(), dir, partitions()).unwrap();
    let epoch = data.begin_epoch(1, 16 << 10).unwrap();
    let file = path::segment(dir, StreamId::new(epoch, CoreId(0)), Lsn(1));
    // Longer than one step of writing again, and no two blocks alike.
    let (offset, content): (_, Vec<u8>) = (BLOCK as u64, (0..BLOCK * 259).map(|at| (at / 100) as u8 | 1).collect());
    let segment = Files::open(&process, &file, Access::Write).unwrap();
    segment.write_at(offset, &content).unwrap();
    world.disk(0, |disk, _| disk.sync_fails_in = Some(0));
    segment.sync().unwrap_err();
    let unproven = Unproven { file: file.clone(), offset, bytes: content.len() as u64 };
    data.end_epoch(epoch, &[(CoreId(0), Lsn(1))], [&unproven]).unwrap();
    world.power_off(0);
    let found = files::read_whole(&world.process(0), &file).unwrap();
    assert!(found[BLOCK..BLOCK + content.len()] == content);
}

#[test]
fn streams_that_were_closed_have_their_ends_in_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let epoch = data.begin_epoch(2, 64 << 10).unwrap();
    data.close_streams(epoch, &[(CoreId(1), Lsn(7))]).unwrap();
    drop(data);
    let ends =
        |data: &DataDir| [0, 1].map(|core| data.manifest().stream(StreamId::new(epoch, CoreId(core))).unwrap().last);
    let data = open(dir.path());
    assert_eq!(ends(&data), [None, Some(Lsn(7))]);
    assert!(data.close_streams(epoch, &[(CoreId(1), Lsn(8))]).is_err(), "it has ended");
    data.close_streams(epoch, &[(CoreId(0), Lsn(0))]).unwrap();
    assert_eq!(ends(&data), [Some(Lsn(0)), Some(Lsn(7))]);
}

#[test]
fn each_change_and_each_repair_has_the_next_number_and_what_changes_nothing_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let sequence = || {
        let loaded = copies::load(&OsFiles, dir.path()).unwrap().unwrap();
        (loaded.sequence, loaded.repair)
    };
    let (first, _) = sequence();
    let epoch = data.begin_epoch(1, 64 << 10).unwrap();
    data.close_streams(epoch, &[(CoreId(0), Lsn(3))]).unwrap();
    assert_eq!(sequence(), (first + 2, None));
    data.drop_log(&[(StreamId::new(epoch, CoreId(0)), Lsn(0))]).unwrap();
    assert_eq!(sequence(), (first + 2, None));
    drop(data);
    std::fs::write(dir.path().join(path::MANIFESTS[0]), b"rot").unwrap();
    let (data, looked) = DataDir::open_read_only(dir.path()).unwrap().unwrap();
    assert!(looked.repaired_manifest.is_some());
    data.drop_log(&[(StreamId::new(epoch, CoreId(0)), Lsn(2))]).unwrap();
    assert!(sequence().1.is_some(), "whoever only looks mends and changes nothing");
    drop(data);
    let (_data, found) = DataDir::open(dir.path(), partitions()).unwrap();
    assert_eq!(found.repaired_manifest, looked.repaired_manifest);
    assert_eq!(sequence(), (first + 3, None));
}

#[test]
fn after_a_failed_change_there_is_no_other_but_after_a_full_disk_there_is() {
    let world = World::new(1, 1);
    let (process, dir) = (world.process(0), Path::new("/master"));
    let (data, _) = DataDir::open_in(process, dir, partitions()).unwrap();
    let epoch = data.begin_epoch(2, 16 << 10).unwrap();
    let install = |n: u64| {
        data.change(|manifest| {
            let position = Position::new(epoch, Lsn(n));
            let installed = Installed { position, bytes: 1, crc: 2, digest: 3 };
            manifest.install(PARTITION, installed);
            // This makes the manifest longer than a block.
            if n == 1 {
                manifest.epochs = vec![manifest.epochs[0].clone(); 400];
            }
            Ok(())
        })
    };
    world.disk(0, |disk, _| disk.capacity = Some(disk.used()));
    assert!(install(1).unwrap_err().is_disk_full());
    install(2).unwrap();
    world.disk(0, |disk, _| disk.write_fails_in = Some(0));
    install(3).unwrap_err();
    let refused = install(4).unwrap_err();
    assert!(refused.to_string().contains("an earlier write failed"), "{refused}");
    assert_eq!(data.manifest().generations(PARTITION).newest.unwrap().position.lsn, Lsn(2));
}

#[test]
fn what_is_dropped_gives_back_its_bytes_and_what_is_left_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let first = 64 << 10;
    let epoch = data.begin_epoch(2, first).unwrap();
    let stream = |core| StreamId::new(epoch, CoreId(core));
    for (segment, bytes) in [(3, 100), (9, 30)] {
        std::fs::write(path::segment(dir.path(), stream(0), Lsn(segment)), vec![1; bytes]).unwrap();
    }
    assert_eq!(data.ended_log_bytes().unwrap(), 0, "the epoch is open");
    data.end_epoch(epoch, &[(CoreId(0), Lsn(12)), (CoreId(1), Lsn(5))], []).unwrap();
    assert_eq!(data.ended_log_bytes().unwrap(), 2 * first + 130);
    assert_eq!(data.drop_log(&[(stream(0), Lsn(9))]).unwrap(), first + 100);
    assert_eq!(data.ended_log_bytes().unwrap(), first + 30);
    data.begin_epoch(1, first).unwrap();
    assert_eq!(data.drop_log(&[(stream(0), Lsn(13)), (stream(1), Lsn(6))]).unwrap(), first + 30);
    assert_eq!(data.ended_log_bytes().unwrap(), 0);
    assert!(!path::epoch(dir.path(), epoch).exists());
}
