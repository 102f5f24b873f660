//! Runs the load generator: `rollbook bench` as a process of its own, on its own CPUs, so that it takes no CPU time
//! from the servers.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::server::Server;
use super::{Options, PeersError};
use crate::bench::report::json;
use crate::bench::result::Report;

/// Parameters of one run of load.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Name of the workload.
    pub workload: &'a str,
    /// Number of connections.
    pub connections: usize,
    /// Maximum requests in progress on a connection.
    pub pipeline: usize,
    /// Requests per second; `None` means as fast as possible.
    pub rate: Option<f64>,
    /// Length of the measured part, in seconds.
    pub seconds: f64,
    /// Whether to load the data set first.
    pub load: bool,
}

impl Default for Load<'_> {
    fn default() -> Self {
        Self { workload: "set", connections: 50, pipeline: 1, rate: None, seconds: 5.0, load: false }
    }
}

impl Load<'_> {
    fn arguments(&self, port: u16, pid: Option<u32>, keys: u64) -> Vec<String> {
        let millis = |seconds: f64| format!("{}ms", (seconds * 1e3).ceil().max(1.0));
        let mut words = vec!["bench".to_owned()];
        let mut pair = |name: &str, value: String| words.extend([name.to_owned(), value]);
        pair("--host", "127.0.0.1".to_owned());
        pair("--port", port.to_string());
        pair("--workload", self.workload.to_owned());
        pair("--connections", self.connections.to_string());
        pair("--pipeline", self.pipeline.to_string());
        pair("--rate", self.rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string()));
        pair("--duration", millis(self.seconds));
        pair("--warmup", millis(self.seconds / 10.0));
        pair("--keys", keys.to_string());
        pair("--values", "100".to_owned());
        if let Some(pid) = pid {
            pair("--server-pid", pid.to_string());
        }
        if !self.load {
            words.push("--no-load".to_owned());
        }
        words
    }
}

/// Runs `load` against a server and returns the report.
///
/// # Errors
/// If the generator fails, or the server replied with errors.
pub fn run(options: &Options, server: &Server, load: &Load<'_>) -> Result<Report, PeersError> {
    let failed = |why: String| PeersError::Load { server: server.program.to_string(), why };
    let file: PathBuf = options.dir.join("run.json");
    let mut command = Command::new(&options.rollbook.path);
    command.args(load.arguments(server.port(), server.pid(), options.keys)).arg("--json").arg(&file);
    // Other files that the generator writes are not needed, and are deleted with the directory.
    command.current_dir(&options.dir).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output().map_err(PeersError::system("the generator"))?;
    if !output.status.success() {
        if options.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(PeersError::Interrupted);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.trim().lines().next_back().unwrap_or("it said nothing").to_owned()));
    }
    let text = fs::read_to_string(&file).map_err(PeersError::system(file.display().to_string()))?;
    let report = json::read(&text).map_err(|error| failed(error.to_string()))?;
    if report.totals.requests == 0 || report.totals.errors > 0 {
        let first = report.first_error.as_deref().unwrap_or("nothing was answered");
        return Err(failed(format!("{} errors: {first}", report.totals.errors)));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_told_to_the_generator() {
        let load = Load { rate: Some(4000.0), seconds: 2.5, ..Load::default() };
        let words = load.arguments(7, Some(11), 1000).join(" ");
        let expected = "bench --host 127.0.0.1 --port 7 --workload set --connections 50 --pipeline 1 --rate 4000 --duration 2500ms \
                        --warmup 250ms --keys 1000 --values 100 --server-pid 11 --no-load";
        assert_eq!(words, expected);
    }
}
