//! Promise: the recovery time that INFO predicts is that of the next start, within a factor that is stated here.

use crate::harness::{Home, Server, alone};

/// Prediction and fact are at most so far apart: after a start that could be measured, and by the built-in costs, which
/// are those of an optimised program on a machine that does nothing else.
const MEASURED: f64 = 4.0;
const ASSUMED: f64 = 20.0;
/// Shorter times than this, in milliseconds, are all the same: they are spent on waiting for threads and files.
const FLOOR: f64 = 50.0;

const KEYS: usize = 60_000;

fn fill(server: &Server, round: usize) {
    let mut conn = server.connect();
    let value = "v".repeat(100);
    let commands: Vec<Vec<String>> =
        (0..KEYS).map(|n| vec!["SET".to_owned(), format!("key:{n}"), format!("{round}{value}")]).collect();
    commands.chunks(500).for_each(|chunk| drop(conn.pipeline(chunk)));
    assert_eq!(conn.call("WAITAOF 1 0 60000").items()[0].int(), 1);
}

/// What a life says of the next one's recovery.
fn predicted(server: &Server) -> f64 {
    server.info_number("recovery_predicted_ms")
}

/// Kills the server and starts another life, until what the life before said comes near to what that took: a machine
/// that does other things, too, may take its time now and then, but not again and again. `factor` is for the first
/// time, when nothing was measured.
fn assert_near(home: &Home, mut server: Server, mut factor: f64) -> Server {
    let mut seen = Vec::new();
    for _ in 0..6 {
        let said = predicted(&server);
        server.kill();
        server = home.start();
        let fact = server.info_number("recovery_ms");
        eprintln!("{said} ms predicted, {fact} ms needed");
        let (p, f) = (said.max(FLOOR), fact.max(FLOOR));
        if p <= f * factor && f <= p * factor {
            return server;
        }
        seen.push((said, fact));
        factor = MEASURED;
    }
    panic!("predicted and needed, in ms: {seen:?}");
}

#[test]
fn from_the_log() {
    let _alone = alone();
    let home = Home::new();
    let server = home.start();
    assert!(predicted(&server) < FLOOR, "there is nothing to recover");
    (0..3).for_each(|round| fill(&server, round));
    assert!(predicted(&server) > FLOOR, "{} edits are something", 3 * KEYS);
    let server = assert_near(&home, server, ASSUMED);
    let same = predicted(&server);
    fill(&server, 4);
    let more = predicted(&server);
    assert!(more > same, "{more} ms for a longer log than the one of {same} ms");
    assert_near(&home, server, MEASURED);
}

#[test]
fn from_snapshots() {
    let _alone = alone();
    let home = Home::with_node();
    let server = home.start();
    (0..3).for_each(|round| fill(&server, round));
    let of_log = predicted(&server);
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    let of_snapshots = predicted(&server);
    assert!(of_snapshots < of_log, "snapshots of {of_snapshots} ms replace a log of {of_log} ms");
    let server = assert_near(&home, server, ASSUMED);
    assert_near(&home, server, MEASURED);
}
