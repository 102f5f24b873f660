//! Promise: a death at any step of what the server does with files (a start, a new segment, an install of a snapshot, a
//! cut of the log) leaves the state before it or the state after it, and loses nothing.
//!
//! The steps are the named places of `storage::failpoint`, each met at its first, second, … time in a server under
//! load.

use std::time::Duration;

use crate::harness::{Home, Load, eventually, rng, rounds, verify};

const PATIENCE: Duration = Duration::from_secs(60);
/// Steps, and up to which time of meeting one a server dies there.
type Steps = [(&'static str, u32)];

/// Dies at the `n`-th time of coming to `step`, in a start or under load; the next life must hold everything.
fn die_at(home: &Home, step: &str, n: u32, rng: &mut fastrand::Rng) {
    let failpoint = format!("ROLLBOOK_FAILPOINT={step}:{n}");
    let mut server = match home.launch_under(&["env", &failpoint]).wait_until_ready() {
        Ok(server) => server,
        // It died on its way up, as planned, by a signal of its own.
        Err(refused) => return assert_eq!(refused.status.code(), None, "{refused}"),
    };
    let load = Load::new(&format!("{step}:{n}")).start(&server, rng);
    // The step comes by itself: there are always snapshots to be installed, and log to be dropped.
    eventually(&format!("a death at {step}"), PATIENCE, || server.poll());
    let mut ledger = load.join();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    let verdict = verify(&home.data());
    assert_eq!(verdict.code, Some(0), "{step}: {}", verdict.text);
    let server = home.start();
    ledger.settle_without_loss(&server);
}

#[test]
fn of_a_start() {
    at_every(&[("epoch.segments-made", 1), ("epoch.synced", 1), ("manifest.copy-written", 40)]);
}

#[test]
fn of_a_new_segment() {
    at_every(&[("log.segment-written", 3), ("log.segment-named", 3), ("log.segment-begun", 3)]);
}

#[test]
fn of_an_install_and_of_a_cut_of_the_log() {
    at_every(&[("install.synced", 12), ("install.moved", 12), ("install.recorded", 12), ("truncate.recorded", 4)]);
}

fn at_every(steps: &Steps) {
    let mut rng = rng();
    for (step, most) in steps {
        for _ in 0..rounds(1) {
            let n = rng.u32(1..=*most);
            eprintln!("{step}:{n}");
            let home = Home::with_node()
                .set("log.durability", "sync")
                .set("log.segment_bytes", "1048576")
                .set("data.partitions", "8")
                .set("checkpoint.every_edits", "500")
                .set("checkpoint.every_seconds", "1");
            // Something is there already.
            let mut before = home.start();
            let mut load = Load::new("before");
            load.writes = 500;
            let mut ledger = load.start(&before, &mut rng).join();
            before.kill();
            die_at(&home, step, n, &mut rng);
            let mut server = home.start();
            ledger.settle_without_loss(&server);
            // And the system is well: it checkpoints all of it.
            eventually("a checkpoint", PATIENCE, || (!server.connect().call("SAVE").is_error()).then_some(()));
            server.kill();
            let verdict = verify(&home.data());
            assert_eq!(verdict.code, Some(0), "{step}: {}", verdict.text);
        }
    }
}
