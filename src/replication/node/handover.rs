//! The end of a node: writes what it holds only in memory to its own directory, and makes that a data directory from
//! which a master can start, should the master's own be lost.
//!
//! Always: the directory becomes a data directory only if it holds all that this node has acknowledged.

use super::NodeError;
use super::capture::Capture;
use super::directory::NodeDir;
use super::mirror::{Part, Trust};
use crate::ids::{Position, Slot};
use crate::storage::directory::handover;
use crate::storage::snapshot::{Subject, verify_in};
use crate::storage::{Files, Installed, Manifest};

/// Writes a snapshot of every partition of `mirror` that is newer than its own snapshot, and makes the directory a data
/// directory. Returns how far the master was followed. `None` if a partition is suspect or was never filled: then there
/// are only snapshots, and the directory is no data directory.
///
/// # Errors
/// If the disk fails or is full.
pub(crate) fn hand_over<F: Files>(own: &NodeDir<F>, mirror: &mut Part) -> Result<Option<Position>, NodeError> {
    let Some(id) = own.mirrors() else { return Ok(None) };
    let partitions = mirror.replica.partitions();
    let mut snapshots = Vec::new();
    for partition in mirror.partitions() {
        if *mirror.trust(partition) != Trust::Suspect && mirror.position(partition) > Position::START {
            snapshots.push(save(own, Subject { id, partitions, partition }, mirror)?);
        }
    }
    if snapshots.len() < usize::from(partitions.count()) {
        return Ok(None);
    }
    let slots = mirror.partitions().flat_map(|partition| partitions.slots(partition));
    let reached = slots.map(|slot| mirror.replica.slot_position(Slot(slot))).max().unwrap_or_default();
    let manifest = Manifest::of_snapshots(id, partitions, snapshots, reached);
    handover::hand_over(own.files(), own.path(), &manifest)?;
    Ok(Some(reached))
}

/// Writes a snapshot of a partition, unless its newest own snapshot is as new as the state in memory and good.
fn save<F: Files>(own: &NodeDir<F>, subject: Subject, mirror: &Part) -> Result<Installed, NodeError> {
    let partition = subject.partition;
    let position = mirror.position(partition);
    if own.snapshots(partition).first() == Some(&position)
        && let Ok(summary) = verify_in(own.files(), &own.snapshot(partition, position), subject)
    {
        return Ok(summary.installed);
    }
    let capture = Capture::of(&mirror.replica, partition, position);
    let installed = capture.write(own.files(), &own.temporary(partition, position)?, subject)?;
    own.keep(partition, position)?;
    Ok(installed)
}
