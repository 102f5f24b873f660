//! The master's side of the checkpoint node: ships the log to the node, takes the node's snapshots in, and drops log
//! that is no longer needed.
//!
//! Always, per stream: position of a node's snapshot ≤ mirrored ≤ durable; newest section of a core's own snapshot ≤
//! durable. The manifest names a snapshot only once it is whole, verified (a node's snapshot against its barrier) and
//! on disk, and so are the snapshots that it needs (`install`); log is dropped only when the manifest no longer needs
//! it.
//!
//! | thread | does |
//! |---|---|
//! | policy | asks cores for barriers, drops log, tells clients what became of their checkpoints |
//! | accept | accepts nodes: checks protocol and password, admits one session at a time |
//! | one per connection | by its role: control, stream (and one more for its acknowledgements), upload, download |
//! | own | writes and installs the snapshots that cores take themselves while no node delivers any |
//! | child | runs the node as a child process, and starts it again when it ends |
//!
//! Cores publish their progress with atomic stores ([`StreamMarks`], [`PartitionMarks`]), take orders ([`Order`]) and
//! report; they never wait for these threads. Deliberately absent: executors, waiting on behalf of a core, any lock
//! that is held during I/O.

pub(crate) mod accept;
pub mod bounds;
pub mod child;
mod claims;
mod counters;
pub(crate) mod download;
pub(crate) mod feed;
pub(crate) mod install;
pub(crate) mod intake;
pub mod policy;
pub mod prediction;
pub mod self_checkpoints;
pub(crate) mod sessions;
pub(crate) mod ship;
pub(crate) mod side;
pub(crate) mod status;
mod unauthenticated;
pub(crate) mod upload;
pub(crate) mod waiting;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use self::child::{Child, ChildCommand};
pub use self::counters::CheckpointStatus;
use self::policy::{Outcome, Pace, Policy, Ticket};
use self::prediction::Measured;
use self::side::MasterSide;
pub use self::status::{NodeStatus, Status};
use crate::auth::guard::Guard;
use crate::ids::{Caller, CoreId, Position};
use crate::partition::order::{Order, Reports};
use crate::replication::clock::Clock;
use crate::runtime::inbox::Inbox;
use crate::storage::{DataDir, Files, OsFiles, PartitionMarks, StorageError, StreamMarks};

/// A client that waits for a checkpoint, with the core that it is connected to.
pub type Saver = (CoreId, Caller);

/// What the master's side is started with.
pub struct Options<F: Files = OsFiles> {
    /// The data directory; its newest epoch is the present one.
    pub dir: Arc<DataDir<F>>,
    /// Marks of the present epoch's streams, by core.
    pub streams: Vec<Arc<StreamMarks>>,
    /// Marks of the partitions, by partition.
    pub partitions: Arc<[PartitionMarks]>,
    /// Position of the last edit that recovery applied to each partition; [`Position::START`] if it applied none.
    pub last_edits: Vec<Position>,
    /// What recovery read and how long it took, by core.
    pub measured: Vec<Measured>,
    /// How often partitions are checkpointed.
    pub pace: Pace,
    /// Addresses to listen on for nodes.
    pub listen: Vec<SocketAddr>,
    /// Checks the password that a node must know.
    pub guard: Arc<Guard>,
    /// Whether only nodes on this machine are served while no password is set.
    pub protected: bool,
    /// How long the node may take to answer, or to send a heartbeat, before its connection is given up.
    pub timeout: Duration,
    /// Queues of the orders for each core.
    pub cores: Vec<Inbox<Order>>,
    /// Queues of what the cores report.
    pub reports: Reports,
    /// Whether cores take snapshots themselves while no node delivers any.
    pub cores_capture: bool,
    /// Bound of the log in bytes (`log.max_bytes`).
    pub max_log_bytes: Option<u64>,
    /// How to run a node as a child process, if there is to be one.
    pub child: Option<ChildCommand>,
}

