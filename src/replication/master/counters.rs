//! What the master's side has done in this life.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::UnixMillis;

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

/// Who is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeInfo {
    pub address: IpAddr,
    pub since: UnixMillis,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub compared: u64,
    pub differed: u64,
    pub failed: u64,
    pub resumed: u64,
    pub dropped_bytes: u64,
    pub own_installed: u64,
    pub node: Option<NodeInfo>,
    pub sessions: u64,
    pub installed: u64,
    pub bytes: u64,
    pub last: Option<CheckpointStatus>,
    pub saves: u64,
    pub saved: Option<UnixMillis>,
}

impl Counters {
    pub fn node_up(&mut self, node: NodeInfo) {
        self.node = Some(node);
        self.sessions += 1;
    }

    pub fn node_down(&mut self) {
        self.node = None;
    }

    pub fn installed(&mut self, bytes: u64, took: Duration, at: UnixMillis) {
        self.installed += 1;
        self.bytes += bytes;
        self.last = Some(CheckpointStatus { at, took, bytes });
    }

    /// Everything that had changed has come to be in snapshots `saves` times so far, the last time not later than `at`.
    pub fn saved(&mut self, saves: u64, at: UnixMillis) {
        if saves > self.saves {
            (self.saves, self.saved) = (saves, Some(at));
        }
    }
}
