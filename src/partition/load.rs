//! A snapshot into a replica: every section is compared with the digest that it had when it was written.

use super::replica::Replica;
use crate::ids::{Position, Slot};
use crate::storage::snapshot::{SnapshotReader, Summary};
use crate::storage::{Files, StorageError};
use crate::store::ApplyError;

/// Why a snapshot is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is damaged, or the disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its entries are not what they should be.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A section holds something else than when it was written.
    #[error("slot {0} has another digest than when it was written")]
    Digest(Slot),
    /// The file has no end, which its reader should have said.
    #[error("the snapshot does not end")]
    Unfinished,
}

impl Replica {
    /// Fills a partition of this replica, in place of what it holds, from its snapshot, slots that are ahead of it
    /// included. After an error its state is neither: it is to be [`Self::reset`].
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
            // The reader lets no slot of another partition through.
            positions[usize::from(header.slot.0 - slots.start)] = header.position;
        }
        self.set_positions(partition, reader.position(), positions);
        reader.summary().cloned().ok_or(LoadError::Unfinished)
    }
}
