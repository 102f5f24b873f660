//! Promise: whatever happens to the bytes of a stopped server, the next start either refuses, naming file and place, or
//! holds everything that was acknowledged. It never starts with a hole, with a wrong value or empty.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Home, Refused, Server, rng, rounds, verify};

/// As sysexits has it: the input data was incorrect.
const DATA_ERROR: i32 = 65;
/// Number of acknowledged writes, each in a commit of its own.
const WRITES: usize = 12;

/// How the server ends before the damage is done.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Killed,
    Stopped,
}

/// A home whose small log holds [`WRITES`] keys, all acknowledged as durable.
fn written(end: End) -> Home {
    let home = Home::new().set("server.cores", "1").set("log.durability", "sync").set("log.segment_bytes", "1048576");
    let mut server = home.start();
    let mut conn = server.connect();
    for n in 0..WRITES {
        assert_eq!(conn.call(&format!("SET key:{n} value:{n}")).text(), "OK");
    }
    // When the log falls idle it writes down how far it is durable.
    sleep(Duration::from_millis(500));
    match end {
        End::Killed => server.kill(),
        End::Stopped => assert!(server.terminate().success()),
    }
    home
}

/// How many of the writes are held; panics unless they are the first ones, and whole.
fn held(server: &Server) -> usize {
    let mut conn = server.connect();
    let values: Vec<Option<String>> = (0..WRITES)
        .map(|n| conn.call(&format!("GET key:{n}")).bytes().map(|value| String::from_utf8_lossy(value).into_owned()))
        .collect();
    let held = values.iter().take_while(|value| value.is_some()).count();
    assert!(values[held..].iter().all(Option::is_none), "a hole: {values:?}");
    assert!(values.iter().take(held).enumerate().all(|(n, value)| *value == Some(format!("value:{n}"))), "{values:?}");
    assert_eq!(conn.call("DBSIZE").int(), i64::try_from(held).expect("a count"));
    held
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), extension));
        } else if entry.path().extension().is_some_and(|found| found == extension) {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The only segment that holds edits.
fn segment(home: &Home) -> PathBuf {
    let segments = files(&home.data().join("log"), "seg");
    segments.into_iter().max_by_key(|path| used_bytes(path)).expect("a segment")
}

/// Where the last byte that is not zero ends.
fn used_bytes(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("read a segment");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create a directory");
    for entry in fs::read_dir(from).expect("list a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a file");
        }
    }
}

/// Runs `attempt` on the home's data and puts the data back afterwards.
fn with_copy<T>(home: &Home, attempt: impl FnOnce() -> T) -> T {
    let original = home.path().join("original");
    if !original.exists() {
        copy(&home.data(), &original);
    }
    let result = attempt();
    fs::remove_dir_all(home.data()).expect("remove the damaged data");
    copy(&original, &home.data());
    result
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open a file to damage");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read a byte");
    byte[0] ^= 1 << (at % 8);
    file.write_all_at(&byte, at).expect("write a byte");
}

fn assert_says_where(refused: &Refused, path: &Path, what: &str) {
    assert_eq!(refused.status.code(), Some(DATA_ERROR), "{what}: {refused}");
    let name = path.file_name().expect("a file's name").to_string_lossy();
    assert!(refused.log.contains(&*name), "{what}: the refusal does not name {name}: {refused}");
}

/// Starts on damaged data: refused by name, or all is held.
fn start_refuses_or_holds_all(home: &Home, path: &Path, what: &str) -> bool {
    match home.try_start() {
        Ok(server) => {
            assert_eq!(held(&server), WRITES, "{what}: acknowledged writes are lost");
            true
        }
        Err(refused) => {
            assert_says_where(&refused, path, what);
            false
        }
    }
}

#[test]
fn every_flipped_byte_of_the_log_is_seen_by_inspect() {
    for end in [End::Killed, End::Stopped] {
        let home = written(end);
        let segment = segment(&home);
        let used = used_bytes(&segment);
        assert_eq!(verify(&home.data()).code, Some(0));
        let (mut sound, mut corrupt) = (0, 0);
        let bytes = fs::read(&segment).expect("read a segment");
        for at in 0..used {
            // What fills a block up is not looked at byte by byte: every 64th stands for its neighbours.
            let window = at.saturating_sub(8) as usize..(at as usize + 8).min(bytes.len());
            if at % 64 != 0 && bytes[window].iter().all(|byte| *byte == bytes[at as usize]) {
                continue;
            }
            flip(&segment, at);
            let verdict = verify(&home.data());
            flip(&segment, at);
            match verdict.code {
                Some(0) => sound += 1,
                Some(DATA_ERROR) => corrupt += 1,
                other => panic!("byte {at}: {other:?}: {}", verdict.text),
            }
        }
        eprintln!("{used} bytes: {sound} flips harmless, {corrupt} corrupt");
        assert!(corrupt > sound, "{sound} flips harmless, {corrupt} corrupt");
    }
}

