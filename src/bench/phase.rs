//! One phase of a run: loading the records, the measured part, or a step of a sweep. Connects, starts the threads,
//! collects, ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::client::Target;
use super::collector::{Collected, Collector};
use super::connection::Connection;
use super::driver::{Clock, Driver, Order};
use super::error::BenchError;
use super::ledger::Ledger;
use super::plan::Plan;
use super::process::{self, CpuSample};
use super::recorder::{Message, Piece, Recorder, Times};
use super::result::{Cpu, Interval};
use super::schedule::Schedule;
use super::workload::Workload;

/// Time from the last connection to the first due request, in nanoseconds: the threads must be running by then.
const START: u64 = 30_000_000;
/// Minimum and maximum length of a piece of the timeline, in seconds.
const PIECES: (f64, f64) = (0.1, 1.0);
/// Number of pieces of a short run's timeline.
const FEWEST: f64 = 20.0;
/// Interval at which the collector checks for an early end if no message arrives.
const LOOK: Duration = Duration::from_millis(50);

/// State that the phases of a run share.
#[derive(Clone)]
pub struct Setting {
    /// The plan.
    pub plan: Plan,
    /// The workload, which generates the requests.
    pub workload: Arc<Workload>,
    /// The server.
    pub target: Target,
    /// Clock of the whole run.
    pub clock: Clock,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
    /// Process id of the server, if known.
    pub server_pid: Option<u32>,
}

/// Parameters of one phase.
pub struct Phase {
    /// Whether this phase loads the records, so that rate and duration do not matter.
    pub loading: bool,
    /// Requests per second; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Maximum number of requests in progress on a connection.
    pub pipeline: usize,
    /// Length of the unmeasured warm-up.
    pub warmup: Duration,
    /// Length of the measured part.
    pub duration: Duration,
    /// Ledgers so far, by connection. Empty if the run is not verified.
    pub ledgers: Vec<Ledger>,
}

/// Result of a phase.
pub struct Finished {
    /// The measurements.
    pub found: Collected,
    /// Start of the measured part, in nanoseconds of the run's clock.
    pub measured: u64,
    /// CPU time of the server, if known.
    pub server: Option<Cpu>,
    /// CPU time of this process.
    pub generator: Cpu,
    /// Ledgers, by connection.
    pub ledgers: Vec<Ledger>,
    /// Reason why the phase ended early, unless it was interrupted by the user.
    pub failure: Option<BenchError>,
}

/// Progress of a phase.
#[derive(Clone, Copy, Debug)]
pub enum Beat<'a> {
    /// The phase goes on.
    Alive,
    /// An interval of the timeline is complete.
    Interval(&'a Interval),
}

