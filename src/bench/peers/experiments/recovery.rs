//! Experiments: start time without data, from snapshots, and from the log.

use std::time::{Duration, Instant};

use super::super::program::{Kind, Program};
use super::super::result::{Aim, Row, Unit};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::subjects;
use crate::bench::client::Value;

/// Maximum time that a server may take to write a snapshot.
const PATIENCE: Duration = Duration::from_secs(600);

/// Data from which a server starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Snapshots,
    Log,
}

/// Measures the start of a server without data; Rollbook's includes its checkpoint node.
///
/// # Errors
/// If a server does not start.
pub fn start(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    let programs: Vec<_> = bench.programs().cloned().collect();
    let mut took = vec![Vec::new(); programs.len()];
    for _ in 0..bench.options.rounds.max(3) {
        for (program, took) in programs.iter().zip(&mut took) {
            bench.step(&program.to_string())?;
            let mut server = fresh(bench, program)?;
            server.settings_mut().node = program.kind == Kind::Rollbook;
            took.push(server.start()?);
        }
    }
    let subjects = subjects(&names(&programs), &took, micros);
    Ok(vec![bench.row("start without data", Unit::Micros, subjects, Some(Aim::AtMost(300e3)))])
}

/// Measures keys recovered per second from snapshots.
///
/// # Errors
/// If a server does not start, or has lost keys.
pub fn snapshots(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    recovery(bench, Source::Snapshots, "from snapshots", 2e6)
}

/// Measures keys recovered per second from the log alone.
///
/// # Errors
/// If a server does not start, or has lost keys.
pub fn log(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    recovery(bench, Source::Log, "from the log", 1e6)
}

fn recovery(bench: &Bench<'_>, source: Source, from: &str, aim: f64) -> Result<Vec<Row>, PeersError> {
    let programs: Vec<_> = bench.programs().filter(|program| program.kind.has_log()).cloned().collect();
    let keys = bench.options.keys;
    let (mut servers, mut empty) = (Vec::new(), Vec::new());
    for program in &programs {
        bench.step(&format!("{program}: loading"))?;
        let mut server = fresh(bench, program)?;
        server.settings_mut().node = source == Source::Snapshots && program.kind == Kind::Rollbook;
        server.start()?;
        server.stop()?;
        // The time of an empty start is not recovery, and is subtracted.
        empty.push(server.start()?);
        server.fill(keys)?;
        if source == Source::Snapshots {
            checkpoint(bench, &server)?;
            // A node would load its own snapshots on the same CPU at the same time.
            server.settings_mut().node = false;
        }
        servers.push(server);
    }
    let mut took = vec![Vec::new(); servers.len()];
    for round in 1..=bench.options.rounds {
        for (server, took) in servers.iter_mut().zip(&mut took) {
            bench.step(&format!("{}: round {round} of {}", server.program, bench.options.rounds))?;
            server.stop()?;
            took.push(server.start()?);
            expect_keys(server, keys)?;
        }
    }
    let rates: Vec<Vec<f64>> = took
        .iter()
        .zip(&empty)
        .map(|(took, empty)| {
            took.iter().map(|took| keys as f64 / took.saturating_sub(*empty).as_secs_f64().max(1e-3)).collect()
        })
        .collect();
    let names = names(&programs);
    let keys = crate::bench::report::units::count(keys);
    Ok(vec![
        bench.row(
            format!("keys recovered {from}"),
            Unit::PerSecond,
            subjects(&names, &rates, |rate| *rate),
            Some(Aim::AtLeast(aim)),
        ),
        bench.row(format!("start with {keys} keys {from}"), Unit::Micros, subjects(&names, &took, micros), None),
    ])
}

/// Makes a server write all data to snapshots, so that its log is almost empty.
fn checkpoint(bench: &Bench<'_>, server: &Server) -> Result<(), PeersError> {
    if server.program.kind == Kind::Rollbook {
        // The log is kept back to the older of two snapshot generations, so two saves are needed.
        server.call(&[b"SAVE"])?;
        server.call(&[b"SAVE"])?;
        return Ok(());
    }
    server.call(&[b"BGREWRITEAOF"])?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        bench.step(&format!("{}: rewriting its log", server.program))?;
        std::thread::sleep(Duration::from_millis(200));
        let info = server.client()?.info()?;
        let is_zero = |name: &str| info.get(name).is_some_and(|value| value == "0");
        if is_zero("aof_rewrite_in_progress") && is_zero("aof_rewrite_scheduled") {
            return Ok(());
        }
    }
    Err(server.unusable("does not finish rewriting its log".to_owned()))
}

fn expect_keys(server: &Server, keys: u64) -> Result<(), PeersError> {
    let Value::Text(count) = server.call(&[b"DBSIZE"])? else {
        return Err(server.unusable("does not say how many keys it has".to_owned()));
    };
    if count == keys.to_string().as_bytes() {
        return Ok(());
    }
    Err(server.unusable(format!("recovered {} of {keys} keys", count.escape_ascii())))
}

fn fresh(bench: &Bench<'_>, program: &Program) -> Result<Server, PeersError> {
    let options = bench.options;
    Server::fresh(program, &options.dir, &options.server_cpus, &options.client_cpus)
}

fn names(programs: &[Program]) -> Vec<String> {
    programs.iter().map(Program::to_string).collect()
}

fn micros(took: &Duration) -> f64 {
    took.as_secs_f64() * 1e6
}
