//! Ties the cores to the master's side of the checkpoint node, and commands to both.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Event;
use crate::auth::guard::Guard;
use crate::cli::arguments::Configuration;
use crate::cli::{Exit, Failure};
use crate::config::{Config, LEAST_SEGMENTS, NodeMode};
use crate::ids::{Epoch, Placement, Position};
use crate::net::shared::{CheckpointReport, Order, Process};
use crate::replication::master::child::{ChildCommand, Secret};
use crate::replication::master::own::{self, Slices};
use crate::replication::master::policy::{BarrierReport, Outcome, Pace};
use crate::replication::master::prediction::Measured;
use crate::replication::master::{Master, Options, Own, Status};
use crate::runtime::inbox::Inbox;
use crate::storage::{DataDir, PartitionMarks, StreamMarks};
use crate::time;

/// How long a graceful end waits for the node to get the last edits. They are on disk anyway.
const GRACE: Duration = Duration::from_secs(2);

/// The master's side of the checkpoint node.
pub struct Checkpoints {
    master: Arc<Master>,
    guard: Arc<Guard>,
    reports: Sender<BarrierReport>,
    slices: Slices,
    inboxes: Vec<Inbox<Order>>,
}

/// What it needs.
pub struct Setting<'a> {
    /// Where the configuration came from, for the child.
    pub arguments: &'a Configuration,
    /// The configuration.
    pub config: &'a Config,
    /// The data directory.
    pub dir: Arc<DataDir>,
    /// Which core holds what.
    pub placement: Placement,
    /// Marks of the streams, by core.
    pub streams: Vec<Arc<StreamMarks>>,
    /// Marks of the partitions.
    pub partitions: Arc<[PartitionMarks]>,
    /// Where recovery found each partition's last edit.
    pub last_edits: Vec<Position>,
    /// How long the cores have taken to recover.
    pub measured: Vec<Measured>,
    /// The cores' inboxes.
    pub inboxes: Vec<Inbox<Order>>,
}

impl Checkpoints {
    /// Starts it, and the node if it is to be a child.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub fn start(setting: Setting<'_>) -> Result<Self, Failure> {
        let Setting { config, placement, inboxes, .. } = setting;
        let (reports, reported) = channel();
        let guard = Arc::new(Guard::new(config.server.password.clone()));
        let listen = match config.checkpoint.node {
            NodeMode::None => Vec::new(),
            NodeMode::Child | NodeMode::External => {
                vec![SocketAddr::new(config.checkpoint.bind, config.checkpoint.port)]
            }
        };
        let child = match config.checkpoint.node {
            NodeMode::Child => Some(child_command(setting.arguments, config)?),
            NodeMode::External | NodeMode::None => None,
        };
        let ask = {
            let inboxes = inboxes.clone();
            Box::new(move |request: crate::replication::master::policy::BarrierRequest| {
                let core = placement.core_of(request.partition);
                let order = Order::Barrier { partition: request.partition, checkpoint: request.checkpoint };
                inboxes[usize::from(core.0)].send(order);
            })
        };
        let ask_own = {
            let inboxes = inboxes.clone();
            Box::new(move |partition| {
                inboxes[usize::from(placement.core_of(partition).0)].send(Order::Capture(partition))
            })
        };
        let (slices, taken) = own::slices();
        let on_full = {
            let inboxes = inboxes.clone();
            Box::new(move |full| inboxes.iter().for_each(|inbox| inbox.send(Order::LogUsedUp(full))))
        };
        let on_mirrored = {
            let inboxes = inboxes.clone();
            Arc::new(move |core: crate::ids::CoreId| inboxes[usize::from(core.0)].nudge())
        };
        let options = Options {
            dir: setting.dir,
            streams: setting.streams,
            partitions: setting.partitions,
            last_edits: setting.last_edits,
            measured: setting.measured,
            pace: Pace {
                every_edits: config.checkpoint.every_edits,
                every: Duration::from_secs(config.checkpoint.every_seconds),
            },
            listen,
            guard: Arc::clone(&guard),
            protected: config.server.protected_mode,
            timeout: Duration::from_secs(config.checkpoint.timeout_s),
            ask,
            reports: reported,
            own: Some(Own { ask: ask_own, taken }),
            max_log_bytes: max_log_bytes(config, placement),
            on_full,
            on_mirrored,
            child,
        };
        let master = Master::start(options).map_err(|e| Failure::new(Exit::Unavailable, e))?;
        Ok(Self { master: Arc::new(master), guard, reports, slices, inboxes })
    }

    /// What commands and cores may ask of this process.
    pub(super) fn process(&self, events: &Sender<Event>, epoch: Epoch) -> Process {
        let events = Mutex::new(events.clone());
        let reports = Mutex::new(self.reports.clone());
        let (master, inboxes) = (Arc::clone(&self.master), self.inboxes.clone());
        let (slices, room) = (self.slices.clone(), self.slices.clone());
        let reporting = Arc::clone(&self.master);
        let started = time::unix_millis().get() / 1000;
        Process {
            guard: Arc::clone(&self.guard),
            shutdown: Box::new(move |()| {
                // Nobody listens only if the process is ending already.
                let _ = events.lock().unwrap_or_else(PoisonError::into_inner).send(Event::Stop("SHUTDOWN"));
            }),
            barrier_placed: Box::new(move |barrier| {
                let report = BarrierReport {
                    partition: barrier.partition,
                    position: Position::new(epoch, barrier.lsn),
                    checkpoint: barrier.checkpoint,
                    digests: barrier.digests,
                };
                let _ = reports.lock().unwrap_or_else(PoisonError::into_inner).send(report);
            }),
            captured: Box::new(move |slice| slices.send(slice)),
            has_room: Box::new(move |()| room.has_room()),
            checkpoint: Box::new(move |awaited| {
                let ticket =
                    master.request_checkpoint().ok_or("ERR nobody can write a checkpoint, so nothing can be saved")?;
                let Some(to) = awaited else { return Ok(()) };
                let inbox = inboxes[usize::from(to.core.0)].clone();
                let answer = move |outcome| {
                    let reply = match outcome {
                        Outcome::Done => b"+OK\r\n".to_vec(),
                        Outcome::Failed(why) => format!("-ERR the checkpoint failed: {why}\r\n").into_bytes(),
                    };
                    inbox.send(Order::Reply(to, reply));
                };
                master.on_outcome(ticket, Box::new(answer));
                Ok(())
            }),
            checkpoints: Box::new(move |()| report(&reporting.status(), started)),
        }
    }

    /// Has the node, if it is a child, read its configuration again.
    pub fn reload_child(&self) {
        self.master.reload_child();
    }

    /// Lets the node have the last edits, and ends it.
    pub fn end(&self) {
        self.master.drain(GRACE);
        self.master.stop();
    }
}

