//! Loads a snapshot into a replica, comparing the digest of every section with the one recorded when it was written.

use super::replica::Replica;
use crate::ids::{Position, Slot};
use crate::storage::snapshot::{SnapshotReader, Summary};
use crate::storage::{Files, StorageError};
use crate::store::ApplyError;

/// Why a snapshot could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is damaged, or the disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An entry could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The digest of a slot is not the one recorded in its section.
    #[error("slot {0} has another digest than when it was written")]
    Digest(Slot),
    /// The file ended without a summary; its reader should have reported that as an error.
    #[error("the snapshot does not end")]
    Unfinished,
}

impl Replica {
    /// Replaces a partition of this replica by its snapshot, including slots that are ahead of it. After an error the
    /// partition is in an undefined state and must be [`Self::reset`].
    ///
    /// # Errors
    /// If the snapshot is damaged, or the disk fails.
    pub fn load<F: Files>(&mut self, mut reader: SnapshotReader<F>) -> Result<Summary, LoadError> {
        let partition = reader.subject().partition;
        let slots = self.partitions().slots(partition);
        let mut positions = vec![Position::START; slots.len()];
        self.reset(partition);
        while let Some(section) = reader.next()? {
            let header = section.header;
            self.store_mut().load_section(header.slot, header.entries, section.entries)?;
            if self.store().digest(header.slot).0 != header.digest {
                return Err(LoadError::Digest(header.slot));
            }
            // The reader refuses slots of another partition.
            positions[usize::from(header.slot.0 - slots.start)] = header.position;
        }
        self.set_positions(partition, reader.position(), positions);
        reader.summary().cloned().ok_or(LoadError::Unfinished)
    }
}