#[test]
fn a_start_on_a_flipped_byte_refuses_or_holds_all_as_inspect_says() {
    let mut rng = rng();
    for end in [End::Killed, End::Stopped] {
        let home = written(end);
        let segment = segment(&home);
        let used = used_bytes(&segment);
        for _ in 0..rounds(40) {
            let at = rng.u64(0..used);
            with_copy(&home, || {
                flip(&segment, at);
                let verdict = verify(&home.data());
                let started = start_refuses_or_holds_all(&home, &segment, &format!("byte {at} of {used} flipped"));
                assert_eq!(started, verdict.code == Some(0), "byte {at}: start and inspect differ: {}", verdict.text);
            });
        }
    }
}

#[test]
fn a_start_on_a_log_that_was_cut_refuses_or_holds_a_first_part() {
    let mut rng = rng();
    for end in [End::Killed, End::Stopped] {
        let home = written(end);
        let segment = segment(&home);
        let used = used_bytes(&segment);
        let blocks = (0..=used / 4096).map(|block| block * 4096);
        let cuts: Vec<u64> = blocks.chain((0..rounds(20)).map(|_| rng.u64(0..used))).collect();
        for at in cuts {
            let what = format!("cut at byte {at} of {used}");
            with_copy(&home, || {
                let file = OpenOptions::new().write(true).open(&segment).expect("open a segment");
                file.set_len(at).expect("cut a segment");
                match home.try_start() {
                    Ok(server) if end == End::Stopped => assert_eq!(held(&server), WRITES, "{what}"),
                    Ok(server) => eprintln!("{what}: {} of {WRITES} held", held(&server)),
                    Err(refused) => assert_says_where(&refused, &segment, &what),
                }
            });
        }
    }
}

#[test]
fn zeros_and_frames_in_the_wrong_place_are_no_frames() {
    let home = written(End::Killed);
    let segment = segment(&home);
    let blocks = used_bytes(&segment) / 4096;
    for block in 1..blocks {
        for (what, source) in [("zeroed", None), ("copied over", Some(block - 1)), ("copied over", Some(1))] {
            if source == Some(block) {
                continue;
            }
            with_copy(&home, || {
                let file = OpenOptions::new().read(true).write(true).open(&segment).expect("open a segment");
                let mut bytes = vec![0; 4096];
                if let Some(source) = source {
                    file.read_exact_at(&mut bytes, source * 4096).expect("read a block");
                }
                file.write_all_at(&bytes, block * 4096).expect("write a block");
                start_refuses_or_holds_all(&home, &segment, &format!("block {block} {what} by {source:?}"));
            });
        }
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    for end in [End::Killed, End::Stopped] {
        let home = written(end);
        let segment = segment(&home);
        with_copy(&home, || {
            fs::remove_file(&segment).expect("remove a segment");
            let refused = home.try_start().err().expect("a start without the log must be refused");
            assert_eq!(refused.status.code(), Some(DATA_ERROR), "{refused}");
        });
        with_copy(&home, || {
            File::create(&segment).expect("empty a segment");
            let refused = home.try_start().err().expect("a start with an empty log must be refused");
            assert_says_where(&refused, &segment, "an empty segment");
        });
    }
}

/// After an end in good order it is known where each stream ended, so its newest segment is missed, whatever became of
/// it.
#[test]
fn the_end_of_a_log_that_was_closed_in_good_order_is_missed() {
    let home = Home::new()
        .set("server.cores", "2")
        .set("log.durability", "sync")
        .set("log.segment_bytes", "65536")
        .set("log.buffer_bytes", "8192");
    let mut server = home.start();
    let mut conn = server.connect();
    let value = "v".repeat(1_000);
    for n in 0..200 {
        assert_eq!(conn.command(&["SET", &format!("key:{n}"), &value]).text(), "OK");
    }
    assert!(server.terminate().success());
    let streams = [0, 1].map(|core| files(&home.data().join(format!("log/0000000001/{core:05}")), "seg"));
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("gone", |path| fs::remove_file(path).expect("remove a segment")),
        ("empty after its header", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("open a segment");
            file.write_all_at(&vec![0; 65536 - 4096], 4096).expect("empty a segment");
        }),
        ("gone with the one before it", |path| {
            let segments = files(path.parent().expect("a stream"), "seg");
            segments.iter().rev().take(2).for_each(|path| fs::remove_file(path).expect("remove a segment"));
        }),
    ];
    for (core, segments) in streams.iter().enumerate() {
        assert!(segments.len() > 3, "{segments:?}");
        let newest = segments.iter().rfind(|path| used_bytes(path) > 8192).expect("a segment with edits");
        for (what, damage) in &damages {
            with_copy(&home, || {
                // What follows it holds nothing but the seal.
                segments.iter().filter(|path| *path > newest).for_each(|path| fs::remove_file(path).expect("remove"));
                damage(newest);
                let refused = home.try_start().err().unwrap_or_else(|| panic!("core {core}, {what}: it starts"));
                assert_eq!(refused.status.code(), Some(DATA_ERROR), "core {core}, {what}: {refused}");
                let named = format!("stream 1/{core} ends with edit");
                assert!(refused.log.contains(&named), "core {core}, {what}: {refused}");
                assert_eq!(verify(&home.data()).code, Some(DATA_ERROR), "core {core}, {what}");
            });
        }
    }
    let server = home.start();
    assert_eq!(server.connect().call("DBSIZE").int(), 200);
}

