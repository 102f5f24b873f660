//! Promise: the checkpoint node may die at any instant, also in the middle of an upload; the master does not mind, and
//! the next node goes on from where it was. If it is the master's disk that is lost, everything is there that was
//! acknowledged as mirrored.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{
    Dump, Home, Ledger, Load, Proxy, Server, Value, Weather, encode, eventually, rng, rounds, verify,
};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// A checkpoint, as soon as there is a node to write it.
fn save(server: &Server) {
    eventually("a node", PATIENCE, || (server.info_number("node_connected") > 0.0).then_some(()));
    assert_eq!(server.connect().call("SAVE").text(), "OK");
}

fn assert_sound(home: &Home) {
    let verdict = verify(&home.data());
    assert_eq!(verdict.code, Some(0), "{}", verdict.text);
}

#[test]
fn a_child_killed_again_and_again_is_replaced_and_goes_on() {
    let home = Home::with_node().set("checkpoint.every_edits", "3000").set("log.durability", "sync");
    let mut rng = rng();
    let mut server = home.start();
    let mut node = server.node();
    let mut load = Load::new("load");
    load.pause = Duration::from_millis(5);
    let running = load.start(&server, &mut rng);
    for _ in 0..rounds(5) {
        sleep(Duration::from_millis(rng.u64(0..400)));
        node.signal(Signal::KILL);
        let dead = node;
        node = eventually("another node", PATIENCE, || Some(server.node()).filter(|node| *node != dead));
    }
    let mut ledger = running.stop();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    save(&server);
    ledger.settle_without_loss(&server);
    server.kill();
    assert_sound(&home);
    server = home.start();
    ledger.settle_without_loss(&server);
}

/// Values of 10 MB in all, so that an upload of all of them can be met half-way.
fn fill(server: &Server, name: &str) {
    let mut conn = server.connect();
    let value = "v".repeat(1_000);
    let commands: Vec<Vec<String>> =
        (0..10_000).map(|n| vec!["SET".to_owned(), format!("{name}:{n}"), value.clone()]).collect();
    commands.chunks(500).for_each(|chunk| {
        conn.pipeline(chunk);
    });
    assert_eq!(conn.call("WAITAOF 1 0 30000").items()[0].int(), 1);
}

fn upload_is_under_way(home: &Home) -> bool {
    fs::read_dir(home.data().join("incoming")).is_ok_and(|mut files| files.next().is_some())
}

#[test]
fn a_node_killed_in_the_middle_of_an_upload_finishes_it_in_its_next_life() {
    let home = Home::new().set("checkpoint.node", "external").set("log.durability", "sync");
    let mut rng = rng();
    let mut server = home.start();
    for round in 0..rounds(3) {
        let mut node = home.start_node("node", &[("checkpoint.upload_bytes_per_second", "1000000")]);
        fill(&server, &format!("round{round}"));
        assert!(!server.connect().call("BGSAVE").is_error());
        eventually("an upload", PATIENCE, || upload_is_under_way(&home).then_some(()));
        sleep(Duration::from_millis(rng.u64(0..1_000)));
        node.kill();
        assert_eq!(server.connect().call("PING").text(), "PONG");
        let _node = home.start_node("node", &[]);
        save(&server);
        let before = Dump::take(&server);
        server.kill();
        assert_sound(&home);
        server = home.start();
        before.assert_same(&Dump::take(&server));
    }
}

#[test]
fn a_node_outlives_its_master_and_serves_the_next() {
    let home = Home::new().set("checkpoint.node", "external").set("log.durability", "mirrored");
    let mut rng = rng();
    let mut server = home.start();
    let mut node = home.start_node("node", &[]);
    for round in 0..rounds(3) {
        let load = Load::new(&format!("round{round}")).start(&server, &mut rng);
        sleep(Duration::from_millis(rng.u64(0..300)));
        server.kill();
        let mut ledger = load.join();
        server = home.start();
        ledger.settle_without_loss(&server);
        save(&server);
        assert!(node.poll().is_none(), "the node ended: {}", node.log());
    }
    server.kill();
    assert_sound(&home);
}

