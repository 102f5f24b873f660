//! Promise: what is ready is looked at within a millisecond, whatever else a core does meanwhile.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::{Conn, Home, Server, alone, eventually};

/// A request that waits this long has met a stall and not just a busy machine: a core that did not look found out after
/// 100 ms.
const STALL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);

/// A home for one core that writes small segments.
fn one_core() -> Home {
    Home::new().set("server.cores", "1").set("log.segment_bytes", "65536").set("log.buffer_bytes", "16384")
}

/// Segment files in a directory and all below it.
fn segments(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).expect("read the log's directory").flatten();
    let below = entries.map(|entry| match entry.path() {
        path if path.is_dir() => segments(&path),
        path => usize::from(path.extension().is_some_and(|kind| kind == "seg")),
    });
    below.sum()
}

/// Makes requests until `is_done`, which makes one itself, and sees that few of them were held up: of all the time less
/// than a third.
fn assert_prompt(conn: &mut Conn, mut is_done: impl FnMut(&mut Conn) -> bool) {
    let began = Instant::now();
    let mut stalls = Vec::new();
    let mut done = false;
    while !done {
        // Long enough that a core without work goes to sleep.
        sleep(Duration::from_millis(5));
        let asked = Instant::now();
        conn.call("PING");
        let answered = Instant::now();
        done = is_done(conn);
        stalls.extend([answered - asked, answered.elapsed()].into_iter().filter(|took| *took >= STALL));
        assert!(began.elapsed() < PATIENCE, "not done after {PATIENCE:?}");
    }
    let (stalled, all) = (stalls.iter().sum::<Duration>(), began.elapsed());
    assert!(stalled * 3 < all, "of {all:?} the client waited {stalled:?}: {stalls:?}");
}

/// Bytes that the data takes, with what is deleted and not freed yet.
fn memory(conn: &mut Conn) -> u64 {
    let info = conn.call("INFO memory").text();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
    line.expect("the data's memory").parse().expect("a number of bytes")
}

/// Sends `command`, which deletes what takes this much, and measures until all of it is freed.
fn assert_prompt_while_freed(server: &Server, command: &str, at_least: u64) {
    let mut conn = server.connect();
    eventually("the data's memory", PATIENCE, || (memory(&mut conn) >= at_least).then_some(()));
    conn.call(command);
    assert_prompt(&mut conn, |conn| memory(conn) < at_least / 4);
}

/// Commands with `each` pairs of a new name and a value, `count` pairs in all.
fn pairs(begin: &[&str], count: usize) -> Vec<Vec<String>> {
    let pair = |n| [format!("name:{n}"), "value".to_owned()];
    let command = |n: usize| begin.iter().map(ToString::to_string).chain((n..n + 1_000).flat_map(pair)).collect();
    (0..count).step_by(1_000).map(command).collect()
}

#[test]
fn a_new_segment_of_the_log_holds_no_commit_up() {
    let _alone = alone();
    let home = one_core().set("log.durability", "sync");
    let server = home.start();
    let before = segments(&home.data());
    let value = "v".repeat(100);
    let mut conn = server.connect();
    let stalls = (0..600).filter(|n| {
        let began = Instant::now();
        conn.call(&format!("SET key:{n} {value}"));
        began.elapsed() >= STALL
    });
    let stalls = stalls.count();
    let changes = segments(&home.data()) - before;
    assert!(changes >= 30, "only {changes} changes of segment");
    assert!(stalls * 4 < changes, "{stalls} stalls of {STALL:?} with {changes} changes of segment");
}

#[test]
fn the_fields_of_a_large_hash_are_freed_beside_other_requests() {
    let _alone = alone();
    let home = Home::new().set("server.cores", "1");
    let server = home.start();
    pairs(&["HSET", "hash"], 500_000).chunks(10).for_each(|some| drop(server.connect().pipeline(some)));
    assert_prompt_while_freed(&server, "DEL hash", 10 << 20);
}

#[test]
fn a_flushed_database_is_freed_beside_other_requests() {
    let _alone = alone();
    let home = Home::new().set("server.cores", "1");
    let server = home.start();
    pairs(&["MSET"], 500_000).chunks(10).for_each(|some| drop(server.connect().pipeline(some)));
    assert_prompt_while_freed(&server, "FLUSHALL", 10 << 20);
}

#[test]
fn keys_expire_beside_other_requests() {
    let _alone = alone();
    let home = Home::new().set("server.cores", "1");
    let server = home.start();
    let mut conn = server.connect();
    pairs(&["MSET"], 100_000).chunks(10).for_each(|some| drop(conn.pipeline(some)));
    let at = SystemTime::now() + Duration::from_secs(5);
    let at_ms = at.duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis().to_string();
    let expire = |n: u32| ["PEXPIREAT", &format!("name:{n}"), &at_ms].map(str::to_owned).to_vec();
    let expiries: Vec<_> = (0..100_000).map(expire).collect();
    expiries.chunks(1_000).for_each(|some| drop(conn.pipeline(some)));
    sleep(at.duration_since(SystemTime::now()).unwrap_or_default());
    assert_prompt(&mut conn, |conn| conn.call("DBSIZE").int() == 0);
}
