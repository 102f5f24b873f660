//! Settings that can change while the server runs: by `CONFIG SET`, the log level by SIGHUP.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Config, Durability, Level, Limits, Password};

/// The settings that can change, as they are at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Password that clients must give; `None` lets everyone in.
    pub password: Option<Password>,
    /// When writes are acknowledged.
    pub durability: Durability,
    /// Bytes that the data may take.
    pub max_memory: Option<u64>,
    /// Seconds that a client may take to authenticate.
    pub auth_timeout_s: Option<u64>,
    /// Wrong passwords after which a client is disconnected.
    pub auth_attempts: u32,
    /// Largest number of clients at a time.
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

/// The settings in force, shared by all threads of the server. Each keeps a copy, and looks at the version whether it is still the last.
#[derive(Debug)]
pub struct LiveSettings {
    current: RwLock<Arc<Settings>>,
    version: AtomicU64,
}

impl LiveSettings {
    /// Those that a configuration begins with.
    pub fn of(config: &Config) -> Self {
        Self { current: RwLock::new(Arc::new(Settings::of(config))), version: AtomicU64::new(0) }
    }

    /// The settings as they are now.
    pub fn get(&self) -> Arc<Settings> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes settings; returns them as they are then.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut current));
        self.version.fetch_add(1, Ordering::Release);
        Arc::clone(&current)
    }
}
