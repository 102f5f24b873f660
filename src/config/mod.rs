//! The checked configuration: whoever holds a [`Config`] holds one that makes sense.
//!
//! Settings come from the defaults here, `config.toml`, environment variables and `--set`, each overriding the one before
//! ([`load`]). Every setting is checked alone and then against the others ([`check`]); all that is wrong is reported at
//! once, each with its key and where it was set. `config.toml` in the repository documents every setting; a test keeps it in
//! step with the defaults.
//!
//! What depends on the machine (is the port free, is the directory writable) is not decided here
//! but by the preflight.

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
    Checkpoint, Data, Durability, LEAST_SEGMENTS, Level, Limits, Log, LogFormat, Logging, Memory, NodeMode, Server,
};

/// Every setting, one struct for each table of `config.toml`.
///
/// Its default is what an empty file means, and is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who is served, where, and on how many cores.
    pub server: Server,
    /// Where the data is kept.
    pub data: Data,
    /// How edits reach the disk.
    pub log: Log,
    /// The checkpoint node and when it checkpoints.
    pub checkpoint: Checkpoint,
    /// How much memory the data may take.
    pub memory: Memory,
    /// How much one client may ask for.
    pub limits: Limits,
    /// What the program says of itself.
    pub logging: Logging,
}

impl Config {
    /// The checkpoint node's own directory: `checkpoint.dir`, or `node` in the data directory.
    pub fn node_dir(&self) -> std::path::PathBuf {
        self.checkpoint.dir.clone().unwrap_or_else(|| self.data.dir.join("node"))
    }
}
