//! The configuration. A [`Config`] that was loaded has been checked, so its users need not check it again.
//!
//! Settings come from the defaults here, `config.toml`, environment variables and `--set`, each overriding the one
//! before ([`load`]). Every setting is checked alone and then against the others ([`check`]); all problems are reported
//! at once, each with its key and where it was set. `config.toml` in the repository documents every setting; a test
//! keeps it in step with the defaults.
//!
//! Checks that depend on the machine (is the port free, is the directory writable) belong to the preflight, not here.

pub mod check;
pub mod live;
pub mod load;
pub mod password;
pub mod sections;
pub mod values;

use serde::{Deserialize, Serialize};

pub use live::{LiveSettings, Settings};
pub use load::{ConfigError, Origin, Problem, Sources};
pub use password::Password;
pub use sections::{
    Checkpoint, Data, DebugCommand, Durability, LEAST_SEGMENTS, Level, Limits, Log, LogFormat, Logging, Memory,
    NodeMode, Packing, Server,
};

/// Every setting, one struct per table of `config.toml`.
///
/// The default corresponds to an empty file, and is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listeners, clients and the number of cores.
    pub server: Server,
    /// Where the data is stored.
    pub data: Data,
    /// The log, and when writes are acknowledged.
    pub log: Log,
    /// The checkpoint node, and when it checkpoints.
    pub checkpoint: Checkpoint,
    /// Memory limits.
    pub memory: Memory,
    /// Limits of a single client.
    pub limits: Limits,
    /// How large values may grow before they leave their packed form.
    pub packing: Packing,
    /// The program's own log messages.
    pub logging: Logging,
}

impl Config {
    /// Directory of the checkpoint node: `checkpoint.dir`, or `node` in the data directory.
    pub fn node_dir(&self) -> std::path::PathBuf {
        self.checkpoint.dir.clone().unwrap_or_else(|| self.data.dir.join("node"))
    }
}
