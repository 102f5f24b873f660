//! The state of checkpoints, node and log, for INFO.

use std::net::IpAddr;
use std::time::Duration;

use super::bounds::Stage;
use super::child::ChildStatus;
use super::counters::CheckpointStatus;
use super::prediction::Work;
use super::side::MasterSide;
use crate::ids::{CoreId, Lsn, PartitionId, Slot};
use crate::storage::Files;
use crate::time::UnixMillis;

/// Assumed bytes of an edit of a former epoch, of which only the number is known.
const SHORT_EDIT: u64 = 200;

/// The connected node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The node's address.
    pub address: IpAddr,
    /// When the node connected.
    pub since: UnixMillis,
}

/// The state of checkpoints, node and log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The connected node, if there is one.
    pub node: Option<NodeStatus>,
    /// The child process, if there is to be one.
    pub child: Option<ChildStatus>,
    /// Number of sessions that nodes have opened since this start.
    pub sessions: u64,
    /// Per core: the last edit that the node holds, and the last durable edit.
    pub mirrored: Vec<(CoreId, Lsn, Lsn)>,
    /// Number of partitions that were edited after their newest snapshots.
    pub dirty: usize,
    /// Number of edits that a start would have to read from the log, if everything appended were durable.
    pub unsaved_edits: u64,
    /// When everything that had changed was last in snapshots, since this start.
    pub saved: Option<UnixMillis>,
    /// Number of partitions whose last checkpoint failed.
    pub failing: usize,
    /// Age of the oldest checkpoint under way.
    pub under_way: Option<Duration>,
    /// Why the node does not deliver snapshots, if it does not.
    pub node_failure: Option<String>,
    /// How long the recovery of this start took.
    pub recovered_in: Duration,
    /// Predicted time that a start would take to recover now.
    pub predicted: Duration,
    /// Number of checkpoints under way.
    pub pending: usize,
    /// Number of partitions in which the node's data differs from the master's.
    pub diverged: usize,
    /// Slots that differ, the first 64 of them.
    pub diverged_slots: Vec<Slot>,
    /// The last checkpoint that was installed since this start.
    pub last: Option<CheckpointStatus>,
    /// Number of checkpoints installed since this start.
    pub installed: u64,
    /// Number of installed checkpoints that the cores took themselves.
    pub self_installed: u64,
    /// Bytes of all installed checkpoints.
    pub bytes: u64,
    /// Number of checkpoints that failed.
    pub failed: u64,
    /// Number of uploads that were resumed.
    pub resumed: u64,
    /// Number of barriers at which digests were compared, and at how many of them they differed.
    pub compared: (u64, u64),
    /// Bytes of log dropped since this start.
    pub dropped_bytes: u64,
    /// Bytes of log on disk, of all kept epochs.
    pub log_bytes: u64,
    /// Bound of the log in bytes (`log.max_bytes`), if there is one.
    pub max_log_bytes: Option<u64>,
    /// Stage of the log's length.
    pub stage: Stage,
}

impl<F: Files> MasterSide<F> {
    pub(crate) fn status(&self) -> Status {
        let mirrored =
            (0..).map(CoreId).zip(&self.streams).map(|(core, s)| (core, s.mirrored(), s.durable())).collect();
        let appended = self.observe_appended();
        let now = self.clock.now();
        let state = self.state();
        let (dirty, pending) = state.policy.backlog();
        let edits = state.policy.replay_edits(state.policy.observed());
        let c = &state.counters;
        Status {
            node: c.node.map(|n| NodeStatus { address: n.address, since: n.since }),
            child: None,
            sessions: c.sessions,
            mirrored,
            dirty,
            unsaved_edits: state.policy.replay_edits(&appended).iter().sum(),
            saved: c.saved,
            failing: state.policy.failing(),
            under_way: state.policy.under_way_since().map(|since| now.saturating_sub(since)),
            node_failure: state.policy.node_failure().map(str::to_owned),
            recovered_in: self.recovered_in,
            predicted: self.speed.predict(&self.work(&edits)),
            pending,
            diverged: state.policy.diverged().count(),
            diverged_slots: state.diverged_slots(),
            last: c.last,
            installed: c.installed,
            bytes: c.bytes,
            failed: c.failed,
            resumed: c.resumed,
            compared: (c.compared, c.differed),
            dropped_bytes: c.dropped_bytes,
            self_installed: c.self_installed,
            log_bytes: state.bounds.bytes(),
            max_log_bytes: state.bounds.max_bytes(),
            stage: state.bounds.stage(),
        }
    }

    /// What each core would have to read at a start now; `edits` is the number of edits per core.
    fn work(&self, edits: &[u64]) -> Vec<Work> {
        let manifest = self.dir.manifest();
        let cores = (0..).map(CoreId).zip(&self.streams).zip(edits);
        let work = cores.map(|((core, marks), edits)| {
            let owned = self.placement.partitions_of(core).map(PartitionId);
            let newest = owned.filter_map(|p| manifest.generations(p).newest);
            // Average bytes of log per edit of the present epoch, padding included.
            let each = marks.file_bytes() as f64 / marks.appended().0.max(1) as f64;
            let log_bytes = (*edits as f64 * each).min(marks.file_bytes().max(*edits * SHORT_EDIT) as f64) as u64;
            Work { snapshot_bytes: newest.map(|n| n.bytes).sum(), edits: *edits, log_bytes }
        });
        work.collect()
    }
}