#[test]
fn while_the_node_is_away_mirrored_writes_wait_and_others_do_not() {
    let home = Home::new().set("checkpoint.node", "external").set("log.durability", "mirrored");
    let server = home.start();
    let mut node = home.start_node("node", &[]);
    let mut writer = server.connect();
    assert_eq!(writer.call("SET key value").text(), "OK");
    node.kill();
    writer.stream().set_read_timeout(Some(Duration::from_millis(500))).expect("set a time limit");
    let mut request = Vec::new();
    encode(&mut request, &["SET", "key", "later"]);
    writer.send(&request).expect("send");
    assert!(writer.read().is_err(), "acknowledged without a node");
    assert_eq!(server.connect().call("PING").text(), "PONG");
    assert_eq!(server.connect().call("GET other-key-in-another-slot"), Value::Null);
    writer.stream().set_read_timeout(Some(PATIENCE)).expect("set a time limit");
    let _node = home.start_node("node", &[]);
    assert_eq!(writer.read().expect("the reply").text(), "OK");
}

#[test]
fn a_node_that_sleeps_costs_nothing_but_log() {
    let home = Home::with_node().set("log.durability", "sync");
    let mut rng = rng();
    let mut server = home.start();
    let node = server.node();
    fill(&server, "before");
    node.signal(Signal::STOP);
    let mut load = Load::new("load");
    load.writes = 3_000;
    let mut ledger = load.start(&server, &mut rng).join();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    node.signal(Signal::CONT);
    save(&server);
    server.kill();
    assert_sound(&home);
    let server = home.start();
    ledger.settle_without_loss(&server);
}

/// Ends a node in good order and makes its directory the next server's.
fn hand_over(home: &mut Home, mut node: Server, directory: &str) {
    assert!(node.terminate().success(), "{}", node.log());
    fs::remove_dir_all(home.data()).expect("the master's disk is lost");
    let data = home.path().join(directory).display().to_string();
    home.change("data.dir", &data);
}

#[test]
fn what_was_mirrored_outlives_the_masters_disk() {
    let mut rng = rng();
    let mut home = Home::new().set("checkpoint.node", "external").set("log.durability", "mirrored");
    home.change("data.partitions", "32");
    home.change("checkpoint.every_edits", "2000");
    let mut past: Vec<Ledger> = Vec::new();
    let mut server = home.start();
    for round in 0..rounds(3) {
        let proxy = Proxy::to(home.checkpoint_port(), &mut rng);
        let (directory, master) = (format!("node{round}"), format!("127.0.0.1:{}", proxy.port()));
        let node = home.start_node(&directory, &[("checkpoint.master", &master)]);
        assert_eq!(server.connect().call("SET caught up").text(), "OK");
        // Messages are late so that an acknowledgement which does not wait for the node overtakes them.
        proxy.set(Weather { late: 1_000, ..Weather::default() });
        let running = Load::new(&format!("round{round}")).start(&server, &mut rng);
        sleep(Duration::from_millis(rng.u64(1_500..3_000)));
        // What is on its way is lost; only then the master dies, and its disk with it.
        proxy.cut_all();
        server.kill();
        let ledger = running.join();
        assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
        hand_over(&mut home, node, &directory);
        assert_sound(&home);
        server = home.start();
        past.push(ledger);
        past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
    }
    let acknowledged: usize = past.iter_mut().map(|ledger| ledger.settle(&server).acknowledged).sum();
    assert!(acknowledged > 100, "hardly anything was acknowledged");
}