/// Why the master's side cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen for checkpoint nodes on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The length of the log on disk cannot be determined.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The running master's side, shared by the cores and the main thread.
pub struct Master {
    shared: Arc<MasterSide>,
    addresses: Vec<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    child: Option<Child>,
}

impl Master {
    /// Begins to listen, and starts the threads and the child, if there is to be one.
    ///
    /// # Errors
    /// If an address cannot be listened on, a thread cannot be started, or the log on disk cannot be measured.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &options.listen {
            let failed = |source| StartError::Listen { address: *address, source };
            let listener = TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let child = options.child.clone();
        let mut policy = Policy::new(&options.dir.manifest(), &options.last_edits, options.pace);
        policy.set_cores_capture(options.cores_capture);
        let ended_log_bytes = options.dir.ended_log_bytes()?;
        let (shared, slices) = MasterSide::new(options, policy, Clock::start(), ended_log_bytes);
        let shared = Arc::new(shared);
        upload::clear_stale(&shared);
        let spawn = |name: &str, run: fn(&Arc<MasterSide>, Vec<TcpListener>), listeners| {
            let shared = shared.clone();
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&shared, listeners))
                .map_err(StartError::Thread)
        };
        let mut threads = vec![spawn("ckpt-policy", |shared, _| side::run_policy(shared), Vec::new())?];
        if !listeners.is_empty() {
            threads.push(spawn("ckpt-accept", accept::run, listeners)?);
        }
        if shared.cores_capture {
            let shared = shared.clone();
            let own = thread::Builder::new()
                .name("ckpt-own".to_owned())
                .spawn(move || self_checkpoints::run(&shared, &slices));
            threads.push(own.map_err(StartError::Thread)?);
        }
        let child = child.map(Child::start).transpose().map_err(StartError::Thread)?;
        Ok(Self { shared, addresses, threads: Mutex::new(threads), child })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Asks for a checkpoint of everything written so far; `None` if neither a node nor the cores can write it. Does
    /// not wait, so a core may call it. If a client waits for the checkpoint (`saver`), its core is sent
    /// [`Order::Saved`] with the outcome.
    pub fn request_checkpoint(&self, saver: Option<Saver>) -> Option<Ticket> {
        let observed = self.shared.observe();
        let mut state = self.shared.state();
        let ticket = state.policy.request(observed)?;
        state.note_saves();
        state.savers.extend(saver.map(|saver| (ticket, saver)));
        drop(state);
        self.shared.wake();
        Some(ticket)
    }

    /// Waits at most `timeout` for the outcome of a request. Blocks, so a core must not call it.
    pub fn wait(&self, ticket: Ticket, timeout: Duration) -> Option<Outcome> {
        self.shared.wait_for(timeout, |state| state.policy.outcome(ticket))
    }

    /// The state of checkpoints, node and log, for INFO.
    pub fn status(&self) -> Status {
        let mut status = self.shared.status();
        status.child = self.child.as_ref().map(Child::status);
        status
    }

    /// Waits until the connected node holds everything that is durable; gives up after `grace`, or when no node is
    /// connected. Returns whether the node holds everything. To be called after the logs were closed.
    pub fn drain(&self, grace: Duration) -> bool {
        let behind = || self.shared.streams.iter().any(|s| s.mirrored() < s.durable());
        let deadline = self.shared.clock.now() + grace;
        while behind() && self.shared.state().policy.is_connected() && self.shared.clock.now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        !behind()
    }

    /// Makes the child, if there is one, read its configuration again.
    pub fn reload_child(&self) {
        self.child.iter().for_each(Child::reload);
    }

    /// Ends all connections, the child and the threads. Clients that wait for a checkpoint are told that it failed.
    pub fn stop(&self) {
        self.shared.begin_stop();
        if let Some(child) = &self.child {
            child.stop();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has reported that; there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.stop();
    }
}
