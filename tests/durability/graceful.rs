//! Promise: a server that is asked to stop loses nothing at all, whatever the durability, and leaves nothing behind.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Dump, Home, Ledger, Load, Process, Server, eventually, rng, run};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// Stops a server under load, starts another, and compares.
fn stop_under_load(home: &Home, stop: impl Fn(&mut Server)) {
    let mut rng = rng();
    let mut past: Vec<Ledger> = Vec::new();
    let mut server = home.start();
    for round in 0..3 {
        let mut load = Load::new(&format!("round{round}"));
        load.pipeline = 1 << rng.u32(0..7);
        let running = load.start(&server, &mut rng);
        sleep(Duration::from_millis(rng.u64(0..400)));
        let family = server.family();
        stop(&mut server);
        assert!(server.wait().success(), "{:?}", server.wait());
        let mut ledger = running.join();
        assert_nothing_is_left(home, &family);
        server = home.start();
        ledger.settle_without_loss(&server);
        past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
        past.push(ledger);
    }
}

fn assert_nothing_is_left(home: &Home, family: &[Process]) {
    eventually("the end of the children", PATIENCE, || family.iter().all(|process| !process.is_alive()).then_some(()));
    for port in [home.port(), home.checkpoint_port()] {
        // The kernel may take a moment to close what a dead process's ring still held.
        eventually("a free port", PATIENCE, || TcpListener::bind(("127.0.0.1", port)).ok());
    }
}

/// A flush interval that no test outlives, so that only the stop itself can have brought the last edits to the disk.
fn lazy(home: Home) -> Home {
    home.set("log.durability", "async").set("log.flush_interval_ms", "60000")
}

#[test]
fn sigterm_loses_nothing() {
    stop_under_load(&lazy(Home::new()), |server| server.signal(Signal::TERM));
}

#[test]
fn sigterm_with_a_node_loses_nothing_and_leaves_no_orphan() {
    stop_under_load(&lazy(Home::with_node()), |server| server.signal(Signal::TERM));
}

#[test]
fn sigint_loses_nothing() {
    stop_under_load(&lazy(Home::new()), |server| server.signal(Signal::INT));
}

#[test]
fn whatever_else_ends_the_server_in_good_order_loses_nothing() {
    // SIGQUIT, SIGXCPU, SIGPWR.
    for signal in ["3", "24", "30"] {
        stop_under_load(&lazy(Home::new()), |server| {
            run("sh", &["-c", &format!("kill -{signal} {}", server.pid())]).expect("send a signal");
        });
    }
}

#[test]
fn shutdown_loses_nothing() {
    // Success has no reply: the connection ends.
    stop_under_load(&lazy(Home::with_node()), |server| {
        let reply = server.connect().try_command(&["SHUTDOWN"]);
        assert!(reply.is_err(), "{reply:?}");
    });
}

#[test]
fn a_second_signal_is_harmless() {
    stop_under_load(&lazy(Home::with_node()), |server| {
        for _ in 0..20 {
            server.signal(Signal::TERM);
            server.signal(Signal::INT);
            sleep(Duration::from_micros(300));
        }
    });
}

#[test]
fn in_sync_and_mirrored_too() {
    stop_under_load(&Home::new().set("log.durability", "sync"), |server| server.signal(Signal::TERM));
    stop_under_load(&Home::with_node().set("log.durability", "mirrored"), |server| server.signal(Signal::TERM));
}

#[test]
fn a_stop_with_clients_that_sleep_does_not_wait_for_them() {
    let home = Home::new();
    let mut server = home.start();
    let mut idle: Vec<_> = (0..50).map(|_| server.connect()).collect();
    let mut half = server.connect();
    half.send(b"*2\r\n$3\r\nGET\r\n").expect("send half a request");
    assert!(server.terminate().success());
    idle.iter_mut().for_each(|conn| assert!(conn.try_command(&["PING"]).is_err()));
}

#[test]
fn a_restart_finds_exactly_what_was_there() {
    let home = lazy(Home::with_node());
    let mut server = home.start();
    let mut conn = server.connect();
    for db in [0, 7, 15] {
        conn.call(&format!("SELECT {db}"));
        conn.call("MSET a 1 b 2 c 3");
        conn.call("HSET hash one 1 two 2");
        conn.call("EXPIRE a 10000");
        conn.call("DEL b");
    }
    let before = Dump::take(&server);
    for _ in 0..3 {
        assert!(server.terminate().success());
        server = home.start();
        before.assert_same(&Dump::take(&server));
    }
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    assert!(server.terminate().success());
    let server = home.start();
    before.assert_same(&Dump::take(&server));
}

#[test]
fn the_children_of_a_killed_master_end_with_it() {
    let home = Home::with_node();
    let mut server = home.start();
    let node = server.node();
    server.kill();
    eventually("the orphan's end", PATIENCE, || (!node.is_alive()).then_some(()));
    assert_nothing_is_left(&home, &[node]);
}
