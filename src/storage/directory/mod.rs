//! The data directory: its lock, its manifest, and the order in which files in it are made and removed.
//!
//! Whatever the manifest names is on disk before the manifest is; whatever is removed is out of the manifest first.
//! Files that nothing refers to are set aside; only log that was recorded as dropped is deleted.

mod epochs;
pub mod handover;
mod install;
mod orphans;
mod reserve;
#[cfg(test)]
mod tests;
mod truncate;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::Context;
use super::files::{self, Access, Files, LOCK_PATIENCE, OsFiles, PlainFile, create_with_parents, make_dir, sync_dir};
use super::log::extent::StreamSpec;
use super::manifest::{Manifest, copies};
use super::{Corruption, StorageError, path};
use crate::ids::{DirectoryId, Lsn, Partitions, StreamId};
use crate::planted::{Bug, is_planted};

/// An open data directory, locked against other processes until it is dropped. Threads share it.
#[derive(Debug)]
pub struct DataDir<F: Files = OsFiles> {
    files: F,
    path: PathBuf,
    id: DirectoryId,
    /// The current manifest, for readers.
    manifest: Mutex<Arc<Manifest>>,
    /// Held while the manifest is changed.
    changes: Mutex<Changes>,
    /// Whether opening only reports what it would change, and changes of the manifest are not stored.
    read_only: bool,
    _lock: Option<F::File>,
}

#[derive(Debug)]
struct Changes {
    sequence: u64,
    /// Why no change can be recorded any more, after a failed write of the manifest.
    failed: Option<String>,
}

/// Findings of [`DataDir::open_in`] that are worth a log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether the data directory was created just now.
    pub created: bool,
    /// Why a copy of the manifest was written anew: it was damaged, or older than the other.
    pub repaired_manifest: Option<String>,
    /// Files of ours that nothing refers to, left by a crash; they were moved to `aside/`.
    pub set_aside: Vec<PathBuf>,
    /// Files that are not ours; they were left in place.
    pub unknown: Vec<PathBuf>,
}

impl DataDir {
    /// As [`Self::open_in`], with the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub fn open(path: &Path, partitions: Partitions) -> Result<(Self, Found), StorageError> {
        Self::open_in(OsFiles, path, partitions)
    }

    /// As [`Self::open_read_only_in`], with the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub fn open_read_only(path: &Path) -> Result<Option<(Self, Found)>, StorageError> {
        Self::open_read_only_in(OsFiles, path)
    }

    /// Reads the manifest of the data directory at `path` without locking or changing anything. `None` if there is
    /// none.
    ///
    /// # Errors
    /// If it was made by another version, if it has no good manifest, or if the disk fails.
    pub fn peek(path: &Path) -> Result<Option<Manifest>, StorageError> {
        Ok(copies::load(&OsFiles, path)?.map(|loaded| loaded.manifest))
    }
}

impl<F: Files> DataDir<F> {
    /// Locks and opens the data directory at `path`; if it is empty or missing, creates it with `partitions`.
    ///
    /// # Errors
    /// If another process has locked it, if it was made with another number of partitions or by another version, if it
    /// holds data but no good manifest, or if the disk fails.
    pub fn open_in(files: F, path: &Path, partitions: Partitions) -> Result<(Self, Found), StorageError> {
        create_with_parents(&files, path)?;
        let lock = lock(&files, path)?;
        let mut found = Found::default();
        let loaded = match copies::load(&files, path)? {
            Some(loaded) => loaded,
            None => {
                found.created = true;
                create(&files, path, partitions)?
            }
        };
        if loaded.manifest.partitions != partitions {
            let made = loaded.manifest.partitions.count();
            let why =
                format!("was made with {made} partitions, not {}: set data.partitions = {made}", partitions.count());
            return Err(StorageError::Unusable { path: path.to_owned(), why });
        }
        let mut sequence = loaded.sequence;
        if loaded.repair.is_some() {
            sequence += 1;
            copies::store(&files, path, &loaded.manifest, sequence)?;
            found.repaired_manifest = loaded.repair;
        }
        for name in [path::LOG, path::SNAPSHOTS, path::INCOMING] {
            make_dir(&files, &path.join(name))?;
        }
        // An earlier process may have died after creating a directory and before making it durable.
        let parent = files::parent(path).map(Path::to_owned);
        for dir in parent.into_iter().chain([path.to_owned(), path.join(path::LOG), path.join(path::SNAPSHOTS)]) {
            sync_dir(&files, &dir)?;
        }
        let opened = Self {
            files,
            path: path.to_owned(),
            id: loaded.manifest.id,
            manifest: Mutex::new(Arc::new(loaded.manifest)),
            changes: Mutex::new(Changes { sequence, failed: None }),
            read_only: false,
            _lock: Some(lock),
        };
        opened.tidy(&mut found)?;
        Ok((opened, found))
    }

