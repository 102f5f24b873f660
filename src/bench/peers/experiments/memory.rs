//! Experiment: memory per key.

use std::time::Duration;

use super::super::program::Program;
use super::super::result::{Aim, Row, Unit};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::subjects;

/// Pause after loading, so that the server can free memory in the background before it is measured.
const REST: Duration = Duration::from_secs(2);

/// Measures resident bytes per key, for keys of 16 bytes with values of 100 bytes.
///
/// # Errors
/// If a server does not start, or refuses the keys.
pub fn memory(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    let options = bench.options;
    let programs: Vec<_> = bench.programs().cloned().collect();
    let mut found = vec![Vec::new(); programs.len()];
    for (program, found) in programs.iter().zip(&mut found) {
        bench.step(&program.to_string())?;
        let mut server = Server::fresh(program, &options.dir, &options.server_cpus, &options.client_cpus)?;
        server.start()?;
        let resident = |server: &Server| server.resident_bytes().ok_or_else(|| server.unusable("is gone".to_owned()));
        let before = resident(&server)?;
        server.fill(options.keys)?;
        std::thread::sleep(REST);
        found.push(resident(&server)?.saturating_sub(before) as f64 / options.keys as f64);
    }
    let names: Vec<_> = programs.iter().map(Program::to_string).collect();
    let subjects = subjects(&names, &found, |bytes| *bytes);
    Ok(vec![bench.row("memory a key (16 bytes, value of 100)", Unit::Bytes, subjects, Some(Aim::RatioAtMost(1.0)))])
}