/// Runs a phase.
///
/// # Errors
/// If the phase cannot begin. Later failures are in [`Finished::failure`].
pub fn run(setting: &Setting, mut phase: Phase, tell: &mut dyn FnMut(Beat<'_>)) -> Result<Finished, BenchError> {
    let connections = connect(setting, std::mem::take(&mut phase.ledgers))?;
    let times = times(&phase, setting.clock.now() + START);
    let order = Arc::new(Order {
        workload: Arc::clone(&setting.workload),
        target: setting.target.clone(),
        clock: setting.clock,
        times,
        pipeline: phase.pipeline,
        loading: phase.loading,
        reconnect: setting.plan.reconnect,
        stop: Arc::clone(&setting.stop),
    });
    let (threads, messages, spares) = start(setting, &phase, &order, connections)?;
    let mut watch = Watch {
        setting,
        times,
        spares,
        collector: Collector::new(
            threads.len(),
            setting.workload.about.operations.len(),
            phase.rate.is_some(),
            times.piece as f64 / 1e9,
        ),
        failure: None,
        before: None,
    };
    watch.collect(&messages, threads.len(), tell);
    let after = Used::now(setting.server_pid);
    // Replies may have arrived a little after the end, or the phase may have ended early.
    let ended = setting.clock.now();
    let seconds = ended.saturating_sub(times.measured) as f64 / 1e9;
    let before = watch.before.unwrap_or_else(|| Used::now(setting.server_pid));
    let found =
        watch.collector.finish(setting.workload.about.operations, seconds, |interval| tell(Beat::Interval(interval)));
    let (server, generator) = after.since(&before, found.totals.requests);
    let ledgers = join(threads);
    Ok(Finished { found, measured: times.measured, server, generator, ledgers, failure: watch.failure })
}

/// Times of the phase's parts, if it begins at `begin`.
fn times(phase: &Phase, begin: u64) -> Times {
    let measured = begin + phase.warmup.as_nanos() as u64;
    let end = measured + phase.duration.as_nanos() as u64;
    let piece = (phase.duration.as_secs_f64() / FEWEST).clamp(PIECES.0, PIECES.1);
    Times { begin, measured, end, piece: (piece * 1e9) as u64 }
}

/// Connects all connections. If the server has been lost and is to be reconnected, returns them unconnected.
fn connect(setting: &Setting, ledgers: Vec<Ledger>) -> Result<Vec<Connection>, BenchError> {
    let all = setting.plan.connections;
    let sockets: Result<Vec<OwnedFd>, BenchError> =
        (0..all).map(|_| Ok(setting.target.connect()?.into_socket().into())).collect();
    let mut ledgers = ledgers.into_iter();
    let connections = (0..all as u64).map(|number| Connection::new(setting.workload.stream(number), ledgers.next()));
    let mut connections: Vec<Connection> = connections.collect();
    match sockets {
        Ok(sockets) => connections.iter_mut().zip(sockets).for_each(|(connection, socket)| connection.attach(socket)),
        Err(BenchError::Unreachable { .. } | BenchError::Lost { .. }) if setting.plan.reconnect => {
            let now = setting.clock.now();
            connections.iter_mut().filter_map(|c| c.ledger.as_mut()).for_each(|ledger| ledger.excuse(now));
        }
        Err(why) => return Err(why),
    }
    Ok(connections)
}

type Threads = Vec<JoinHandle<Vec<Connection>>>;
type Started = (Threads, Receiver<Message>, Vec<Sender<Box<Piece>>>);

/// Starts the threads. Connection `c` goes to thread `c mod threads`.
fn start(
    setting: &Setting,
    phase: &Phase,
    order: &Arc<Order>,
    connections: Vec<Connection>,
) -> Result<Started, BenchError> {
    let (all, count) = (connections.len(), setting.plan.cores);
    let mut shares: Vec<Vec<Connection>> = (0..count).map(|_| Vec::new()).collect();
    connections.into_iter().enumerate().for_each(|(number, connection)| shares[number % count].push(connection));
    let cpus = cpus(count)?;
    let (out, messages) = mpsc::channel();
    let (mut threads, mut spares) = (Vec::new(), Vec::new());
    for (core, share) in shares.into_iter().enumerate() {
        let (spare, emptied) = mpsc::channel();
        spares.push(spare);
        let (order, out, cpu, rate) = (Arc::clone(order), out.clone(), cpus[core], phase.rate);
        let body = move || {
            pin(cpu);
            let operations = order.workload.about.operations.len();
            let schedule = rate.map(|rate| Schedule::new(order.times.begin, rate, all, share.len(), core));
            let recorder = Recorder::new(core, operations, rate.is_some(), order.times, out.clone(), emptied);
            match Driver::new(order, share, schedule, recorder) {
                Ok(driver) => driver.run(),
                Err(why) => {
                    let failure = BenchError::System { what: "the kernel refuses a ring for the network", why };
                    // The receiver is gone only if nobody needs the message any more.
                    let _ = out.send(Message::Ended(Some(failure)));
                    Vec::new()
                }
            }
        };
        let named = std::thread::Builder::new().name(format!("bench-{core}"));
        threads.push(named.spawn(body).map_err(BenchError::system("cannot start a thread"))?);
    }
    Ok((threads, messages, spares))
}

/// CPUs for the threads: the last ones that this process may use, since servers tend to use the first.
fn cpus(count: usize) -> Result<Vec<usize>, BenchError> {
    let allowed = sched_getaffinity(None).map_err(|e| BenchError::system("cannot see its CPUs")(e.into()))?;
    let mut cpus: Vec<usize> = (0..CpuSet::MAX_CPU).rev().filter(|cpu| allowed.is_set(*cpu)).take(count).collect();
    if cpus.len() < count {
        let there = cpus.len();
        return Err(BenchError::Plan(format!("--cores {count} is more than the {there} CPUs that there are for it")));
    }
    cpus.reverse();
    Ok(cpus)
}

/// Pins this thread to a CPU, and makes its sleeps end on time.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // Both improve the measurements; failing is acceptable.
    let _ = sched_setaffinity(None, &set);
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

fn join(threads: Threads) -> Vec<Ledger> {
    let shares: Vec<Vec<Connection>> = threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect();
    let count = shares.len();
    let all: usize = shares.iter().map(Vec::len).sum();
    let mut shares: Vec<_> = shares.into_iter().map(Vec::into_iter).collect();
    // Restores the order of the connections' numbers.
    (0..all).filter_map(|number| shares[number % count].next()?.ledger).collect()
}

/// CPU time used up to some moment.
struct Used {
    server: Option<CpuSample>,
    own: f64,
}

impl Used {
    fn now(server: Option<u32>) -> Self {
        Self { server: server.and_then(CpuSample::of), own: process::own_cpu_seconds() }
    }

    /// CPU time of the server and of this process from `before` to now.
    fn since(&self, before: &Self, requests: u64) -> (Option<Cpu>, Cpu) {
        let cpu = |seconds: f64| Cpu { seconds, micros_per_request: seconds * 1e6 / (requests.max(1)) as f64 };
        let server = self.server.as_ref().zip(before.server.as_ref()).map(|(after, before)| after.since(before));
        (server.map(cpu), cpu(self.own - before.own))
    }
}

/// Collects the measurements of the threads.
struct Watch<'a> {
    setting: &'a Setting,
    times: Times,
    spares: Vec<Sender<Box<Piece>>>,
    collector: Collector,
    failure: Option<BenchError>,
    /// CPU time used before the measured part.
    before: Option<Used>,
}

