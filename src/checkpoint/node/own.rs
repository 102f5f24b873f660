//! The node's own directory: the newest snapshot of each partition, so that a node that starts again need not begin anew.
//!
//! ```text
//! LOCK                                    locked by the process that has the directory
//! mirror-of                               id of the master's data directory
//! snapshots/00017/0000000003-<lsn>.snap   partition 17 at position 3.<lsn>, as in a data directory
//! snapshots/00017/….snap.tmp              being written; of no use after a crash
//! manifest.0, manifest.1                  only while no node runs: makes it a data directory, see [`super::handover`]
//! ```
//!
//! While the master has its data, everything here can be made again from it. Nothing but what this module wrote is ever removed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::NodeError;
use crate::encoding::frame::DirectoryId;
use crate::ids::{PartitionId, Position};
use crate::storage::directory::handover::take_back;
use crate::storage::files::{Access, Files, OsFiles, PlainFile, create_with_parents, make_dir, read_whole};
use crate::storage::{StorageError, path};

/// What the name of a file ends with that is being written.
const TEMPORARY: &str = ".tmp";

/// The open directory, locked until it is dropped.
#[derive(Debug)]
pub struct OwnDir<F: Files = OsFiles> {
    files: F,
    path: PathBuf,
    /// What it mirrors, as soon as this process has been told.
    id: OnceLock<DirectoryId>,
    _lock: F::File,
}

impl<F: Files> OwnDir<F> {
    /// Makes, locks and opens the directory at `path`.
    ///
    /// # Errors
    /// If another node has it, a master lives there, or the disk fails.
    pub fn open(files: F, path: &Path) -> Result<Self, StorageError> {
        create_with_parents(&files, path)?;
        let lock_path = path.join(path::LOCK);
        let lock = files.open(&lock_path, Access::Write).map_err(|e| io_error(&lock_path, "cannot open", e))?;
        if !lock.try_lock().map_err(|e| io_error(&lock_path, "cannot lock", e))? {
            return Err(StorageError::InUse { path: path.to_owned() });
        }
        take_back(&files, path)?;
        make_dir(&files, &path.join(path::SNAPSHOTS))?;
        Ok(Self { files, path: path.to_owned(), id: OnceLock::new(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that it is made of.
    pub const fn files(&self) -> &F {
        &self.files
    }

    /// Makes this the mirror of the data directory `id`, for good.
    ///
    /// # Errors
    /// If it is the mirror of another one, or the disk fails.
    pub fn belong_to(&self, id: DirectoryId) -> Result<(), NodeError> {
        let file = self.path.join(path::MIRROR_OF);
        let line = format!("{id}\n");
        let had = read_whole(&self.files, &file).map_err(|e| io_error(&file, "cannot read", e))?;
        if had == line.as_bytes() {
            self.id.get_or_init(|| id);
            return Ok(());
        }
        // A crash may have left an empty file: that of a mirror that holds nothing yet.
        if had.iter().any(|byte| *byte != 0) {
            let had = String::from_utf8_lossy(&had).trim_end().to_owned();
            return Err(NodeError::Foreign { path: self.path.clone(), had, found: id });
        }
        let write = || {
            let out = self.files.open(&file, Access::Truncate)?;
            out.write_at(0, line.as_bytes())?;
            out.sync()?;
            self.files.sync_dir(&self.path)
        };
        write().map_err(|e| io_error(&file, "cannot write", e))?;
        self.id.get_or_init(|| id);
        Ok(())
    }

    /// The data directory that it mirrors, once [`Self::belong_to`] has succeeded.
    pub fn mirrors(&self) -> Option<DirectoryId> {
        self.id.get().copied()
    }

    /// Positions of the snapshots of a partition, newest first. What else lies there is left alone.
    pub fn snapshots(&self, partition: PartitionId) -> Vec<Position> {
        let names = self.files.list(&path::partition(&self.path, partition)).unwrap_or_default();
        let mut positions: Vec<_> = names.iter().filter_map(|name| path::parse_snapshot(name)).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions
    }

    /// Where the snapshot of a partition at `position` is.
    pub fn snapshot(&self, partition: PartitionId, position: Position) -> PathBuf {
        path::snapshot(&self.path, partition, position)
    }

    /// Where the snapshot at `position` is written or downloaded, before [`Self::keep`]. Its directory is there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn temporary(&self, partition: PartitionId, position: Position) -> Result<PathBuf, StorageError> {
        let dir = path::partition(&self.path, partition);
        make_dir(&self.files, &dir)?;
        Ok(dir.join(format!("{}{TEMPORARY}", path::snapshot_name(position))))
    }

    /// The whole and synced file [`Self::temporary`] becomes the snapshot at `position`; older ones go.
    ///
    /// The directory is not synced: what a power failure takes here is downloaded again.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn keep(&self, partition: PartitionId, position: Position) -> Result<(), StorageError> {
        let (from, to) = (self.temporary(partition, position)?, self.snapshot(partition, position));
        self.files.rename(&from, &to).map_err(|e| io_error(&to, "cannot move a snapshot to", e))?;
        self.remove_before(partition, position);
        Ok(())
    }

    /// Removes snapshots before `position`, and what is left of attempts to write such.
    fn remove_before(&self, partition: PartitionId, position: Position) {
        let dir = path::partition(&self.path, partition);
        for name in self.files.list(&dir).unwrap_or_default() {
            let snapshot = path::parse_snapshot(name.strip_suffix(TEMPORARY).unwrap_or(&name));
            if snapshot.is_some_and(|at| at < position) {
                // If that fails, it will be tried at the next occasion.
                let _ = self.files.remove(&dir.join(name));
            }
        }
    }

    /// Removes a snapshot that is bad or not needed any more. If that fails, it will be tried at the next occasion.
    pub fn remove(&self, partition: PartitionId, position: Position) {
        let _ = self.files.remove(&self.snapshot(partition, position));
    }
}

/// An error of the operating system, as storage puts it.
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
        let own = OwnDir::open(OsFiles, dir.path()).unwrap();
        assert!(matches!(OwnDir::open(OsFiles, dir.path()), Err(StorageError::InUse { .. })));
        drop(own);
        assert!(OwnDir::open(OsFiles, dir.path()).is_ok());
    }

    #[test]
    fn where_a_node_begins_no_master_can_and_the_other_way_round() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = path::MANIFESTS.map(|name| dir.path().join(name));
        manifests.iter().for_each(|file| fs::write(file, "left by the node before").unwrap());
        drop(OwnDir::open(OsFiles, dir.path()).unwrap());
        assert!(manifests.iter().all(|file| !file.exists()));
        fs::create_dir_all(dir.path().join(path::LOG).join("0000000004")).unwrap();
        manifests.iter().for_each(|file| fs::write(file, "a master's").unwrap());
        assert!(matches!(OwnDir::open(OsFiles, dir.path()), Err(StorageError::Unusable { .. })));
        assert!(manifests.iter().all(|file| file.exists()));
    }

    #[test]
    fn it_mirrors_one_data_directory_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let own = OwnDir::open(OsFiles, dir.path()).unwrap();
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
        let own = OwnDir::open(OsFiles, &dir.path().join("node")).unwrap();
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
}
