//! What the master's side has done since this start.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::UnixMillis;

/// An installed checkpoint, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// When the snapshot was installed.
    pub at: UnixMillis,
    /// Time from the start of its upload or capture to its installation, verification included.
    pub took: Duration,
    /// Length of the snapshot file.
    pub bytes: u64,
}

/// The connected node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeInfo {
    pub address: IpAddr,
    pub since: UnixMillis,
}

/// Counts of what has happened since this start, and the connected node.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub compared: u64,
    pub differed: u64,
    pub failed: u64,
    pub resumed: u64,
    pub dropped_bytes: u64,
    pub self_installed: u64,
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

    /// Notes that everything that had changed has been brought into snapshots `saves` times so far; if that is more
    /// than before, the last time was `at`.
    pub fn saved(&mut self, saves: u64, at: UnixMillis) {
        if saves > self.saves {
            (self.saves, self.saved) = (saves, Some(at));
        }
    }
}
