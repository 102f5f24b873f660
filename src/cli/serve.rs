//! `rollbook serve`: runs the master.
//!
//! The main thread starts the cores, which recover their partitions in parallel. Then it opens a new epoch, lets the
//! cores serve, and waits for a signal, for `SHUTDOWN`, or for a core to fail.

mod checkpoints;
mod core;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use self::core::{Launch, Progress, Recovery, Seat, Verdict};
use super::arguments::Configuration;
use super::preflight::{Ready, ports};
use super::signals::{Signals, Told};
use super::{Exit, Failure};
use crate::auth::guard::Guard;
use crate::config::Config;
use crate::engine::{Cores, Mail};
use crate::ids::{CoreId, Placement};
use crate::net::Service;
use crate::partition::order::{Order, Reporter, reports};
use crate::partition::{Cut, Findings, Tally, keep_all, recovery};
use crate::replication::master::prediction::{Measured, Work};
use crate::runtime::bell::Bell;
use crate::runtime::inbox::Inbox;
use crate::runtime::lifecycle::Event;
use crate::runtime::mesh::{Endpoint, mesh};
use crate::storage::{DataDir, PartitionMarks, Probed, StorageError, StreamMarks, probe};

/// Runs the master until it is told to stop.
///
/// # Errors
/// If the server cannot start, or a core fails.
pub fn run(arguments: &Configuration, config: &Config, ready: &Ready, signals: &Signals) -> Result<(), Failure> {
    let started = Instant::now();
    let dir = open(config)?;
    let probed = probe(&dir)?;
    let cores = ready.cpus.len() as u16;
    let placement = Placement::new(dir.manifest().partitions, cores)
        .ok_or_else(|| Failure::new(Exit::Config, "server.cores: more cores than the data directory has partitions"))?;

    let (events, inbox_events) = channel();
    // From here on, a signal shuts the server down in good order.
    listen_for_signals(signals, &events);
    let mut config = config.clone();
    config.server.max_clients = ready.max_clients;
    let mut master = Starting::new(&config, Arc::new(dir), placement, &ready.cpus, probed, events.clone())?;
    let recovered = master.recover(started)?;
    let epoch = master.dir.begin_epoch(cores, config.log.segment_bytes)?;
    let inboxes: Vec<Inbox<Order>> = master.bells.iter().map(|bell| Inbox::new(Arc::clone(bell))).collect();
    let guard = Arc::new(Guard::new(config.server.password.clone()));
    let (reporter, reports) = reports();
    let last_edits = recovered.iter().flat_map(|r| &r.places).map(|place| place.last_edit).collect();
    let checkpoints = Arc::new(checkpoints::start(checkpoints::Setting {
        arguments,
        config: &config,
        dir: Arc::clone(&master.dir),
        placement,
        streams: master.marks.clone(),
        partitions: Arc::clone(&master.partitions),
        last_edits,
        measured: recovered.iter().map(measured).collect(),
        inboxes: inboxes.clone(),
        reports,
        guard: Arc::clone(&guard),
    })?);
    let cores = Arc::new(Cores::new(&config, placement, epoch, master.marks.clone(), inboxes));
    let service = Arc::new(Service::new(config, cores, Arc::clone(&checkpoints), guard, events, started));
    master.launch(&service, &reporter)?;
    announce(&service, started);
    let outcome = master.watch(&service, &inbox_events);
    checkpoints::end(&checkpoints);
    tracing::info!("bye");
    outcome
}

/// Probes the disk for the best way to write. A full disk is not probed: a method that works everywhere is used.
fn probe(dir: &DataDir) -> Result<Probed, Failure> {
    match probe::probe(dir.path()) {
        Ok(probed) => {
            tracing::info!(
                method = ?probed.method, zero_fill = probed.zero_fill, commit_us = probed.commit_us,
                other_us = probed.other_us, other_space_us = probed.other_space_us, "the disk was measured"
            );
            Ok(probed)
        }
        Err(error) if error.is_disk_full() => {
            tracing::warn!(%error, "the disk is full, and was not measured");
            Ok(Probed::default())
        }
        Err(error) => Err(error.into()),
    }
}

fn open(config: &Config) -> Result<DataDir, Failure> {
    let (dir, found) = DataDir::open(&config.data.dir, config.data.partitions)?;
    if found.created {
        tracing::info!(dir = %dir.path().display(), "made a new data directory");
    }
    if let Some(repaired) = found.repaired_manifest {
        tracing::warn!(repaired, "a copy of the manifest was not good and was written anew");
    }
    for file in found.set_aside {
        tracing::warn!(file = %file.display(), "set aside: nothing in the manifest names it");
    }
    Ok(dir)
}

/// The server during its start, and later the main thread's control of the cores.
struct Starting {
    config: Config,
    dir: Arc<DataDir>,
    placement: Placement,
    probed: Probed,
    bells: Arc<[Arc<Bell>]>,
    recoveries: Receiver<(CoreId, Result<Progress, StorageError>)>,
    verdicts: Vec<Sender<Verdict>>,
    launches: Vec<Sender<Launch>>,
    threads: Vec<JoinHandle<()>>,
    marks: Vec<Arc<StreamMarks>>,
    partitions: Arc<[PartitionMarks]>,
}

