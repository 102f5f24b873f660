//! The arguments of `rollbook bench`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::files::Files;
use crate::bench::distribution::Distribution;
use crate::bench::plan::{Plan, Rate, Secret};
use crate::bench::values::Sizes;
use crate::config::Durability;

/// Arguments of `bench`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    /// What else can be done with measurements.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
    /// What to measure.
    #[command(flatten)]
    pub load: LoadArguments,
    /// Where to write what was measured.
    #[command(flatten)]
    pub files: Files,
}

/// What can be done with measurements.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Two reports side by side: ratios, and both curves on a page.
    Compare(super::compare::Compare),
    /// Rollbook beside the servers of its kind that are installed: the command behind the figures in
    /// docs/benchmarks.md.
    Peers(super::peers::Peers),
}

/// What to measure.
#[derive(Clone, Debug, Args)]
pub struct LoadArguments {
    /// The server's host.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The server's port.
    #[arg(long, default_value_t = 6380)]
    pub port: u16,
    /// The server's password [default: the environment variable REDISCLI_AUTH, if it is set].
    #[arg(long)]
    pub password: Option<String>,
    /// What to ask for; `help` lists all workloads.
    #[arg(long, default_value = "ycsb-a", value_name = "NAME")]
    pub workload: String,
    /// Requests a second (50000, 50k, 1.5M), each due at its instant whatever the server does (open loop); `max`: as
    /// many as are answered (closed loop); `sweep`: ever more, until the server no longer keeps up.
    #[arg(long, default_value = "max")]
    pub rate: Rate,
    /// Connections.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub connections: usize,
    /// Requests under way at once on a connection. In a closed loop they are sent together, when those before are
    /// answered; in an open loop further ones wait, and their latency counts.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub pipeline: usize,
    /// Threads of the generator, each on a CPU of its own; it takes the last ones that it may use.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub cores: usize,
    /// How long to measure: 30s, 500ms, 2m. A sweep takes about so long in all.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// How long to run before that.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub warmup: Duration,
    /// Records to load and use.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
    pub keys: u64,
    /// How keys are chosen: uniform, sequential, zipfian, latest [default: as the workload does].
    #[arg(long, value_name = "NAME")]
    pub distribution: Option<Distribution>,
    /// Sizes of values in bytes: 100, a range 10..1000, a list 64,256,4096.
    #[arg(long, default_value = "100", value_name = "SIZES")]
    pub values: Sizes,
    /// Seed of all choices: with the same seed each connection asks for the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Load nothing: the records are there already.
    #[arg(long)]
    pub no_load: bool,
    /// The server's process, for its CPU and memory [default: the one that listens on the port, if it is on this
    /// machine].
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Keep a ledger of all writes, and at the end check that nothing acknowledged was lost and nothing is torn.
    #[arg(long)]
    pub verify: bool,
    /// Connect again when the server is lost, for as long as it takes; the time without it is measured.
    #[arg(long)]
    pub reconnect: bool,
    /// What the server promises: async, sync, mirrored [default: what it says, or async].
    #[arg(long, value_parser = durability)]
    pub durability: Option<Durability>,
    /// With durability async: how long before a loss of the server acknowledged writes may be gone [default: its flush
    /// interval and half a second each for two commits; 2s for other servers].
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub excuse: Option<Duration>,
}

impl LoadArguments {
    /// The plan that these arguments describe.
    pub fn plan(&self) -> Plan {
        let from_environment = || std::env::var("REDISCLI_AUTH").ok().filter(|text| !text.is_empty());
        Plan {
            host: self.host.clone(),
            port: self.port,
            password: self.password.clone().or_else(from_environment).map(Secret),
            workload: self.workload.clone(),
            rate: self.rate,
            connections: self.connections,
            pipeline: self.pipeline,
            cores: self.cores,
            duration: self.duration,
            warmup: self.warmup,
            keys: self.keys,
            distribution: self.distribution,
            values: self.values.clone(),
            seed: self.seed,
            load: !self.no_load,
            server_pid: self.server_pid,
            verify: self.verify,
            reconnect: self.reconnect,
            durability: self.durability,
            excuse: self.excuse,
        }
    }
}

/// Parses a duration such as `30s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 30s, 500ms, 2m or 1h");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "async" => Ok(Durability::Async),
        "sync" => Ok(Durability::Sync),
        "mirrored" => Ok(Durability::Mirrored),
        _ => Err(format!("there is no durability {text:?}: async, sync or mirrored")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("0.5", 500), ("7", 7000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "1d", "-1s", "1.2.3s", "1e99s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
