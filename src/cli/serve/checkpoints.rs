//! Starts the master's side of the checkpoint node, as the configuration asks for it.

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

/// How long a graceful end waits for the node to get the last edits. They are on disk anyway.
const GRACE: Duration = Duration::from_secs(2);

/// What the master's side needs of a server that has recovered.
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
    /// Where the cores take orders.
    pub inboxes: Vec<Inbox<Order>>,
    /// What they report.
    pub reports: Reports,
    /// Who may come in.
    pub guard: Arc<Guard>,
}

/// Starts the master's side, and the node if it is to be a child.
///
/// # Errors
/// If the port cannot be had.
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

/// Lets the node have the last edits, and ends it.
pub fn end(master: &Master) {
    master.drain(GRACE);
    master.stop();
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
