//! The state that the threads of the master's side share, and the thread that drives the policy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounds::{Bounds, Notice, REMIND, Stage};
use super::claims::Claims;
use super::counters::Counters;
use super::policy::{BarrierReport, BarrierRequest, Observed, Outcome, Policy, Ticket};
use super::prediction::{self, Speed};
use super::sessions::Sessions;
use super::waiting::{Complete, Waiting};

use super::{Options, Saver};
use crate::auth::guard::Guard;
use crate::config::Password;
use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Partitions, Placement, Position, Slot};
use crate::partition::order::{Barrier, Order, Slices};
use crate::replication::clock::Clock;
use crate::replication::link::Links;
use crate::runtime::inbox::Inbox;
use crate::storage::{DataDir, Files, OsFiles, PartitionMarks, StreamMarks};

/// Longest time between two rounds of the policy thread.
const TICK: Duration = Duration::from_millis(100);
/// How often log is looked for that can be dropped, even if no snapshot was installed meanwhile.
const LOOK_OVER: Duration = Duration::from_secs(10);

/// Most slots that are remembered per partition, or shown, when digests differ.
const SHOWN_SLOTS: usize = 64;
/// Number of snapshots that may be under way at a time, for each of which the log leaves disk space.
const SNAPSHOTS_AT_ONCE: u64 = 3;
/// Disk space in bytes that the log leaves for the manifest and the directory entries of new files.
const MANIFEST_ROOM: u64 = 256 << 10;

pub(crate) struct MasterSide<F: Files = OsFiles> {
    pub dir: Arc<DataDir<F>>,
    pub streams: Vec<Arc<StreamMarks>>,
    pub epoch: Epoch,
    pub placement: Placement,
    pub guard: Arc<Guard>,
    /// The password that only the child node knows.
    pub secret: Option<Password>,
    pub protected: bool,
    /// How long the node may take to answer, or to send a heartbeat.
    pub timeout: Duration,
    pub clock: Clock,
    partitions: Arc<[PartitionMarks]>,
    cores: Vec<Inbox<Order>>,
    /// Whether cores take snapshots themselves while no node delivers any.
    pub cores_capture: bool,
    /// Speed at which this machine recovers.
    pub speed: Speed,
    /// How long the recovery of this start took, by the slowest core.
    pub recovered_in: Duration,
    /// Bytes of the log of ended epochs when this epoch began.
    ended_log_bytes: u64,
    /// Partitions whose snapshots are being uploaded.
    pub(super) uploads: Claims,
    /// Snapshots that are complete and wait for others.
    pub(super) waiting: Waiting,
    stopping: AtomicBool,
    state: Mutex<State>,
    /// Notified when the policy thread or a waiter should look at the state.
    bell: Condvar,
}

/// The shared state that changes, under one lock, which is never held during I/O or while waiting for another thread.
pub(crate) struct State {
    pub policy: Policy,
    pub bounds: Bounds,
    pub sessions: Sessions,
    /// Connections of the present session.
    pub links: Arc<Links>,
    pub counters: Counters,
    /// Slots that differed at the last comparison, of the partitions that differ at present.
    differing: BTreeMap<PartitionId, Vec<Slot>>,
    /// Clients that wait for a checkpoint.
    pub savers: Vec<(Ticket, Saver)>,
    /// Whether a snapshot was installed since the last look for log to drop.
    pub look_over: bool,
    /// Whether something has happened since the policy thread last looked.
    has_news: bool,
    barriers: Receiver<Barrier>,
    /// The present epoch.
    epoch: Epoch,
}

impl State {
    /// Notes which slots of a partition differed at its last comparison, and forgets the slots of partitions that agree
    /// again.
    pub fn note_differing(&mut self, partition: PartitionId, slots: &[Slot]) {
        if !slots.is_empty() {
            self.differing.insert(partition, slots.iter().copied().take(SHOWN_SLOTS).collect());
        }
        let diverged: Vec<_> = self.policy.diverged().map(|(partition, _)| partition).collect();
        self.differing.retain(|partition, _| diverged.contains(partition));
    }

    /// The slots that differ at present, the first 64 of them.
    pub fn diverged_slots(&self) -> Vec<Slot> {
        self.differing.values().flatten().copied().take(SHOWN_SLOTS).collect()
    }

    /// Notes that a snapshot of `bytes` bytes was installed; `took` is the time since its upload or its capture began.
    pub fn installed(&mut self, partition: PartitionId, position: Position, bytes: u64, took: Duration, now: Duration) {
        self.policy.installed(partition, position, now);
        self.counters.installed(bytes, took, crate::time::unix_millis());
        self.note_saves();
        self.look_over = true;
    }

