//! Rollbook beside its peers: the same machine, the same CPUs, the same durability, in turn.
//!
//! Each server is started on its own CPUs with a directory of its own; the generator is another process, on other CPUs. Where several
//! servers are measured they all live at once, and rounds go around them (A B A B …), so that a noisy machine is noisy for all. What is
//! shown are medians, and ratios with the spread over the rounds.
//!
//! | module | what it is |
//! |---|---|
//! | [`program`] | the servers that are known: how they are found and told to be comparable |
//! | [`server`] | one of them, running |
//! | [`generator`] | a run of load, as a process of its own |
//! | [`experiments`] | what is measured |
//! | [`cpus`] | which CPUs |
//! | [`result`] | what was found: the schema of `peers.json` |
//! | [`show`] | the same as text and page |

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

/// What is to be measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rollbook's own program.
    pub rollbook: Program,
    /// Those it is compared with.
    pub peers: Vec<Program>,
    /// Experiments, in the order in which they are run.
    pub experiments: Vec<&'static Experiment>,
    /// How often each server is measured.
    pub rounds: usize,
    /// Keys in each server.
    pub keys: u64,
    /// Length of a run, in seconds.
    pub seconds: f64,
    /// Where the servers run.
    pub server_cpus: CpuList,
    /// Where the generator runs.
    pub client_cpus: CpuList,
    /// Where the servers have their files: on a disk that is one. It exists, is empty, and is the caller's to remove.
    pub dir: PathBuf,
    /// The arguments it was called with.
    pub command: Vec<String>,
    /// Set when no further run shall begin.
    pub stop: Arc<AtomicBool>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// A program cannot be used.
    #[error("{program}: {why}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        why: String,
    },
    /// The generator came to nothing.
    #[error("a run of load against {server} failed: {why}")]
    Load {
        /// Against whom.
        server: String,
        /// What the generator said.
        why: String,
    },
    /// A server answered with something else than it should have.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// This machine cannot do it.
    #[error("{what}: {why}")]
    System {
        /// What it cannot do.
        what: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// It was told to end.
    #[error("interrupted")]
    Interrupted,
}

impl PeersError {
    /// For `map_err`: the system cannot do `what`.
    pub fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |why| Self::System { what: what.into(), why }
    }
}

/// Runs the experiments one after the other; `progress` is told what is being done. An experiment that fails is a note in the
/// report; interrupted, the report has what was measured until then.
///
/// # Errors
/// If this process cannot be moved to the CPUs of the generator.
pub fn run(options: &Options, progress: &dyn Fn(&str)) -> Result<PeersReport, PeersError> {
    // For good: children are moved to where they belong.
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

/// What an experiment works with.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// What is to be measured.
    pub options: &'a Options,
    progress: &'a dyn Fn(&str),
    experiment: &'static str,
}

impl Bench<'_> {
    /// Says what is being done, unless it is time to end.
    ///
    /// # Errors
    /// [`PeersError::Interrupted`].
    pub fn step(&self, what: &str) -> Result<(), PeersError> {
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(PeersError::Interrupted);
        }
        (self.progress)(&format!("{}: {what}", self.experiment));
        Ok(())
    }

    /// Rollbook and its peers.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        [&self.options.rollbook].into_iter().chain(&self.options.peers)
    }
}