/// The bound of the log; where the number of cores was not known to the configuration, at least what they need.
fn max_log_bytes(config: &Config, placement: Placement) -> Option<u64> {
    let most = config.log.max_bytes?;
    let least = LEAST_SEGMENTS.saturating_mul(config.log.segment_bytes).saturating_mul(placement.cores().into());
    if most < least {
        tracing::warn!(most, least, "log.max_bytes is too little for so many cores, and is raised");
    }
    Some(most.max(least))
}

/// This program as a checkpoint node of this master.
fn child_command(arguments: &Configuration, config: &Config) -> Result<ChildCommand, Failure> {
    let address = SocketAddr::new(config.checkpoint.bind, config.checkpoint.port);
    let mut line = vec!["checkpoint".into()];
    line.extend(arguments.to_arguments());
    line.extend(["--set".into(), format!("checkpoint.master={address}").into()]);
    Ok(ChildCommand { program: std::env::current_exe()?, arguments: line, secret: Secret::new()? })
}

fn report(status: &Status, started: u64) -> CheckpointReport {
    let last = status.last;
    let age = |at: u64| (time::unix_millis().get() / 1000).saturating_sub(at);
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    line("node_connected", u8::from(status.node.is_some()).to_string());
    line("node_address", status.node.as_ref().map(|n| n.address.to_string()).unwrap_or_default());
    line("node_delivers", u8::from(status.node.is_some() && status.node_failure.is_none()).to_string());
    line("node_failure", status.node_failure.as_deref().unwrap_or_default().replace(['\r', '\n'], " "));
    line("node_pid", status.child.and_then(|c| c.pid).unwrap_or(0).to_string());
    line("node_restarts", status.child.map_or(0, |c| c.restarts).to_string());
    line("node_sessions", status.sessions.to_string());
    line("checkpoints_installed", status.installed.to_string());
    line("checkpoints_failed", status.failed.to_string());
    line("checkpoints_pending", status.pending.to_string());
    line("checkpoint_bytes", status.bytes.to_string());
    line("checkpoint_last_age_seconds", last.map_or_else(|| "-1".into(), |c| age(c.at.get() / 1000).to_string()));
    line("checkpoint_last_duration_ms", last.map_or(0, |c| c.took.as_millis()).to_string());
    line("checkpoint_last_bytes", last.map_or(0, |c| c.bytes).to_string());
    line("partitions_failing", status.failing.to_string());
    line("partitions_dirty", status.dirty.to_string());
    line("partitions_diverged", status.diverged.to_string());
    line("slots_diverged", status.diverged_slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    line("digests_compared", status.compared.0.to_string());
    line("digests_differed", status.compared.1.to_string());
    line("self_checkpoints_installed", status.own_installed.to_string());
    line("recovery_ms", status.recovered_in.as_millis().to_string());
    line("recovery_predicted_ms", status.predicted.as_millis().to_string());
    line("log_dropped_bytes", status.dropped_bytes.to_string());
    line("log_bytes", status.log_bytes.to_string());
    line("log_max_bytes", status.max_log_bytes.unwrap_or(0).to_string());
    line("log_stage", status.stage.name().to_owned());
    CheckpointReport {
        node_connected: status.node.is_some(),
        last_save: status.saved.map_or(started, |at| at.get() / 1000),
        unsaved_edits: status.unsaved_edits,
        failing: status.failing,
        under_way: status.under_way,
        last_took: last.map(|c| c.took),
        log_bytes: status.log_bytes,
        lines,
    }
}
