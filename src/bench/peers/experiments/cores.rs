//! Two cores against one: the price of work for another core.

use super::super::generator::Load;
use super::super::result::{Aim, Row};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::load;

/// SET on two cores against one core. With fewer than three CPUs the generator shares one with the server, which is then a part of what
/// is measured.
///
/// # Errors
/// If a server or the generator fails, or there is only one CPU.
pub fn cores(bench: &Bench<'_>, pipeline: usize, limit: f64) -> Result<Vec<Row>, PeersError> {
    let options = bench.options;
    let both = options.server_cpus.with(&options.client_cpus);
    if both.len() < 2 {
        return Err(PeersError::Program {
            program: options.rollbook.to_string(),
            why: "two cores need two CPUs".into(),
        });
    }
    let mut servers = Vec::new();
    for (cores, cpus) in [(2, &both), (1, &options.server_cpus)] {
        let mut server = Server::fresh(&options.rollbook, &options.dir, cpus, &options.client_cpus)?;
        server.settings_mut().cores = cores;
        server.start()?;
        servers.push(server);
    }
    let measured = load::rounds(bench, &servers, Load { pipeline, ..Load::default() })?;
    let what =
        if pipeline == 1 { "SET on two cores".to_owned() } else { format!("SET on two cores, pipeline of {pipeline}") };
    let names = ["two cores", "one core"].map(str::to_owned);
    load::rows(bench, &what, &names, &measured, Some(Aim::RatioAtMost(limit)))
}
