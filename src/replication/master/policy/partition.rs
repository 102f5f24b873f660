//! What the policy knows of one partition.

use std::time::Duration;

use super::{COMPARE_EVERY, Pace};
use crate::ids::{Lsn, PartitionId, Placement, Position};
use crate::storage::{Generations, Manifest};

/// The state of one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partition {
    pub newest: Option<Position>,
    pub older: Option<Position>,
    /// When it is due by age, if it is stale.
    pub due_at: Duration,
    /// The last edit before this epoch.
    pub last_before: Position,
    /// Edits of its streams after the newest snapshot, before this epoch.
    pub backlog: u64,
    /// Share of `every_edits` after which the first checkpoint of this life is due.
    pub first_edits: u64,
    /// The last barrier in this epoch, and when it was asked for.
    pub barrier: Lsn,
    pub barrier_at: Duration,
    /// The node's digests differed here.
    pub diverged: Option<Position>,
    /// Somebody waits for a snapshot at or after this position.
    pub wanted: Option<Position>,
    /// When the node may be asked for a snapshot again, and the core.
    pub not_before: Duration,
    pub own_not_before: Duration,
    /// The last attempt at a snapshot failed.
    pub failed: bool,
}

impl Partition {
    /// Whether it was edited after its newest snapshot.
    pub fn is_dirty(&self, last_edit: Position) -> bool {
        last_edit > self.newest.unwrap_or(Position::START)
    }

    /// Whether it was edited after its older snapshot.
    pub fn is_stale(&self, last_edit: Position) -> bool {
        last_edit > self.older.unwrap_or(Position::START)
    }

    /// The state at the start of a life.
    pub fn at_start(
        manifest: &Manifest,
        placement: Placement,
        pace: Pace,
        id: PartitionId,
        recovered: Position,
    ) -> Self {
        let Generations { newest, older } = manifest.generations(id);
        // Recovery does not see edits between the generations. Equal digests say that there were none that matter.
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
        // The turns are spread over one whole round: the first is due soon, the last after all of `every` and
        // `every_edits`.
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
