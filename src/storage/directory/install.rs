//! Installs and discards snapshots.
//!
//! Snapshots that need each other ([`Manifest::fitting`]) are installed together: one record of the manifest names all
//! of them.
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | the files are synced in `incoming/` | the old generations; uploads that are complete |
//! | they are moved to their places, all directories are synced | the old generations; files that belong to nothing |
//! | the manifest is recorded | the new generations; the third ones' files are set aside at the next start |
//! | the third generations are removed | the new generations |

use std::path::Path;

use super::DataDir;
use crate::ids::PartitionId;
use crate::planted::{Bug, is_planted};
use crate::storage::error::Context;
use crate::storage::files::{Access, Files, PlainFile, make_dir, remove, sync_dir};
use crate::storage::manifest::{Arrival, Installed, Manifest};
use crate::storage::{StorageError, failpoint, path};

impl<F: Files> DataDir<F> {
    /// Makes the verified snapshot file at `incoming` the newest generation of `partition`, which has given no value to
    /// another one, as [`Self::install_snapshots`] does.
    ///
    /// # Errors
    /// As [`Self::install_snapshots`].
    #[cfg(test)]
    pub fn install_snapshot(
        &self,
        partition: PartitionId,
        incoming: &Path,
        installed: Installed,
    ) -> Result<(), StorageError> {
        self.install_snapshots(&[(incoming, Arrival { partition, installed, transfers: Vec::new() })])
    }

    /// Makes verified snapshot files (on the same file system), which fit together, the newest generations of their
    /// partitions: syncs them, moves them to their places, records them all at once, and only then removes the third
    /// generations. Idempotent: of a snapshot that is not later than the newest generation, removes the incoming file
    /// and does nothing else.
    ///
    /// # Errors
    /// If the disk fails; the old generations are then still in place.
    pub fn install_snapshots(&self, arrivals: &[(&Path, Arrival)]) -> Result<(), StorageError> {
        let manifest = self.manifest();
        let mut batch = Vec::new();
        for (incoming, arrival) in arrivals {
            let newest = manifest.generations(arrival.partition).newest;
            if newest.is_some_and(|newest| newest.position >= arrival.installed.position) {
                remove(&self.files, incoming)?;
                continue;
            }
            self.files.open(incoming, Access::Read).and_then(|f| f.sync()).context(incoming, "cannot sync")?;
            batch.push((*incoming, arrival.clone()));
        }
        failpoint::reach("install.synced");
        if is_planted(Bug::RecordedBeforeMoved) {
            self.record(batch.iter().map(|(_, arrival)| arrival.clone()).collect())?;
        }
        for (incoming, Arrival { partition, installed, .. }) in &batch {
            let dir = path::partition(&self.path, *partition);
            make_dir(&self.files, &dir)?;
            let place = path::snapshot(&self.path, *partition, installed.position);
            self.files.rename(incoming, &place).context(incoming, "cannot install")?;
            sync_dir(&self.files, &dir)?;
            incoming.parent().map_or(Ok(()), |dir| sync_dir(&self.files, dir))?;
        }
        failpoint::reach("install.moved");
        let arrivals: Vec<_> = batch.into_iter().map(|(_, arrival)| arrival).collect();
        let thirds = self.record(arrivals.clone())?;
        failpoint::reach("install.recorded");
        for (Arrival { partition, .. }, third) in arrivals.iter().zip(thirds) {
            let third = third.map(|third| path::snapshot(&self.path, *partition, third.position));
            third.map_or(Ok(()), |third| remove(&self.files, &third))?;
        }
        Ok(())
    }

    /// Records new generations in the manifest. Returns the third generation of each partition.
    fn record(&self, arrivals: Vec<Arrival>) -> Result<Vec<Option<Installed>>, StorageError> {
        let at_once = if is_planted(Bug::RecordedOneByOne) { 1 } else { arrivals.len().max(1) };
        let mut thirds = Vec::new();
        for batch in arrivals.chunks(at_once) {
            thirds.extend(self.change(|manifest| Ok(manifest.install_all(batch)))?);
        }
        Ok(thirds)
    }

    /// Discards snapshots that recovery went without, because they proved bad when they were loaded or because they
    /// need others that did: records that the partitions are without them and moves the files to `aside/`. A
    /// partition's only snapshot is kept if its log is incomplete: the next start must know that there was something.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn discard_snapshots(&self, bad: &[(PartitionId, Installed)]) -> Result<(), StorageError> {
        let is_discarded = |manifest: &mut Manifest, partition, installed| {
            let is_only = manifest.generations(partition).older.is_none();
            (!is_only || manifest.keeps_whole_log(partition)) && manifest.discard(partition, installed)
        };
        let discarded: Vec<_> = self.change(|manifest| {
            let of_all = bad.iter().copied();
            Ok(of_all.filter(|(partition, installed)| is_discarded(manifest, *partition, *installed)).collect())
        })?;
        for (partition, installed) in discarded {
            let file = path::snapshot(&self.path, partition, installed.position);
            if self.files.exists(&file) {
                self.set_aside(&file)?;
            }
        }
        Ok(())
    }
}
