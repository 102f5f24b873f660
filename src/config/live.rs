//! Settings that can change while the server runs: by `CONFIG SET`, and the log level by SIGHUP.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Config, Durability, Level, Limits, Packing, Password};

/// The values of all changeable settings at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Password that clients must give; `None` lets everyone in.
    pub password: Option<Password>,
    /// When writes are acknowledged.
    pub durability: Durability,
    /// Maximum memory of the data in bytes.
    pub max_memory: Option<u64>,
    /// Seconds within which a client must authenticate.
    pub auth_timeout_s: Option<u64>,
    /// Number of wrong passwords after which a client is disconnected.
    pub auth_attempts: u32,
    /// Largest number of clients at a time.
    pub max_clients: u32,
    /// Number of clients from this machine that are admitted beyond `max_clients`.
    pub admin_clients: u32,
    /// Maximum memory of all clients' buffers together, in bytes.
    pub clients_max_bytes: Option<u64>,
    /// Limits of a single client.
    pub limits: Limits,
    /// How large values may grow before they leave their packed form.
    pub packing: Packing,
    /// Seconds after which a silent client is disconnected.
    pub idle_timeout_s: Option<u64>,
    /// Least severe level that is logged.
    pub log_level: Level,
    /// Seconds without traffic before TCP keepalive probes a client's machine; applies to clients that connect after
    /// the change.
    pub tcp_keepalive_s: Option<u64>,
}

impl Settings {
    /// Initial settings from a configuration.
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
            packing: config.packing,
            idle_timeout_s: config.server.idle_timeout_s,
            log_level: config.logging.level,
            tcp_keepalive_s: config.server.tcp_keepalive_s,
        }
    }
}

/// The settings in force, shared by all threads of the server. Each thread keeps a copy and compares versions to notice
/// changes.
#[derive(Debug)]
pub struct LiveSettings {
    current: RwLock<Arc<Settings>>,
    version: AtomicU64,
}

impl LiveSettings {
    /// Initial settings from a configuration.
    pub fn of(config: &Config) -> Self {
        Self { current: RwLock::new(Arc::new(Settings::of(config))), version: AtomicU64::new(0) }
    }

    /// The current settings.
    pub fn get(&self) -> Arc<Settings> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Version number of the current settings; grows with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Applies a change to the settings and returns the result.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut current));
        self.version.fetch_add(1, Ordering::Release);
        Arc::clone(&current)
    }
}