/// A master that begins anew on the same port is no reason to give up what only the node holds.
#[test]
fn a_node_that_meets_a_stranger_leaves_its_data_behind() {
    let mut home = Home::new().set("checkpoint.node", "external").set("log.durability", "mirrored");
    let mut server = home.start();
    let mut node = home.start_node("node", &[]);
    assert_eq!(server.connect().call("SET key value").text(), "OK");
    server.kill();
    fs::remove_dir_all(home.data()).expect("the master's disk is lost");
    let mut stranger = home.start();
    assert_eq!(node.wait().code(), Some(78), "{}", node.log());
    stranger.kill();
    let data = home.path().join("node").display().to_string();
    home.change("data.dir", &data);
    assert_eq!(home.start().connect().call("GET key").text(), "value");
}

/// What such a node held in memory is gone, and nobody is to believe that its snapshots are all there was.
#[test]
fn no_master_starts_from_a_node_that_was_killed_and_no_node_where_a_master_lives() {
    let mut home = Home::new().set("checkpoint.node", "external").set("log.durability", "mirrored");
    let mut server = home.start();
    let mut node = home.start_node("node", &[]);
    assert_eq!(server.connect().call("SET key value").text(), "OK");
    save(&server);
    node.kill();
    let master = home.data().display().to_string();
    server.kill();
    let data = home.path().join("node").display().to_string();
    home.change("data.dir", &data);
    let refused = home.try_start().err().expect("a refusal");
    assert_eq!(refused.status.code(), Some(65), "{refused}");
    assert!(refused.log.contains("checkpoint node"), "{refused}");
    // The master has its data yet: the node catches up, and ends in good order this time.
    home.change("data.dir", &master);
    let mut server = home.start();
    let mut node = home.start_node("node", &[]);
    assert_eq!(server.connect().call("SET other value").text(), "OK");
    server.kill();
    assert!(node.terminate().success(), "{}", node.log());
    home.change("data.dir", &data);
    assert_eq!(home.start().connect().call("GET other").text(), "value");
    let refused = home.start_node("node", &[]).into_refused();
    assert_eq!(refused.status.code(), Some(78), "{refused}");
    assert!(refused.log.contains("another checkpoint.dir"), "{refused}");
}

fn log_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => log_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn the_log_is_dropped_once_two_generations_cover_it() {
    let home = Home::with_node().set("log.segment_bytes", "1048576").set("log.durability", "sync");
    // A partition that nobody writes to gets its second generation when it is this old.
    let home = home.set("checkpoint.every_seconds", "2");
    let mut server = home.start();
    (0..4).for_each(|round| fill(&server, &format!("round{round}")));
    let full = log_bytes(&home.data().join("log"));
    assert!(full > 40 << 20, "{full} bytes of log");
    save(&server);
    server.connect().call("SET touched 1");
    save(&server);
    eventually("a short log", PATIENCE, || (log_bytes(&home.data().join("log")) < full / 2).then_some(()));
    let before = Dump::take(&server);
    server.kill();
    assert_sound(&home);
    let server = home.start();
    before.assert_same(&Dump::take(&server));
}

#[test]
fn a_node_that_lost_everything_begins_with_the_installed_snapshots() {
    let home = Home::new().set("checkpoint.node", "external").set("log.segment_bytes", "1048576");
    let home = home.set("checkpoint.every_seconds", "2");
    let mut server = home.start();
    let mut node = home.start_node("first", &[]);
    (0..2).for_each(|round| fill(&server, &format!("round{round}")));
    save(&server);
    eventually("a log that was cut", PATIENCE, || (server.info_number("log_dropped_bytes") > 0.0).then_some(()));
    node.kill();
    // An empty directory: the log no longer reaches back to the beginning.
    let _other = home.start_node("second", &[]);
    server.connect().call("SET touched 2");
    assert!(!server.connect().call("WAIT 1 1").is_error());
    save(&server);
    let before = Dump::take(&server);
    server.kill();
    assert_sound(&home);
    server = home.start();
    before.assert_same(&Dump::take(&server));
}
