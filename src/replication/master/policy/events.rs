//! What the policy is told, and what it answers.

use std::time::Duration;

use crate::ids::{Lsn, PartitionId, Position};

/// How often partitions are checkpointed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A dirty partition is due when its stream has grown by this many edits since its newest snapshot. At least 1.
    pub every_edits: u64,
    /// A stale partition is due when its newest snapshot is older than this.
    pub every: Duration,
}

/// What the cores' marks say. The durable marks must be read before the partitions'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Per core: the last durable edit.
    pub durable: Vec<Lsn>,
    /// Per core: the last edit that the node holds.
    pub mirrored: Vec<Lsn>,
    /// Per partition: its last edit in this epoch, 0 if there was none.
    pub last_edits: Vec<Lsn>,
    /// Per core: whether its log takes nothing more, because it has failed or is closed.
    pub ended: Vec<bool>,
}

/// A core is asked to put a barrier into its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierRequest {
    /// Of this partition.
    pub partition: PartitionId,
    /// With a snapshot, or only to compare digests.
    pub checkpoint: bool,
}

/// A core has put a barrier into its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierReport {
    /// Of this partition.
    pub partition: PartitionId,
    /// Where it stands.
    pub position: Position,
    /// With a snapshot, or only to compare digests.
    pub checkpoint: bool,
    /// The digests that it bears, of the partition's slots in order.
    pub digests: Vec<u64>,
}

/// What becomes of a snapshot that the node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is waited for, and must have these digests.
    Wanted(Vec<u64>),
    /// It is installed, or a newer one is.
    Here,
    /// It is of a former life of the master.
    Stale,
    /// Nobody waits for it, or the node's digests differed.
    Unwanted,
}