    /// Opens the data directory at `path` for reading; [`Found`] says what [`Self::open_in`] would do. Opening changes
    /// no file, and changes of the manifest are not stored. Methods that write other files (such as
    /// [`Self::begin_epoch`] and [`Self::install_snapshots`]) must not be called. No master can start while it is open.
    /// `None` if there is no data.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub fn open_read_only_in(files: F, path: &Path) -> Result<Option<(Self, Found)>, StorageError> {
        if !files.exists(path) {
            return Ok(None);
        }
        // A copy of a data directory may lack the lock file; then there is nobody to keep out.
        let lock = files.exists(&path.join(path::LOCK)).then(|| lock_shared(&files, path)).transpose()?;
        let Some(loaded) = copies::load(&files, path)? else {
            check_empty(&files, path)?;
            return Ok(None);
        };
        let mut found = Found { repaired_manifest: loaded.repair, ..Found::default() };
        let opened = Self {
            files,
            path: path.to_owned(),
            id: loaded.manifest.id,
            manifest: Mutex::new(Arc::new(loaded.manifest)),
            changes: Mutex::new(Changes { sequence: loaded.sequence, failed: None }),
            read_only: true,
            _lock: lock,
        };
        opened.tidy(&mut found)?;
        Ok(Some((opened, found)))
    }

    /// The file system that holds the directory.
    pub const fn files(&self) -> &F {
        &self.files
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Id that tells this data directory from every other.
    pub fn id(&self) -> DirectoryId {
        self.id
    }

    /// The current manifest.
    pub fn manifest(&self) -> Arc<Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what a reader of `stream` must know; `None` if the manifest has no such stream.
    pub fn stream(&self, stream: StreamId) -> Option<StreamSpec> {
        stream_spec(&self.path, &self.manifest(), stream)
    }

    /// Changes the manifest and makes the change durable. Returns what `change` returns; writes nothing if that is an
    /// error, nothing has changed, or the directory is open for reading.
    fn change<T>(&self, change: impl FnOnce(&mut Manifest) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let mut changes = self.start_change()?;
        let before = self.manifest();
        let mut manifest = Manifest::clone(&before);
        let outcome = change(&mut manifest)?;
        if manifest == *before || self.read_only {
            return Ok(outcome);
        }
        let is_postponed = is_planted(Bug::DroppedBeforeRecorded) && manifest.epochs == before.epochs;
        let stored = if is_postponed { Ok(()) } else { self.store(&manifest, changes.sequence + 1) };
        if let Err(why) = stored {
            if !why.is_out_of_space() {
                // Which of the two copies are on disk is unknown, and a second attempt that succeeds would prove
                // nothing.
                changes.failed = Some(why.to_string());
            }
            return Err(why);
        }
        changes.sequence += 1;
        *self.manifest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(manifest);
        Ok(outcome)
    }

    fn store(&self, manifest: &Manifest, sequence: u64) -> Result<(), StorageError> {
        copies::store(&self.files, &self.path, manifest, sequence)
    }

    fn start_change(&self) -> Result<MutexGuard<'_, Changes>, StorageError> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &changes.failed {
            let source = std::io::Error::other(format!("an earlier write failed ({why})"));
            return Err(source).context(&self.path.join(path::MANIFESTS[0]), "cannot change");
        }
        Ok(changes)
    }
}

