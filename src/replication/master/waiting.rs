//! Snapshots that are complete and verified, and wait until they can be installed: what they have given away to other
//! partitions must be in the snapshots of those ([`crate::storage::Manifest`] has the rule). Those that need each other
//! are installed together. Snapshots of the node and of the cores wait here alike.
//!
//! A partition that others wait for is checkpointed next, whether it has changed or not. What waits is given up when the
//! policy does not await it any more.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::side::{MasterSide, State};
use crate::ids::{PartitionId, Position};
use crate::storage::{Arrival, Files, Manifest, StorageError};

/// A complete, verified snapshot in a file of its own.
pub(crate) struct Complete {
    pub arrival: Arrival,
    pub path: PathBuf,
    /// When its upload or its capture began.
    pub started: Duration,
    /// Whether a core has taken it itself.
    pub by_core: bool,
}

impl Complete {
    fn position(&self) -> Position {
        self.arrival.installed.position
    }

    fn is_of(&self, partition: PartitionId, position: Position) -> bool {
        self.arrival.partition == partition && self.position() == position
    }
}

/// The snapshots that wait.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// Those that wait, at most one of each partition.
    waiting: Vec<Complete>,
    /// The files of those that are being installed.
    installing: Vec<PathBuf>,
}

impl Waiting {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Every change leaves the lists consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes those that `which` names.
    fn take(&self, mut which: impl FnMut(&Complete) -> bool) -> Vec<Complete> {
        self.lists().waiting.extract_if(.., |complete| which(complete)).collect()
    }

    /// Removes those that can be installed together, and notes that they are being installed.
    fn take_fitting(&self, manifest: &Manifest) -> Vec<Complete> {
        let mut lists = self.lists();
        let fits = manifest.fitting(&lists.waiting.iter().map(|complete| &complete.arrival).collect::<Vec<_>>());
        let mut fits = fits.into_iter();
        let batch: Vec<_> = lists.waiting.extract_if(.., |_| fits.next() == Some(true)).collect();
        lists.installing.extend(batch.iter().map(|complete| complete.path.clone()));
        batch
    }

    /// Notes that these are not being installed any more.
    fn release(&self, batch: &[Complete]) {
        self.lists().installing.retain(|path| batch.iter().all(|complete| complete.path != *path));
    }

    /// Whether a file is being installed.
    pub(super) fn is_installing(&self, path: &Path) -> bool {
        self.lists().installing.iter().any(|installing| installing == path)
    }

    fn has(&self, partition: PartitionId, position: Position) -> bool {
        self.lists().waiting.iter().any(|complete| complete.is_of(partition, position))
    }
}

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
    forget(shared, partition);
    shared.waiting.lists().waiting.push(complete);
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
                // If the sync failed, the file's bytes may be in the cache only, and another sync would not report that.
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
    look(shared);
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
        tracing::debug!(%partition, position = %installed.position, bytes = installed.bytes, by_core, "checkpoint installed");
    }
    drop(state);
    shared.wake();
    Ok(())
}

/// Gives up the snapshot of a partition that waits, if there is one, because another one is coming.
pub(super) fn forget<F: Files>(shared: &MasterSide<F>, partition: PartitionId) {
    discard(shared, shared.waiting.take(|waiting| waiting.arrival.partition == partition));
}

/// Gives up what the policy does not await any more, and makes it want the partitions that the others wait for.
pub(crate) fn look<F: Files>(shared: &MasterSide<F>) {
    let given_up = {
        let manifest = shared.dir.manifest();
        let mut state = shared.state();
        let State { policy, .. } = &mut *state;
        let given_up = shared.waiting.take(|waiting| !policy.awaits(waiting.arrival.partition, waiting.position()));
        let lists = shared.waiting.lists();
        lists
            .waiting
            .iter()
            .flat_map(|waiting| manifest.missing_for(&waiting.arrival))
            .for_each(|p| policy.want_for_others(p));
        given_up
    };
    discard(shared, given_up);
}

fn discard<F: Files>(shared: &MasterSide<F>, given_up: Vec<Complete>) {
    for Complete { arrival: Arrival { partition, installed, .. }, path, .. } in given_up {
        tracing::debug!(%partition, position = %installed.position, "a snapshot that waited for others is given up");
        // If it cannot be removed, the next upload of the partition or the next start does that.
        let _ = shared.dir.files().remove(&path);
    }
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