    /// Notes the time if everything that had changed is in snapshots now.
    pub fn note_saves(&mut self) {
        self.counters.saved(self.policy.saves(), crate::time::unix_millis());
    }

    /// Tells the policy of the barriers that cores have reported.
    pub fn catch_up(&mut self, now: Duration) {
        while let Ok(Barrier { partition, lsn, purpose, digests, transfers }) = self.barriers.try_recv() {
            let position = Position::new(self.epoch, lsn);
            self.policy.executed(BarrierReport { partition, position, purpose, transfers, digests }, now);
        }
    }
}

impl<F: Files> MasterSide<F> {
    pub fn new(options: Options<F>, policy: Policy, clock: Clock, ended_log_bytes: u64) -> (Self, Slices) {
        let manifest = options.dir.manifest();
        let epoch = manifest.newest_epoch().map(|e| e.epoch).unwrap_or_default();
        let placement = manifest.placement(epoch).expect("a master begins an epoch before it starts this");
        let state = State {
            policy,
            bounds: Bounds::new(options.max_log_bytes),
            sessions: Sessions::default(),
            links: Arc::default(),
            counters: Counters::default(),
            differing: BTreeMap::new(),
            savers: Vec::new(),
            look_over: true,
            has_news: true,
            barriers: options.reports.barriers,
            epoch,
        };
        let shared = Self {
            dir: options.dir,
            streams: options.streams,
            epoch,
            placement,
            guard: options.guard,
            secret: options.child.as_ref().map(|child| child.secret.password()),
            protected: options.protected,
            timeout: options.timeout,
            clock,
            partitions: options.partitions,
            cores: options.cores,
            cores_capture: options.cores_capture,
            speed: Speed::of(&options.measured),
            recovered_in: prediction::slowest(&options.measured),
            ended_log_bytes,
            uploads: Claims::default(),
            waiting: Waiting::default(),
            stopping: AtomicBool::new(false),
            state: Mutex::new(state),
            bell: Condvar::new(),
        };
        (shared, options.reports.slices)
    }

    /// Notes the position of a partition's older snapshot, for its core.
    pub(super) fn note_older(&self, partition: PartitionId, position: Position) {
        if position.epoch == self.epoch {
            self.partitions[usize::from(partition.0)].set_older_snapshot(position.lsn);
        }
    }

    /// Gives up the snapshots that wait and that the policy does not await any more, and makes it want the partitions
    /// that the others wait for.
    pub(super) fn look_at_waiting(&self) {
        let manifest = self.dir.manifest();
        let mut state = self.state();
        let policy = &mut state.policy;
        let given_up = self.waiting.take(|waiting| !policy.awaits(waiting.arrival.partition, waiting.position()));
        self.waiting.missing(&manifest).into_iter().for_each(|partition| policy.want_for_others(partition));
        drop(state);
        self.discard(given_up);
    }

    /// Gives up the snapshot of a partition that waits, if there is one, because another one is coming.
    pub(super) fn forget_waiting(&self, partition: PartitionId) {
        self.discard(self.waiting.take(|waiting| waiting.arrival.partition == partition));
    }

    fn discard(&self, given_up: Vec<Complete>) {
        for waiting in given_up {
            let (partition, position) = (waiting.arrival.partition, waiting.position());
            tracing::debug!(%partition, %position, "a snapshot that waited for others is given up");
            // If it cannot be removed, the next upload of the partition or the next start does that.
            let _ = self.dir.files().remove(&waiting.path);
        }
    }

    /// Sends an order to the core that owns a partition.
    fn order(&self, partition: PartitionId, order: Order) {
        self.cores[usize::from(self.placement.core_of(partition).0)].send(order);
    }

