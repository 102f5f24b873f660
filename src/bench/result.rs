//! What a run found: the schema of `bench.json`.
//!
//! Fields are only ever added; whatever changes the meaning of one raises [`SCHEMA`]. Times are microseconds as decimal fractions,
//! instants are seconds since the measured part of the run began, unless a name says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of this schema.
pub const SCHEMA: u32 = 1;

/// A whole run, or all steps of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the generator.
    pub rollbook: String,
    /// When the run began, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// The arguments it was called with, a password left out.
    pub command: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked for, defaults filled in.
    pub plan: Plan,
    /// Whom it measured.
    pub server: Server,
    /// How the data set was loaded; absent if it was not.
    pub load: Option<Load>,
    /// All measured requests together.
    pub totals: Totals,
    /// Latency of all of them, from the instant at which each was due (open loop) or sent (closed loop).
    pub latency: Latency,
    /// Latency of all of them from the instant at which each was really sent: what a generator that waits for the server would show.
    pub uncorrected: Latency,
    /// By kind of operation.
    pub operations: Vec<Operation>,
    /// The run second by second (or another interval).
    pub timeline: Vec<Interval>,
    /// For each piece of the timeline, the histogram of its latencies, as [`Latency::histogram`]; empty if they were not kept.
    #[serde(default)]
    pub timeline_histograms: Vec<String>,
    /// What happened at an instant: checkpoints, lost connections.
    pub events: Vec<Event>,
    /// The first error that the server answered with.
    #[serde(default)]
    pub first_error: Option<String>,
    /// The steps of `--rate sweep`, in the order they were run; empty otherwise.
    pub sweep: Vec<Step>,
    /// What `--verify` found.
    pub verification: Option<Verification>,
    /// CPU of the generator itself.
    pub generator: Cpu,
}

/// The machine that generated the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its processor.
    pub cpu: String,
    /// CPUs of the machine.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The kernel's name and release.
    pub kernel: String,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The workload's name.
    pub workload: String,
    /// `open`, `closed` or `sweep`.
    pub mode: String,
    /// Requests a second that were aimed at; absent in a closed loop.
    pub rate: Option<f64>,
    /// Connections.
    pub connections: usize,
    /// Requests under way at once on a connection (closed loop).
    pub pipeline: usize,
    /// The generator's cores.
    pub cores: usize,
    /// Length of the measured part.
    pub seconds: f64,
    /// Length of what was run before it and not measured.
    pub warmup_seconds: f64,
    /// Number of keys.
    pub keys: u64,
    /// How keys are chosen.
    pub distribution: String,
    /// Sizes of values, in bytes, as it was said on the command line.
    pub values: String,
    /// The seed of all choices.
    pub seed: u64,
    /// The durability that was assumed of the server.
    pub durability: Option<String>,
}

/// The measured server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its address.
    pub address: String,
    /// `rollbook`, `redis`, `valkey` …
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its process, if it was found on this machine.
    pub pid: Option<u32>,
    /// Its CPU, if so.
    pub cpu: Option<Cpu>,
    /// Its resident memory at the end, if so.
    pub resident_bytes: Option<u64>,
    /// `INFO` before the run; empty if it was refused.
    pub info_before: BTreeMap<String, String>,
    /// `INFO` after the run.
    pub info_after: BTreeMap<String, String>,
}

/// CPU of a process over the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// User and system time, in seconds.
    pub seconds: f64,
    /// The same for each request.
    pub micros_per_request: f64,
}

/// The load of the data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Records written.
    pub records: u64,
    /// How long it took.
    pub seconds: f64,
}

/// All measured requests together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Those of them that were answered with an error.
    pub errors: u64,
    /// Requests whose connection was lost before the answer.
    pub lost: u64,
    /// Requests that were due and had no answer when the run ended, a while after the last was due.
    #[serde(default)]
    pub unanswered: u64,
    /// Commands answered: a request is one command, or several that are sent together.
    #[serde(default)]
    pub commands: u64,
    /// Length of the measured part, as it came out.
    pub seconds: f64,
    /// Requests a second.
    pub rate: f64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Time without any connection, after one was lost.
    pub downtime_seconds: f64,
}

/// A distribution of latencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// The median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// 99.99 %.
    pub p9999: f64,
    /// The greatest.
    pub max: f64,
    /// The whole histogram, in nanoseconds: HdrHistogram's compressed V2 encoding in base64, as in its logs.
    pub histogram: String,
}

/// One kind of operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its name in the workload, such as `read` or `claim`.
    pub name: String,
    /// Requests answered.
    pub requests: u64,
    /// Those of them that were answered with an error.
    pub errors: u64,
    /// Their latency, as [`Report::latency`].
    pub latency: Latency,
}

/// A piece of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Where it begins.
    pub start: f64,
    /// Its length, in seconds.
    pub seconds: f64,
    /// Requests answered in it.
    pub requests: u64,
    /// Those of them that were answered with an error.
    pub errors: u64,
    /// Bytes sent and received in it.
    pub bytes: u64,
    /// The median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

/// What happened at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: f64,
    /// What kind of thing.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A checkpoint of the server ended.
    Checkpoint,
    /// The server was lost.
    Lost,
    /// The server was there again.
    Back,
}

/// One rate of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Requests a second that were aimed at.
    pub rate: f64,
    /// All its requests.
    pub totals: Totals,
    /// Their latency.
    pub latency: Latency,
    /// CPU of the server in it, if its process is known.
    pub cpu: Option<Cpu>,
    /// Whether the server kept up.
    pub sustained: bool,
}

/// What became of what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Keys in the ledger.
    pub keys: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes of which no answer came.
    pub unacknowledged: u64,
    /// Acknowledged writes that are gone.
    pub lost: u64,
    /// Of these, the ones that the durability allows to be gone: acknowledged, but only for a moment, before a crash.
    pub excused: u64,
    /// Writes that are there though they were never acknowledged: allowed.
    pub surprising: u64,
    /// How long before a loss of the server acknowledged writes may be gone, in seconds.
    #[serde(default)]
    pub excuse_seconds: f64,
    /// Values that were never written as they are.
    pub torn: u64,
    /// Whether nothing was lost that had been promised, and nothing torn.
    pub passed: bool,
    /// The first of what went wrong, in words.
    pub findings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::bench::report::sample;

    /// Every field's path. They may become more; none may go or be renamed while [`SCHEMA`] stays.
    const FIELDS: &str = include_str!("result/fields.txt");

    fn collect(value: &Value, path: &str, fields: &mut Vec<String>) {
        match value {
            // Its names are the measured server's.
            Value::Object(_) if path.ends_with("info_before") || path.ends_with("info_after") => {
                fields.push(path.to_owned())
            }
            Value::Object(object) => {
                object.iter().for_each(|(name, value)| collect(value, &format!("{path}.{name}"), fields));
            }
            Value::Array(elements) if elements.first().is_some_and(Value::is_object) => {
                collect(&elements[0], &format!("{path}[]"), fields);
            }
            _ => fields.push(path.to_owned()),
        }
    }

    #[test]
    fn the_schema_is_stable() {
        let report = Report { sweep: sample::sweep().sweep, ..sample::report() };
        let mut fields = Vec::new();
        collect(&serde_json::to_value(&report).unwrap(), "", &mut fields);
        fields.sort();
        let known: Vec<&str> = FIELDS.lines().collect();
        assert_eq!(fields, known, "\n{}\n", fields.join("\n"));
    }
}
