//! Compares Rollbook with other servers on the same machine, the same CPUs and the same durability, in turn.
//!
//! Each server is started on its own CPUs with a directory of its own; the generator is another process, on other CPUs.
//! All servers of an experiment run at the same time, and rounds alternate between them (A B A B …), so that noise of
//! the machine affects all of them. The results are medians, and ratios with their spread over the rounds.
//!
//! | module | what it is |
//! |---|---|
//! | [`program`] | the known servers: finding them, and making them comparable |
//! | [`server`] | a running server |
//! | [`generator`] | a run of the load generator in its own process |
//! | [`experiments`] | what is measured |
//! | [`cpus`] | pinning to CPUs |
//! | [`result`] | the results: the schema of `peers.json` |
//! | [`show`] | the results as text and as a page |

pub mod cpus;
pub mod experiments;
pub mod generator;
pub mod program;
pub mod result;
pub mod server;
pub mod show;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use self::cpus::CpuList;
use self::experiments::Experiment;
use self::program::Program;
use self::result::{PeersReport, SCHEMA};
use super::error::BenchError;
use super::process;

/// Parameters of a comparison.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Rollbook program to measure.
    pub rollbook: Program,
    /// The servers to compare it with.
    pub peers: Vec<Program>,
    /// Experiments, in the order in which they are run.
    pub experiments: Vec<&'static Experiment>,
    /// Number of rounds, in each of which every server is measured once.
    pub rounds: usize,
    /// Number of keys in each server.
    pub keys: u64,
    /// Length of a run, in seconds.
    pub seconds: f64,
    /// CPUs of the servers.
    pub server_cpus: CpuList,
    /// CPUs of the generator.
    pub client_cpus: CpuList,
    /// Directory for the servers' files, which should be on a real disk. The caller creates it, empty, and removes it.
    pub dir: PathBuf,
    /// The program's arguments, for the report.
    pub command: Vec<String>,
    /// Set when no further run shall begin.
    pub stop: Arc<AtomicBool>,
}

/// Reason why a comparison or an experiment failed.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// A program cannot be used.
    #[error("{program}: {why}")]
    Program {
        /// Name of the program.
        program: String,
        /// Why the program cannot be used.
        why: String,
    },
    /// The load generator failed.
    #[error("a run of load against {server} failed: {why}")]
    Load {
        /// Name of the measured server.
        server: String,
        /// Error that the generator printed.
        why: String,
    },
    /// A server did not reply as it should have.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// An operation failed on this machine.
    #[error("{what}: {why}")]
    System {
        /// The operation.
        what: String,
        /// Error from the system.
        why: std::io::Error,
    },
    /// The comparison was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl PeersError {
    /// For `map_err`: makes an error that operation `what` failed on this machine.
    pub fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |why| Self::System { what: what.into(), why }
    }
}

/// Runs the experiments one after the other; `progress` is told what is being done. A failed experiment becomes a note
/// in the report. If interrupted, the report has what was measured so far.
///
/// # Errors
/// If this process cannot be pinned to the generator's CPUs.
pub fn run(options: &Options, progress: &dyn Fn(&str)) -> Result<PeersReport, PeersError> {
    // For the rest of the process: children are pinned to their own CPUs.
    options.client_cpus.pin_this_thread()?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = PeersReport {
        schema: SCHEMA,
        rollbook: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: started.as_millis() as u64,
        command: options.command.clone(),
        machine: process::machine(),
        programs: [&options.rollbook].into_iter().chain(&options.peers).map(Program::to_string).collect(),
        rounds: options.rounds,
        keys: options.keys,
        rows: Vec::new(),
        notes: Vec::new(),
    };
    if cfg!(debug_assertions) {
        report.notes.push("rollbook was built without optimizations: its figures say nothing".to_owned());
    }
    for experiment in &options.experiments {
        match (experiment.run)(&Bench { options, progress, experiment: experiment.name }) {
            Ok(rows) => report.rows.extend(rows),
            Err(PeersError::Interrupted) => {
                report.notes.push(format!("interrupted during {}", experiment.name));
                break;
            }
            Err(error) => {
                progress(&format!("{}: {error}", experiment.name));
                report.notes.push(format!("{} was not measured: {error}", experiment.name));
            }
        }
    }
    Ok(report)
}

/// Context of an experiment.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// Parameters of the comparison.
    pub options: &'a Options,
    progress: &'a dyn Fn(&str),
    experiment: &'static str,
}

impl Bench<'_> {
    /// Reports progress, unless the comparison is to end.
    ///
    /// # Errors
    /// [`PeersError::Interrupted`] if it is to end.
    pub fn step(&self, what: &str) -> Result<(), PeersError> {
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(PeersError::Interrupted);
        }
        (self.progress)(&format!("{}: {what}", self.experiment));
        Ok(())
    }

    /// Rollbook, followed by its peers.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        [&self.options.rollbook].into_iter().chain(&self.options.peers)
    }
}
