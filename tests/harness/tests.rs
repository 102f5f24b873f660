//! Promise: what the other tests trust can be trusted: the ledger sees every kind of loss, so that a server that lies
//! is found out, and a test that is alone on the machine is alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::harness::{Conn, Home, Ledger, Load, Server, Value, alone, beside_others, rng};

/// Fills a server, lets `tamper` do its worst, and says whether the ledger notices.
fn is_noticed(tamper: impl FnOnce(&mut Conn, &[String])) -> bool {
    let home = Home::new();
    let server = home.start();
    let mut ledger = filled(&server);
    let mut conn = server.connect();
    let keys: Vec<String> = (0..200).step_by(2).map(|key| format!("load:0:{key}")).collect();
    let held: Vec<String> = keys.into_iter().filter(|key| conn.command(&["GET", key]) != Value::Null).collect();
    tamper(&mut conn, &held);
    catch_unwind(AssertUnwindSafe(|| ledger.settle_without_loss(&server))).is_err()
}

fn filled(server: &Server) -> Ledger {
    let mut load = Load::new("load");
    load.writes = 2_000;
    load.keys = 200;
    let ledger = load.start(server, &mut rng()).join();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    ledger
}

#[test]
fn an_honest_server_passes_again_and_again() {
    let home = Home::new();
    let server = home.start();
    let mut ledger = filled(&server);
    (0..3).for_each(|_| ledger.settle_without_loss(&server));
    assert!(!is_noticed(|_, _| {}));
}

#[test]
fn a_lost_key_is_noticed() {
    assert!(is_noticed(|conn, keys| assert_eq!(conn.command(&["DEL", &keys[0]]).int(), 1)));
}

#[test]
fn lost_data_are_noticed() {
    assert!(is_noticed(|conn, _| assert!(!conn.call("FLUSHALL").is_error())));
}

#[test]
fn an_older_value_is_noticed() {
    assert!(is_noticed(|conn, keys| {
        let value = conn.command(&["GET", &keys[0]]).text();
        let number: u64 = value.split('#').nth(1).and_then(|number| number.parse().ok()).expect("a number");
        // Right in form, but not what the last write said.
        conn.command(&["SET", &keys[0], &value.replace(&format!("#{number}#"), "#1#")]);
    }));
}

#[test]
fn the_value_of_another_key_is_noticed() {
    assert!(is_noticed(|conn, keys| {
        let value = conn.command(&["GET", &keys[1]]).text();
        conn.command(&["SET", &keys[0], &value]);
    }));
}

#[test]
fn half_a_value_is_noticed() {
    assert!(is_noticed(|conn, keys| {
        conn.command(&["APPEND", &keys[0], "."]);
    }));
}

#[test]
fn a_resurrected_key_is_noticed() {
    let home = Home::new();
    let server = home.start();
    let mut ledger = filled(&server);
    ledger.settle_without_loss(&server);
    let mut conn = server.connect();
    let missing = (0..200).step_by(2).map(|key| format!("load:0:{key}"));
    let missing: Vec<String> = missing.filter(|key| conn.command(&["GET", key]) == Value::Null).collect();
    let key = missing.first().expect("one key in eight is deleted");
    conn.command(&["SET", key, &format!("{key}#1#")]);
    assert!(catch_unwind(AssertUnwindSafe(|| ledger.settle_without_loss(&server))).is_err());
}

#[test]
fn while_a_test_is_alone_others_wait() {
    let alone = alone();
    // Its own servers do not.
    let homes = [Home::new(), Home::new()];
    let (begun, others) = mpsc::channel();
    let other = thread::spawn(move || {
        let _share = beside_others();
        begun.send(()).expect("somebody listens");
    });
    assert!(others.recv_timeout(Duration::from_millis(200)).is_err(), "another test began");
    drop((alone, homes));
    others.recv().expect("the other test begins");
    other.join().expect("the other test");
}
