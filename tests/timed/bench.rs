//! Promise: `rollbook bench` hides no stall, climbs as far as the server keeps up, and tells what a crash may lose from
//! what it may not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Home, Peer, Scripted, alone, measured, report_in};
use rollbook::bench::result::EventKind;
use rollbook::bench::{Plan, Rate};

#[test]
fn a_stall_of_a_second_shows_in_an_open_loop_and_hides_from_a_generator_that_waits() {
    let _alone = alone();
    let (begin, lock) = (Instant::now(), Mutex::new(false));
    let server = Scripted::start(move |_| {
        // Whoever comes first after a second stalls, and everybody else with it.
        let mut stalled = lock.lock().unwrap();
        if !*stalled && begin.elapsed() > Duration::from_secs(1) {
            *stalled = true;
            thread::sleep(Duration::from_secs(1));
        }
        b"+OK\r\n".to_vec()
    });
    let duration = Duration::from_secs(4);
    let report = measured(&Plan { rate: Rate::PerSecond(2000.0), duration, load: false, ..server.plan() });
    assert!((7900..=8000).contains(&report.totals.requests), "{:?}", report.totals);
    // A quarter of all requests were due while the server stalled: nearly all their latencies are seen.
    assert!(report.latency.p999 > 900_000.0, "{}", report.latency.p999);
    assert!(report.latency.p90 > 400_000.0, "{}", report.latency.p90);
    // One request of each connection was really under way.
    assert!(report.uncorrected.p999 < 100_000.0, "{}", report.uncorrected.p999);
    assert!(report.uncorrected.max > 900_000.0);
    let stalled = report.timeline.iter().filter(|interval| interval.requests == 0).count();
    assert!((3..=5).contains(&stalled), "{stalled} empty intervals of 0.2 s");
}

#[test]
fn a_sweep_climbs_until_the_server_no_longer_keeps_up() {
    let _alone = alone();
    // A server that can do a thousand requests a second on each connection.
    let server = Scripted::start(|_| {
        thread::sleep(Duration::from_micros(900));
        b"+OK\r\n".to_vec()
    });
    let plan = Plan { rate: Rate::Sweep, duration: Duration::from_secs(7), load: false, ..server.plan() };
    // A busy machine may not keep up with the first step: it gets another chance.
    let climbs = (0..3).any(|_| {
        let report = measured(&plan);
        assert!(report.sweep.iter().all(|step| step.latency.count > 0));
        let sustained: Vec<bool> = report.sweep.iter().map(|step| step.sustained).collect();
        eprintln!("{sustained:?}");
        sustained.len() >= 4 && sustained[0] && sustained.contains(&false)
    });
    assert!(climbs);
}

/// Writes and syncs a block every now and then until it is told to end. Returns how long the slowest took.
fn slowest_sync(directory: &Path, end: &Arc<AtomicBool>) -> thread::JoinHandle<Duration> {
    let (file, end) = (std::fs::File::create(directory.join("probe")).unwrap(), Arc::clone(end));
    thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        while !end.load(Ordering::Relaxed) {
            let begin = Instant::now();
            file.write_all_at(&[1; 4096], 0).unwrap();
            file.sync_data().unwrap();
            slowest = slowest.max(begin.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        slowest
    })
}

#[test]
fn after_kills_and_restarts_nothing_is_lost_that_was_promised() {
    // Of two commits, as long as which `async` may lose, the bench takes each to be at most so long.
    const COMMIT: Duration = Duration::from_millis(500);

    // What may be lost is measured in time: with `async`, by default about a second before each kill.
    let _alone = alone();
    for durability in ["async", "sync"] {
        let home = Home::with_peer(Peer::Rollbook).set("log.durability", durability);
        let mut server = home.start();
        let end = Arc::new(AtomicBool::new(false));
        let probe = slowest_sync(home.path(), &end);
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("bench.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rollbook"))
            .args(["bench", "--workload", "ycsb-a", "--keys", "1000", "--connections", "8", "--pipeline", "4"])
            .args(["--duration", "8s", "--warmup", "0s", "--verify", "--reconnect", "--html", "none"])
            .args(["--port", &home.port().to_string(), "--json"])
            .arg(&json)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(2500));
            server.kill();
            server = home.start();
        }
        let status = child.wait().unwrap();
        end.store(true, Ordering::Relaxed);
        let slowest = probe.join().unwrap();
        let report = report_in(&json);
        let found = report.verification.expect("a verification");
        if durability == "async" && slowest > COMMIT {
            eprintln!("not judged: a sync took {slowest:?} here, so that more may be lost than is allowed for");
            assert_eq!(found.torn, 0, "{found:?}");
        } else {
            assert!(status.success() && found.passed, "{durability}, a sync took {slowest:?}: {found:?}");
        }
        assert!(found.acknowledged > 100 && (durability == "async" || found.lost == 0), "{found:?}");
        assert!(report.totals.downtime_seconds > 0.0 && report.totals.lost > 0, "{:?}", report.totals);
        assert_eq!(report.events.iter().filter(|event| event.kind == EventKind::Back).count(), 2);
        drop(server);
    }
}
