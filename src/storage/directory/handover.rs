//! The way from a checkpoint node's directory to a data directory. Both keep snapshots in the same places and under the
//! same lock; what makes a data directory of the node's is a manifest that names them. It is there from the node's end
//! to the node's next start, and stays if a master begins to live there.

use std::path::Path;

use crate::ids::PartitionId;
use crate::storage::error::Context;
use crate::storage::files::{Files, list, sync_dir};
use crate::storage::manifest::{Manifest, copies};
use crate::storage::{StorageError, path};

/// Makes a data directory of `dir`, which has the snapshots that `manifest` names and no log.
///
/// # Errors
/// If the disk fails or is full.
pub fn hand_over<F: Files>(files: &F, dir: &Path, manifest: &Manifest) -> Result<(), StorageError> {
    for partition in (0..manifest.partitions.count()).map(PartitionId) {
        sync_dir(files, &path::partition(dir, partition))?;
    }
    sync_dir(files, &dir.join(path::SNAPSHOTS))?;
    sync_dir(files, dir)?;
    copies::store(files, dir, manifest, 1)?;
    sync_dir(files, dir)
}

/// Takes back what [`hand_over`] did: the snapshots in `dir` are about to change.
///
/// # Errors
/// If a master has lived there meanwhile, or the disk fails.
pub fn take_back<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    if !list(files, &dir.join(path::LOG))?.is_empty() {
        let why = "a master has gone on from this directory: a checkpoint node needs another checkpoint.dir".to_owned();
        return Err(StorageError::Unusable { path: dir.to_owned(), why });
    }
    for file in path::MANIFESTS.map(|name| dir.join(name)).iter().filter(|file| files.exists(file)) {
        files.remove(file).context(file, "cannot remove")?;
    }
    sync_dir(files, dir)
}
