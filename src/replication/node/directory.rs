//! The node's own directory. It holds the newest snapshot of each partition, so that a node that starts again need not
//! download everything.
//!
//! ```text
//! LOCK                                    locked by the process that has the directory
//! mirror-of                               id of the master's data directory
//! snapshots/00017/0000000003-<lsn>.snap   partition 17 at position 3.<lsn>, as in a data directory
//! snapshots/00017/….snap.tmp              being written; of no use after a crash
//! manifest.0, manifest.1                  only while no node runs: makes it a data directory, see [`super::handover`]
//! ```
//!
//! As long as the master has its data, everything here can be made again from it. Files that the node did not write are
//! never removed. The list of snapshots is read from the disk each time, so a directory that is deleted while the node
//! runs is made anew, and filled again one snapshot after the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::NodeError;
use crate::ids::{DirectoryId, PartitionId, Position};
use crate::storage::directory::handover::take_back;
use crate::storage::files::{
    Access, Files, LOCK_PATIENCE, OsFiles, PlainFile, create_with_parents, make_dir, read_whole,
};
use crate::storage::{StorageError, path};

/// Suffix of a file that is being written.
const TEMPORARY: &str = ".tmp";

/// The open directory, which is locked until this is dropped.
#[derive(Debug)]
pub struct NodeDir<F: Files = OsFiles> {
    files: F,
    path: PathBuf,
    held: Mutex<Held<F>>,
}

/// The lock on the directory, and what the directory mirrors.
#[derive(Debug)]
struct Held<F: Files> {
    /// The locked file; `None` if the directory was deleted and could not be made anew.
    lock: Option<F::File>,
    /// The data directory that it mirrors, once that is known.
    id: Option<DirectoryId>,
}

impl<F: Files> NodeDir<F> {
    /// Creates the directory at `path` if need be, locks it and opens it.
    ///
    /// # Errors
    /// If another node has locked it, a master's data is there, or the disk fails.
    pub fn open(files: F, path: &Path) -> Result<Self, StorageError> {
        let lock = take(&files, path)?;
        Ok(Self { files, path: path.to_owned(), held: Mutex::new(Held { lock: Some(lock), id: None }) })
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that it is in.
    pub const fn files(&self) -> &F {
        &self.files
    }

    /// Makes this directory the mirror of the data directory `id`, for good.
    ///
    /// # Errors
    /// If it is the mirror of another data directory, or the disk fails.
    pub fn belong_to(&self, id: DirectoryId) -> Result<(), NodeError> {
        self.make_anew_if_gone()?;
        let mut held = self.held();
        let file = self.path.join(path::MIRROR_OF);
        let had = read_whole(&self.files, &file).map_err(|e| io_error(&file, "cannot read", e))?;
        // A crash may have left an empty file, or one of zeros: then the mirror holds nothing yet.
        if had.iter().all(|byte| *byte == 0) {
            self.write_id(id)?;
        } else if had != line(id).as_bytes() {
            let had = String::from_utf8_lossy(&had).trim_end().to_owned();
            return Err(NodeError::Foreign { path: self.path.clone(), had, found: id });
        }
        held.id = Some(id);
        Ok(())
    }

    fn write_id(&self, id: DirectoryId) -> Result<(), StorageError> {
        let file = self.path.join(path::MIRROR_OF);
        let write = || {
            let out = self.files.open(&file, Access::Truncate)?;
            out.write_at(0, line(id).as_bytes())?;
            out.sync()?;
            self.files.sync_dir(&self.path)
        };
        write().map_err(|e| io_error(&file, "cannot write", e))
    }

    /// Creates the directory again if somebody has deleted it.
    fn make_anew_if_gone(&self) -> Result<(), StorageError> {
        let mut held = self.held();
        if held.lock.is_some() && self.files.exists(&self.path.join(path::SNAPSHOTS)) {
            return Ok(());
        }
        tracing::error!(
            dir = %self.path.display(),
            "this node's directory is gone and is made anew; until its snapshots are written again, a node that starts downloads the master's"
        );
        // The old lock is dropped first: its file may still exist.
        held.lock = None;
        held.lock = Some(take(&self.files, &self.path)?);
        held.id.map_or(Ok(()), |id| self.write_id(id))
    }

    fn held(&self) -> MutexGuard<'_, Held<F>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Id of the data directory that it mirrors, once [`Self::belong_to`] has succeeded.
    pub fn mirrors(&self) -> Option<DirectoryId> {
        self.held().id
    }

    /// Positions of the snapshots of a partition, newest first. Other files there are ignored.
    pub fn snapshots(&self, partition: PartitionId) -> Vec<Position> {
        let names = self.files.list(&path::partition(&self.path, partition)).unwrap_or_default();
        let mut positions: Vec<_> = names.iter().filter_map(|name| path::parse_snapshot(name)).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions
    }

    /// Path of the snapshot of a partition at `position`.
    pub fn snapshot(&self, partition: PartitionId, position: Position) -> PathBuf {
        path::snapshot(&self.path, partition, position)
    }

    /// Path at which the snapshot at `position` is written or downloaded, before [`Self::keep`]. Creates its directory
    /// if need be.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn temporary(&self, partition: PartitionId, position: Position) -> Result<PathBuf, StorageError> {
        self.make_anew_if_gone()?;
        let dir = path::partition(&self.path, partition);
        make_dir(&self.files, &dir)?;
        Ok(dir.join(format!("{}{TEMPORARY}", path::snapshot_name(position))))
    }

