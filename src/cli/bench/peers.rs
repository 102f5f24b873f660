//! `rollbook bench peers`: measures Rollbook and other servers side by side.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::files;
use crate::bench::peers::cpus::CpuList;
use crate::bench::peers::experiments::{self, Experiment};
use crate::bench::peers::program::{Kind, Program};
use crate::bench::peers::result::PeersReport;
use crate::bench::peers::{self, Options, PeersError, show};
use crate::cli::{Exit, Failure};

/// Arguments of `bench peers`.
#[derive(Clone, Debug, Args)]
pub struct Peers {
    /// Compare with these servers, names or paths; also with other builds of rollbook, by their paths [default:
    /// redis-server, valkey-server, keydb-server and dragonfly, where installed].
    #[arg(long, value_name = "PROGRAM,…", value_delimiter = ',')]
    pub against: Vec<String>,
    /// Measure only these; `--only help` lists them.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Measure each server so often; they take turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Keys in each server.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub keys: u64,
    /// Length of a run, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    /// Two short rounds with 100,000 keys: to try it, not to believe it.
    #[arg(long, conflicts_with_all = ["rounds", "keys", "seconds"])]
    pub quick: bool,
    /// The CPUs of the servers [default: the first].
    #[arg(long, value_name = "LIST")]
    pub server_cpus: Option<CpuList>,
    /// The CPUs of the generator [default: all others].
    #[arg(long, value_name = "LIST")]
    pub client_cpus: Option<CpuList>,
    /// Where the servers keep their files while it lasts: a directory on the disk to measure with.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// The Rollbook to measure [default: this program].
    #[arg(long, value_name = "FILE")]
    pub rollbook: Option<PathBuf>,
    /// Write what was found as JSON.
    #[arg(long, value_name = "FILE", default_value = "peers.json")]
    pub json: PathBuf,
    /// Write it as a page.
    #[arg(long, value_name = "FILE", default_value = "peers.html")]
    pub html: PathBuf,
}

/// Measures, prints a table and writes the files. If interrupted, prints and writes what was measured so far.
///
/// # Errors
/// If an argument is invalid, if nothing could be measured, or if a file cannot be written.
pub fn run(peers: &Peers) -> Result<(), Failure> {
    if peers.only.iter().any(|name| name == "help") {
        experiments::all().for_each(|experiment| println!("{:<17} {}", experiment.name, experiment.about));
        return Ok(());
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let experiments = chosen(&peers.only)?;
    let scratch = Scratch::make(&peers.dir)?;
    let options = options(peers, experiments, &scratch, stop)?;
    let report = peers::run(&options, &|step| eprintln!("{step}"))?;
    write(peers, &report)?;
    if report.rows.is_empty() {
        let why = report.notes.last().map_or("nothing was measured", String::as_str);
        return Err(Failure::new(Exit::Unavailable, why));
    }
    Ok(())
}

fn options(
    peers: &Peers,
    experiments: Vec<&'static Experiment>,
    scratch: &Scratch,
    stop: Arc<AtomicBool>,
) -> Result<Options, Failure> {
    let own = || {
        std::env::current_exe().map_err(|error| Failure::new(Exit::Unavailable, format_args!("this program: {error}")))
    };
    let rollbook = peers.rollbook.clone().map_or_else(own, Ok)?;
    // Servers are started in another working directory.
    let rollbook = std::path::absolute(rollbook)?;
    let others = if peers.against.is_empty() {
        Program::installed()
    } else {
        peers.against.iter().map(|name| Program::named(name)).collect::<Result<_, _>>()?
    };
    if others.is_empty() {
        let known: Vec<_> = Kind::PEERS.into_iter().map(Kind::program).collect();
        return Err(Failure::new(Exit::Unavailable, format_args!("no peer is installed: {}", known.join(", "))));
    }
    let (servers, clients) = CpuList::split_allowed();
    Ok(Options {
        rollbook: Program::at(Kind::Rollbook, rollbook)?,
        peers: others,
        experiments,
        rounds: if peers.quick { 2 } else { usize::from(peers.rounds) },
        keys: if peers.quick { 100_000 } else { peers.keys },
        seconds: if peers.quick { 0.5 } else { f64::from(peers.seconds) },
        server_cpus: peers.server_cpus.clone().unwrap_or(servers),
        client_cpus: peers.client_cpus.clone().unwrap_or(clients),
        dir: scratch.0.clone(),
        command: std::env::args().collect(),
        stop,
    })
}

/// The experiments with these names; all of them if no names are given.
fn chosen(only: &[String]) -> Result<Vec<&'static Experiment>, Failure> {
    if only.is_empty() {
        return Ok(experiments::USUAL.iter().collect());
    }
    let find = |name: &String| {
        let names = || experiments::all().map(|experiment| experiment.name).collect::<Vec<_>>().join(", ");
        let unknown = || Failure::new(Exit::Usage, format_args!("there is no experiment {name:?}: {}", names()));
        experiments::find(name).ok_or_else(unknown)
    };
    only.iter().map(find).collect()
}

/// Prints the table and writes the files. The table comes first, so that it is shown even if the disk is full.
fn write(peers: &Peers, report: &PeersReport) -> Result<(), Failure> {
    let printed = io::stdout().lock().write_all(show::text(report).as_bytes());
    printed.map_err(|error| Failure::new(Exit::Io, format_args!("standard output: {error}")))?;
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::new(Exit::Software, error))?;
    files::write(&peers.json, &json)?;
    let page = show::html(report).map_err(|error| Failure::new(Exit::Software, error))?;
    files::write(&peers.html, &page)
}

/// Temporary directory that is deleted with its contents when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make(parent: &Path) -> Result<Self, Failure> {
        let cannot = |path: &Path, error: io::Error| {
            Failure::new(Exit::Unavailable, format_args!("cannot keep files in {}: {error}", path.display()))
        };
        // Servers are started in another working directory and need the absolute path.
        let parent = std::fs::canonicalize(parent).map_err(|error| cannot(parent, error))?;
        let path = parent.join(format!("rollbook-peers-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| cannot(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("rollbook: cannot remove {}: {error}", self.0.display());
        }
    }
}

impl From<PeersError> for Failure {
    fn from(error: PeersError) -> Self {
        Self::new(Exit::Unavailable, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_experiments_are_refused_with_those_that_are_known() {
        let error = chosen(&["set".into(), "sett".into()]).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.to_string().starts_with("there is no experiment \"sett\": set, set32, get, "), "{error}");
        assert_eq!(chosen(&[]).unwrap().len(), experiments::USUAL.len());
    }

    #[test]
    fn files_are_kept_in_a_directory_that_goes_again() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(parent.path()).unwrap();
        let path = scratch.0.clone();
        std::fs::write(path.join("a"), "b").unwrap();
        drop(scratch);
        assert!(!path.exists());
        let error = Scratch::make(Path::new("/nowhere")).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("cannot keep files in /nowhere: "), "{error}");
    }
}
