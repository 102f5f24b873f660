//! Promise: whatever happens to the checkpoint node's own directory, the node comes back by itself, from the master's
//! snapshots and log, and nothing wrong of it ever reaches the master.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Dump, Home, Server, eventually, rng, rounds, verify};
use fastrand::Rng;

const PATIENCE: Duration = Duration::from_secs(60);

fn fill(server: &Server, name: &str) {
    let value = "v".repeat(500);
    let sets: Vec<Vec<String>> =
        (0..2_000).map(|n| vec!["SET".to_owned(), format!("{name}:{n}"), value.clone()]).collect();
    let mut conn = server.connect();
    sets.chunks(500).for_each(|chunk| drop(conn.pipeline(chunk)));
}

fn save(server: &Server) {
    eventually("a checkpoint", PATIENCE, || (!server.connect().call("SAVE").is_error()).then_some(()));
}

fn snapshots(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(snapshots(&entry.path()));
        } else if entry.path().extension().is_some_and(|extension| extension == "snap") {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// What is done to every own snapshot.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flipped,
    Cut,
    Emptied,
    /// Each has the content of its neighbour: right in itself, but of another partition.
    Swapped,
    /// Everything is gone, the directories too.
    Gone,
    /// A name that says more than there is.
    Renamed,
}

fn damage(directory: &Path, how: Damage, rng: &mut Rng) {
    let files = snapshots(directory);
    assert!(files.len() > 50, "only {} own snapshots", files.len());
    let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("read a snapshot")).collect();
    for (number, file) in files.iter().enumerate() {
        let length = contents[number].len() as u64;
        let open = || OpenOptions::new().write(true).open(file).expect("open a snapshot");
        match how {
            Damage::Flipped => {
                let at = rng.u64(0..length);
                let byte = contents[number][at as usize] ^ (1 << rng.u8(0..8));
                open().write_all_at(&[byte], at).expect("flip a bit");
            }
            Damage::Cut => open().set_len(rng.u64(0..length)).expect("cut a snapshot"),
            Damage::Emptied => open().set_len(0).expect("empty a snapshot"),
            Damage::Swapped => fs::write(file, &contents[(number + 1) % files.len()]).expect("swap snapshots"),
            Damage::Renamed => {
                let name =
                    file.file_name().expect("a name").to_string_lossy().replace("-00000000000000", "-00000000000001");
                fs::rename(file, file.with_file_name(name)).expect("rename a snapshot");
            }
            Damage::Gone => {}
        }
    }
    if let Damage::Gone = how {
        fs::remove_dir_all(directory.join("snapshots")).expect("remove the snapshots");
    }
}

#[test]
fn every_own_snapshot_damaged() {
    let mut rng = rng();
    let home = Home::new()
        .set("checkpoint.node", "external")
        .set("log.durability", "sync")
        .set("log.segment_bytes", "1048576")
        .set("data.partitions", "64")
        .set("checkpoint.every_seconds", "1");
    let mut server = home.start();
    let mut node = home.start_node("node", &[]);
    fill(&server, "first");
    save(&server);
    let kinds = [Damage::Flipped, Damage::Cut, Damage::Emptied, Damage::Swapped, Damage::Gone, Damage::Renamed];
    for round in 0..rounds(1) {
        for how in kinds {
            eprintln!("{how:?}");
            fill(&server, &format!("{round}:{how:?}"));
            save(&server);
            node.kill();
            damage(&home.path().join("node"), how, &mut rng);
            // Also together with the master's death.
            if rng.bool() {
                server.kill();
                server = home.start();
            }
            node = home.start_node("node", &[]);
            fill(&server, "again");
            save(&server);
            assert!(node.poll().is_none(), "the node ended: {}", node.log());
            assert_eq!(server.info_number("digests_differed"), 0.0);
            let before = Dump::take(&server);
            server.kill();
            let verdict = verify(&home.data());
            assert_eq!(verdict.code, Some(0), "{}", verdict.text);
            server = home.start();
            before.assert_same(&Dump::take(&server));
        }
    }
}
