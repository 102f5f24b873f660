//! Turns a checkpoint node's directory into a data directory and back. Both keep snapshots in the same places and under
//! the same lock; a manifest that names the snapshots makes the node's directory a data directory. The manifest exists
//! from the node's end to its next start, and stays if a master begins to use the directory.

use std::path::Path;

use crate::ids::PartitionId;
use crate::storage::error::Context;
use crate::storage::files::{Files, list, sync_dir};
use crate::storage::manifest::{Manifest, copies};
use crate::storage::{StorageError, path};

/// Turns `dir`, which has the snapshots that `manifest` names and no log, into a data directory.
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

/// Undoes [`hand_over`], because the snapshots in `dir` are about to change.
///
/// # Errors
/// If a master has used the directory meanwhile, or the disk fails.
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
