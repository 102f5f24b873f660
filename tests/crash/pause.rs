//! Promise: a master that slept is still the only one of its directory, and goes on as if nothing had been.

use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Home, Load, rng};
use rustix::process::Signal;

#[test]
fn a_second_server_is_refused_while_the_first_sleeps() {
    let mut home = Home::new().set("log.durability", "sync");
    let mut rng = rng();
    let mut first = home.start();
    let load = Load::new("load").start(&first, &mut rng);
    sleep(Duration::from_millis(100));
    first.signal(Signal::STOP);
    // Elsewhere, but in the same directory.
    let port = home.setting("server.port").to_owned();
    let other = Home::new();
    home.change("server.port", other.setting("server.port"));
    home.change("checkpoint.port", other.setting("checkpoint.port"));
    let refused = home.launch().into_refused();
    assert_eq!(refused.status.code(), Some(69), "{refused}");
    assert!(refused.log.contains(&*home.data().to_string_lossy()), "{refused}");
    home.change("server.port", &port);
    first.signal(Signal::CONT);
    sleep(Duration::from_millis(100));
    let mut ledger = load.stop();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    ledger.settle_without_loss(&first);
    first.kill();
    let second = home.start();
    ledger.settle_without_loss(&second);
}

#[test]
fn a_pause_longer_than_any_patience_costs_nothing_acknowledged() {
    let home = Home::with_node().set("log.durability", "mirrored");
    let mut rng = rng();
    let mut server = home.start();
    let load = Load::new("load").start(&server, &mut rng);
    sleep(Duration::from_millis(200));
    server.signal(Signal::STOP);
    sleep(Duration::from_secs(10));
    server.signal(Signal::CONT);
    sleep(Duration::from_millis(200));
    let mut ledger = load.stop();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    server.kill();
    let server = home.start();
    ledger.settle_without_loss(&server);
}
