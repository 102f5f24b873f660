//! Installs snapshots that are complete and verified: those of the node and those of the cores alike. What a snapshot
//! has given away to other partitions must be in the snapshots of those ([`crate::storage::Manifest`] has the rule), so
//! it may have to wait; those that need each other are installed together.
//!
//! A partition that others wait for is checkpointed next, whether it has changed or not. What waits is given up when
//! the policy does not await it any more.

use super::side::MasterSide;
use super::waiting::Complete;
use crate::storage::{Arrival, Files, Installed, Manifest, StorageError};

/// Takes in a complete snapshot, and installs all that can be installed now. Returns whether the snapshot is installed
/// or waits; otherwise nobody awaits it, and it is removed.
///
/// # Errors
/// If the snapshot could be installed, but the disk fails; it is then removed.
pub(crate) fn complete<F: Files>(shared: &MasterSide<F>, complete: Complete) -> Result<bool, StorageError> {
    let (partition, position) = (complete.arrival.partition, complete.position());
    {
        let now = shared.clock.now();
        let mut state = shared.state();
        state.policy.completed(partition, position, now);
        if !complete.by_core {
            state.policy.delivered();
        }
    }
    shared.forget_waiting(partition);
    shared.waiting.add(complete);
    let mut failed = None;
    loop {
        let batch = shared.waiting.take_fitting(&shared.dir.manifest());
        if batch.is_empty() {
            break;
        }
        let installed = install(shared, &batch);
        shared.waiting.release(&batch);
        if let Err(error) = installed {
            for lost in batch {
                // If the sync failed, the file's bytes may be in the cache only, and another sync would not report
                // that.
                let _ = shared.dir.files().remove(&lost.path);
                if !lost.is_of(partition, position) {
                    fail(shared, &lost, &error.to_string());
                }
            }
            failed = Some(error);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    shared.look_at_waiting();
    let is_newest =
        |manifest: &Manifest| manifest.generations(partition).newest.is_some_and(|n| n.position >= position);
    Ok(shared.waiting.has(partition, position) || is_newest(&shared.dir.manifest()))
}

/// Installs snapshots together, and tells the policy and the counters.
fn install<F: Files>(shared: &MasterSide<F>, batch: &[Complete]) -> Result<(), StorageError> {
    let arrivals: Vec<_> = batch.iter().map(|complete| (&*complete.path, complete.arrival.clone())).collect();
    shared.dir.install_snapshots(&arrivals)?;
    let manifest = shared.dir.manifest();
    let now = shared.clock.now();
    let mut state = shared.state();
    for Complete { arrival: Arrival { partition, installed, .. }, started, by_core, .. } in batch {
        if let Some(older) = manifest.generations(*partition).older {
            shared.note_older(*partition, older.position);
        }
        state.installed(*partition, installed.position, installed.bytes, now.saturating_sub(*started), now);
        state.counters.self_installed += u64::from(*by_core);
        let Installed { position, bytes, .. } = installed;
        tracing::debug!(%partition, %position, bytes, by_core, "checkpoint installed");
    }
    drop(state);
    shared.wake();
    Ok(())
}

/// Tells the policy and the counters that a snapshot which waited could not be installed.
fn fail<F: Files>(shared: &MasterSide<F>, lost: &Complete, why: &str) {
    let partition = lost.arrival.partition;
    tracing::error!(%partition, position = %lost.position(), "a checkpoint could not be installed: {why}");
    let now = shared.clock.now();
    let mut state = shared.state();
    state.counters.failed += 1;
    if lost.by_core {
        state.policy.capture_failed(partition, why, now);
    } else {
        state.policy.failed(partition, lost.position(), why, now);
    }
}
