//! Installs and discards snapshots.
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | the file is synced in `incoming/` | the old generations; an upload that is complete |
//! | it is moved to its place, both directories are synced | the old generations; a file that belongs to nothing |
//! | the manifest is recorded | the new generations; the third one's file is set aside at the next start |
//! | the third generation is removed | the new generations |

use std::path::Path;

use super::DataDir;
use crate::ids::PartitionId;
use crate::planted::{Bug, is_planted};
use crate::storage::error::Context;
use crate::storage::files::{Access, Files, PlainFile, make_dir, remove, sync_dir};
use crate::storage::manifest::Installed;
use crate::storage::{StorageError, failpoint, path};

impl<F: Files> DataDir<F> {
    /// Makes the verified snapshot file at `incoming` (on the same file system) the newest generation of `partition`:
    /// syncs it, moves it to its place, records it, and only then removes the third generation. Idempotent: if the
    /// snapshot is not later than the newest generation, removes the file at `incoming` and does nothing else.
    ///
    /// # Errors
    /// If the disk fails; the old generations are then still in place.
    pub fn install_snapshot(
        &self,
        partition: PartitionId,
        incoming: &Path,
        installed: Installed,
    ) -> Result<(), StorageError> {
        let place = path::snapshot(&self.path, partition, installed.position);
        let newest = self.manifest().generations(partition).newest;
        if newest.is_some_and(|newest| newest.position >= installed.position) {
            return remove(&self.files, incoming);
        }
        self.files.open(incoming, Access::Read).and_then(|f| f.sync()).context(incoming, "cannot sync")?;
        failpoint::reach("install.synced");
        let dir = path::partition(&self.path, partition);
        make_dir(&self.files, &dir)?;
        if is_planted(Bug::RecordedBeforeMoved) {
            self.change(|manifest| Ok(manifest.install(partition, installed)))?;
        }
        self.files.rename(incoming, &place).context(incoming, "cannot install")?;
        sync_dir(&self.files, &dir)?;
        incoming.parent().map_or(Ok(()), |dir| sync_dir(&self.files, dir))?;
        failpoint::reach("install.moved");
        let third = self.change(|manifest| Ok(manifest.install(partition, installed)))?;
        failpoint::reach("install.recorded");
        third.map_or(Ok(()), |third| remove(&self.files, &path::snapshot(&self.path, partition, third.position)))
    }

    /// Discards a snapshot that proved bad when it was loaded: records that the partition is without it and moves the
    /// file to `aside/`. A partition's only snapshot is kept if its log is incomplete: the next start must know that
    /// there was something.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn discard_snapshot(&self, partition: PartitionId, bad: Installed) -> Result<(), StorageError> {
        let discarded = self.change(|manifest| {
            let is_only = manifest.generations(partition).older.is_none();
            Ok((!is_only || manifest.keeps_whole_log(partition)) && manifest.discard(partition, bad))
        })?;
        if discarded {
            let file = path::snapshot(&self.path, partition, bad.position);
            if self.files.exists(&file) {
                self.set_aside(&file)?;
            }
        }
        Ok(())
    }
}
