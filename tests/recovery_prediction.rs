//! Promise: the recovery time that INFO predicts is that of the next start, within a factor that is stated here.

mod harness;

use harness::{Home, Server};

/// Prediction and fact are at most so far apart: after a start that could be measured, and by the built-in costs, which are those of
/// an optimised program on a machine that does nothing else.
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

/// What the next one took, compared with what was said.
fn assert_near(predicted: f64, server: &Server, factor: f64, what: &str) {
    let fact = server.info_number("recovery_ms");
    eprintln!("{what}: {predicted} ms predicted, {fact} ms needed");
    let (p, f) = (predicted.max(FLOOR), fact.max(FLOOR));
    assert!(p <= f * factor && f <= p * factor, "{what}: {predicted} ms predicted, {fact} ms needed");
}

#[test]
fn from_the_log() {
    let home = Home::new();
    let mut server = home.start();
    assert!(predicted(&server) < FLOOR, "there is nothing to recover");
    (0..3).for_each(|round| fill(&server, round));
    let assumed = predicted(&server);
    assert!(assumed > FLOOR, "{} edits are something", 3 * KEYS);
    server.kill();
    let mut server = home.start();
    assert_near(assumed, &server, ASSUMED, "by built-in costs");
    let same = predicted(&server);
    fill(&server, 4);
    let more = predicted(&server);
    assert!(more > same, "{more} ms for a longer log than the one of {same} ms");
    server.kill();
    let server = home.start();
    assert_near(more, &server, MEASURED, "by what was measured");
}

#[test]
fn from_snapshots() {
    let home = Home::with_node();
    let mut server = home.start();
    (0..3).for_each(|round| fill(&server, round));
    let of_log = predicted(&server);
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    let assumed = predicted(&server);
    assert!(assumed < of_log, "snapshots of {assumed} ms replace a log of {of_log} ms");
    server.kill();
    let mut server = home.start();
    assert_near(assumed, &server, ASSUMED, "by built-in costs");
    let measured = predicted(&server);
    server.kill();
    assert_near(measured, &home.start(), MEASURED, "by what was measured");
}
