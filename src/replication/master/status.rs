//! How things stand, for INFO.

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

/// Bytes of an edit of a former life, of which only the number is known.
const SHORT_EDIT: u64 = 200;

/// The connected node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// From where it connected.
    pub address: IpAddr,
    /// Since when it is connected.
    pub since: UnixMillis,
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
    /// Edits since everything was last in snapshots, those included that are not durable yet.
    pub unsaved_edits: u64,
    /// When everything that had changed last came to be in snapshots in this life.
    pub saved: Option<UnixMillis>,
    /// Partitions of which the last attempt at a checkpoint failed.
    pub failing: usize,
    /// For how long the oldest checkpoint under way has been so.
    pub under_way: Option<Duration>,
    /// Why the node delivers no snapshots, if it does not.
    pub node_failure: Option<String>,
    /// How long this life's recovery took.
    pub recovered_in: Duration,
    /// How long a start would take to recover now.
    pub predicted: Duration,
    /// Checkpoints under way.
    pub pending: usize,
    /// Partitions in which the node's data differs.
    pub diverged: usize,
    /// The first of their slots.
    pub diverged_slots: Vec<Slot>,
    /// The last checkpoint installed in this life.
    pub last: Option<CheckpointStatus>,
    /// Checkpoints installed in this life.
    pub installed: u64,
    /// Of them, those that the cores took themselves.
    pub own_installed: u64,
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
    /// Bytes of log on disk, and how many it may have.
    pub log_bytes: u64,
    /// Its bound.
    pub max_log_bytes: Option<u64>,
    /// How long it is, measured by its bound.
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
            own_installed: c.own_installed,
            log_bytes: state.bounds.bytes(),
            max_log_bytes: state.bounds.max_bytes(),
            stage: state.bounds.stage(),
        }
    }

    /// What each core would have to read at a start now.
    fn work(&self, edits: &[u64]) -> Vec<Work> {
        let manifest = self.dir.manifest();
        let cores = (0..).map(CoreId).zip(&self.streams).zip(edits);
        let work = cores.map(|((core, marks), edits)| {
            let owned = self.placement.partitions_of(core).map(PartitionId);
            let newest = owned.filter_map(|p| manifest.generations(p).newest);
            // What the files have for each edit of this life, padding included.
            let each = marks.file_bytes() as f64 / marks.appended().0.max(1) as f64;
            let log_bytes = (*edits as f64 * each).min(marks.file_bytes().max(*edits * SHORT_EDIT) as f64) as u64;
            Work { snapshot_bytes: newest.map(|n| n.bytes).sum(), edits: *edits, log_bytes }
        });
        work.collect()
    }
}