impl Starting {
    /// Starts the threads of the cores, which begin to recover.
    fn new(
        config: &Config,
        dir: Arc<DataDir>,
        placement: Placement,
        cpus: &[usize],
        probed: Probed,
        events: Sender<Event>,
    ) -> Result<Self, Failure> {
        let cores = placement.cores();
        let bells: Vec<Arc<Bell>> = (0..cores).map(|_| Bell::new().map(Arc::new)).collect::<Result<_, _>>()?;
        let bells: Arc<[Arc<Bell>]> = bells.into();
        let endpoints: Vec<Endpoint<Mail>> = mesh(&bells);
        let (recovered, recoveries) = channel();
        let (mut verdicts, mut launches) = (Vec::new(), Vec::new());
        let mut threads = Vec::new();
        for ((core, endpoint), bell) in (0..cores).map(CoreId).zip(endpoints).zip(bells.iter()) {
            let ((send_verdict, verdict), (launch, launched)) = (channel(), channel());
            verdicts.push(send_verdict);
            launches.push(launch);
            let seat = Seat {
                core,
                cpu: cpus[usize::from(core.0) % cpus.len()],
                dir: Arc::clone(&dir),
                placement,
                endpoint,
                bell: Arc::clone(bell),
                recovered: recovered.clone(),
                verdict,
                launched,
            };
            let events = events.clone();
            let thread = std::thread::Builder::new().name(format!("core-{core}")).spawn(move || {
                let outcome = seat.run();
                // The receiver is gone only if the process is ending.
                let _ = events.send(Event::Ended(core, outcome));
            })?;
            threads.push(thread);
        }
        let partitions = (0..placement.partitions().count()).map(|_| PartitionMarks::new()).collect();
        let marks = (0..cores).map(|_| Arc::new(StreamMarks::new())).collect();
        let config = config.clone();
        Ok(Self { config, dir, placement, probed, bells, recoveries, verdicts, launches, threads, marks, partitions })
    }

    /// Waits until all cores have read their files, decides and records how far the streams count, and waits until they
    /// have recovered.
    fn recover(&self, started: Instant) -> Result<Vec<Recovery>, Failure> {
        let findings =
            self.wait_for_all(|progress| if let Progress::Replayed(found) = progress { Some(found) } else { None })?;
        // If a value has moved between two cores' partitions, none of them can recover by itself.
        let (cut, findings) = match findings.into_iter().collect::<Option<Vec<_>>>() {
            Some(findings) => {
                let cut = Arc::new(Cut::decide(&self.dir, &findings, &keep_all)?);
                // A core that has ended is missed below.
                self.verdicts.iter().for_each(|core| drop(core.send(Verdict::Cut(Arc::clone(&cut)))));
                (cut, findings)
            }
            None => self.recover_together()?,
        };
        let recovered =
            self.wait_for_all(|progress| if let Progress::Recovered(core) = progress { Some(core) } else { None })?;
        cut.record(&self.dir)?;
        let tally = recovered.iter().fold(Tally::default(), |sum, r| sum.plus(r.tally));
        let elapsed = started.elapsed();
        tracing::info!(
            snapshots = tally.snapshots,
            entries = tally.entries,
            snapshot_bytes = tally.snapshot_bytes,
            bad_snapshots = tally.bad_snapshots,
            edits = tally.edits,
            log_bytes = tally.log_bytes,
            milliseconds = elapsed.as_millis() as u64,
            "recovered"
        );
        report_ends(&findings, &cut);
        Ok(recovered)
    }

    /// Recovers the partitions of all cores on this thread, and hands them to the cores.
    fn recover_together(&self) -> Result<(Arc<Cut>, Vec<Findings>), Failure> {
        tracing::info!("values have moved between partitions that are on different cores now: all recover together");
        let mut recovered = Vec::new();
        for core in &self.verdicts {
            let (send, receive) = channel();
            // A core that has ended is missed later.
            let _ = core.send(Verdict::Together(receive));
            recovered.push(send);
        }
        let (replayed, findings) = recovery::replay_together(&self.dir)?;
        let cut = Cut::decide(&self.dir, &findings, &keep_all)?;
        for (core, its) in recovered.iter().zip(replayed.finish_for(self.placement, &cut)?) {
            let _ = core.send(its);
        }
        Ok((Arc::new(cut), findings))
    }

