//! Experiments: throughput, and the server's CPU time per request, which is comparable even on a noisy machine.

use super::super::generator::{self, Load};
use super::super::program::Program;
use super::super::result::{Aim, Row, Unit};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::subjects;
use crate::bench::result::Report;
use crate::config::Durability;

/// Runs a workload over 50 connections. The target applies to the CPU time relative to each peer.
///
/// # Errors
/// If a server or the generator fails.
pub fn plain(bench: &Bench<'_>, workload: &str, pipeline: usize, aim: Option<f64>) -> Result<Vec<Row>, PeersError> {
    let programs: Vec<_> = bench.programs().cloned().collect();
    let (names, measured) =
        alternate(bench, &programs, Load { workload, pipeline, ..Load::default() }, Durability::Async)?;
    let what = if pipeline == 1 {
        workload.to_uppercase()
    } else {
        format!("{}, pipeline of {pipeline}", workload.to_uppercase())
    };
    rows(bench, &what, &names, &measured, aim.map(Aim::RatioAtMost))
}

/// Measures throughput when every acknowledged write is on disk.
///
/// # Errors
/// If a server or the generator fails.
pub fn sync(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    let programs: Vec<_> = bench.programs().filter(|program| program.kind.has_log()).cloned().collect();
    let (names, measured) = alternate(bench, &programs, Load::default(), Durability::Sync)?;
    let mut rows = rows(bench, "SET when acknowledged means on disk", &names, &measured, None)?;
    rows.iter_mut().filter(|row| row.unit == Unit::PerSecond).for_each(|row| row.aim = Some(Aim::RatioAtLeast(2.0)));
    Ok(rows)
}

/// Rows for throughput and, if known for every server, CPU time per request.
///
/// # Errors
/// If the CPU of a server is not known.
pub fn rows(
    bench: &Bench<'_>,
    what: &str,
    names: &[String],
    measured: &[Vec<Report>],
    aim: Option<Aim>,
) -> Result<Vec<Row>, PeersError> {
    let unknown =
        |name: &String| PeersError::Load { server: name.clone(), why: "the CPU of its process is not known".into() };
    for (name, reports) in names.iter().zip(measured) {
        if reports.iter().any(|report| report.server.cpu.is_none()) {
            return Err(unknown(name));
        }
    }
    let cpu = |report: &Report| report.server.cpu.map_or(0.0, |cpu| cpu.micros_per_request);
    let rate = |report: &Report| report.totals.rate;
    Ok(vec![
        bench.row(format!("{what}: server CPU a request"), Unit::Micros, subjects(names, measured, cpu), aim),
        bench.row(format!("{what}: rate"), Unit::PerSecond, subjects(names, measured, rate), None),
    ])
}

/// Runs a load against each server in turn, for all rounds. Returns the servers' names and results.
///
/// # Errors
/// If a server or the generator fails.
fn alternate(
    bench: &Bench<'_>,
    programs: &[Program],
    load: Load<'_>,
    durability: Durability,
) -> Result<(Vec<String>, Vec<Vec<Report>>), PeersError> {
    let options = bench.options;
    let mut servers = Vec::new();
    for program in programs {
        let mut server = Server::fresh(program, &options.dir, &options.server_cpus, &options.client_cpus)?;
        server.settings_mut().durability = durability;
        server.start()?;
        servers.push(server);
    }
    let measured = rounds(bench, &servers, load)?;
    Ok((programs.iter().map(Program::to_string).collect(), measured))
}

/// Loads the data set into the servers, then runs all rounds.
///
/// # Errors
/// If a server or the generator fails.
pub fn rounds(bench: &Bench<'_>, servers: &[Server], load: Load<'_>) -> Result<Vec<Vec<Report>>, PeersError> {
    let load = Load { seconds: bench.options.seconds, ..load };
    for server in servers {
        bench.step(&format!("{}: loading", server.program))?;
        generator::run(bench.options, server, &Load { load: true, seconds: load.seconds / 5.0, ..load })?;
    }
    let mut measured: Vec<Vec<Report>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 1..=bench.options.rounds {
        for (server, reports) in servers.iter().zip(&mut measured) {
            bench.step(&format!("{}: round {round} of {}", server.program, bench.options.rounds))?;
            let mut report = generator::run(bench.options, server, &load)?;
            // Only the summary figures are kept.
            report.timeline_histograms.clear();
            reports.push(report);
        }
    }
    Ok(measured)
}
