//! Promise: in `sync` no client is ever shown a value, or the absence of one, that a crash then takes back.

use std::collections::HashMap;
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use crate::harness::{Conn, Home, Load, Seen, Server, Value, encode, rng, rounds};

/// Reads all keys of a connection of `load` over and over until the server dies; returns the last that it saw of each.
fn watch(server: &Server, load: &Load, connection: usize, scattered: bool) -> JoinHandle<HashMap<String, Seen>> {
    let mut conn = server.connect();
    conn.command(&["SELECT", &(connection % 2).to_string()]);
    // Strings only: a value then names its number in one piece.
    let keys: Vec<String> = (0..load.keys).step_by(2).map(|key| format!("{}:{connection}:{key}", load.name)).collect();
    thread::spawn(move || {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        while let Some(values) = read(&mut conn, &keys, scattered) {
            for (key, value) in keys.iter().zip(values) {
                seen.entry(key.clone()).or_default().note(&value);
            }
        }
        seen
    })
}

fn read(conn: &mut Conn, keys: &[String], scattered: bool) -> Option<Vec<Value>> {
    if scattered {
        let args: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        return conn.try_command(&args).ok().map(|reply| reply.items().to_vec());
    }
    let mut requests = Vec::new();
    keys.iter().for_each(|key| encode(&mut requests, &["GET", key]));
    conn.send(&requests).ok()?;
    keys.iter().map(|_| conn.read().ok()).collect()
}

fn nothing_seen_is_taken_back(home: &Home) {
    let mut rng = rng();
    let mut server = home.start();
    for round in 0..rounds(8) {
        let mut load = Load::new(&format!("round{round}"));
        load.connections = 2;
        load.keys = rng.usize(2..60);
        load.pipeline = 1 << rng.u32(0..6);
        let running = load.start(&server, &mut rng);
        let watchers = [(0, false), (1, false), (0, true), (1, true)];
        let watchers = watchers.map(|(connection, scattered)| watch(&server, &load, connection, scattered));
        sleep(Duration::from_millis(rng.u64(20..300)));
        server.kill();
        let mut ledger = running.join();
        let seen = watchers.map(|watcher| watcher.join().expect("a watcher's thread"));
        server = home.start();
        ledger.settle_without_loss(&server);
        let mut count = 0;
        for (key, seen) in seen.iter().flatten() {
            ledger.assert_survived(key, seen);
            count += usize::from(seen.number > 0);
        }
        eprintln!("{count} values seen are held or were replaced");
    }
}

#[test]
fn in_sync() {
    nothing_seen_is_taken_back(&Home::new().set("log.durability", "sync"));
}

#[test]
fn in_mirrored() {
    nothing_seen_is_taken_back(&Home::with_node().set("log.durability", "mirrored"));
}
