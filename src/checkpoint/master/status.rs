//! How things stand, for INFO.

use std::net::IpAddr;
use std::time::Duration;

use super::child::ChildStatus;
use super::shared::Shared;
use crate::checkpoint::protocol::Offer;
use crate::encoding::edit::UnixMillis;
use crate::ids::{CoreId, Lsn};
use crate::storage::Files;

/// Who is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) struct NodeInfo {
    pub address: IpAddr,
    pub since: UnixMillis,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(in crate::checkpoint) struct Counters {
    pub compared: u64,
    pub differed: u64,
    pub failed: u64,
    pub resumed: u64,
    pub dropped_bytes: u64,
    node: Option<NodeInfo>,
    sessions: u64,
    installed: u64,
    bytes: u64,
    last: Option<CheckpointStatus>,
}

impl Counters {
    pub fn node_up(&mut self, node: NodeInfo) {
        self.node = Some(node);
        self.sessions += 1;
    }

    pub fn node_down(&mut self) {
        self.node = None;
    }

    pub fn installed(&mut self, offer: Offer, took: Duration, at: UnixMillis) {
        self.installed += 1;
        self.bytes += offer.bytes;
        self.last = Some(CheckpointStatus { at, took, bytes: offer.bytes });
    }
}

/// The connected node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// From where it connected.
    pub address: IpAddr,
    /// Since when it is connected.
    pub since: UnixMillis,
}

/// One checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// When it was installed.
    pub at: UnixMillis,
    /// How long its upload, verification and installation took.
    pub took: Duration,
    /// Length of the snapshot file.
    pub bytes: u64,
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The connected node, if there is one.
    pub node: Option<NodeStatus>,
    /// The child process, if there is to be one.
    pub child: Option<ChildStatus>,
    /// Sessions so far.
    pub sessions: u64,
    /// Per core: the last edit that the node holds, and the last durable one.
    pub mirrored: Vec<(CoreId, Lsn, Lsn)>,
    /// Partitions edited after their newest snapshot.
    pub dirty: usize,
    /// Edits that a start would have to read from the log now.
    pub replay_edits: u64,
    /// Checkpoints under way.
    pub pending: usize,
    /// Partitions in which the node's data differs.
    pub diverged: usize,
    /// The last checkpoint installed in this life.
    pub last: Option<CheckpointStatus>,
    /// Checkpoints installed in this life.
    pub installed: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Checkpoints that failed.
    pub failed: u64,
    /// Uploads that went on where they had been cut.
    pub resumed: u64,
    /// Barriers at which digests were compared, and those at which they differed.
    pub compared: (u64, u64),
    /// Bytes of log dropped.
    pub dropped_bytes: u64,
}

impl<F: Files> Shared<F> {
    pub(in crate::checkpoint) fn status(&self) -> Status {
        let mirrored =
            (0..).map(CoreId).zip(&self.streams).map(|(core, s)| (core, s.mirrored(), s.durable())).collect();
        let state = self.state();
        let (dirty, pending) = state.policy.backlog();
        let c = &state.counters;
        Status {
            node: c.node.map(|n| NodeStatus { address: n.address, since: n.since }),
            child: None,
            sessions: c.sessions,
            mirrored,
            dirty,
            replay_edits: state.policy.replay_edits(),
            pending,
            diverged: state.policy.diverged().count(),
            last: c.last,
            installed: c.installed,
            bytes: c.bytes,
            failed: c.failed,
            resumed: c.resumed,
            compared: (c.compared, c.differed),
            dropped_bytes: c.dropped_bytes,
        }
    }
}