#[test]
fn one_copy_of_the_manifest_is_enough_and_none_is_not() {
    let home = written(End::Stopped);
    let manifests = ["manifest.0", "manifest.1"].map(|name| home.data().join(name));
    for manifest in &manifests {
        let length = fs::metadata(manifest).expect("a manifest").len();
        for at in [0, length / 2, length - 1] {
            with_copy(&home, || {
                flip(manifest, at);
                let what = format!("byte {at} of a manifest flipped");
                assert!(start_refuses_or_holds_all(&home, manifest, &what), "{what}: refused");
            });
        }
    }
    with_copy(&home, || {
        manifests.iter().for_each(|manifest| flip(manifest, 0));
        let refused = home.try_start().err().expect("a start without a manifest must be refused");
        assert_says_where(&refused, &manifests[0], "both manifests flipped");
    });
    with_copy(&home, || {
        manifests.iter().for_each(|manifest| fs::remove_file(manifest).expect("remove a manifest"));
        let refused = home.try_start().err().expect("data without a manifest must not be taken for an empty directory");
        assert_eq!(refused.status.code(), Some(DATA_ERROR), "{refused}");
    });
}

#[test]
fn a_damaged_snapshot_costs_time_or_a_refusal_but_no_data() {
    let mut rng = rng();
    let home = Home::with_node().set("server.cores", "1").set("log.durability", "sync");
    let mut server = home.start();
    let mut conn = server.connect();
    for generation in 0..2 {
        for n in 0..WRITES {
            conn.call(&format!("SET key:{n} older:{n}"));
            conn.call(&format!("SET key:{n} value:{n}"));
        }
        assert_eq!(conn.call("SAVE").text(), "OK", "generation {generation}");
    }
    assert!(server.terminate().success());
    for _ in 0..rounds(15) {
        let snapshots = files(&home.data().join("snapshots"), "snap");
        let snapshot = rng.choice(&snapshots).expect("a snapshot").clone();
        let length = fs::metadata(&snapshot).expect("a snapshot").len();
        let what = format!("{} damaged", snapshot.display());
        with_copy(&home, || {
            match rng.u8(0..3) {
                0 => flip(&snapshot, rng.u64(0..length)),
                1 => {
                    let file = OpenOptions::new().write(true).open(&snapshot).expect("open a snapshot");
                    file.set_len(rng.u64(0..length)).expect("cut a snapshot");
                }
                _ => fs::remove_file(&snapshot).expect("remove a snapshot"),
            }
            start_refuses_or_holds_all(&home, &snapshot, &what);
        });
    }
}

