//! Promise: WAITAOF and WAIT give one command what `sync` and `mirrored` give to all: an answer only when it is true,
//! and at once.

use std::time::{Duration, Instant};

use crate::harness::{Conn, Home, Load, Server, Value, eventually, rng, rounds};
use rustix::process::Signal;

fn wait_for_disk(conn: &mut Conn, timeout_ms: u64) -> (i64, i64) {
    let reply = conn.call(&format!("WAITAOF 1 0 {timeout_ms}"));
    (reply.items()[0].int(), reply.items()[1].int())
}

/// A flush interval (one minute) that no test outlives: whatever reaches the disk was asked for.
fn lazy() -> Home {
    Home::new().set("log.durability", "async").set("log.flush_interval_ms", "60000")
}

#[test]
fn waitaof_starts_the_commit_instead_of_waiting_for_the_flush() {
    let home = lazy();
    let server = home.start();
    let mut conn = server.connect();
    let start = Instant::now();
    for n in 0..50 {
        conn.call(&format!("SET key:{n} value"));
        assert_eq!(wait_for_disk(&mut conn, 30_000), (1, 0));
    }
    // Far from any measurement: fifty flushes would be fifty minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn what_waitaof_confirmed_outlives_a_kill() {
    let home = lazy();
    let mut rng = rng();
    let mut server = home.start();
    for round in 0..rounds(5) {
        let mut conn = server.connect();
        let keys: Vec<String> = (0..rng.usize(1..500)).map(|n| format!("{round}:{n}")).collect();
        let sets: Vec<Vec<&str>> = keys.iter().map(|key| vec!["SET", key, "value"]).collect();
        conn.pipeline(&sets);
        assert_eq!(wait_for_disk(&mut conn, 30_000).0, 1);
        server.kill();
        server = home.start();
        let exists: Vec<&str> = ["EXISTS"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        assert_eq!(server.connect().command(&exists).int(), i64::try_from(keys.len()).expect("a count"));
    }
}

#[test]
fn waitaof_covers_a_whole_pipeline_under_load() {
    let home = Home::new().set("log.durability", "async");
    let mut rng = rng();
    let mut server = home.start();
    let load = Load::new("load").start(&server, &mut rng);
    let mut conn = server.connect();
    let mut confirmed = 0;
    for n in 0..200 {
        let commands: Vec<Vec<String>> = ["SET", "GET"]
            .map(|name| {
                [name, &format!("key:{n}"), "value"][..if name == "SET" { 3 } else { 2 }]
                    .iter()
                    .map(|arg| (*arg).to_owned())
                    .collect()
            })
            .to_vec();
        conn.pipeline(&commands);
        assert_eq!(wait_for_disk(&mut conn, 30_000).0, 1);
        confirmed = n;
    }
    server.kill();
    load.join();
    let server = home.start();
    let mut conn = server.connect();
    assert!((0..=confirmed).all(|n| conn.call(&format!("EXISTS key:{n}")).int() == 1));
}

#[test]
fn without_writes_there_is_nothing_to_wait_for() {
    let home = lazy();
    let server = home.start();
    server.connect().call("SET key value");
    let mut other = server.connect();
    assert_eq!(wait_for_disk(&mut other, 30_000).0, 1);
}

#[test]
fn wait_counts_the_checkpoint_node_and_times_out_without_it() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.call("SET key value");
    let start = Instant::now();
    assert_eq!(conn.call("WAIT 1 200").int(), 0);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(conn.call("WAIT 0 0").int(), 0);
    assert_eq!(wait_for_disk(&mut conn, 100).0, 1);
    // A node is asked for that does not exist.
    let reply = conn.call("WAITAOF 0 1 100");
    assert_eq!((reply.items()[0].int(), reply.items()[1].int()), (1, 0));
}

fn with_node() -> (Home, Server) {
    let home = Home::with_node();
    let mut server = home.start();
    server.node();
    let mut conn = server.connect();
    conn.call("SET first value");
    // The node may still be connecting.
    assert_eq!(conn.call("WAIT 1 30000").int(), 1);
    (home, server)
}

#[test]
fn wait_with_a_node_confirms_it() {
    let (_home, server) = with_node();
    let mut conn = server.connect();
    for n in 0..50 {
        conn.call(&format!("SET key:{n} value"));
        assert_eq!(conn.call("WAIT 1 30000").int(), 1);
    }
}

