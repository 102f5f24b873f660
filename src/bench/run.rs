//! A whole run: connect, load, measure, verify, report.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::client::Target;
use super::driver::Clock;
use super::error::BenchError;
use super::ledger::Ledger;
use super::observe::{self, Observer};
use super::phase::{self, Beat, Finished, Phase, Setting};
use super::plan::{Plan, Rate};
use super::process;
use super::result::{Interval, Load, Report, SCHEMA, Server, Step};
use super::sweep;
use super::verify;
use super::workload::{Ingredients, Workload};
use crate::config::Durability;

/// Pipeline while records are loaded.
const LOADING_PIPELINE: usize = 64;
/// Maximum duration of loading; it ends when all records are loaded.
const LOADING: Duration = Duration::from_secs(7 * 24 * 3600);

/// Progress of a run.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Records loaded so far, and their total number.
    Loading(u64, u64),
    /// The warm-up or the measured part is in progress.
    Running,
    /// An interval of the timeline is complete.
    Interval(&'a Interval),
    /// A step of a sweep is complete.
    Step(&'a Step),
    /// Values read back so far, and their total number.
    Verifying(u64, u64),
}

/// Outcome of a run.
pub struct Outcome {
    /// The report; incomplete if the run ended early.
    pub report: Report,
    /// Reason why the run ended early, unless the user interrupted it.
    pub failure: Option<BenchError>,
}

/// Runs a plan. Setting `stop` ends the run early; a failure sets it, too. `command` is included in the report.
///
/// # Errors
/// If there is nothing to report: the plan is invalid, the server cannot be reached, or the records cannot be loaded.
pub fn run(
    plan: &Plan,
    command: Vec<String>,
    stop: &Arc<AtomicBool>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, BenchError> {
    plan.check()?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let target = Target::find(plan)?;
    let server = observe::introduce(&target, plan.server_pid)?;
    let ingredients = Ingredients {
        keys: plan.keys,
        distribution: plan.distribution(),
        values: plan.values.clone(),
        seed: plan.seed,
        connections: plan.connections as u64,
    };
    let workload = Workload::new(&plan.workload, &ingredients)
        .ok_or_else(|| BenchError::Plan(format!("there is no workload {:?}", plan.workload)))?;
    let setting = Setting {
        plan: plan.clone(),
        workload: Arc::new(workload),
        target,
        clock: Clock::new(),
        stop: Arc::clone(stop),
        server_pid: server.pid,
    };
    let durability = plan.durability.unwrap_or_else(|| verify::durability(&server));
    let excuse = match durability {
        Durability::Async => plan.excuse.unwrap_or_else(|| verify::window(&server)),
        Durability::Sync | Durability::Mirrored => Duration::ZERO,
    };
    let mut report = Report {
        schema: SCHEMA,
        rollbook: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: started.as_millis() as u64,
        command,
        machine: process::machine(),
        plan: plan.for_report(durability),
        server,
        ..Report::default()
    };
    let count = if plan.verify { plan.connections } else { 0 };
    let mut ledgers = (0..count).map(|_| Ledger::new(excuse)).collect();
    if plan.load && setting.workload.records() > 0 {
        ledgers = load(&setting, ledgers, &mut report, progress)?;
    }
    let failure = measure(&setting, ledgers, excuse, &mut report, progress)?;
    Ok(Outcome { report, failure })
}

/// Loads the records.
fn load(
    setting: &Setting,
    ledgers: Vec<Ledger>,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Ledger>, BenchError> {
    let records = setting.workload.records();
    let phase = Phase {
        loading: true,
        rate: None,
        pipeline: LOADING_PIPELINE,
        warmup: Duration::ZERO,
        duration: LOADING,
        ledgers,
    };
    let mut loaded = 0;
    let finished = phase::run(setting, phase, &mut |beat| {
        if let Beat::Interval(interval) = beat {
            loaded += interval.requests;
        }
        progress(Progress::Loading(loaded, records));
    })?;
    if let Some(failure) = finished.failure {
        return Err(failure);
    }
    if let Some(why) = finished.found.first_error {
        return Err(BenchError::Refused { what: "a record while loading".to_owned(), why });
    }
    let totals = finished.found.totals;
    report.load = Some(Load { records: totals.requests, seconds: totals.seconds });
    Ok(finished.ledgers)
}

/// Measures, verifies if requested, and completes the report. Returns the reason if the run ended early.
fn measure(
    setting: &Setting,
    ledgers: Vec<Ledger>,
    excuse: Duration,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<BenchError>, BenchError> {
    let plan = &setting.plan;
    let observer =
        Observer::start(setting.target.clone(), setting.clock).map_err(BenchError::system("cannot start a thread"))?;
    let finished = if plan.rate == Rate::Sweep {
        let swept = sweep::run(setting, |step| progress(Progress::Step(step)))?;
        report.sweep = swept.steps;
        swept.best
    } else {
        let rate = if let Rate::PerSecond(rate) = plan.rate { Some(rate) } else { None };
        let (pipeline, warmup, duration) = (plan.pipeline, plan.warmup, plan.duration);
        let phase = Phase { loading: false, rate, pipeline, warmup, duration, ledgers };
        phase::run(setting, phase, &mut |beat| match beat {
            Beat::Alive => progress(Progress::Running),
            Beat::Interval(interval) => progress(Progress::Interval(interval)),
        })?
    };
    let Finished { found, server, generator, ledgers, mut failure, measured } = finished;
    let mut events = observer.finish(measured);
    events.extend(found.events);
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    report.totals = found.totals;
    report.latency = found.latency;
    report.uncorrected = found.uncorrected;
    report.operations = found.operations;
    report.timeline = found.timeline;
    report.timeline_histograms = found.timeline_histograms;
    report.events = events;
    report.first_error = found.first_error;
    report.generator = generator;
    report.server.cpu = server;
    if plan.verify && failure.is_none() {
        let checked = verify::verify(&setting.target, &setting.workload, &ledgers, excuse, |done, of| {
            progress(Progress::Verifying(done, of));
        });
        match checked {
            Ok(verification) => report.verification = Some(verification),
            Err(why) => failure = Some(why),
        }
    }
    look_back(setting, &mut report.server);
    Ok(failure)
}

/// Adds the server's state after the run to the report, if the server can still be reached.
fn look_back(setting: &Setting, server: &mut Server) {
    // The server may have been restarted as another process.
    let after = observe::introduce(&setting.target, setting.plan.server_pid);
    if let Ok(Server { info_before, pid, .. }) = after {
        server.info_after = info_before;
        server.resident_bytes = pid.and_then(process::resident_bytes);
        if pid != server.pid {
            server.cpu = None;
        }
    }
}
