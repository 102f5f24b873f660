//! Promise: when the master is killed at any instant, nothing that was acknowledged as durable is lost; what is lost in
//! `async` is the end of a stream, acknowledged within the flush window.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Home, Ledger, Load, Server, alone, rng, rounds};

/// What the disk and the scheduler may take on top of `log.flush_interval_ms`, on machines that do many other things.
const SLACK: Duration = Duration::from_secs(1);

/// Kills a server under load several times in the same directory; `check` sees each ledger with the instant of the
/// death.
fn kill_again_and_again(home: &Home, few: u32, mut check: impl FnMut(&mut Ledger, &Server, Instant)) {
    let mut rng = rng();
    let mut past: Vec<Ledger> = Vec::new();
    let mut server = home.start();
    for round in 0..rounds(few) {
        let mut load = Load::new(&format!("round{round}"));
        load.connections = rng.usize(1..=6);
        load.pipeline = 1 << rng.u32(0..8);
        load.keys = rng.usize(1..400);
        load.padding = rng.choice([20, 300, 5_000]).unwrap_or(20);
        let running = load.start(&server, &mut rng);
        sleep(Duration::from_micros(rng.u64(0..400_000)));
        let death = Instant::now();
        server.kill();
        let mut ledger = running.join();
        assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
        server = home.start();
        check(&mut ledger, &server, death);
        past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
        past.push(ledger);
    }
    // What a crash left must also survive lives in which nothing happens.
    for _ in 0..2 {
        server.kill();
        server = home.start();
        past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&server));
    }
}

#[test]
fn in_sync_nothing_acknowledged_is_lost() {
    let home = Home::new().set("log.durability", "sync");
    kill_again_and_again(&home, 8, |ledger, server, _| ledger.settle_without_loss(server));
}

#[test]
fn in_sync_nothing_acknowledged_is_lost_with_a_node() {
    let home = Home::with_node().set("log.durability", "sync").set("checkpoint.every_edits", "2000");
    kill_again_and_again(&home, 6, |ledger, server, _| ledger.settle_without_loss(server));
}

#[test]
fn in_mirrored_nothing_acknowledged_is_lost() {
    let home = Home::with_node().set("log.durability", "mirrored");
    kill_again_and_again(&home, 6, |ledger, server, _| ledger.settle_without_loss(server));
}

#[test]
fn in_async_only_the_end_of_a_stream_within_the_flush_window_is_lost() {
    let _alone = alone();
    let interval = Duration::from_millis(10);
    let home = Home::new().set("log.durability", "async").set("log.flush_interval_ms", "10");
    kill_again_and_again(&home, 8, |ledger, server, death| {
        let lost = ledger.settle(server);
        let window = lost.first.map_or(Duration::ZERO, |first| death.saturating_duration_since(first));
        eprintln!(
            "lost {} of {} acknowledged writes, the first {window:?} before the kill",
            lost.count, lost.acknowledged
        );
        assert!(window <= interval + SLACK, "lost what was acknowledged {window:?} before the kill");
    });
}

#[test]
fn a_long_flush_window_loses_the_end_and_nothing_else() {
    // So long that there is certainly something to lose: the check that a cut exists is then not an empty one.
    let home = Home::new().set("log.durability", "async").set("log.flush_interval_ms", "300");
    kill_again_and_again(&home, 4, |ledger, server, _| {
        let lost = ledger.settle(server);
        eprintln!("lost {} of {} acknowledged writes", lost.count, lost.acknowledged);
    });
}

/// As the default, `data`, is.
#[test]
fn a_data_directory_below_the_working_directory() {
    for dir in ["data", "not/there/yet"] {
        let home = Home::with_node().set("data.dir", dir).set("log.durability", "sync");
        let mut server = home.start();
        let mut ledger = Load::new("load").start(&server, &mut rng()).join();
        server.kill();
        ledger.settle_without_loss(&home.start());
        assert!(home.path().join(dir).join("log").is_dir());
    }
}
