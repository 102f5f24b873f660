//! Which part of the log may be dropped. Part of the policy.
//!
//! The *cover* of a partition is the position up to which the log is not needed for it, even if its newest snapshot
//! proves bad: edits up to there are in its older generation.
//!
//! | the partition … | cover |
//! |---|---|
//! | differs on the checkpoint node | nothing |
//! | was not edited after its older generation (in the stream's epoch or before) | everything |
//! | has an older generation | its position |
//! | has one snapshot or none | nothing, unless it was never edited |
//!
//! A stream is dropped up to the smallest cover of the partitions whose edits it holds.

use super::Policy;
use crate::ids::{Lsn, PartitionId, Position, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::{Manifest, StreamRecord};

/// A stream, and its first edit that is still needed.
pub type Dropped = (StreamId, Lsn);

/// The first edit that is still needed, for each stream in which that is a later one than the manifest's `first`.
pub(super) fn droppable(policy: &Policy, manifest: &Manifest) -> Vec<Dropped> {
    let needed = manifest.kept_streams().filter_map(|(stream, record)| {
        let first = first_needed(policy, manifest, stream, record)?;
        (first > record.first).then_some((stream, first))
    });
    needed.collect()
}

/// The first edit of a stream that some partition's cover does not reach.
fn first_needed(policy: &Policy, manifest: &Manifest, stream: StreamId, record: StreamRecord) -> Option<Lsn> {
    // In the present epoch, the partitions' last edits are only known for what was durable before they were read.
    let end = match record.last {
        Some(last) => last,
        None => policy.observed.durable.get(usize::from(stream.core.0)).copied()?,
    };
    let owned = manifest.placement(stream.epoch)?.partitions_of(stream.core);
    let covered = owned.map(|p| match cover(policy, PartitionId(p), stream) {
        Cover::Everything => end,
        Cover::UpTo(position) if position.epoch > stream.epoch => end,
        Cover::UpTo(position) if position.epoch == stream.epoch => position.lsn.min(end),
        Cover::UpTo(_) => Lsn(0),
    });
    let covered = if is_planted(Bug::CoveredByOne) { covered.max() } else { covered.min() };
    covered.map(Lsn::next)
}

/// How far the log is not needed for a partition.
enum Cover {
    Everything,
    UpTo(Position),
}

/// The cover of a partition in a stream; the module has the table.
fn cover(policy: &Policy, partition: PartitionId, stream: StreamId) -> Cover {
    let state = &policy.partitions[usize::from(partition.0)];
    // For a stream of a former epoch, only edits before the present epoch count.
    let last_edit = if stream.epoch == policy.epoch { policy.last_edit(partition) } else { state.last_before };
    match state.diverged {
        Some(_) => Cover::UpTo(Position::START),
        None if !state.is_stale(last_edit) => Cover::Everything,
        None => Cover::UpTo(state.older.unwrap_or(Position::START)),
    }
}