    /// Renames the file [`Self::temporary`], which must be whole and synced, to the snapshot at `position`, and removes
    /// older snapshots.
    ///
    /// The directory is not synced: a snapshot that a power failure takes away is downloaded again.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn keep(&self, partition: PartitionId, position: Position) -> Result<(), StorageError> {
        let (from, to) = (self.temporary(partition, position)?, self.snapshot(partition, position));
        self.files.rename(&from, &to).map_err(|e| io_error(&to, "cannot move a snapshot to", e))?;
        self.remove_before(partition, position);
        Ok(())
    }

    /// Removes snapshots before `position`, and temporary files of such.
    fn remove_before(&self, partition: PartitionId, position: Position) {
        let dir = path::partition(&self.path, partition);
        for name in self.files.list(&dir).unwrap_or_default() {
            let snapshot = path::parse_snapshot(name.strip_suffix(TEMPORARY).unwrap_or(&name));
            if snapshot.is_some_and(|at| at < position) {
                // If removing fails, the next snapshot's removal of older ones tries again.
                let _ = self.files.remove(&dir.join(name));
            }
        }
    }

    /// Removes a snapshot that is bad. If that fails, it is removed when it proves bad again, or when a newer one is
    /// kept.
    pub fn remove(&self, partition: PartitionId, position: Position) {
        let _ = self.files.remove(&self.snapshot(partition, position));
    }
}

/// Creates the directory at `path`, locks it, and takes back what makes it a master's data directory.
fn take<F: Files>(files: &F, path: &Path) -> Result<F::File, StorageError> {
    create_with_parents(files, path)?;
    let lock_path = path.join(path::LOCK);
    let lock = files.open(&lock_path, Access::Write).map_err(|e| io_error(&lock_path, "cannot open", e))?;
    if !lock.lock(LOCK_PATIENCE).map_err(|e| io_error(&lock_path, "cannot lock", e))? {
        return Err(StorageError::InUse { path: path.to_owned() });
    }
    take_back(files, path)?;
    make_dir(files, &path.join(path::SNAPSHOTS))?;
    Ok(lock)
}

/// Content of the file that names the mirrored data directory.
fn line(id: DirectoryId) -> String {
    format!("{id}\n")
}

