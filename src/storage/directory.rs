//! The data directory: its lock, its manifest, and the order in which things in it are made and removed.
//!
//! Whatever the manifest names is on disk before the manifest is; whatever is removed is out of the manifest first.

use std::path::{Path, PathBuf};

use super::log::reader::StreamSpec;
use super::manifest::{Installed, Manifest};
use super::{Cut, StorageError};
use crate::encoding::frame::{DirectoryId, StreamId};
use crate::ids::{Epoch, Lsn, PartitionId, Partitions};

/// An open data directory, locked against other processes until it is dropped. Threads share it.
pub struct DataDir {
    path: PathBuf,
}

/// What [`DataDir::open`] found that is worth a line in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The directory was made just now.
    pub created: bool,
    /// A copy of the manifest was damaged or older than the other; it was written anew.
    pub repaired_manifest: Option<String>,
    /// Files that are not ours or belong to nothing; they were moved to `aside/`.
    pub set_aside: Vec<PathBuf>,
}

impl DataDir {
    /// Locks and opens the data directory at `path`; if it is empty or missing, makes it with `partitions`.
    ///
    /// # Errors
    /// If another process has it, if it was made with another number of partitions or by another version, if it holds data but no
    /// good manifest, or if the disk fails.
    pub fn open(path: &Path, partitions: Partitions) -> Result<(Self, Found), StorageError> {
        todo!("{path:?} {partitions:?}")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells it from every other.
    pub fn id(&self) -> DirectoryId {
        todo!()
    }

    /// What it holds, as of now.
    pub fn manifest(&self) -> Manifest {
        todo!()
    }

    /// What a reader of `stream` must know; `None` if the manifest has no such stream.
    pub fn stream(&self, stream: StreamId) -> Option<StreamSpec> {
        todo!("{stream}")
    }

    /// Where recovery found the streams of the open epoch to end: cuts what follows, syncs the files, then records the ends, so that
    /// nothing is served that a second crash could take away. `ends` has an entry for each of the epoch's streams, in order.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn end_epoch(&self, epoch: Epoch, ends: &[(Lsn, Option<Cut>)]) -> Result<(), StorageError> {
        todo!("{epoch} {ends:?}")
    }

    /// Begins a life of the master with `cores` streams: makes their directories and first segments, then records the epoch.
    /// The epoch before must have ended.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn begin_epoch(&self, cores: u16, first_segment_bytes: u64) -> Result<Epoch, StorageError> {
        todo!("{cores} {first_segment_bytes}")
    }

    /// Makes the verified snapshot file at `incoming` (in this directory's `incoming/`) the newest generation of `partition`: syncs it,
    /// moves it to its place, records it, and only then removes the generation that is now the third. Idempotent: a snapshot at the
    /// position of the newest generation, or before it, is removed and nothing else happens.
    ///
    /// # Errors
    /// If the disk fails; the old generations are then still in place.
    pub fn install_snapshot(
        &self,
        partition: PartitionId,
        incoming: &Path,
        installed: Installed,
    ) -> Result<(), StorageError> {
        todo!("{partition} {incoming:?} {installed:?}")
    }

    /// A snapshot proved bad when it was loaded: records that the partition is without it and moves the file to `aside/`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn discard_snapshot(&self, partition: PartitionId, bad: Installed) -> Result<(), StorageError> {
        todo!("{partition} {bad:?}")
    }

    /// Edits before the given one of each given stream are not needed any more: records that, then removes the segments that lie
    /// wholly before. Returns the bytes that became free.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn drop_log(&self, firsts: &[(StreamId, Lsn)]) -> Result<u64, StorageError> {
        todo!("{firsts:?}")
    }
}
