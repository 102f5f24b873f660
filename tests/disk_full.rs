//! Promise: a full disk refuses writes in clear words, keeps reads and everything acknowledged, and goes on by itself once there is room.

mod harness;

use std::fs;
use std::time::Duration;

use harness::{Conn, Disk, Home, Value, eventually};

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
    let home = Home::new();
    let Some(disk) = Disk::make(home.path(), DISK_BYTES) else { return };
    let data = disk.path().join("data");
    let home = home
        .set("data.dir", &data.display().to_string())
        .set("server.cores", "1")
        .set("log.durability", durability)
        .set("log.segment_bytes", "1048576");
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
