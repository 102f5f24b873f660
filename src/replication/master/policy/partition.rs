//! The policy's state of one partition.

use std::time::Duration;

use super::{COMPARE_EVERY, Pace};
use crate::ids::{Lsn, PartitionId, Placement, Position};
use crate::storage::{Generations, Manifest};

/// What the policy knows of one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partition {
    /// Position of the newest installed snapshot.
    pub newest: Option<Position>,
    /// Position of the older installed snapshot.
    pub older: Option<Position>,
    /// When the partition is due by age, if it is stale.
    pub due_at: Duration,
    /// Position of the last edit before this epoch.
    pub last_before: Position,
    /// Number of edits in the partition's streams after the newest snapshot and before this epoch.
    pub backlog: u64,
    /// Growth of the stream after which the first checkpoint of this epoch is due: a share of `every_edits`.
    pub first_edits: u64,
    /// The last barrier in this epoch.
    pub barrier: Lsn,
    /// When a barrier was last asked for.
    pub barrier_at: Duration,
    /// The last barrier at which the node's digests differed, while they have not agreed since.
    pub diverged: Option<Position>,
    /// A request waits for a snapshot at or after this position.
    pub wanted: Option<Position>,
    /// Whether complete snapshots of other partitions wait for one of this partition.
    pub wanted_by_others: bool,
    /// When a snapshot may be taken again to part the partition from others.
    pub unbinds_from: Duration,
    /// When the node may be asked for a snapshot again.
    pub not_before: Duration,
    /// When the core may be asked for a snapshot again.
    pub capture_not_before: Duration,
    /// Whether the last checkpoint failed.
    pub failed: bool,
}

impl Partition {
    /// Whether the partition was edited after its newest snapshot, `last_edit` being its last edit.
    pub fn is_dirty(&self, last_edit: Position) -> bool {
        last_edit > self.newest.unwrap_or(Position::START)
    }

    /// Whether the partition was edited after its older snapshot, `last_edit` being its last edit.
    pub fn is_stale(&self, last_edit: Position) -> bool {
        last_edit > self.older.unwrap_or(Position::START)
    }

    /// The state at the start of an epoch; `recovered` is the position of the last edit that recovery applied.
    pub fn at_start(
        manifest: &Manifest,
        placement: Placement,
        pace: Pace,
        id: PartitionId,
        recovered: Position,
    ) -> Self {
        let Generations { newest, older } = manifest.generations(id);
        // Recovery does not replay edits between the generations. If the two snapshots have equal digests, no edit
        // between them matters.
        let from_snapshots = match (newest, older) {
            (Some(newest), Some(older)) if newest.digest == older.digest => older.position,
            (Some(newest), _) => newest.position,
            (None, _) => Position::START,
        };
        let covered = newest.map_or(Position::START, |n| n.position);
        let present = manifest.newest_epoch().map(|e| e.epoch);
        let backlog =
            manifest.epochs.iter().filter(|e| Some(e.epoch) != present && e.epoch >= covered.epoch).map(|e| {
                let core = manifest.placement(e.epoch).map(|placement| placement.core_of(id));
                let last = core.and_then(|c| e.streams.get(usize::from(c.0))).and_then(|s| s.last).unwrap_or_default();
                let before = if e.epoch == covered.epoch { covered.lsn.0 } else { 0 };
                last.0.saturating_sub(before)
            });
        let owned = placement.partitions_of(placement.core_of(id));
        let (turn, turns) = (u64::from(id.0 - owned.start) + 1, owned.len() as u64);
        let share = turn as f64 / turns as f64;
        // The first checkpoints of a core's partitions are spread evenly: the first is due soon, the last after all of
        // `every` or `every_edits`.
        Self {
            newest: newest.map(|n| n.position),
            older: older.map(|o| o.position),
            due_at: pace.every.mul_f64(share),
            last_before: recovered.max(from_snapshots),
            backlog: backlog.sum(),
            first_edits: (pace.every_edits / turns).saturating_mul(turn).max(1),
            barrier_at: COMPARE_EVERY.mul_f64(1.0 - share),
            ..Self::default()
        }
    }
}
