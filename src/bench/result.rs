//! Results of a run: the schema of `bench.json`.
//!
//! Fields are only ever added; a change of a field's meaning raises [`SCHEMA`]. Unless a name says otherwise, durations
//! are microseconds as decimal fractions, and times are seconds since the start of the measured part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of this schema.
pub const SCHEMA: u32 = 1;

/// Results of a whole run, or of all steps of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the schema, [`SCHEMA`].
    pub schema: u32,
    /// Version of the generator.
    pub rollbook: String,
    /// Start of the run, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Arguments of the program, without a password.
    pub command: Vec<String>,
    /// Machine on which the generator ran.
    pub machine: Machine,
    /// Plan of the run, with defaults filled in.
    pub plan: Plan,
    /// The measured server.
    pub server: Server,
    /// Loading of the data set; absent if nothing was loaded.
    pub load: Option<Load>,
    /// Totals over all measured requests.
    pub totals: Totals,
    /// Latency of all requests, from when each was due (open loop) or sent (closed loop).
    pub latency: Latency,
    /// Latency of all requests, from when each was really sent: what a generator that waits for the server would
    /// report.
    pub uncorrected: Latency,
    /// Results by kind of operation.
    pub operations: Vec<Operation>,
    /// The run over time, in intervals of a second or less.
    pub timeline: Vec<Interval>,
    /// Encoded latency histogram of each interval, as [`Latency::histogram`]; empty if they were not kept.
    #[serde(default)]
    pub timeline_histograms: Vec<String>,
    /// Events during the run: checkpoints, lost connections.
    pub events: Vec<Event>,
    /// The first error that the server replied.
    #[serde(default)]
    pub first_error: Option<String>,
    /// Steps of `--rate sweep`, in the order in which they were run; empty for other runs.
    pub sweep: Vec<Step>,
    /// Results of `--verify`, if requested.
    pub verification: Option<Verification>,
    /// CPU time of the generator itself.
    pub generator: Cpu,
}

/// The machine that generated the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Number of CPUs.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The kernel's name and release.
    pub kernel: String,
}

/// Plan of a run, as reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the workload.
    pub workload: String,
    /// `open`, `closed` or `sweep`.
    pub mode: String,
    /// Target rate in requests per second; absent in a closed loop.
    pub rate: Option<f64>,
    /// Number of connections.
    pub connections: usize,
    /// Maximum requests in progress on a connection.
    pub pipeline: usize,
    /// Number of generator threads.
    pub cores: usize,
    /// Length of the measured part, in seconds.
    pub seconds: f64,
    /// Length of the unmeasured warm-up, in seconds.
    pub warmup_seconds: f64,
    /// Number of keys.
    pub keys: u64,
    /// Distribution of keys.
    pub distribution: String,
    /// Sizes of values in bytes, as given on the command line.
    pub values: String,
    /// Seed of all random choices.
    pub seed: u64,
    /// Durability that was assumed of the server.
    pub durability: Option<String>,
}

/// The measured server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Address of the server.
    pub address: String,
    /// Name of the program: `rollbook`, `redis`, `valkey` …
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Process id of the server, if it was found on this machine.
    pub pid: Option<u32>,
    /// CPU time of the server, if its process is known.
    pub cpu: Option<Cpu>,
    /// Resident memory of the server at the end, if its process is known.
    pub resident_bytes: Option<u64>,
    /// `INFO` before the run; empty if it was refused.
    pub info_before: BTreeMap<String, String>,
    /// `INFO` after the run.
    pub info_after: BTreeMap<String, String>,
}

/// CPU time of a process during the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// User and system time, in seconds.
    pub seconds: f64,
    /// CPU time per request, in microseconds.
    pub micros_per_request: f64,
}

/// Loading of the data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Number of records written.
    pub records: u64,
    /// Duration of loading, in seconds.
    pub seconds: f64,
}

/// Totals over all measured requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Requests whose connection was lost before the answer.
    pub lost: u64,
    /// Requests that were due but still unanswered at the end of the run, some time after the last was due.
    #[serde(default)]
    pub unanswered: u64,
    /// Commands answered; a request is one command, or several that are sent together.
    #[serde(default)]
    pub commands: u64,
    /// Actual length of the measured part, in seconds.
    pub seconds: f64,
    /// Requests per second.
    pub rate: f64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Time in which at least one generator thread had lost all of its connections, in seconds.
    pub downtime_seconds: f64,
}

/// A distribution of latencies, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Number of measured latencies.
    pub count: u64,
    /// Smallest latency.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// 99.99th percentile.
    pub p9999: f64,
    /// Largest latency.
    pub max: f64,
    /// The whole histogram, in nanoseconds: HdrHistogram's compressed V2 encoding in base64, as in its logs.
    pub histogram: String,
}

/// Results of one kind of operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Name of the operation in the workload, such as `read` or `claim`.
    pub name: String,
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Latency of the operation, measured as [`Report::latency`].
    pub latency: Latency,
}

/// An interval of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Start of the interval.
    pub start: f64,
    /// Length of the interval, in seconds.
    pub seconds: f64,
    /// Requests answered in the interval.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Bytes sent and received in the interval.
    pub bytes: u64,
    /// Median latency.
    pub p50: f64,
    /// 99th percentile of latency.
    pub p99: f64,
    /// 99.9th percentile of latency.
    pub p999: f64,
    /// Largest latency.
    pub max: f64,
}

/// An event during the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Time of the event.
    pub at: f64,
    /// Kind of the event.
    pub kind: EventKind,
    /// Description of the event.
    pub text: String,
}

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A checkpoint of the server ended.
    Checkpoint,
    /// The connection to the server was lost.
    Lost,
    /// The server could be reached again.
    Back,
}

/// One step of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Target rate in requests per second.
    pub rate: f64,
    /// Totals of the step.
    pub totals: Totals,
    /// Latency of the step's requests.
    pub latency: Latency,
    /// CPU time of the server during the step, if its process is known.
    pub cpu: Option<Cpu>,
    /// Whether the server sustained the rate.
    pub sustained: bool,
}

/// Results of verifying that acknowledged writes are still there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Number of keys in the ledger.
    pub keys: u64,
    /// Number of acknowledged writes.
    pub acknowledged: u64,
    /// Number of writes for which no reply came.
    pub unacknowledged: u64,
    /// Number of acknowledged writes that are lost.
    pub lost: u64,
    /// Number of lost writes that the durability permits: acknowledged shortly before a crash.
    pub excused: u64,
    /// Number of writes that are present although they were not acknowledged, which is permitted.
    pub surprising: u64,
    /// How long before a loss of the server acknowledged writes may be lost, in seconds.
    #[serde(default)]
    pub excuse_seconds: f64,
    /// Number of values that differ from everything that was written.
    pub torn: u64,
    /// Whether no write was lost against the server's promise, and no value is torn.
    pub passed: bool,
    /// Descriptions of the first problems.
    pub findings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::bench::report::sample;

    /// Paths of all fields. Fields may be added; none may be removed or renamed while [`SCHEMA`] stays.
    const FIELDS: &str = include_str!("result/fields.txt");

    fn collect(value: &Value, path: &str, fields: &mut Vec<String>) {
        match value {
            // The names of these fields are the measured server's.
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
