//! The command line: commands and options. The doc comments of this file are the program's help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::Failure;
use super::bench::arguments::Bench;
use super::import::Import;
use crate::config::Sources;
use crate::config::load::Loaded;

/// A register in memory, durable, that speaks the Redis protocol.
#[derive(Debug, Parser)]
#[command(name = "rollbook", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The program's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve clients, log their edits, and run a checkpoint node as a child.
    Serve(Serve),
    /// Run a checkpoint node: mirror a master, write its snapshots and upload them.
    Checkpoint(Checkpoint),
    /// Measure a server of this kind: Rollbook, Redis, and whatever speaks their protocol.
    ///
    /// By itself: loads 100,000 records of YCSB, asks for half reads and half updates on 50 connections as fast as they
    /// are answered for 30 seconds, prints a table, and writes bench.json and bench.html. Ctrl-C ends early with what
    /// was measured until then.
    Bench(Box<Bench>),
    /// Give a running server what Redis or Valkey have: an RDB file, append-only files, or a running server's keys.
    ///
    /// Says at the end what was skipped and why. The server that gets it may be any that knows RESTORE.
    Import(Import),
    /// Show what is in the files of a data directory. Changes nothing.
    Inspect(Inspect),
    /// Say whether this machine can run the server, and what to do if not.
    Doctor(Doctor),
}

/// Where the configuration comes from. Later ones override: the file, variables such as ROLLBOOK_SERVER__PORT, --set.
#[derive(Clone, Debug, Default, Args)]
pub struct Configuration {
    /// The configuration file [default: config.toml, if there is one].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change one setting, such as --set log.durability=sync. May be given many times.
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: Configuration,
    /// Only check the configuration, directories and addresses included, and exit.
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `checkpoint`.
#[derive(Clone, Debug, Args)]
pub struct Checkpoint {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: Configuration,
    /// End with this process, the master that started the node. `serve` gives it.
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<u32>,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: Configuration,
    /// Print JSON, one object for each finding.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct Inspect {
    /// What to show.
    #[command(subcommand)]
    pub what: Inspected,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `inspect` can show.
#[derive(Clone, Debug, Subcommand)]
pub enum Inspected {
    /// The frames and edits of a segment file, or of a stream's directory.
    Log {
        /// The file or directory.
        path: PathBuf,
    },
    /// The sections of a snapshot file.
    Snapshot {
        /// The file.
        path: PathBuf,
    },
    /// A copy of the manifest.
    Manifest {
        /// The file, or the data directory.
        path: PathBuf,
    },
    /// A whole data directory: what a start would do with it.
    Verify {
        /// The data directory.
        path: PathBuf,
    },
}

impl Configuration {
    /// Loads the configuration from these arguments, the file and the environment.
    ///
    /// # Errors
    ///
    /// Returns all problems of the configuration, one line each.
    pub fn load(&self) -> Result<Loaded, Failure> {
        Ok(Sources::gather(self.config.as_deref(), &self.set)?.load()?)
    }

    /// Arguments with which another process, in the same environment and working directory, loads the same
    /// configuration. The password is left out, because every user of the machine can read another process's arguments.
    pub fn to_arguments(&self) -> Vec<std::ffi::OsString> {
        let file = self.config.iter().flat_map(|path| ["--config".into(), path.into()]);
        let shown =
            self.set.iter().filter(|set| set.split('=').next().is_none_or(|key| key.trim() != "server.password"));
        file.chain(shown.flat_map(|set| ["--set".into(), set.into()])).collect()
    }
}
