//! The plan of a run, and its validation.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::distribution::Distribution;
use super::error::BenchError;
use super::request::KEYS_MAX;
use super::result;
use super::values::{STAMP, Sizes};
use super::workload;
use crate::config::Durability;

/// Maximum pipeline: a batch is kept in memory as a whole.
const PIPELINE_MAX: usize = 100_000;
/// Maximum number of connections from one address to one port.
const CONNECTIONS_MAX: usize = 60_000;
/// Maximum length of a part of a run.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Target rate of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As many requests as the server answers: a closed loop.
    Max,
    /// This many requests per second, whether or not they are answered: an open loop.
    PerSecond(f64),
    /// Increasing rates, until the server cannot keep up.
    Sweep,
}

/// Error for a text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: a number of requests per second such as 50000 or 50k, or max, or sweep")]
pub struct NoRate(String);

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "max" => return Ok(Self::Max),
            "sweep" => return Ok(Self::Sweep),
            _ => {}
        }
        let (digits, factor) = match text.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1e3),
            None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
        };
        let rate = digits.parse::<f64>().ok().map(|number| number * factor);
        rate.filter(|rate| (1e-3..=1e9).contains(rate)).map(Self::PerSecond).ok_or_else(|| NoRate(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::PerSecond(rate) => write!(f, "{rate}"),
            Self::Sweep => f.write_str("sweep"),
        }
    }
}

/// A password. It is sent to the server and never displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that a run shall do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Host of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Password for the server, if any.
    pub password: Option<Secret>,
    /// Name of the workload.
    pub workload: String,
    /// Target rate.
    pub rate: Rate,
    /// Number of connections.
    pub connections: usize,
    /// Maximum requests in progress on a connection. In a closed loop, a batch of this size is sent when the previous
    /// one is answered.
    pub pipeline: usize,
    /// Number of generator threads, each on a CPU of its own.
    pub cores: usize,
    /// Length of the measured part.
    pub duration: Duration,
    /// Length of the unmeasured warm-up before it.
    pub warmup: Duration,
    /// Number of records to load and use.
    pub keys: u64,
    /// Distribution of keys; `None` selects the workload's own.
    pub distribution: Option<Distribution>,
    /// Sizes of values.
    pub values: Sizes,
    /// Seed of all random choices.
    pub seed: u64,
    /// Whether to load the records first.
    pub load: bool,
    /// Process id of the server; `None` means that it is looked up by the port.
    pub server_pid: Option<u32>,
    /// Whether to check at the end that no acknowledged write was lost.
    pub verify: bool,
    /// Whether to reconnect lost connections, for as long as it takes.
    pub reconnect: bool,
    /// Durability of the server; `None` means what the server reports, or `async`.
    pub durability: Option<Durability>,
    /// With durability `async`, how long before a loss of the server acknowledged writes may be lost; `None` derives it
    /// from the server's settings.
    pub excuse: Option<Duration>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6380,
            password: None,
            workload: "ycsb-a".to_owned(),
            rate: Rate::Max,
            connections: 50,
            pipeline: 1,
            cores: 1,
            duration: Duration::from_secs(30),
            warmup: Duration::from_secs(2),
            keys: 100_000,
            distribution: None,
            values: Sizes::Fixed(100),
            seed: 1,
            load: true,
            server_pid: None,
            verify: false,
            reconnect: false,
            durability: None,
            excuse: None,
        }
    }
}