    /// Notes that the node holds every edit of `core` up to `lsn`, and wakes the core if that is new.
    pub fn mirrored(&self, core: CoreId, lsn: Lsn) {
        let Some(marks) = self.streams.get(usize::from(core.0)) else { return };
        if marks.set_mirrored(lsn) {
            self.cores[usize::from(core.0)].nudge();
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // Every method of the state machines leaves them consistent, so a panic of another holder of the lock does not
        // matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn partition_count(&self) -> Partitions {
        self.placement.partitions()
    }

    /// Reads the marks, in the order that the policy relies on: the durable marks before the partitions' last edits.
    pub fn observe(&self) -> Observed {
        Observed {
            durable: self.streams.iter().map(|s| s.durable()).collect(),
            mirrored: self.streams.iter().map(|s| s.mirrored()).collect(),
            last_edits: self.partitions.iter().map(PartitionMarks::last_edit).collect(),
            crowded: self.partitions.iter().map(PartitionMarks::crowded).collect(),
            ended: self.streams.iter().map(|s| s.has_ended()).collect(),
        }
    }

    /// Reads the marks as if everything appended were durable: for counts of edits, not for the policy.
    pub(super) fn observe_appended(&self) -> Observed {
        let observed = self.observe();
        Observed { durable: self.streams.iter().map(|s| s.appended()).collect(), ..observed }
    }

    /// Bytes of log on disk, of all kept epochs; `dropped` is what was dropped since this epoch began.
    fn log_bytes(&self, dropped: u64) -> u64 {
        let present: u64 = self.streams.iter().map(|s| s.file_bytes()).sum();
        (self.ended_log_bytes + present).saturating_sub(dropped)
    }

    /// Wakes the policy thread and all waiters, because the state has changed.
    pub fn wake(&self) {
        self.state().has_news = true;
        self.bell.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let links = self.state().links.clone();
        links.shut();
        self.streams.iter().for_each(|s| s.ring());
        self.wake();
    }

    /// Waits until `ready` returns a value, the master stops, or `timeout` is over.
    pub fn wait_for<T>(&self, timeout: Duration, ready: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = self.clock.now() + timeout;
        let mut state = self.state();
        loop {
            let left = deadline.saturating_sub(self.clock.now());
            let found = ready(&state);
            if found.is_some() || left.is_zero() || self.is_stopping() {
                return found;
            }
            state = self.bell.wait_timeout(state, left.min(TICK)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The body of the policy thread.
pub(crate) fn run_policy(shared: &MasterSide) {
    let mut rounds = PolicyLoop::default();
    while !shared.is_stopping() {
        rounds.look(shared);
        drop(shared.bell.wait_timeout_while(shared.state(), TICK, |state| !state.has_news));
    }
    let savers = std::mem::take(&mut shared.state().savers);
    savers.into_iter().for_each(|(_, saver)| tell(shared, saver, Outcome::Failed("the master is stopping".to_owned())));
}

/// The rounds of the policy thread, and what it remembers from one to the next.
pub(crate) struct PolicyLoop {
    next_look: Duration,
    next_reminder: Duration,
    /// Whether the node did not deliver snapshots when this was last looked at.
    node_fails: bool,
}

impl Default for PolicyLoop {
    fn default() -> Self {
        Self { next_look: Duration::ZERO, next_reminder: REMIND, node_fails: false }
    }
}

impl PolicyLoop {
    /// Does one round: asks cores for the barriers and snapshots that are due, tells clients the outcomes of their
    /// checkpoints, warns, and drops log that snapshots cover.
    pub(crate) fn look<F: Files>(&mut self, shared: &MasterSide<F>) {
        let now = shared.clock.now();
        let (requests, captures, decided, look_over, notice) = {
            let observed = shared.observe();
            let mut state = shared.state();
            state.has_news = false;
            state.catch_up(now);
            let dropped = state.counters.dropped_bytes;
            let notice = state.bounds.tick(shared.log_bytes(dropped), now);
            let pressed = state.bounds.stage() >= Stage::Pressing || shared.streams.iter().any(|s| s.is_out_of_space());
            state.policy.set_pressed(pressed);
            let requests = state.policy.tick(now, observed);
            let captures = if shared.cores_capture { state.policy.captures(now) } else { Vec::new() };
            let look_over = std::mem::take(&mut state.look_over) || now >= self.next_look;
            (requests, captures, take_decided(&mut state), look_over, notice)
        };
        if let Some(notice) = notice {
            bound_noticed(shared, notice);
        }
        self.look_at_node(shared);
        if now >= self.next_reminder {
            self.next_reminder = now + REMIND;
            remind(shared);
        }
        // Before the orders: what was given up must be gone when the next snapshot of its partition comes.
        shared.look_at_waiting();
        for BarrierRequest { partition, checkpoint } in requests {
            shared.order(partition, Order::Barrier { partition, checkpoint });
        }
        captures.into_iter().for_each(|partition| shared.order(partition, Order::Capture(partition)));
        decided.into_iter().for_each(|(saver, outcome)| tell(shared, saver, outcome));
        if look_over {
            self.next_look = now + LOOK_OVER;
            drop_log(shared);
            set_headroom(shared);
        }
    }
}

impl PolicyLoop {
    /// Logs when the node ceases to deliver snapshots, and when it delivers again.
    fn look_at_node<F: Files>(&mut self, shared: &MasterSide<F>) {
        let failure = shared.state().policy.node_failure().map(str::to_owned);
        if std::mem::replace(&mut self.node_fails, failure.is_some()) == failure.is_some() {
            return;
        }
        match failure {
            Some(why) => tracing::error!(
                "the checkpoint node delivers no snapshots, so the server takes its own where they are needed: {why}"
            ),
            None => tracing::info!("the checkpoint node delivers snapshots again"),
        }
    }
}

/// Logs that the log's length has reached another stage, or reminds of the present one. Orders the cores to refuse
/// writes when the log becomes full, and to accept them again afterwards.
fn bound_noticed<F: Files>(shared: &MasterSide<F>, Notice { before, stage }: Notice) {
    let (bytes, most) = {
        let state = shared.state();
        (state.bounds.bytes(), state.bounds.max_bytes().unwrap_or_default())
    };
    match stage {
        Stage::Short => tracing::info!(bytes, most, "the log is short again"),
        Stage::Long => {
            tracing::warn!(bytes, most, "the log is getting long (log.max_bytes): is the checkpoint node away?")
        }
        Stage::Pressing => {
            tracing::warn!(
                bytes,
                most,
                "the log is so long that every changed partition is checkpointed without delay"
            );
        }
        Stage::Full => tracing::error!(bytes, most, "the log has reached log.max_bytes: writes are refused"),
    }
    if (before == Stage::Full) != (stage == Stage::Full) {
        shared.cores.iter().for_each(|core| core.send(Order::LogUsedUp(stage == Stage::Full)));
    }
}

/// Makes new segments leave disk space for as many snapshots as may be under way at a time, and for the manifest.
fn set_headroom<F: Files>(shared: &MasterSide<F>) {
    let manifest = shared.dir.manifest();
    let largest = manifest.snapshots.iter().filter_map(|g| g.newest).map(|newest| newest.bytes).max().unwrap_or(0);
    let headroom = largest.saturating_mul(SNAPSHOTS_AT_ONCE).saturating_add(MANIFEST_ROOM);
    shared.streams.iter().for_each(|s| s.set_headroom(headroom));
}

/// Removes the clients whose checkpoints are decided, and returns them with the outcomes.
fn take_decided(state: &mut State) -> Vec<(Saver, Outcome)> {
    let (mut decided, mut open) = (Vec::new(), Vec::new());
    for (ticket, saver) in std::mem::take(&mut state.savers) {
        match state.policy.outcome(ticket) {
            Some(outcome) => decided.push((saver, outcome)),
            None => open.push((ticket, saver)),
        }
    }
    state.savers = open;
    decided
}

/// Sends the outcome of a checkpoint to the core of the client that waits for it.
fn tell<F: Files>(shared: &MasterSide<F>, (core, caller): Saver, outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Done => Ok(()),
        Outcome::Failed(why) => Err(why),
    };
    shared.cores[usize::from(core.0)].send(Order::Saved(caller, outcome));
}

/// Logs a reminder while edits are in no snapshot and no node delivers any.
fn remind<F: Files>(shared: &MasterSide<F>) {
    let state = shared.state();
    let behind: u64 = state.policy.replay_edits(state.policy.observed()).iter().sum();
    let (is_connected, failure) = (state.policy.is_connected(), state.policy.node_failure().map(str::to_owned));
    drop(state);
    if behind == 0 {
        return;
    }
    if !is_connected {
        tracing::warn!(
            edits = behind,
            "no checkpoint node is connected; the log grows to log.max_bytes, and a start would replay it"
        );
    } else if let Some(why) = failure {
        tracing::warn!(
            edits = behind,
            "the checkpoint node delivers no snapshots; the log grows to log.max_bytes, and a start would replay it: {why}"
        );
    }
}

/// Drops the log that snapshots cover.
fn drop_log<F: Files>(shared: &MasterSide<F>) {
    let manifest = shared.dir.manifest();
    let firsts = shared.state().policy.droppable(&manifest);
    if firsts.is_empty() {
        return;
    }
    match shared.dir.drop_log(&firsts) {
        Ok(bytes) => {
            shared.state().counters.dropped_bytes += bytes;
            tracing::debug!(streams = firsts.len(), bytes, "log dropped");
        }
        Err(e) => tracing::error!("cannot drop log that snapshots cover: {e}"),
    }
}
