//! Starts the master's side of replication to the checkpoint node, as configured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::guard::Guard;
use crate::cli::arguments::Configuration;
use crate::cli::{Exit, Failure};
use crate::config::{Config, LEAST_SEGMENTS, NodeMode};
use crate::ids::{Placement, Position};
use crate::partition::order::{Order, Reports};
use crate::replication::master::child::{ChildCommand, Secret};
use crate::replication::master::policy::Pace;
use crate::replication::master::prediction::Measured;
use crate::replication::master::{Master, Options};
use crate::runtime::inbox::Inbox;
use crate::storage::{DataDir, PartitionMarks, StreamMarks};

/// Maximum time that a graceful shutdown waits for the node to receive the last edits. They are on disk anyway.
const GRACE: Duration = Duration::from_secs(2);

/// Input for the master's side, from a server that has recovered.
pub struct Setting<'a> {
    /// Arguments from which the configuration was loaded, to be passed to the child.
    pub arguments: &'a Configuration,
    /// The configuration.
    pub config: &'a Config,
    /// The data directory.
    pub dir: Arc<DataDir>,
    /// Assignment of partitions to cores.
    pub placement: Placement,
    /// Marks of the streams, indexed by core.
    pub streams: Vec<Arc<StreamMarks>>,
    /// Marks of the partitions.
    pub partitions: Arc<[PartitionMarks]>,
    /// Position of each partition's last edit as found by recovery.
    pub last_edits: Vec<Position>,
    /// Recovery times of the cores.
    pub measured: Vec<Measured>,
    /// Inboxes through which cores receive orders.
    pub inboxes: Vec<Inbox<Order>>,
    /// Reports that the cores send.
    pub reports: Reports,
    /// Guard that authenticates nodes.
    pub guard: Arc<Guard>,
}

/// Starts the master's side, and the node if it is configured as a child process.
///
/// # Errors
/// If the port cannot be opened.
pub fn start(setting: Setting<'_>) -> Result<Master, Failure> {
    let Setting { config, placement, .. } = setting;
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
        guard: setting.guard,
        protected: config.server.protected_mode,
        timeout: Duration::from_secs(config.checkpoint.timeout_s),
        cores: setting.inboxes,
        reports: setting.reports,
        cores_capture: true,
        max_log_bytes: max_log_bytes(config, placement),
        child,
    };
    Master::start(options).map_err(|e| Failure::new(Exit::Unavailable, e))
}

/// Waits for the node to receive the last edits, then ends it.
pub fn end(master: &Master) {
    master.drain(GRACE);
    master.stop();
}

/// Maximum size of the log. If the configuration did not know the number of cores, at least what these cores need.
fn max_log_bytes(config: &Config, placement: Placement) -> Option<u64> {
    let most = config.log.max_bytes?;
    let least = LEAST_SEGMENTS.saturating_mul(config.log.segment_bytes).saturating_mul(placement.cores().into());
    if most < least {
        tracing::warn!(most, least, "log.max_bytes is too little for so many cores, and is raised");
    }
    Some(most.max(least))
}

/// Command that runs this program as a checkpoint node of this master.
fn child_command(arguments: &Configuration, config: &Config) -> Result<ChildCommand, Failure> {
    let address = SocketAddr::new(config.checkpoint.bind, config.checkpoint.port);
    let mut line = vec!["checkpoint".into()];
    line.extend(arguments.to_arguments());
    line.extend(["--set".into(), format!("checkpoint.master={address}").into()]);
    Ok(ChildCommand { program: std::env::current_exe()?, arguments: line, secret: Secret::new()? })
}