impl Plan {
    /// Checks that the plan can be run.
    ///
    /// # Errors
    /// Returns the first problem.
    pub fn check(&self) -> Result<(), BenchError> {
        let about = workload::find(&self.workload).ok_or_else(|| {
            let names = workload::all().iter().map(|about| about.name).collect::<Vec<_>>().join(", ");
            BenchError::Plan(format!("there is no workload {:?}: {names}", self.workload))
        })?;
        let problems = [
            (
                !(1..=CONNECTIONS_MAX).contains(&self.connections),
                format!("--connections is from 1 to {CONNECTIONS_MAX}"),
            ),
            (!(1..=PIPELINE_MAX).contains(&self.pipeline), format!("--pipeline is from 1 to {PIPELINE_MAX}")),
            (
                self.cores == 0 || self.cores > self.connections,
                "--cores is from 1 to the number of connections".to_owned(),
            ),
            (!(1..KEYS_MAX / 100).contains(&self.keys), format!("--keys is from 1 to {}", KEYS_MAX / 100 - 1)),
            (self.duration.is_zero() || self.duration > LONGEST, "--duration is from 1ms to 7 days".to_owned()),
            (self.warmup > LONGEST, "--warmup is at most 7 days".to_owned()),
            (
                self.verify && !about.verifiable,
                format!(
                    "--verify is not for the workload {}: set, ycsb-a, ycsb-b and ycsb-f can be verified",
                    about.name
                ),
            ),
            (
                self.verify && self.values.smallest() < STAMP,
                format!("--verify needs --values of at least {STAMP} bytes: each says what it is"),
            ),
            (
                self.verify && self.keys < self.connections as u64,
                "--verify needs at least one key for each connection".to_owned(),
            ),
            (
                self.verify && !self.load,
                "--verify must load the records itself: only then does it know what is in them".to_owned(),
            ),
            (self.verify && self.rate == Rate::Sweep, "--verify is not for --rate sweep".to_owned()),
            (self.reconnect && self.rate == Rate::Sweep, "--reconnect is not for --rate sweep".to_owned()),
        ];
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, problem)) => Err(BenchError::Plan(problem)),
            None => Ok(()),
        }
    }

    /// Distribution of keys: the plan's or the workload's.
    pub fn distribution(&self) -> Distribution {
        let usual = || workload::find(&self.workload).map_or(Distribution::Uniform, |about| about.distribution);
        self.distribution.unwrap_or_else(usual)
    }

    /// The plan as it appears in the report.
    pub fn for_report(&self, durability: Durability) -> result::Plan {
        let (mode, rate) = match self.rate {
            Rate::Max => ("closed", None),
            Rate::PerSecond(rate) => ("open", Some(rate)),
            Rate::Sweep => ("sweep", None),
        };
        let durability = match durability {
            Durability::Async => "async",
            Durability::Sync => "sync",
            Durability::Mirrored => "mirrored",
        };
        result::Plan {
            workload: self.workload.clone(),
            mode: mode.to_owned(),
            rate,
            connections: self.connections,
            pipeline: self.pipeline,
            cores: self.cores,
            seconds: self.duration.as_secs_f64(),
            warmup_seconds: self.warmup.as_secs_f64(),
            keys: self.keys,
            distribution: self.distribution().to_string(),
            values: self.values.to_string(),
            seed: self.seed,
            durability: Some(durability.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_or_words() {
        for (text, rate) in [
            ("max", Rate::Max),
            ("sweep", Rate::Sweep),
            ("500", Rate::PerSecond(500.0)),
            ("50k", Rate::PerSecond(5e4)),
            ("1.5M", Rate::PerSecond(1.5e6)),
        ] {
            assert_eq!(text.parse(), Ok(rate));
        }
        for text in ["0", "-1", "fast", "", "k", "1e10", "NaN", "inf"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_said_in_a_sentence() {
        let plan = Plan::default;
        assert!(plan().check().is_ok());
        for (plan, why) in [
            (Plan { workload: "sett".to_owned(), ..plan() }, "there is no workload \"sett\": set, get"),
            (Plan { connections: 0, ..plan() }, "--connections is from 1"),
            (Plan { cores: 51, ..plan() }, "--cores"),
            (Plan { pipeline: 0, ..plan() }, "--pipeline"),
            (Plan { keys: 0, ..plan() }, "--keys"),
            (Plan { duration: Duration::ZERO, ..plan() }, "--duration"),
            (Plan { verify: true, workload: "incr".to_owned(), ..plan() }, "--verify is not for"),
            (Plan { verify: true, values: Sizes::Fixed(8), ..plan() }, "at least 32 bytes"),
            (Plan { verify: true, load: false, ..plan() }, "must load the records itself"),
            (Plan { verify: true, keys: 10, ..plan() }, "one key for each"),
            (Plan { verify: true, rate: Rate::Sweep, ..plan() }, "sweep"),
        ] {
            let problem = plan.check().unwrap_err().to_string();
            assert!(problem.contains(why), "{problem} / {why}");
        }
    }
}