/// Makes a storage error of an error of the operating system.
pub fn io_error(path: &Path, what: &'static str, source: io::Error) -> StorageError {
    StorageError::Io { path: path.to_owned(), what, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ids::{Epoch, Lsn};

    #[test]
    fn one_node_at_a_time_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let own = NodeDir::open(OsFiles, dir.path()).unwrap();
        assert!(matches!(NodeDir::open(OsFiles, dir.path()), Err(StorageError::InUse { .. })));
        drop(own);
        assert!(NodeDir::open(OsFiles, dir.path()).is_ok());
    }

    #[test]
    fn where_a_node_begins_no_master_can_and_the_other_way_round() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = path::MANIFESTS.map(|name| dir.path().join(name));
        manifests.iter().for_each(|file| fs::write(file, "left by the node before").unwrap());
        drop(NodeDir::open(OsFiles, dir.path()).unwrap());
        assert!(manifests.iter().all(|file| !file.exists()));
        fs::create_dir_all(dir.path().join(path::LOG).join("0000000004")).unwrap();
        manifests.iter().for_each(|file| fs::write(file, "a master's").unwrap());
        assert!(matches!(NodeDir::open(OsFiles, dir.path()), Err(StorageError::Unusable { .. })));
        assert!(manifests.iter().all(|file| file.exists()));
    }

    #[test]
    fn it_mirrors_one_data_directory_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let own = NodeDir::open(OsFiles, dir.path()).unwrap();
        let (ours, other) = (DirectoryId([1; 16]), DirectoryId([2; 16]));
        own.belong_to(ours).unwrap();
        own.belong_to(ours).unwrap();
        assert!(matches!(own.belong_to(other), Err(NodeError::Foreign { .. })));
        fs::write(dir.path().join("mirror-of"), "").unwrap();
        own.belong_to(other).unwrap();
    }

    #[test]
    fn the_newest_snapshot_stays_and_strangers_too() {
        let dir = tempfile::tempdir().unwrap();
        let own = NodeDir::open(OsFiles, &dir.path().join("node")).unwrap();
        let partition = PartitionId(3);
        let at = |lsn| Position::new(Epoch(1), Lsn(lsn));
        let [interrupted, under_way] = [7, 11].map(|lsn| own.temporary(partition, at(lsn)).unwrap());
        let stranger = interrupted.with_file_name("notes.txt");
        [&stranger, &interrupted, &under_way].into_iter().for_each(|f| fs::write(f, "mine").unwrap());
        for lsn in [5, 9] {
            fs::write(own.temporary(partition, at(lsn)).unwrap(), "snapshot").unwrap();
            own.keep(partition, at(lsn)).unwrap();
        }
        assert_eq!(own.snapshots(partition), [at(9)]);
        assert!(stranger.exists() && under_way.exists() && !interrupted.exists());
        assert_eq!(own.snapshots(PartitionId(4)), []);
    }

    #[test]
    fn a_directory_that_is_deleted_while_it_is_open_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("node");
        let own = NodeDir::open(OsFiles, &at).unwrap();
        let (ours, other) = (DirectoryId([1; 16]), DirectoryId([2; 16]));
        own.belong_to(ours).unwrap();
        let (partition, position) = (PartitionId(3), Position::new(Epoch(1), Lsn(5)));
        for gone in [at.clone(), at.join(path::SNAPSHOTS), at.clone()] {
            fs::write(own.temporary(partition, position).unwrap(), "snapshot").unwrap();
            own.keep(partition, position).unwrap();
            assert_eq!(own.snapshots(partition), [position]);
            fs::remove_dir_all(gone).unwrap();
            assert_eq!(own.snapshots(partition), [], "what is gone is not believed to be there");
        }
        own.temporary(partition, position).unwrap();
        assert!(matches!(NodeDir::open(OsFiles, &at), Err(StorageError::InUse { .. })), "it is locked as before");
        assert!(matches!(own.belong_to(other), Err(NodeError::Foreign { .. })), "and mirrors the same");
        fs::remove_dir_all(&at).unwrap();
        own.belong_to(ours).unwrap();
        assert!(at.join(path::MIRROR_OF).exists());
    }
}
