//! What the cores of one server have in common: configuration, settings that can change, counts, and the rest of the process.

use crate::auth::guard::Guard;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::replies::Ticket;
use super::stats::CoreStats;
use crate::config::{Config, Durability, Level, Limits, Password};
use crate::ids::{CoreId, Epoch, PartitionId, Placement};
use crate::partition::MemoryBound;
use crate::partition::capture::Slice;
use crate::partition::shard::Barrier;
use crate::runtime::inbox::Inbox;
use crate::runtime::ring::Token;
use crate::storage::StreamMarks;
use crate::time::UnixMillis;

/// Clients that are remembered after they were broken with, for each core.
const BROKEN: usize = 64;

/// What the cores of one server have in common.
pub struct Shared {
    /// Which core holds what.
    pub placement: Placement,
    /// This life of the master.
    pub epoch: Epoch,
    /// The configuration that the server was started with.
    pub config: Config,
    /// Names this run (`run_id` in `INFO`).
    pub run_id: String,
    /// When it started.
    pub started: Instant,
    /// When it started, by the wall clock.
    pub started_at: UnixMillis,
    /// How far each core's stream has come.
    pub streams: Vec<Arc<StreamMarks>>,
    /// Messages to each core from outside of the cores.
    pub inboxes: Vec<Inbox<Order>>,
    /// The rest of the process.
    pub process: Process,
    /// The bound of what the data of all cores may take.
    pub memory: Arc<MemoryBound>,
    /// By core: bytes that its clients take, and the one that takes most.
    pub(super) client_memory: Vec<(AtomicU64, AtomicU64)>,
    /// Bytes of requests that were sent from one core to another and are not executed yet, by both.
    forwarded: Vec<AtomicUsize>,
    /// By core: the last of its clients that were broken with while other cores still worked for them.
    broken: Vec<Mutex<VecDeque<u64>>>,
    settings: RwLock<Arc<Settings>>,
    settings_version: AtomicU64,
    clients: AtomicU32,
    next_client: AtomicU64,
    stats: Vec<Mutex<CoreStats>>,
    /// Cores without clients at a shutdown.
    pub(super) drained: AtomicU32,
}

/// Settings that can change while the server runs: by `CONFIG SET`, the log level by SIGHUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What clients must know.
    pub password: Option<Password>,
    /// When writes are acknowledged.
    pub durability: Durability,
    /// Bytes that the data may take.
    pub max_memory: Option<u64>,
    /// Seconds that a client may take to authenticate.
    pub auth_timeout_s: Option<u64>,
    /// Wrong passwords after which a client is disconnected.
    pub auth_attempts: u32,
    /// Most clients at a time.
    pub max_clients: u32,
    /// Clients of this machine that are let in beyond them.
    pub admin_clients: u32,
    /// Bytes that all clients may take together.
    pub clients_max_bytes: Option<u64>,
    /// How much one client may ask for.
    pub limits: Limits,
    /// Seconds after which a silent client is disconnected.
    pub idle_timeout_s: Option<u64>,
    /// The least weighty event that is logged.
    pub log_level: Level,
    /// Seconds of silence after which the kernel asks a client's machine whether it is still there; holds for clients that connect from
    /// now on.
    pub tcp_keepalive_s: Option<u64>,
}

impl Settings {
    /// Those that a configuration begins with.
    pub fn of(config: &Config) -> Self {
        Self {
            password: config.server.password.clone(),
            durability: config.log.durability,
            max_memory: config.memory.max_bytes,
            auth_timeout_s: config.server.auth_timeout_s,
            auth_attempts: config.server.auth_attempts,
            max_clients: config.server.max_clients,
            admin_clients: config.server.admin_clients,
            clients_max_bytes: config.memory.clients_max_bytes,
            limits: config.limits.clone(),
            idle_timeout_s: config.server.idle_timeout_s,
            log_level: config.logging.level,
            tcp_keepalive_s: config.server.tcp_keepalive_s,
        }
    }
}

/// What a core is told from outside of the cores.
#[derive(Debug)]
pub enum Order {
    /// Put a barrier of a partition into the log, and report it.
    Barrier {
        /// Whose.
        partition: PartitionId,
        /// The checkpoint node is to write a snapshot there.
        checkpoint: bool,
    },
    /// Take a snapshot of a partition.
    Capture(PartitionId),
    /// The log is as long as it may be (`true`), or shorter again.
    LogUsedUp(bool),
    /// Give a reply that a client waits for.
    Reply(Awaited, Vec<u8>),
    /// Take no more requests, let what was asked be answered, and end.
    Shutdown,
}

/// A reply that a client waits for.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    /// Its core.
    pub core: CoreId,
    /// Its connection there.
    pub connection: Token,
    /// The client.
    pub client: u64,
    /// The reply.
    pub ticket: Ticket,
}

type Call<A, R> = Box<dyn Fn(A) -> R + Send + Sync>;

/// What commands and cores ask of the rest of the process.
pub struct Process {
    /// Who may come in, by this port and the checkpoint node's.
    pub guard: Arc<Guard>,
    /// `SHUTDOWN`: ends the server in good order.
    pub shutdown: Call<(), ()>,
    /// A core has put a barrier into its log.
    pub barrier_placed: Call<Barrier, ()>,
    /// A core has taken a slice of a snapshot.
    pub captured: Call<Slice, ()>,
    /// Whether there is room for another slice.
    pub has_room: Call<(), bool>,
    /// `SAVE` and `BGSAVE`: checkpoints everything that has changed; whoever waits is told when that is done, or why it cannot be.
    pub checkpoint: Call<Option<Awaited>, Result<(), String>>,
    /// The state of checkpoints and of their node, for `INFO` and `LASTSAVE`.
    pub checkpoints: Call<(), CheckpointReport>,
}

