//! Promise: a full disk refuses writes in clear words, keeps reads and everything acknowledged, and goes on by itself
//! once there is room.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Conn, Disk, Dump, Home, Server, Value, encode, eventually, or_skip, run, verify};

/// As sysexits has it: an error of input or output.
const IO_ERROR: i32 = 74;
const PATIENCE: Duration = Duration::from_secs(30);
/// Of the file system; ext4 keeps some of it to itself.
const DISK_BYTES: u64 = 32 << 20;
/// Room that is given back when the disk is full, twice.
const BALLAST_BYTES: usize = 6 << 20;

/// Writes until a write is refused; returns how many were acknowledged, and the refusal.
fn write_until_refused(conn: &mut Conn, from: usize) -> (usize, String) {
    let value = "v".repeat(10_000);
    for n in from..from + 100_000 {
        if let Value::Error(text) = conn.command(&["SET", &format!("key:{n}"), &value]) {
            return (n, text);
        }
    }
    panic!("a full disk refuses nothing");
}

fn fill_and_free(durability: &str) {
    let mut home =
        Home::new().set("server.cores", "1").set("log.durability", durability).set("log.segment_bytes", "1048576");
    let Some(disk) = Disk::make(home.path(), DISK_BYTES) else { return };
    home.change("data.dir", &disk.path().join("data").display().to_string());
    let ballasts = ["first", "second"].map(|name| disk.path().join(name));
    ballasts.iter().for_each(|ballast| fs::write(ballast, vec![1; BALLAST_BYTES]).expect("write ballast"));
    let mut server = home.start();
    let mut conn = server.connect();
    let (full, refusal) = write_until_refused(&mut conn, 0);
    let clear = ["disk", "space"].iter().any(|word| refusal.to_lowercase().contains(word));
    assert!(clear && full > 0, "after {full} writes: {refusal}");
    assert_eq!(conn.call("STRLEN key:0").int(), 10_000);
    assert_eq!(conn.call("PING").text(), "PONG");
    fs::remove_file(&ballasts[0]).expect("make room");
    // More than can have been left over in the last segment.
    let mut count = full;
    eventually("writes go on by themselves", PATIENCE, || {
        count = write_until_refused(&mut conn, count).0;
        (count > full + 200).then_some(())
    });
    server.kill();
    if let Err(refused) = home.try_start() {
        assert_eq!(refused.status.code(), Some(IO_ERROR), "{refused}");
        assert!(refused.log.contains("space"), "{refused}");
    }
    fs::remove_file(&ballasts[1]).expect("make room");
    let server = home.start();
    let mut conn = server.connect();
    let held = (0..count).take_while(|n| conn.call(&format!("EXISTS key:{n}")).int() == 1).count();
    assert!(held > full && (held == count || durability == "async"), "{count} writes acknowledged, {held} held");
}

#[test]
fn in_sync() {
    fill_and_free("sync");
}

#[test]
fn in_async() {
    fill_and_free("async");
}

#[test]
fn a_limit_on_file_sizes_is_refused_in_words() {
    let home = Home::new();
    let Err(refused) = home.launch_under(&["prlimit", "--fsize=1048576"]).wait_until_ready() else {
        panic!("a server started that cannot write one segment");
    };
    assert!(refused.status.code().is_some_and(|code| (64..79).contains(&code)), "{refused}");
    assert!(refused.log.contains("large") || refused.log.contains("limit"), "{refused}");
}

/// Takes all that is left of a file system.
fn fill_up(directory: &Path) -> PathBuf {
    let ballast = directory.join("ballast");
    let mut file = fs::File::create(&ballast).expect("create ballast");
    for piece in [1 << 20, 4096] {
        while file.write_all(&vec![1; piece]).is_ok() {}
    }
    file.sync_all().expect("write the ballast");
    ballast
}

/// Starts on a file system without a free byte, again and again: each start reads and deletes, refuses writes and says
/// why.
#[test]
fn at_the_start() {
    let mut home = Home::new().set("log.durability", "sync").set("log.segment_bytes", "1048576");
    let Some(disk) = Disk::make(home.path(), DISK_BYTES) else { return };
    home.change("data.dir", &disk.path().join("data").display().to_string());
    let mut server = home.start();
    let mut conn = server.connect();
    for n in 0..200 {
        assert_eq!(conn.command(&["SET", &format!("key:{n}"), &"v".repeat(1_000)]).text(), "OK");
    }
    // In good order, so that it leaves no space behind that was prepared for a segment.
    assert!(server.terminate().success());
    let ballast = fill_up(disk.path());
    for start in 0..3 {
        let mut server = home.start();
        let mut conn = server.connect();
        assert_eq!(conn.call("DBSIZE").int(), 200 - start);
        assert_eq!(conn.call("STRLEN key:100").int(), 1_000);
        assert_eq!(conn.call(&format!("DEL key:{start}")).int(), 1);
        let refusal = conn.call("SET small value");
        assert!(refusal.is_error() && refusal.error().contains("disk is full"), "{refusal:?}");
        assert!(server.log().contains("No space left") && !server.log().contains("O_DIRECT"), "{}", server.log());
        if start == 1 {
            assert!(server.terminate().success());
        } else if start == 2 {
            fs::remove_file(&ballast).expect("make room");
            eventually("writes go on by themselves", PATIENCE, || {
                (!conn.call("SET small value").is_error()).then_some(())
            });
        }
        server.kill();
    }
    let server = home.start();
    assert_eq!(server.connect().call("GET small").text(), "value");
    assert_eq!(server.connect().call("DBSIZE").int(), 198);
}

