//! Experiment: two cores against one, to measure the cost of requests for another core.

use super::super::cpus::CpuList;
use super::super::generator::Load;
use super::super::result::{Aim, Row};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::load;

/// Compares SET on two cores with SET on one. With fewer than three CPUs, the generator shares one with the server,
/// which distorts the result. The target then applies to another measurement: both cores on the one CPU that the
/// generator does not use, which shows the cost of the messages, but not of transfers between two CPUs' caches.
///
/// # Errors
/// If a server or the generator fails, or there is only one CPU.
pub fn cores(bench: &Bench<'_>, pipeline: usize, limit: f64) -> Result<Vec<Row>, PeersError> {
    let options = bench.options;
    let both = options.server_cpus.with(&options.client_cpus);
    let aim = Some(Aim::RatioAtMost(limit));
    match both.len() {
        0 | 1 => {
            Err(PeersError::Program { program: options.rollbook.to_string(), why: "two cores need two CPUs".into() })
        }
        2 => {
            let mut rows = against_one(bench, pipeline, &both, &options.server_cpus, aim)?;
            rows.extend(against_one(bench, pipeline, &both, &both, None)?);
            Ok(rows)
        }
        _ => against_one(bench, pipeline, &both, &both, aim),
    }
}

/// Measures a two-core server, started on the CPUs `both` and then moved to `on`, against a one-core server.
fn against_one(
    bench: &Bench<'_>,
    pipeline: usize,
    both: &CpuList,
    on: &CpuList,
    aim: Option<Aim>,
) -> Result<Vec<Row>, PeersError> {
    let options = bench.options;
    let mut servers = Vec::new();
    for (cores, cpus) in [(2, both), (1, &options.server_cpus)] {
        let mut server = Server::fresh(&options.rollbook, &options.dir, cpus, &options.client_cpus)?;
        server.settings_mut().cores = cores;
        server.start()?;
        servers.push(server);
    }
    if on != both
        && let Some(pid) = servers[0].pid()
    {
        on.pin_process(pid)?;
    }
    let measured = load::rounds(bench, &servers, Load { pipeline, ..Load::default() })?;
    let place = if on.len() == 1 { " that share a CPU" } else { "" };
    let pipelined = if pipeline == 1 { String::new() } else { format!(", pipeline of {pipeline}") };
    let names = ["two cores", "one core"].map(str::to_owned);
    load::rows(bench, &format!("SET on two cores{place}{pipelined}"), &names, &measured, aim)
}
