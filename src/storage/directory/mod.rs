//! The data directory: its lock, its manifest, and the order in which things in it are made and removed.
//!
//! Whatever the manifest names is on disk before the manifest is; whatever is removed is out of the manifest first. What is found and
//! belongs to nothing is set aside, never deleted.

mod epochs;
mod install;
mod orphans;
#[cfg(test)]
mod tests;
mod truncate;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::Context;
use super::file::{make_dir, sync_dir};
use super::log::reader::StreamSpec;
use super::manifest::{Manifest, copies};
use super::{Corruption, StorageError, file, path};
use crate::encoding::frame::{DirectoryId, StreamId};
use crate::ids::{Lsn, Partitions};

/// An open data directory, locked against other processes until it is dropped. Threads share it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    id: DirectoryId,
    /// What the directory holds, for those who only look.
    manifest: Mutex<Arc<Manifest>>,
    /// Held during a change.
    changes: Mutex<Changes>,
    /// Nothing is changed: what should be is only said.
    read_only: bool,
    _lock: File,
}

#[derive(Debug)]
struct Changes {
    sequence: u64,
    /// Why no change can be recorded any more.
    failed: Option<String>,
}

/// What [`DataDir::open`] found that is worth a line in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The directory was made just now.
    pub created: bool,
    /// A copy of the manifest was damaged or older than the other; it was written anew.
    pub repaired_manifest: Option<String>,
    /// Files of ours that belong to nothing, the traces of a crash; they were moved to `aside/`.
    pub set_aside: Vec<PathBuf>,
    /// Files that are not ours; they were left where they are.
    pub unknown: Vec<PathBuf>,
}

impl DataDir {
    /// Locks and opens the data directory at `path`; if it is empty or missing, makes it with `partitions`.
    ///
    /// # Errors
    /// If another process has it, if it was made with another number of partitions or by another version, if it holds data but no
    /// good manifest, or if the disk fails.
    pub fn open(path: &Path, partitions: Partitions) -> Result<(Self, Found), StorageError> {
        let mut directory = std::fs::DirBuilder::new();
        directory.recursive(true).mode(0o700).create(path).context(path, "cannot create")?;
        let lock = lock(path, false)?;
        let mut found = Found::default();
        let loaded = match copies::load(path)? {
            Some(loaded) => loaded,
            None => {
                found.created = true;
                create(path, partitions)?
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
            copies::store(path, &loaded.manifest, sequence)?;
            found.repaired_manifest = loaded.repair;
        }
        for name in [path::LOG, path::SNAPSHOTS, path::INCOMING] {
            make_dir(&path.join(name))?;
        }
        let opened = Self {
            path: path.to_owned(),
            id: loaded.manifest.id,
            manifest: Mutex::new(Arc::new(loaded.manifest)),
            changes: Mutex::new(Changes { sequence, failed: None }),
            read_only: false,
            _lock: lock,
        };
        opened.tidy(&mut found)?;
        Ok((opened, found))
    }

    /// Opens the data directory at `path` to look at it; [`Found`] says what [`Self::open`] would do. Nothing in it is changed, also
    /// by the methods that change things, except that no master can start as long as it is open. `None` if there is no data.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_read_only(path: &Path) -> Result<Option<(Self, Found)>, StorageError> {
        if !path.exists() {
            return Ok(None);
        }
        // A copy of a data directory may be without its lock; there is then nobody to keep out.
        let unlocked = !path.join(path::LOCK).exists();
        let lock = if unlocked { File::open(path).context(path, "cannot open")? } else { lock(path, true)? };
        let Some(loaded) = copies::load(path)? else {
            check_empty(path)?;
            return Ok(None);
        };
        let mut found = Found { repaired_manifest: loaded.repair, ..Found::default() };
        let opened = Self {
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

    /// What the data directory at `path` holds, for whoever only looks: locks nothing, changes nothing. `None` if there is none.
    ///
    /// # Errors
    /// If it was made by another version, if it has no good manifest, or if the disk fails.
    pub fn peek(path: &Path) -> Result<Option<Manifest>, StorageError> {
        Ok(copies::load(path)?.map(|loaded| loaded.manifest))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells it from every other.
    pub fn id(&self) -> DirectoryId {
        self.id
    }

    /// What it holds, as of now.
    pub fn manifest(&self) -> Arc<Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a reader of `stream` must know; `None` if the manifest has no such stream.
    pub fn stream(&self, stream: StreamId) -> Option<StreamSpec> {
        stream_spec(&self.path, &self.manifest(), stream)
    }

    /// Makes a change and makes it durable. Returns what `change` returns; nothing is written if that is an error or nothing changed.
    fn change<T>(&self, change: impl FnOnce(&mut Manifest) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let mut changes = self.start_change()?;
        let before = self.manifest();
        let mut manifest = Manifest::clone(&before);
        let outcome = change(&mut manifest)?;
        if manifest == *before || self.read_only {
            return Ok(outcome);
        }
        if let Err(why) = copies::store(&self.path, &manifest, changes.sequence + 1) {
            if !why.is_out_of_space() {
                // Which of the two copies are on disk is not known, and a second attempt that succeeds would prove nothing.
                changes.failed = Some(why.to_string());
            }
            return Err(why);
        }
        changes.sequence += 1;
        *self.manifest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(manifest);
        Ok(outcome)
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

/// What a reader of `stream` of the data directory `dir` must know; `None` if the manifest has no such stream.
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

/// Takes the lock of a data directory; shared with others who only look, if `read_only`.
fn lock(dir: &Path, read_only: bool) -> Result<File, StorageError> {
    let path = dir.join(path::LOCK);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(!read_only).create(!read_only).truncate(false).mode(0o600);
    let mut file = options.open(&path).context(&path, "cannot open")?;
    match if read_only { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StorageError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(e)) => return Err(e).context(&path, "cannot lock"),
    }
    if !read_only {
        // Only for people who look whose it is: nothing depends on it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    }
    Ok(file)
}

/// Makes sure that a data directory without a manifest has no data either.
fn check_empty(dir: &Path) -> Result<(), StorageError> {
    for name in [path::LOG, path::SNAPSHOTS] {
        if !file::list(&dir.join(name))?.is_empty() {
            let why = format!("there is no manifest, but {name}/ is not empty: this is not a new data directory");
            return Err(Corruption::new(&dir.join(path::MANIFESTS[0]), 0, why).into());
        }
    }
    Ok(())
}

/// Makes the manifest of a new data directory, unless there is data already.
fn create(dir: &Path, partitions: Partitions) -> Result<copies::Loaded, StorageError> {
    check_empty(dir)?;
    let id = DirectoryId(random_id().context(Path::new("/dev/urandom"), "cannot read")?);
    let loaded = copies::Loaded { manifest: Manifest::new(id, partitions), sequence: 1, repair: None };
    copies::store(dir, &loaded.manifest, loaded.sequence)?;
    sync_dir(dir)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok(loaded)
}

fn random_id() -> std::io::Result<[u8; 16]> {
    use std::io::Read;
    let mut id = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id)
}
