//! Experiments: memory per key, and per element of collections.

use std::time::Duration;

use super::super::generator::{self, Load};
use super::super::program::Program;
use super::super::result::{Aim, Row, Unit};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::subjects;
use crate::bench::client::Value;
use crate::bench::request;

/// Pause after loading, so that the server can free memory in the background before it is measured.
const REST: Duration = Duration::from_secs(2);
/// Writes before the first measurement, and how many of them are sent together.
const WARM_UP: usize = 300_000;
const PIPELINE: usize = 500;

/// Measures resident bytes per key, for keys of 16 bytes with values of 100 bytes.
///
/// # Errors
/// If a server does not start, or refuses the keys.
pub fn memory(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    let keys = bench.options.keys;
    let row =
        growth(bench, "memory a key (16 bytes, value of 100)", Aim::RatioAtMost(1.0), |server| server.fill(keys))?;
    Ok(vec![row])
}

/// Measures resident bytes per element of collections of each type, of 16 elements and of all: elements of 16 bytes;
/// those of hashes and streams with a value of 100.
///
/// # Errors
/// If a server does not start, or refuses the elements.
pub fn elements(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    // Workloads that read: they load the elements and add none.
    let workloads =
        [("hget", "hash"), ("sismember", "set"), ("zrank", "sorted set"), ("lrange", "list"), ("xread", "stream")];
    let mut rows = Vec::new();
    for (workload, of) in workloads {
        for (suffix, size) in [("", "small"), ("-large", "large")] {
            let load = Load { workload: &format!("{workload}{suffix}"), load: true, seconds: 0.1, ..Load::default() };
            let what = format!("memory an element of a {size} {of}");
            rows.push(growth(bench, &what, Aim::RatioAtMost(0.8), |server| {
                generator::run(bench.options, server, &load).map(drop)
            })?);
        }
    }
    Ok(rows)
}

/// Has a server write one key again and again. What does not grow with the data, such as the log's buffers, is then
/// there before anything is measured.
fn warm_up(server: &Server) -> Result<(), PeersError> {
    let mut client = server.client()?;
    let mut batch = Vec::new();
    for _ in 0..PIPELINE {
        request::request(&mut batch, &[b"SET", b"warm", &[b'x'; 100]]);
    }
    for _ in 0..WARM_UP.div_ceil(PIPELINE) {
        client.send(&batch)?;
        for _ in 0..PIPELINE {
            if let Value::Error(why) = client.receive()? {
                return Err(server.unusable(format!("warming up: {why}")));
            }
        }
    }
    Ok(())
}

/// Measures by how many resident bytes each server grows for each of `bench.options.keys` records that `fill` puts into
/// it.
fn growth(
    bench: &Bench<'_>,
    what: &str,
    aim: Aim,
    fill: impl Fn(&Server) -> Result<(), PeersError>,
) -> Result<Row, PeersError> {
    let options = bench.options;
    let programs: Vec<_> = bench.programs().cloned().collect();
    let mut found = vec![Vec::new(); programs.len()];
    for (program, found) in programs.iter().zip(&mut found) {
        bench.step(&format!("{program}: {what}"))?;
        let mut server = Server::fresh(program, &options.dir, &options.server_cpus, &options.client_cpus)?;
        server.start()?;
        warm_up(&server)?;
        let resident = |server: &Server| server.resident_bytes().ok_or_else(|| server.unusable("is gone".to_owned()));
        let before = resident(&server)?;
        fill(&server)?;
        std::thread::sleep(REST);
        found.push(resident(&server)?.saturating_sub(before) as f64 / options.keys as f64);
    }
    let names: Vec<_> = programs.iter().map(Program::to_string).collect();
    Ok(bench.row(what, Unit::Bytes, subjects(&names, &found, |bytes| *bytes), Some(aim)))
}
