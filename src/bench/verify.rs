//! `--verify`: reads back every cell in the ledgers and reports what is missing.

use std::time::Duration;

use super::client::{Client, Target, Value};
use super::error::BenchError;
use super::ledger::{Ledger, conclude};
use super::result::{Server, Verification};
use super::workload::Workload;
use crate::config::Durability;

/// Number of cells requested together.
const BATCH: usize = 500;
/// Maximum time that a server lost at the very end may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Allowance for a commit. A write that comes while one is under way waits for it, and then for its own: until both are
/// on disk it may be lost, though it was acknowledged.
const COMMIT: Duration = Duration::from_millis(500);
/// Window of `appendfsync everysec` in Redis and similar servers: up to two seconds, by its documentation.
const EVERY_SECOND: Duration = Duration::from_secs(2);

/// The durability that the server reports, or else the weakest.
pub fn durability(server: &Server) -> Durability {
    match server.info_before.get("durability").map(String::as_str) {
        Some("sync") => Durability::Sync,
        Some("mirrored") => Durability::Mirrored,
        _ => Durability::Async,
    }
}

/// How long before a loss of this server acknowledged writes may be lost, with durability `async`.
pub fn window(server: &Server) -> Duration {
    let interval = server.info_before.get("flush_interval_ms").and_then(|text| text.parse().ok());
    interval.map_or(EVERY_SECOND, |interval| Duration::from_millis(interval) + 2 * COMMIT)
}

/// Compares the ledgers with what the server holds.
///
/// # Errors
/// If the server does not come back, or does not reply.
pub fn verify(
    target: &Target,
    workload: &Workload,
    ledgers: &[Ledger],
    excuse: Duration,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verification, BenchError> {
    let mut client = patient(target)?;
    let mut found = Verification { excuse_seconds: excuse.as_secs_f64(), ..Verification::default() };
    ledgers.iter().for_each(|ledger| ledger.count(&mut found));
    let mut done = 0;
    for ledger in ledgers {
        let cells: Vec<u64> = ledger.cells().collect();
        for batch in cells.chunks(BATCH) {
            let mut out = Vec::new();
            let names: Vec<_> = batch.iter().map(|cell| workload.read_back(*cell, &mut out)).collect();
            client.send(&out)?;
            for (cell, name) in batch.iter().zip(names) {
                judge(ledger, *cell, &name, client.receive()?, &mut found)?;
            }
            done += batch.len() as u64;
            progress(done, found.keys);
        }
    }
    conclude(&mut found);
    Ok(found)
}

fn judge(ledger: &Ledger, cell: u64, name: &str, held: Value, found: &mut Verification) -> Result<(), BenchError> {
    match held {
        Value::Text(bytes) => ledger.judge(cell, name, Some(&bytes), found),
        Value::Null => ledger.judge(cell, name, None, found),
        Value::Error(why) => return Err(BenchError::Refused { what: format!("to read {name} back"), why }),
        Value::Many(_) => ledger.judge(cell, name, Some(b""), found),
    }
    Ok(())
}

/// Connects to a server that may still have to start, and waits until it is ready.
fn patient(target: &Target) -> Result<Client, BenchError> {
    let begin = std::time::Instant::now();
    loop {
        let attempt = target.connect_within(PATIENCE, Some(PATIENCE)).and_then(|mut client| {
            let answer = client.call(&[b"PING"])?;
            Ok((client, answer))
        });
        match attempt {
            Ok((client, Value::Text(_))) => return Ok(client),
            Ok((_, answer)) if begin.elapsed() > PATIENCE => {
                return Err(BenchError::Refused { what: "to serve".to_owned(), why: format!("{answer:?}") });
            }
            Err(why) if begin.elapsed() > PATIENCE => return Err(why),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
