//! Promise: without a checkpoint node, or with one that cannot write, the log stays within `log.max_bytes`: the server
//! checkpoints itself while clients are served, refuses writes only at the bound and only until the log is shorter, and
//! loses nothing by it, whenever it is killed.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Conn, Dump, Home, Ledger, Load, Running, Server, Value, eventually, rng, rounds, verify};

const PATIENCE: Duration = Duration::from_secs(60);
const MAX_BYTES: u64 = 4 << 20;

/// A home whose log is bounded tightly, without a node.
fn bounded() -> Home {
    Home::new()
        .set("data.partitions", "16")
        .set("log.segment_bytes", "131072")
        .set("log.buffer_bytes", "16384")
        .set("log.max_bytes", &MAX_BYTES.to_string())
        .set("log.durability", "sync")
}

/// Bytes of segments on disk.
fn log_on_disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => log_on_disk(&entry.path()),
        Ok(data) => data.len(),
        // It was removed just now.
        Err(_) => 0,
    });
    sizes.sum()
}

fn stage(server: &Server) -> String {
    server.info()["log_stage"].clone()
}

/// Whether no more own checkpoints are taken.
fn is_short(server: &Server) -> bool {
    ["short", "long"].contains(&&*stage(server))
}

#[test]
fn the_server_checkpoints_itself_and_the_log_gets_shorter() {
    let mut home = bounded();
    let server = home.start();
    let mut load = Load::new("load");
    load.writes = 200_000;
    // Keys of one slot, many enough that it takes several slices, between which they are overwritten.
    let mut one_slot = Load { name: "{one}".to_owned(), keys: 2_000, padding: 2_000, ..load.clone() };
    one_slot.connections = 2;
    let running = [load, one_slot].map(|load| load.start(&server, &mut rng()));
    eventually("a warning", PATIENCE, || server.log().contains("getting long").then_some(()));
    let mut longest = 0;
    let partitions = 16.0;
    eventually("two rounds of own checkpoints", PATIENCE, || {
        longest = longest.max(log_on_disk(&home.data().join("log")));
        let info = server.info();
        let installed: f64 = info["self_checkpoints_installed"].parse().expect("a number");
        let dropped: f64 = info["log_dropped_bytes"].parse().expect("a number");
        (installed >= 2.0 * partitions && dropped > MAX_BYTES as f64).then_some(())
    });
    let mut ledgers = running.map(Running::stop);
    for refusals in ledgers.iter().map(Ledger::refusals) {
        assert!(refusals.keys().all(|text| text.contains("log.max_bytes")), "{refusals:?}");
    }
    // Beyond the bound is what was written until it was noticed, and segments, which come whole: little of what was
    // written in all.
    assert!(longest < MAX_BYTES * 6, "{longest} bytes of log");
    eventually("the log is short enough", PATIENCE, || is_short(&server).then_some(()));
    assert_eq!(server.info_number("checkpoints_failed"), 0.0);
    // It counts what it has made; the directory is the truth.
    eventually("the log's length is known", PATIENCE, || {
        let (said, is) = (server.info_number("log_bytes") as u64, log_on_disk(&home.data().join("log")));
        (said == is).then_some(())
    });
    ledgers.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
    let before = Dump::take(&server);
    drop(server);
    let verdict = verify(&home.data());
    assert_eq!(verdict.code, Some(0), "{}", verdict.text);
    for cores in ["1", "2"] {
        home.change("server.cores", cores);
        let server = home.start();
        before.assert_same(&Dump::take(&server));
    }
}

/// Writes until a write is refused; the refusal.
fn write_until_refused(conn: &mut Conn) -> String {
    let value = "v".repeat(2_000);
    for n in 0..100_000 {
        if let Value::Error(text) = conn.command(&["SET", &format!("key:{}", n % 500), &value]) {
            return text;
        }
    }
    panic!("a log that nothing shortens is never too long");
}

#[test]
fn at_the_bound_writes_are_refused_until_the_log_is_shorter() {
    let home = bounded();
    let server = home.start();
    let mut conn = server.connect();
    // Nothing can be checkpointed.
    let incoming = home.data().join("incoming");
    fs::rename(&incoming, home.data().join("node")).expect("put a directory aside");
    let refusal = write_until_refused(&mut conn);
    assert!(refusal.starts_with("MISCONF") && refusal.contains("log.max_bytes"), "{refusal}");
    assert_eq!(stage(&server), "full");
    assert!(server.info_number("checkpoints_failed") > 0.0);
    assert_eq!(conn.call("STRLEN key:1").int(), 2_000);
    assert_eq!(conn.call("DEL key:1").int(), 1);
    assert!(conn.call("SET key:1 value").is_error());
    fs::rename(home.data().join("node"), &incoming).expect("put it back");
    eventually("writes go on by themselves", PATIENCE, || (!conn.call("SET key:1 value").is_error()).then_some(()));
    assert!(server.info_number("self_checkpoints_installed") > 0.0);
    let before = Dump::take(&server);
    drop(server);
    before.assert_same(&Dump::take(&home.start()));
}

