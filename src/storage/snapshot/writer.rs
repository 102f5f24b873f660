//! Writes a snapshot file.

use std::path::Path;

use super::{SectionHeader, Subject, Summary};
use crate::ids::Position;
use crate::storage::StorageError;

/// Writes a snapshot of one partition, section by section. Blocks. Dropped unfinished, it leaves a file that is no snapshot.
pub struct SnapshotWriter {
    _private: (),
}

impl SnapshotWriter {
    /// Begins the file `path` (which is made or emptied) with the state of `subject` at `position`, or later for single sections.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn create(path: &Path, subject: Subject, position: Position) -> Result<Self, StorageError> {
        todo!("{path:?} {subject:?} {position}")
    }

    /// Adds the section of a slot: after those of lower slots, with at least one entry, at the snapshot's position or later.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn section(&mut self, header: SectionHeader, entries: &[u8]) -> Result<(), StorageError> {
        todo!("{header:?} {entries:?}")
    }

    /// Completes and syncs the file (not its directory).
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn finish(self) -> Result<Summary, StorageError> {
        todo!()
    }
}