/// A home whose log no longer begins with the first edit: what was dropped of it is in two generations of snapshots.
fn with_a_log_that_was_cut() -> Home {
    let home = Home::with_node()
        .set("server.cores", "1")
        .set("data.partitions", "4")
        .set("log.durability", "sync")
        .set("log.segment_bytes", "1048576")
        .set("checkpoint.every_seconds", "1");
    let mut server = home.start();
    let mut conn = server.connect();
    for n in 0..WRITES {
        assert_eq!(conn.call(&format!("SET key:{n} value:{n}")).text(), "OK");
    }
    let large = "x".repeat(100_000);
    while server.info_number("log_dropped_bytes") == 0.0 {
        // In every partition, so that each gets new generations.
        let commands: Vec<Vec<String>> =
            (0..20).map(|n| vec!["SET".to_owned(), format!("large:{n}"), large.clone()]).collect();
        conn.pipeline(&commands);
        assert!(!conn.call("SAVE").is_error());
    }
    let deleted: Vec<String> = (0..20).map(|n| format!("large:{n}")).collect();
    assert_eq!(conn.command(&[&["DEL".to_owned()][..], &deleted].concat()).int(), 20);
    assert!(server.terminate().success());
    home
}

#[test]
fn snapshots_that_are_gone_are_missed() {
    let home = with_a_log_that_was_cut();
    let snapshots = files(&home.data().join("snapshots"), "snap");
    let gone: [(&str, Vec<PathBuf>); 2] = [
        ("all", snapshots.clone()),
        (
            "one partition's",
            snapshots.iter().filter(|path| path.to_string_lossy().contains("/00002/")).cloned().collect(),
        ),
    ];
    for (what, gone) in gone {
        assert!(!gone.is_empty());
        with_copy(&home, || {
            gone.iter().for_each(|path| fs::remove_file(path).expect("remove a snapshot"));
            let refused = home.try_start().err().unwrap_or_else(|| panic!("{what} gone, and a server starts"));
            assert_eq!(refused.status.code(), Some(DATA_ERROR), "{what} gone: {refused}");
            assert_eq!(verify(&home.data()).code, Some(DATA_ERROR));
        });
    }
    let newest = snapshots.last().expect("a snapshot");
    with_copy(&home, || {
        fs::remove_file(newest).expect("remove a snapshot");
        assert!(start_refuses_or_holds_all(&home, newest, "the newest gone"), "the one before and the log are enough");
    });
}

#[test]
fn a_snapshot_of_another_partition_or_position_is_not_taken() {
    let mut rng = rng();
    let home = with_a_log_that_was_cut();
    let snapshots = files(&home.data().join("snapshots"), "snap");
    for victim in &snapshots {
        // The other generation of the partition, and one of another.
        let of_the_same = |other: &&PathBuf| other.parent() == victim.parent() && *other != victim;
        let of_others: Vec<_> = snapshots.iter().filter(|other| other.parent() != victim.parent()).collect();
        for other in snapshots.iter().filter(of_the_same).chain(rng.choice(of_others)) {
            with_copy(&home, || {
                fs::copy(other, victim).expect("copy a snapshot over another");
                let what = format!("{} over {}", other.display(), victim.display());
                assert!(start_refuses_or_holds_all(&home, victim, &what), "{what}: the other generation is enough");
            });
        }
    }
}

#[test]
fn files_of_another_version_are_refused_in_words() {
    let (young, old) = (written(End::Killed), with_a_log_that_was_cut());
    let manifests = ["manifest.0", "manifest.1"].map(|name| young.data().join(name));
    let snapshots = files(&old.data().join("snapshots"), "snap");
    for (home, files) in [(&young, manifests.to_vec()), (&young, vec![segment(&young)]), (&old, snapshots)] {
        with_copy(home, || {
            for path in &files {
                let file = OpenOptions::new().write(true).open(path).expect("open a file");
                // In every format the version stands behind eight bytes that say what it is.
                file.write_all_at(&99u32.to_le_bytes(), 8).expect("write a version");
            }
            let refused =
                home.try_start().err().unwrap_or_else(|| panic!("{files:?} of another version, and it starts"));
            assert!(matches!(refused.status.code(), Some(65 | 78)), "{refused}");
            assert!(refused.log.contains("format version 99"), "{refused}");
        });
    }
}

#[test]
fn unknown_files_are_not_deleted() {
    let home = written(End::Stopped);
    let strangers = [home.data().join("notes.txt"), home.data().join("log").join("notes.txt")];
    strangers.iter().for_each(|path| fs::write(path, "mine").expect("write a file"));
    let mut server = home.start();
    assert_eq!(held(&server), WRITES);
    assert!(server.terminate().success());
    let kept = files(&home.data(), "txt");
    assert_eq!(kept.len(), strangers.len(), "{kept:?}");
}