impl Watch<'_> {
    /// Processes messages until all threads have ended.
    fn collect(&mut self, messages: &Receiver<Message>, threads: usize, tell: &mut dyn FnMut(Beat<'_>)) {
        let mut running = threads;
        while running > 0 {
            let now = self.setting.clock.now();
            if self.before.is_none() && now >= self.times.measured {
                self.before = Some(Used::now(self.setting.server_pid));
            }
            let to_measured = self.times.measured.saturating_sub(now);
            let patience = if to_measured > 0 { LOOK.min(Duration::from_nanos(to_measured)) } else { LOOK };
            match messages.recv_timeout(patience) {
                Ok(Message::Ended(failure)) => {
                    running -= 1;
                    if failure.is_some() {
                        self.setting.stop.store(true, std::sync::atomic::Ordering::Relaxed);
                    }
                    self.failure = self.failure.take().or(failure);
                }
                Ok(message) => self.take(message, tell),
                Err(RecvTimeoutError::Timeout) => tell(Beat::Alive),
                Err(RecvTimeoutError::Disconnected) => running = 0,
            }
        }
    }

    fn take(&mut self, message: Message, tell: &mut dyn FnMut(Beat<'_>)) {
        let at = |instant: u64| (instant as f64 - self.times.measured as f64) / 1e9;
        match message {
            Message::Piece(mut piece) => {
                self.collector.take(&piece, |interval| tell(Beat::Interval(interval)));
                piece.clear();
                // A thread that has ended no longer needs it.
                let _ = self.spares[piece.core].send(piece);
            }
            Message::Lost(instant) => self.collector.lost(at(instant)),
            Message::Back(instant) => self.collector.back(at(instant)),
            Message::FirstError(text) => self.collector.error(text),
            Message::Ended(_) => {}
        }
    }
}