#[test]
fn a_node_that_comes_takes_over() {
    let home = bounded().set("checkpoint.node", "external").set("checkpoint.every_edits", "1000");
    let server = home.start();
    let mut load = Load::new("load");
    load.writes = 1_000_000;
    load.pause = Duration::from_millis(5);
    let running = load.start(&server, &mut rng());
    eventually("own checkpoints", PATIENCE, || (server.info_number("self_checkpoints_installed") > 3.0).then_some(()));
    // It begins with snapshots that were taken slot by slot.
    let node = home.start_node("node", &[]);
    eventually("the node's checkpoints", PATIENCE, || {
        let of_node = server.info_number("checkpoints_installed") - server.info_number("self_checkpoints_installed");
        (of_node > 20.0).then_some(())
    });
    let own = server.info_number("self_checkpoints_installed");
    sleep(Duration::from_millis(500));
    assert_eq!(server.info_number("self_checkpoints_installed"), own, "the node does it now");
    let mut ledger = running.stop();
    eventually("digests are compared", PATIENCE, || (server.info_number("digests_compared") > 0.0).then_some(()));
    assert_eq!(server.info_number("digests_differed"), 0.0, "{}", node.log());
    ledger.settle_without_loss(&server);
}

/// Installed snapshots that the node made.
fn of_node(server: &Server) -> f64 {
    server.info_number("checkpoints_installed") - server.info_number("self_checkpoints_installed")
}

/// A server with a node as its child that has delivered, under a load that goes on.
fn loaded_with_a_node() -> (Home, Server, Running) {
    let home = bounded().set("checkpoint.node", "child").set("checkpoint.every_edits", "1000");
    let server = home.start();
    let mut load = Load::new("load");
    (load.writes, load.pause, load.padding) = (1_000_000, Duration::from_millis(2), 1_000);
    let running = load.start(&server, &mut rng());
    eventually("the node's checkpoints", PATIENCE, || (of_node(&server) > 5.0).then_some(()));
    (home, server, running)
}

/// Waits until more log than the bound allows has been written, and gone again.
fn await_turnover(server: &Server) {
    let before = server.info_number("log_dropped_bytes");
    // Own snapshots take CPU time that nobody else wants, and a busy machine has little of it.
    eventually("log is dropped", 4 * PATIENCE, || {
        let dropped = server.info_number("log_dropped_bytes") - before;
        (dropped > MAX_BYTES as f64).then_some(())
    });
}

fn assert_nothing_lost(mut ledger: Ledger, server: Server, home: &Home) {
    let refusals = ledger.refusals();
    assert!(refusals.keys().all(|text| text.contains("log.max_bytes")), "{refusals:?}");
    ledger.settle_without_loss(&server);
    drop(server);
    ledger.settle_without_loss(&home.start());
}

#[test]
fn a_node_whose_directory_is_deleted_makes_it_anew_and_goes_on() {
    let (home, server, running) = loaded_with_a_node();
    let directory = home.data().join("node");
    for _ in 0..2 {
        // It writes there while it is deleted.
        while directory.exists() {
            let _ = fs::remove_dir_all(&directory);
        }
        let before = of_node(&server);
        await_turnover(&server);
        eventually("the node goes on", PATIENCE, || (of_node(&server) > before + 5.0).then_some(()));
        assert!(directory.join("mirror-of").exists() && directory.join("LOCK").exists());
    }
    assert!(server.log().contains("directory is gone"), "{}", server.log());
    let ledger = running.stop();
    eventually("well", PATIENCE, || (server.info()["rdb_last_bgsave_status"] == "ok").then_some(()));
    assert_nothing_lost(ledger, server, &home);
}

#[test]
fn with_a_node_that_cannot_write_the_server_checkpoints_itself_says_so_and_the_node_takes_over_again() {
    let (home, server, running) = loaded_with_a_node();
    let directory = home.data().join("node");
    while !directory.is_file() {
        let _ = fs::remove_dir_all(&directory);
        // In place of the directory: it cannot be made anew.
        let _ = fs::write(&directory, "");
    }
    eventually("INFO says that checkpoints fail", PATIENCE, || {
        let info = server.info();
        // What was written before is still delivered for a moment.
        let fails = info["rdb_last_bgsave_status"] == "err" && info["node_delivers"] == "0";
        (fails && !info["node_failure"].is_empty() && info["node_connected"] == "1").then_some(())
    });
    await_turnover(&server);
    let began = Instant::now();
    assert_eq!(server.connect().call("SAVE").text(), "OK", "the cores save what the node does not");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(server.info_number("self_checkpoints_installed") > 0.0 && server.log().contains("delivers no snapshots"));
    fs::remove_file(&directory).expect("make way");
    eventually("the node takes over", PATIENCE, || (server.info_number("node_delivers") == 1.0).then_some(()));
    let before = of_node(&server);
    eventually("the node goes on", PATIENCE, || (of_node(&server) > before + 5.0).then_some(()));
    let ledger = running.stop();
    eventually("well", PATIENCE, || (server.info()["rdb_last_bgsave_status"] == "ok").then_some(()));
    assert_nothing_lost(ledger, server, &home);
}

