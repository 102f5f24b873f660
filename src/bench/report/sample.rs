//! A made-up report for tests: the server checkpoints twice, is lost for two seconds and comes back.

use hdrhistogram::Histogram;

use crate::bench::collector;
use crate::bench::result::{
    Cpu, Event, EventKind, Interval, Load, Machine, Operation, Plan, Report, SCHEMA, Server, Step, Totals, Verification,
};

const SECONDS: u64 = 30;
const RATE: f64 = 40_000.0;
/// Seconds of the run during which the server is lost.
const AWAY: std::ops::Range<u64> = 19..21;

/// A report of a run at a fixed rate; always the same.
pub fn report() -> Report {
    let mut chance = fastrand::Rng::with_seed(3);
    let (mut all, mut uncorrected) = (histogram(), histogram());
    let (mut timeline, mut timeline_histograms) = (Vec::new(), Vec::new());
    for second in 0..SECONDS {
        let (mut due, mut sent) = (histogram(), histogram());
        let requests = if AWAY.contains(&second) { 0 } else { (RATE / 20.0) as u64 + chance.u64(0..40) };
        for _ in 0..requests {
            let took = latency(second, &mut chance);
            due.record(took + waited(second, &mut chance)).unwrap();
            sent.record(took).unwrap();
        }
        timeline.push(interval(second, requests * 20, &due));
        timeline_histograms.push(collector::encode(&due));
        all.add(&due).unwrap();
        uncorrected.add(&sent).unwrap();
    }
    let operation = |name: &str| Operation {
        name: name.into(),
        requests: all.len() / 2,
        errors: 0,
        latency: collector::latency(&all),
    };
    Report {
        schema: SCHEMA,
        rollbook: "0.1.0".into(),
        started_unix_ms: 1_790_000_000_000,
        command: ["rollbook", "bench", "--workload", "ycsb-a", "--rate", "40000", "--verify"].map(String::from).into(),
        machine: machine(),
        plan: plan(),
        server: server(),
        load: Some(Load { records: 1_000_000, seconds: 1.9 }),
        totals: totals(all.len()),
        latency: collector::latency(&all),
        uncorrected: collector::latency(&uncorrected),
        operations: vec![operation("read"), operation("update")],
        timeline,
        timeline_histograms,
        events: events(),
        first_error: None,
        sweep: Vec::new(),
        verification: Some(verification()),
        generator: Cpu { seconds: 4.2, micros_per_request: 3.5 },
    }
}

/// Steps of a sweep over rates up to and beyond the knee.
pub fn sweep() -> Report {
    let mut chance = fastrand::Rng::with_seed(4);
    let steps = (1..=9).map(|step| {
        let rate = 25_000.0 * f64::from(step);
        let load = rate / 190_000.0;
        let mut histogram = histogram();
        for _ in 0..5000 {
            let stretched = if load < 1.0 { 1.0 / (1.0 - load).max(0.02) } else { 400.0 };
            histogram.record((latency(1, &mut chance) as f64 * stretched) as u64).unwrap();
        }
        let achieved = rate.min(188_000.0);
        let totals = Totals { rate: achieved, requests: (achieved * 5.0) as u64, seconds: 5.0, ..Totals::default() };
        let cpu = Cpu { seconds: 5.0 * load.min(1.0), micros_per_request: 5.0 };
        Step { rate, totals, latency: collector::latency(&histogram), cpu: Some(cpu), sustained: load < 0.95 }
    });
    let sweep = steps.collect();
    let plan = Plan { mode: "sweep".into(), rate: None, ..plan() };
    Report { sweep, plan, verification: None, events: Vec::new(), ..report() }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

/// Simulated latency of the server in nanoseconds; higher during a checkpoint.
fn latency(second: u64, chance: &mut fastrand::Rng) -> u64 {
    let usual = 60_000.0 * (1.0 + 3.0 * chance.f64().powi(8)) + 20_000.0 * chance.f64();
    let tail = if chance.f64() < 0.004 { 2e6 * chance.f64() } else { 0.0 };
    let checkpoint = if matches!(second, 8 | 17) && chance.f64() < 0.05 { 6e6 * chance.f64() } else { 0.0 };
    (usual + tail + checkpoint) as u64
}

/// Simulated delay in nanoseconds before a request can be sent, for requests due while the server was lost.
fn waited(second: u64, chance: &mut fastrand::Rng) -> u64 {
    if second == AWAY.end { (2e9 * chance.f64() * chance.f64()) as u64 } else { 0 }
}

fn interval(second: u64, requests: u64, histogram: &Histogram<u64>) -> Interval {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Interval {
        start: second as f64,
        seconds: 1.0,
        requests,
        errors: 0,
        bytes: requests * 140,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
    }
}

fn machine() -> Machine {
    Machine { cpu: "AMD EPYC 7B13".into(), cpus: 2, memory_bytes: 24 << 30, kernel: "Linux 6.18.5".into() }
}

fn plan() -> Plan {
    Plan {
        workload: "ycsb-a".into(),
        mode: "open".into(),
        rate: Some(RATE),
        connections: 50,
        pipeline: 1,
        cores: 1,
        seconds: SECONDS as f64,
        warmup_seconds: 2.0,
        keys: 1_000_000,
        distribution: "zipfian".into(),
        values: "100".into(),
        seed: 1,
        durability: Some("async".into()),
    }
}

fn server() -> Server {
    let info = |keys: &str| [("redis_version", "7.2.0"), ("db0", keys)].map(|(k, v)| (k.into(), v.into())).into();
    Server {
        address: "127.0.0.1:6380".into(),
        name: "rollbook".into(),
        version: "0.1.0".into(),
        pid: Some(4711),
        cpu: Some(Cpu { seconds: 11.2, micros_per_request: 9.5 }),
        resident_bytes: Some(231 << 20),
        info_before: info("keys=0"),
        info_after: info("keys=1000000,<script>"),
    }
}

fn totals(requests: u64) -> Totals {
    Totals {
        requests,
        errors: 12,
        lost: 50,
        seconds: SECONDS as f64,
        rate: requests as f64 / SECONDS as f64,
        sent_bytes: requests * 70,
        received_bytes: requests * 70,
        downtime_seconds: 1.8,
        ..Totals::default()
    }
}

fn events() -> Vec<Event> {
    let event = |at, kind, text: &str| Event { at, kind, text: text.into() };
    vec![
        event(8.4, EventKind::Checkpoint, "a checkpoint ended"),
        event(17.1, EventKind::Checkpoint, "a checkpoint ended"),
        event(19.2, EventKind::Lost, "connection reset by peer"),
        event(21.0, EventKind::Back, "the server answers again"),
    ]
}

fn verification() -> Verification {
    Verification {
        keys: 1_000_000,
        acknowledged: 600_000,
        unacknowledged: 50,
        lost: 3,
        excused: 3,
        surprising: 12,
        torn: 0,
        passed: true,
        findings: Vec::new(),
        ..Verification::default()
    }
}
