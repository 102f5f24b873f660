//! The values that the policy is told and that it returns.

use std::time::Duration;

use crate::ids::{Lsn, PartitionId, Position};
use crate::partition::order::Purpose;
use crate::storage::Transfer;

/// How often partitions are checkpointed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A dirty partition is due when its stream has grown by this many edits since its newest snapshot. At least 1.
    pub every_edits: u64,
    /// A stale partition is due when its newest snapshot is older than this.
    pub every: Duration,
}

/// The cores' marks at one moment. The durable marks must be read before the partitions' last edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Per core: the last durable edit.
    pub durable: Vec<Lsn>,
    /// Per core: the last edit that the node holds.
    pub mirrored: Vec<Lsn>,
    /// Per partition: its last edit in this epoch, 0 if there was none.
    pub last_edits: Vec<Lsn>,
    /// Per partition that is bound together with many others: the last edit that has bound them. 0 for the others.
    pub crowded: Vec<Lsn>,
    /// Per core: whether its log takes nothing more, because it has failed or is closed.
    pub ended: Vec<bool>,
}

/// A request to a core to put a barrier into its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierRequest {
    /// The barrier's partition.
    pub partition: PartitionId,
    /// Whether the node is to write a snapshot there; otherwise it only compares digests.
    pub checkpoint: bool,
}

/// A core has put a barrier into its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierReport {
    /// The barrier's partition.
    pub partition: PartitionId,
    /// Position of the barrier.
    pub position: Position,
    /// What the barrier is for.
    pub purpose: Purpose,
    /// The last transfers from the partition to others, as far as these may lack them.
    pub transfers: Vec<Transfer>,
    /// The digests that the barrier bears, of the partition's slots in order.
    pub digests: Vec<u64>,
}

/// The policy's answer to a snapshot that the node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The snapshot is awaited.
    Wanted {
        /// The digests that it must have.
        digests: Vec<u64>,
        /// What it has given away to other partitions.
        transfers: Vec<Transfer>,
    },
    /// This snapshot is here already, or a newer one is installed.
    Here,
    /// The snapshot is of a former epoch.
    Stale,
    /// The snapshot is not awaited, or the node's digests differ.
    Unwanted,
}
