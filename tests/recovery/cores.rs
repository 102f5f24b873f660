//! Promise: the data does not depend on the number of cores; it may change at every start.

use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use crate::harness::{Dump, Home, Ledger, Load, Value, rng};
use rollbook::encoding::slot::slot_of;

/// Numbers of cores of the lives to come: up and down, no more than this machine has.
fn lives() -> Vec<u16> {
    let most = available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX));
    [2, 1, 2, 4, 3, 1, 2].into_iter().map(|cores: u16| cores.min(most)).collect()
}

fn restart_with_other_numbers(mut home: Home) {
    let mut rng = rng();
    let mut past: Vec<Ledger> = Vec::new();
    let mut before: Option<Dump> = None;
    for (life, cores) in lives().into_iter().enumerate() {
        home.change("server.cores", &cores.to_string());
        let mut server = home.start();
        past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
        if let Some(before) = before.take() {
            before.assert_same(&Dump::take(&server));
        }
        let mut load = Load::new(&format!("life{life}"));
        load.cores = cores;
        load.writes = 3_000;
        let running = load.start(&server, &mut rng);
        if life % 2 == 0 {
            sleep(Duration::from_millis(rng.u64(0..300)));
            server.kill();
            past.push(running.join());
        } else {
            past.push(running.join());
            before = Some(Dump::take(&server));
            assert!(server.terminate().success());
        }
    }
}

#[test]
fn with_the_log_alone() {
    restart_with_other_numbers(Home::new().set("log.durability", "sync"));
}

#[test]
fn with_snapshots_and_logs_of_many_epochs() {
    let home = Home::with_node().set("log.durability", "sync").set("checkpoint.every_edits", "500");
    restart_with_other_numbers(home.set("log.segment_bytes", "1048576"));
}

/// The streams of an epoch are of different lengths: what one holds proves nothing of another.
#[test]
fn a_short_stream_beside_a_long_one_is_not_taken_for_damaged() {
    if available_parallelism().map_or(1, usize::from) < 2 {
        return eprintln!("skipped: two streams need two CPUs");
    }
    let mut home = Home::with_node().set("server.cores", "2");
    let mut server = home.start();
    let mut conn = server.connect();
    let first_half = |key: &String| slot_of(key.as_bytes()).0 < 8192;
    let keys: Vec<String> = (0..4000).map(|n| format!("key{n}")).filter(first_half).collect();
    for key in &keys {
        conn.command(&["SET", key, "value"]);
    }
    assert_eq!(conn.command(&["WAIT", "1", "10000"]), Value::Int(1));
    assert_eq!(conn.command(&["SAVE"]), Value::Simple("OK".to_owned()));
    server.kill();
    home.change("server.cores", "1");
    let server = home.start();
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(keys.len() as i64));
}

#[test]
fn a_key_on_a_core_with_few_is_drawn_as_rarely_as_any_other() {
    if available_parallelism().map_or(1, usize::from) < 2 {
        return eprintln!("skipped: two cores need two CPUs");
    }
    let home = Home::new().set("server.cores", "2");
    let server = home.start();
    let mut conn = server.connect();
    let is_first = |key: &String| slot_of(key.as_bytes()).0 < 8192;
    let lonely = (0..).map(|n| format!("lonely{n}")).find(|key| !is_first(key)).expect("half of all keys");
    let keys = (0..).map(|n| format!("key{n}")).filter(is_first).take(49);
    let sets: Vec<Vec<String>> =
        keys.chain([lonely.clone()]).map(|key| vec!["SET".to_owned(), key, "value".to_owned()]).collect();
    conn.pipeline(&sets);
    let draws = conn.pipeline(&vec![vec!["RANDOMKEY"]; 5_000]);
    let drawn = draws.iter().filter(|key| key.text() == lonely).count();
    // 100 are expected; six standard deviations are 60.
    assert!((40..160).contains(&drawn), "{drawn} of 5,000");
}