/// Keys of a kilobyte each.
fn fill(server: &Server, name: &str, count: usize) {
    let value = "v".repeat(1_000);
    let sets: Vec<Vec<String>> =
        (0..count).map(|n| vec!["SET".to_owned(), format!("{name}:{n}"), value.clone()]).collect();
    let mut conn = server.connect();
    for chunk in sets.chunks(500) {
        assert!(conn.pipeline(chunk).iter().all(|reply| !reply.is_error()));
    }
    assert_eq!(conn.call("WAIT 1 30000").int(), 1);
}

/// A checkpoint fails because `full` has no space, is said to, and costs nothing, neither now nor at a restart; it
/// succeeds by itself when there is space.
fn checkpoint_fails_and_recovers(home: &Home, full: &Path, says: &str) {
    let mut server = home.start();
    fill(&server, "first", 3_000);
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    fill(&server, "second", 3_000);
    let ballast = fill_up(full);
    let refusal = server.connect().call("SAVE");
    assert!(refusal.is_error(), "a checkpoint without space for it: {refusal:?}");
    eventually("words in the log", PATIENCE, || server.log().contains(says).then_some(()));
    assert!(server.log().contains("No space left"), "{}", server.log());
    assert_eq!(server.connect().call("STRLEN first:0").int(), 1_000);
    let before = Dump::take(&server);
    fs::remove_file(ballast).expect("make room");
    eventually("a checkpoint", PATIENCE, || (!server.connect().call("SAVE").is_error()).then_some(()));
    fill(&server, "third", 1_000);
    let ballast = fill_up(full);
    assert!(server.connect().call("SAVE").is_error());
    server.kill();
    // Neither the generations before nor the log were touched.
    let sound = verify(&home.data());
    assert_eq!(sound.code, Some(0), "{}", sound.text);
    fs::remove_file(ballast).expect("make room");
    let mut server = home.start();
    let after = Dump::take(&server);
    assert_eq!(after.len(), before.len() + 1_000);
    let old = after.0.into_iter().filter(|((_, key), _)| !key.starts_with(b"third"));
    before.assert_same(&Dump(old.collect()));
    eventually("a checkpoint", PATIENCE, || (!server.connect().call("SAVE").is_error()).then_some(()));
    server.kill();
    let sound = verify(&home.data());
    assert_eq!(sound.code, Some(0), "{}", sound.text);
}

#[test]
fn in_the_install_of_a_snapshot() {
    let mut home = Home::with_node().set("log.segment_bytes", "1048576");
    let Some(disk) = Disk::make(home.path(), 2 * DISK_BYTES) else { return };
    home.change("checkpoint.dir", &home.path().join("node").display().to_string());
    home.change("data.dir", &disk.path().join("data").display().to_string());
    checkpoint_fails_and_recovers(&home, disk.path(), "upload refused");
}

#[test]
fn in_the_checkpoint_nodes_own_directory() {
    let mut home = Home::with_node().set("data.partitions", "32");
    let Some(disk) = Disk::make(home.path(), 2 * DISK_BYTES) else { return };
    home.change("checkpoint.dir", &disk.path().join("node").display().to_string());
    let server = home.start();
    fill(&server, "first", 3_000);
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    let ballast = fill_up(disk.path());
    fill(&server, "second", 3_000);
    assert_eq!(server.connect().call("SAVE").text(), "OK", "the cores have room");
    assert!(server.log().contains("cannot write a snapshot") && server.log().contains("No space left"));
    let info = server.info();
    assert_eq!((&*info["node_connected"], &*info["node_delivers"]), ("1", "0"));
    assert!(info["node_failure"].contains("No space left"), "{}", info["node_failure"]);
    fs::remove_file(ballast).expect("make room");
    let mut round = 0;
    eventually("the node takes over", PATIENCE, || {
        round += 1;
        fill(&server, &format!("round:{round}"), 1_000);
        assert_eq!(server.connect().call("SAVE").text(), "OK");
        (server.info_number("node_delivers") == 1.0).then_some(())
    });
    let before = Dump::take(&server);
    drop(server);
    let sound = verify(&home.data());
    assert_eq!(sound.code, Some(0), "{}", sound.text);
    before.assert_same(&Dump::take(&home.start()));
}

#[test]
fn a_limit_on_file_sizes_that_is_met_later_refuses_and_goes_on() {
    let home = Home::new().set("server.cores", "1").set("log.durability", "sync").set("log.segment_bytes", "1048576");
    let mut server = home.start();
    let limit = |bytes: &str| {
        run("prlimit", &["--pid".to_owned(), server.pid().to_string(), format!("--fsize={bytes}:unlimited")])
    };
    let Some(_) = or_skip(limit("1048576")) else { return };
    // It needs a segment of its own size, which is larger than files may be.
    let mut waiting = server.connect();
    let mut request = Vec::new();
    encode(&mut request, &["SET", "large", &"x".repeat(3_000_000)]);
    waiting.send(&request).expect("send");
    let mut conn = server.connect();
    let refusal = eventually("a refusal", PATIENCE, || {
        server.log().contains("no space").then(|| conn.call("SET small value")).filter(Value::is_error)
    });
    assert!(refusal.error().contains("disk is full"), "{refusal:?}");
    assert_eq!(conn.call("PING").text(), "PONG");
    limit("unlimited").expect("lift the limit");
    assert_eq!(waiting.read().expect("a reply at last").text(), "OK");
    eventually("writes go on by themselves", PATIENCE, || (!conn.call("SET small value").is_error()).then_some(()));
    server.kill();
    let server = home.start();
    assert_eq!(server.connect().call("STRLEN large").int(), 3_000_000);
    assert_eq!(server.connect().call("GET small").text(), "value");
}