    /// Waits until all cores have reported what `wanted` wants of them.
    fn wait_for_all<T>(&self, wanted: impl Fn(Progress) -> Option<T>) -> Result<Vec<T>, Failure> {
        let mut all: Vec<Option<T>> = (0..self.placement.cores()).map(|_| None).collect();
        while all.iter().any(Option::is_none) {
            let (core, outcome) = self
                .recoveries
                .recv()
                .map_err(|_| Failure::new(Exit::Software, "a core has ended while it recovered"))?;
            all[usize::from(core.0)] = wanted(outcome?);
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// Lets the cores serve.
    fn launch(&mut self, service: &Arc<Service>, reporter: &Reporter) -> Result<(), Failure> {
        let (ready, all_ready) = channel();
        let mut listeners = self.listeners()?;
        for (core, launch) in self.launches.iter().enumerate() {
            let order = Launch {
                listeners: listeners.pop().unwrap_or_default(),
                service: Arc::clone(service),
                reporter: reporter.clone(),
                probed: self.probed,
                marks: Arc::clone(&self.marks[core]),
                partitions: Arc::clone(&self.partitions),
                ready: ready.clone(),
            };
            launch.send(order).map_err(|_| Failure::new(Exit::Software, "a core has ended before it served"))?;
        }
        drop(ready);
        for _ in 0..self.placement.cores() {
            all_ready
                .recv()
                .map_err(|_| Failure::new(Exit::Software, "a core has ended before it served"))?
                .map_err(|why| Failure::new(Exit::Unavailable, why))?;
        }
        Ok(())
    }

    /// Makes the listeners of each core, one per address.
    fn listeners(&self) -> Result<Vec<Vec<OwnedFd>>, Failure> {
        let mut of_cores: Vec<Vec<OwnedFd>> = (0..self.placement.cores()).map(|_| Vec::new()).collect();
        for ip in &self.config.server.bind {
            let address = SocketAddr::new(*ip, self.config.server.port);
            let made = ports::listeners(address, of_cores.len())
                .map_err(|e| Failure::new(Exit::Unavailable, format!("cannot listen on {address}: {e}")))?;
            for (of_core, listener) in of_cores.iter_mut().zip(made) {
                // Accepted sockets inherit this option: replies are sent without delay.
                socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
                of_core.push(listener.into());
            }
        }
        Ok(of_cores)
    }

    /// Waits until the server is to stop, shuts it down, and records the ends of the logs that were closed in good
    /// order.
    fn watch(self, service: &Service, events: &Receiver<Event>) -> Result<(), Failure> {
        let mut failures = Vec::new();
        let mut running = self.threads.len();
        let mut stopping = false;
        let mut closed = Vec::new();
        while running > 0 {
            let Ok(event) = events.recv() else { break };
            let stop = match event {
                Event::Stop(who) => {
                    if !stopping {
                        tracing::info!(by = who, "shutting down");
                    }
                    true
                }
                Event::Level(level) => {
                    service.change_settings(|settings| settings.log_level = level);
                    service.checkpoints.reload_child();
                    false
                }
                Event::Ended(core, outcome) => {
                    running -= 1;
                    match outcome {
                        Ok(()) => closed.extend(self.marks[usize::from(core.0)].settled_end().map(|last| (core, last))),
                        Err(why) => {
                            tracing::error!(%core, why, "a core has failed");
                            failures.push(format!("core {core}: {why}"));
                        }
                    }
                    true
                }
            };
            if stop && !stopping {
                stopping = true;
                service.cores.inboxes.iter().for_each(|inbox| inbox.send(Order::Shutdown));
            }
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        if let Err(error) = self.dir.close_streams(service.cores.epoch, &closed) {
            tracing::error!(%error, "where the logs end could not be recorded");
            failures.push(error.to_string());
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Io, reasons: failures }) }
    }
}

/// Says what of the streams does not count.
fn report_ends(findings: &[Findings], cut: &Cut) {
    for (stream, end) in findings.iter().flat_map(|found| &found.ends) {
        if let Some(torn) = &end.torn {
            tracing::warn!(
                %stream, last = %end.last, file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
                "the remains of an interrupted write are ignored; none of it was acknowledged as durable"
            );
        }
    }
    for (stream, last, end) in cut.cut_off() {
        tracing::warn!(%stream, %last, %end, "cut off what belongs to unfinished transactions; none of it was durable");
    }
}

fn listen_for_signals(signals: &Signals, events: &Sender<Event>) {
    let events = events.clone();
    signals.pass_to(move |told| {
        let event = match told {
            Told::Stop(by) => Event::Stop(by),
            Told::Level(level) => Event::Level(level),
        };
        // The receiver is gone only if the process is already ending.
        let _ = events.send(event);
    });
}

/// Duration of each step of a core's recovery.
fn measured(recovery: &Recovery) -> Measured {
    let Tally { snapshot_bytes, edits, log_bytes, .. } = recovery.tally;
    let work = Work { snapshot_bytes, edits, log_bytes };
    Measured { work, snapshots: recovery.took[0], log: recovery.took[1] }
}

/// Logs the addresses on which the server listens.
fn announce(service: &Service, started: Instant) {
    let port = service.config.server.port;
    let addresses: Vec<_> =
        service.config.server.bind.iter().map(|ip| SocketAddr::new(*ip, port).to_string()).collect();
    tracing::info!(
        addresses = addresses.join(", "),
        cores = service.cores.placement.cores(),
        epoch = %service.cores.epoch,
        durability = ?service.config.log.durability,
        milliseconds = started.elapsed().as_millis() as u64,
        "ready"
    );
}