#[test]
fn a_checkpoint_and_the_node_do_not_wait_for_the_flush() {
    let home = Home::with_node().set("log.durability", "async").set("log.flush_interval_ms", "60000");
    let mut server = home.start();
    server.node();
    let mut conn = server.connect();
    let start = Instant::now();
    conn.call("SET key value");
    assert_eq!(conn.call("WAIT 1 50000").int(), 1);
    conn.call("SET key other");
    assert_eq!(conn.call("SAVE").text(), "OK");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn wait_does_not_count_a_node_that_sleeps() {
    let (_home, mut server) = with_node();
    let node = server.node();
    node.signal(Signal::STOP);
    let mut conn = server.connect();
    conn.call("SET key value");
    assert_eq!(conn.call("WAIT 1 300").int(), 0);
    assert_eq!(wait_for_disk(&mut conn, 30_000).0, 1);
    node.signal(Signal::CONT);
    assert_eq!(conn.call("WAIT 1 30000").int(), 1);
}

fn assert_only_one_is_left(server: &Server, request: &str) {
    let mut conn = server.connect();
    let patience = Duration::from_secs(10);
    eventually(request, patience, || (conn.call("CLIENT LIST").text().lines().count() == 1).then_some(()));
    assert!(conn.call("INFO clients").text().contains("connected_clients:1\r\n"), "{request}");
}

#[test]
fn a_client_that_goes_while_it_waits_is_gone() {
    let home = Home::new();
    let server = home.start();
    for request in ["WAIT 1 0", "WAIT 1 600000", "WAITAOF 0 1 0", "WAITAOF 1 1 600000"] {
        let mut waiting = server.connect();
        waiting.send(format!("SET key value\r\n{request}\r\n").as_bytes()).expect("send");
        assert_eq!(waiting.read().expect("SET").text(), "OK");
        drop(waiting);
        assert_only_one_is_left(&server, request);
    }
}

/// Writes wait for the node on both cores, of their own clients and of the other core's.
#[test]
fn a_client_that_goes_while_its_writes_wait_is_gone() {
    let home = Home::with_node().set("log.durability", "mirrored");
    let mut server = home.start();
    let node = server.node();
    assert_eq!(server.connect().call("SET first value").text(), "OK");
    node.signal(Signal::STOP);
    for n in 0..8 {
        let mut writing = server.connect();
        writing.send(format!("SET key:{n} value\r\nMSET a 1 b 2 c 3 d 4\r\n").as_bytes()).expect("send");
        // It has been taken in.
        server.connect().call("PING");
    }
    assert_only_one_is_left(&server, "writes that wait for the node");
    node.signal(Signal::CONT);
}

#[test]
fn a_client_that_closes_its_half_is_told_what_comes_soon() {
    let home = lazy();
    let server = home.start();
    for request in ["WAITAOF 1 0 0", "WAITAOF 1 0 60000"] {
        let mut conn = server.connect();
        conn.send(format!("SET key value\r\n{request}\r\nPING\r\n").as_bytes()).expect("send");
        conn.finish().expect("close one half");
        assert_eq!(conn.read_to_end().expect("all replies"), b"+OK\r\n*2\r\n:1\r\n:0\r\n+PONG\r\n");
    }
}

#[test]
fn arguments_are_checked_as_in_redis() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    for line in ["WAIT x 1", "WAIT 1 -1", "WAIT 1", "WAITAOF 2 0 0", "WAITAOF -1 0 0", "WAITAOF 1 0 -1", "WAITAOF 1 0"]
    {
        assert!(conn.call(line).is_error(), "{line}");
    }
    assert_eq!(conn.call("PING"), Value::Simple("PONG".to_owned()));
}

#[test]
fn others_are_served_while_one_waits() {
    let home = Home::new();
    let server = home.start();
    let mut waiting = server.connect();
    waiting.call("SET key value");
    waiting.send(b"WAIT 1 1000\r\nPING\r\n").expect("send");
    let mut other = server.connect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        assert_eq!(other.call("GET key").text(), "value");
    }
    assert_eq!(waiting.read().expect("WAIT").int(), 0);
    assert_eq!(waiting.read().expect("PING").text(), "PONG");
}
