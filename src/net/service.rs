//! What the networks of one server's cores have in common, and what commands ask of the rest of the process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::admission::Admission;
use super::counts::{ClientCounts, CoreCounts};
use crate::auth::guard::Guard;
use crate::config::{Config, Settings};
use crate::engine::{Cores, EngineCounts};
use crate::ids::CoreId;
use crate::replication::master::Master;
use crate::runtime::lifecycle::Event;
use crate::time::{self, UnixMillis};

/// What the networks of one server's cores have in common.
pub struct Service {
    /// The configuration that the server was started with.
    pub config: Config,
    /// Names this run (`run_id` in `INFO`).
    pub run_id: String,
    /// Monotonic time at which the process started.
    pub started: Instant,
    /// Wall-clock time at which the process started.
    pub started_at: UnixMillis,
    /// What the engines have in common.
    pub cores: Arc<Cores>,
    /// The master's side of the checkpoint node.
    pub checkpoints: Arc<Master>,
    /// Password and waiting times after wrong ones, for this port and the checkpoint node's.
    pub guard: Arc<Guard>,
    /// How many clients there are, and how many there may be.
    pub(super) admission: Admission,
    /// Tells the main thread that the server is to end.
    main: Sender<Event>,
    counts: Vec<Mutex<CoreCounts>>,
    /// Cores without clients at a shutdown.
    drained: AtomicU32,
}

impl Service {
    /// Creates what the cores of a server share that has just recovered.
    pub fn new(
        config: Config,
        cores: Arc<Cores>,
        checkpoints: Arc<Master>,
        guard: Arc<Guard>,
        main: Sender<Event>,
        started: Instant,
    ) -> Self {
        let mut random = fastrand::Rng::new();
        let count = cores.placement.cores();
        Self {
            run_id: format!("{:016x}{:016x}{:08x}", random.u64(..), random.u64(..), random.u32(..)),
            started,
            started_at: time::unix_millis(),
            admission: Admission::new(count, config.server.protected_mode),
            counts: (0..count).map(|_| Mutex::default()).collect(),
            drained: AtomicU32::new(0),
            config,
            cores,
            checkpoints,
            guard,
            main,
        }
    }

    /// Changes settings; all cores go by them from their next turn on.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
        let settings = self.cores.change_settings(change);
        self.guard.set_password(settings.password.clone());
        settings
    }

    /// Has the main thread end the server in good order.
    pub(super) fn shut_down(&self) {
        // Nobody listens only if the process is ending already.
        let _ = self.main.send(Event::Stop("SHUTDOWN"));
    }

    /// A core's counts, to be seen by all.
    pub(super) fn publish(&self, core: CoreId, clients: &ClientCounts, engine: &EngineCounts) {
        let mut published = self.counts[usize::from(core.0)].lock().unwrap_or_else(PoisonError::into_inner);
        published.clients.clone_from(clients);
        published.engine.clone_from(engine);
    }

    /// The counts of all cores, each at most a tenth of a second old.
    pub(super) fn counts(&self) -> Vec<CoreCounts> {
        self.counts.iter().map(|counts| counts.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// At a shutdown: the last client of a core is gone.
    pub(super) fn note_drained(&self) {
        self.drained.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the clients of all cores are gone, so that no core waits for another's answer any more.
    pub(super) fn has_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire) == u32::from(self.cores.placement.cores())
    }
}
