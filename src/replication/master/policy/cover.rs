//! What of the log may go. Part of the policy.
//!
//! The *cover* of a partition is the position up to which its edits are in its older generation, so that even if the
//! newest snapshot proves bad nothing of the log below is needed:
//!
//! | the partition … | cover |
//! |---|---|
//! | differs on the checkpoint node | nothing |
//! | was not edited after its older generation (in the stream's epoch or before) | everything |
//! | has an older generation | its position |
//! | has one snapshot or none | nothing, unless it was never edited |
//!
//! A stream can lose what all partitions that lived in it cover.

use super::Policy;
use crate::ids::{Lsn, PartitionId, Position, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::{Manifest, StreamRecord};

/// How much of one stream goes.
pub type Dropped = (StreamId, Lsn);

/// For each stream of which more can go than the manifest says, the first edit that is still needed.
pub(super) fn droppable(policy: &Policy, manifest: &Manifest) -> Vec<Dropped> {
    let needed = manifest.kept_streams().filter_map(|(stream, record)| {
        let first = first_needed(policy, manifest, stream, record)?;
        (first > record.first).then_some((stream, first))
    });
    needed.collect()
}

/// The first edit of a stream that is not covered.
fn first_needed(policy: &Policy, manifest: &Manifest, stream: StreamId, record: StreamRecord) -> Option<Lsn> {
    // Of the present stream nothing is certain but what was durable before the partitions' marks were read.
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

enum Cover {
    Everything,
    UpTo(Position),
}

fn cover(policy: &Policy, partition: PartitionId, stream: StreamId) -> Cover {
    let state = &policy.partitions[usize::from(partition.0)];
    // An edit of the present life says nothing about the streams of former ones.
    let last_edit = if stream.epoch == policy.epoch { policy.last_edit(partition) } else { state.last_before };
    match state.diverged {
        Some(_) => Cover::UpTo(Position::START),
        None if !state.is_stale(last_edit) => Cover::Everything,
        None => Cover::UpTo(state.older.unwrap_or(Position::START)),
    }
}