/// Returns what a reader of `stream` in the data directory `dir` must know; `None` if the manifest has no such stream.
pub fn stream_spec(dir: &Path, manifest: &Manifest, stream: StreamId) -> Option<StreamSpec> {
    let record = manifest.stream(stream)?;
    let placement = manifest.placement(stream.epoch)?;
    let generations = (0u16..).zip(&manifest.snapshots).filter(|(p, _)| {
        let partition = crate::ids::PartitionId(*p);
        placement.core_of(partition) == stream.core
    });
    let positions = generations.flat_map(|(_, g)| [g.newest, g.older]).flatten().map(|s| s.position);
    let floor = positions.filter(|p| p.epoch == stream.epoch).map(|p| p.lsn).max().unwrap_or_default();
    let (dir, id) = (dir.to_owned(), manifest.id);
    let floor = floor.max(Lsn(record.first.0 - 1));
    Some(StreamSpec { dir, id, stream, first: record.first, last: record.last, floor })
}

/// Takes the exclusive lock of a data directory.
fn lock<F: Files>(files: &F, dir: &Path) -> Result<F::File, StorageError> {
    let path = dir.join(path::LOCK);
    let file = files.open(&path, Access::Write).context(&path, "cannot open")?;
    if !file.lock(LOCK_PATIENCE).context(&path, "cannot lock")? {
        return Err(StorageError::InUse { path: dir.to_owned() });
    }
    // The process id is only for people who wonder who holds the lock; nothing depends on it.
    let line = format!("{}\n", std::process::id());
    let _ = file.set_size(0).and_then(|()| file.write_at(0, line.as_bytes()));
    Ok(file)
}

/// Takes a shared lock on a data directory, together with others who only read.
fn lock_shared<F: Files>(files: &F, dir: &Path) -> Result<F::File, StorageError> {
    let path = dir.join(path::LOCK);
    let file = files.open(&path, Access::Read).context(&path, "cannot open")?;
    if file.lock_shared(LOCK_PATIENCE).context(&path, "cannot lock")? {
        return Ok(file);
    }
    Err(StorageError::InUse { path: dir.to_owned() })
}

/// Checks that a data directory without a manifest has no data either.
fn check_empty<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    for name in [path::LOG, path::SNAPSHOTS] {
        if !files::list(files, &dir.join(name))?.is_empty() {
            let why = if files.exists(&dir.join(path::MIRROR_OF)) {
                "these are snapshots of a checkpoint node that was killed, or had not caught up: they lack what it held in memory".into()
            } else {
                format!("there is no manifest, but {name}/ is not empty: this is not a new data directory")
            };
            return Err(Corruption::new(&dir.join(path::MANIFESTS[0]), 0, why).into());
        }
    }
    Ok(())
}

/// Creates the manifest of a new data directory, unless there is data already.
fn create<F: Files>(files: &F, dir: &Path, partitions: Partitions) -> Result<copies::Loaded, StorageError> {
    check_empty(files, dir)?;
    let id = DirectoryId(files.random_id().context(Path::new("/dev/urandom"), "cannot read")?);
    let loaded = copies::Loaded { manifest: Manifest::new(id, partitions), sequence: 1, repair: None };
    copies::store(files, dir, &loaded.manifest, loaded.sequence)?;
    sync_dir(files, dir)?;
    files::parent(dir).map_or(Ok(()), |parent| sync_dir(files, parent))?;
    Ok(loaded)
}
