//! Reads and verifies a snapshot file.

use std::path::Path;

use super::{SectionHeader, Subject, Summary};
use crate::ids::Position;
use crate::storage::StorageError;

/// A section with its checksum verified.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// What it says of itself.
    pub header: SectionHeader,
    /// Its entries, as `encoding::entry` lays them out.
    pub entries: &'a [u8],
}

/// Reads the sections of a snapshot in order. Blocks.
pub struct SnapshotReader {
    _private: (),
}

impl SnapshotReader {
    /// Opens `path`, which must be a snapshot of `subject`.
    ///
    /// # Errors
    /// If it is not, or the disk fails.
    pub fn open(path: &Path, subject: Subject) -> Result<Self, StorageError> {
        todo!("{path:?} {subject:?}")
    }

    /// Where in the log the partition was.
    pub fn position(&self) -> Position {
        todo!()
    }

    /// The next section; `None` after the last, when the whole file has proved good.
    ///
    /// # Errors
    /// If the file is damaged, or the disk fails.
    #[expect(clippy::should_implement_trait, reason = "the section borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Section<'_>>, StorageError> {
        todo!()
    }

    /// What the whole file holds, once [`Self::next`] has returned `None`.
    pub fn summary(&self) -> Option<&Summary> {
        todo!()
    }
}

/// Reads a snapshot of `subject` whole and verifies it, without looking into entries.
///
/// # Errors
/// If it is damaged or of something else, or the disk fails.
pub fn verify(path: &Path, subject: Subject) -> Result<Summary, StorageError> {
    todo!("{path:?} {subject:?}")
}