/// The state of checkpoints and of their node.
#[derive(Clone, Debug, Default)]
pub struct CheckpointReport {
    /// Whether a node is connected and mirrors.
    pub node_connected: bool,
    /// When everything that had changed last came to be in checkpoints, in Unix seconds; when the server started if it never did.
    pub last_save: u64,
    /// Edits since everything was last in checkpoints.
    pub unsaved_edits: u64,
    /// Partitions of which the last attempt at a checkpoint failed.
    pub failing: usize,
    /// For how long the oldest checkpoint under way has been so.
    pub under_way: Option<Duration>,
    /// How long the last checkpoint took that was installed.
    pub last_took: Option<Duration>,
    /// Bytes of log on disk, of all epochs that are kept.
    pub log_bytes: u64,
    /// Lines of `name:value` for the section `Rollbook` of `INFO`.
    pub lines: Vec<(String, String)>,
}

impl Shared {
    /// Everything in common for a server that has just recovered.
    pub fn new(
        config: Config,
        placement: Placement,
        epoch: Epoch,
        streams: Vec<Arc<StreamMarks>>,
        inboxes: Vec<Inbox<Order>>,
        process: Process,
        started: Instant,
    ) -> Self {
        let mut random = fastrand::Rng::new();
        Self {
            placement,
            epoch,
            run_id: format!("{:016x}{:016x}{:08x}", random.u64(..), random.u64(..), random.u32(..)),
            started,
            started_at: crate::time::unix_millis(),
            process,
            streams,
            memory: Arc::new(MemoryBound::new(placement.cores(), config.memory.max_bytes)),
            client_memory: inboxes.iter().map(|_| Default::default()).collect(),
            forwarded: (0..inboxes.len().pow(2)).map(|_| AtomicUsize::default()).collect(),
            broken: inboxes.iter().map(|_| Mutex::default()).collect(),
            settings: RwLock::new(Arc::new(Settings::of(&config))),
            settings_version: AtomicU64::new(0),
            clients: AtomicU32::new(0),
            next_client: AtomicU64::new(1),
            stats: inboxes.iter().map(|_| Mutex::new(CoreStats::default())).collect(),
            inboxes,
            config,
            drained: AtomicU32::new(0),
        }
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Grows with every change of the settings.
    pub fn settings_version(&self) -> u64 {
        self.settings_version.load(Ordering::Acquire)
    }

    /// Changes settings; all cores go by them from their next turn on.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut settings));
        self.process.guard.set_password(settings.password.clone());
        self.memory.set(settings.max_memory);
        self.settings_version.fetch_add(1, Ordering::Release);
        self.inboxes.iter().for_each(Inbox::nudge);
    }

    /// Bytes of requests that core `from` has sent to core `to`, and that are not executed yet.
    pub(super) fn forwarded(&self, from: CoreId, to: CoreId) -> &AtomicUsize {
        &self.forwarded[usize::from(from.0) * self.inboxes.len() + usize::from(to.0)]
    }

    /// A number for a new client.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// Clients connected now.
    pub fn clients(&self) -> u32 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Counts a new client from `peer` and returns whether its place is one kept for administrators; or says why it is not served, in a
    /// whole error reply.
    pub fn admit(&self, peer: Option<SocketAddr>) -> Result<bool, &'static str> {
        let settings = self.settings();
        let trusted = peer.is_some_and(|p| p.ip().to_canonical().is_loopback());
        if self.config.server.protected_mode && settings.password.is_none() && !trusted {
            return Err("-DENIED Rollbook runs in protected mode: without a password it serves this machine only. \
                 Set server.password, or server.protected_mode = false if the network is trusted.\r\n");
        }
        let before = self.clients.fetch_add(1, Ordering::Relaxed);
        let reserved = before >= settings.max_clients;
        if reserved && !(trusted && before - settings.max_clients < settings.admin_clients) {
            self.leave();
            return Err("-ERR max number of clients reached\r\n");
        }
        Ok(reserved)
    }

    /// A client that was admitted is gone.
    pub fn leave(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// A client of `core` is gone whose requests may still be executed elsewhere.
    pub fn note_broken(&self, core: CoreId, client: u64) {
        let mut broken = self.broken[usize::from(core.0)].lock().unwrap_or_else(PoisonError::into_inner);
        if broken.len() == BROKEN {
            broken.pop_front();
        }
        broken.push_back(client);
    }

    /// Clients of `core` that are gone and whose requests are not worth the work.
    pub fn broken(&self, core: CoreId) -> Vec<u64> {
        self.broken[usize::from(core.0)].lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// A core's counts, to be seen by all.
    pub fn publish(&self, core: CoreId, stats: &CoreStats) {
        let mut published = self.stats[usize::from(core.0)].lock().unwrap_or_else(PoisonError::into_inner);
        published.clone_from(stats);
    }

    /// The counts of all cores, each at most a tenth of a second old.
    pub fn stats(&self) -> Vec<CoreStats> {
        self.stats.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }
}