#[test]
fn info_counts_saves_as_redis_does() {
    let home = bounded().set("checkpoint.every_seconds", "3600");
    let server = home.start();
    let number = |name: &str| server.info_number(name);
    let started = number("rdb_last_save_time");
    assert_eq!((number("rdb_changes_since_last_save"), number("rdb_last_bgsave_time_sec")), (0.0, -1.0));
    let mut conn = server.connect();
    (0..100).for_each(|n| assert_eq!(conn.command(&["SET", &format!("key:{n}"), "value"]).text(), "OK"));
    // Keys of both cores.
    assert_eq!(number("rdb_changes_since_last_save"), 100.0);
    sleep(Duration::from_millis(1_100));
    assert_eq!(conn.call("SAVE").text(), "OK");
    assert_eq!((number("rdb_changes_since_last_save"), number("rdb_bgsave_in_progress")), (0.0, 0.0));
    assert!(number("rdb_last_save_time") > started && number("rdb_last_bgsave_time_sec") >= 0.0);
    assert_eq!(conn.call("LASTSAVE").int() as f64, number("rdb_last_save_time"));
    assert_eq!(conn.call("SET key:1 other").text(), "OK");
    assert!(number("rdb_changes_since_last_save") >= 1.0);
}

#[test]
fn save_needs_no_node() {
    let home = bounded();
    let server = home.start();
    let mut load = Load::new("load");
    load.writes = 1_000;
    let mut ledger = load.start(&server, &mut rng()).join();
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    assert_eq!(server.info_number("partitions_dirty"), 0.0);
    assert_eq!(server.connect().call("BGSAVE").text(), "Background saving started");
    drop(server);
    ledger.settle_without_loss(&home.start());
}

/// Keeps the ledger of a killed server, unless the server came to refuse writes: whether those on their way were
/// refused, or done, nobody knows then, and that is not what a ledger is made for.
fn keep(past: &mut Vec<Ledger>, ledger: Ledger, server: &Server) {
    if server.log().contains("writes are refused") {
        eprintln!("a ledger is given up: writes were refused");
    } else {
        assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
        past.push(ledger);
    }
}

/// Kills the server at each step of its own checkpoints, and starts it again with other numbers of cores.
#[test]
fn a_kill_in_the_middle_of_an_own_checkpoint_loses_nothing() {
    // So much that hardly a write is refused.
    let mut home = bounded().set("log.max_bytes", "8388608");
    let mut rng = rng();
    let mut past: Vec<Ledger> = Vec::new();
    let steps =
        ["own.begun", "own.written", "install.synced", "install.moved", "install.recorded", "truncate.recorded"];
    for round in 0..rounds(1) {
        for (step, cores) in steps.iter().zip([2, 1, 2, 2, 1, 2]) {
            home.change("server.cores", &cores.to_string());
            let failpoint = format!("ROLLBOOK_FAILPOINT={step}:{}", rng.u32(1..12));
            let server = home.launch_under(&["env", &failpoint]);
            let mut server = server.wait_until_ready().expect("no step is reached before the server serves");
            let mut load = Load::new(&format!("{step}{round}"));
            (load.cores, load.writes, load.keys, load.pause) = (cores, 1_000_000, 100, Duration::from_millis(2));
            let running = load.start(&server, &mut rng);
            let began = Instant::now();
            let status = server.wait();
            eprintln!("{failpoint}: {status} after {:?}", began.elapsed());
            assert!(!status.success());
            keep(&mut past, running.join(), &server);
            let server = home.start();
            past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
            // So that the next step is not reached before there is a load.
            eventually("the log is short enough", PATIENCE, || is_short(&server).then_some(()));
        }
    }
    let mut server = home.start();
    // And at any instant.
    for round in 0..rounds(2) {
        let mut load = Load::new(&format!("any{round}"));
        load.pause = Duration::from_millis(2);
        let running = load.start(&server, &mut rng);
        eventually("the log is pressing", PATIENCE, || (!is_short(&server)).then_some(()));
        sleep(Duration::from_micros(rng.u64(0..200_000)));
        server.kill();
        keep(&mut past, running.join(), &server);
        server = home.start();
        past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
    }
}
