//! Snapshots that are complete and verified, and wait until they can be installed (`install`): at most one of each
//! partition. Pure.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::{PartitionId, Position};
use crate::storage::{Arrival, Manifest};

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
    pub fn position(&self) -> Position {
        self.arrival.installed.position
    }

    pub fn is_of(&self, partition: PartitionId, position: Position) -> bool {
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

    /// Adds one.
    pub fn add(&self, complete: Complete) {
        self.lists().waiting.push(complete);
    }

    /// The partitions of which newer snapshots are missing for those that wait.
    pub fn missing(&self, manifest: &Manifest) -> Vec<PartitionId> {
        let lists = self.lists();
        lists.waiting.iter().flat_map(|complete| manifest.missing_for(&complete.arrival)).collect()
    }

    /// Removes those that `which` names.
    pub fn take(&self, mut which: impl FnMut(&Complete) -> bool) -> Vec<Complete> {
        self.lists().waiting.extract_if(.., |complete| which(complete)).collect()
    }

    /// Removes those that can be installed together, and notes that they are being installed.
    pub fn take_fitting(&self, manifest: &Manifest) -> Vec<Complete> {
        let mut lists = self.lists();
        let fits = manifest.fitting(&lists.waiting.iter().map(|complete| &complete.arrival).collect::<Vec<_>>());
        let mut fits = fits.into_iter();
        let batch: Vec<_> = lists.waiting.extract_if(.., |_| fits.next() == Some(true)).collect();
        lists.installing.extend(batch.iter().map(|complete| complete.path.clone()));
        batch
    }

    /// Notes that these are not being installed any more.
    pub fn release(&self, batch: &[Complete]) {
        self.lists().installing.retain(|path| batch.iter().all(|complete| complete.path != *path));
    }

    /// Whether a file is being installed.
    pub fn is_installing(&self, path: &Path) -> bool {
        self.lists().installing.iter().any(|installing| installing == path)
    }

    pub fn has(&self, partition: PartitionId, position: Position) -> bool {
        self.lists().waiting.iter().any(|complete| complete.is_of(partition, position))
    }
}
