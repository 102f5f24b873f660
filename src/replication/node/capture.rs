//! A partition's state at a barrier, taken in memory, so that the stream goes on while another thread writes the file.

use std::path::Path;

use crate::ids::{PartitionId, Position, Slot};
use crate::partition::replica::Replica;
use crate::storage::snapshot::{SectionHeader, SnapshotWriter, Subject};
use crate::storage::{Files, Installed, StorageError};

/// The state, encoded as a snapshot holds it.
pub struct Capture {
    /// The partition.
    pub partition: PartitionId,
    /// The barrier.
    pub position: Position,
    sections: Vec<SectionHeader>,
    /// The sections' entries, one after the other.
    bytes: Vec<u8>,
}

impl Capture {
    /// The state of `partition` as it is now, at `position`, but for slots that are ahead of it.
    pub fn of(replica: &Replica, partition: PartitionId, position: Position) -> Self {
        let mut bytes = Vec::new();
        let mut sections = Vec::new();
        let store = replica.store();
        for slot in replica.partitions().slots(partition).map(Slot) {
            let start = bytes.len();
            let entries = store.write_section(slot, &mut bytes);
            let section = SectionHeader {
                slot,
                position: replica.slot_position(slot),
                entries,
                bytes: (bytes.len() - start) as u64,
                digest: store.digest(slot).0,
            };
            if section.is_needed(position) {
                sections.push(section);
            }
        }
        Self { partition, position, sections, bytes }
    }

    /// Writes the snapshot file and syncs it.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn write<F: Files>(&self, files: &F, path: &Path, subject: Subject) -> Result<Installed, StorageError> {
        let mut writer = SnapshotWriter::create_in(files, path, subject, self.position)?;
        let mut rest = &self.bytes[..];
        for section in &self.sections {
            let (entries, after) = rest.split_at(section.bytes as usize);
            writer.section(*section, entries)?;
            rest = after;
        }
        Ok(writer.finish()?.installed)
    }
}
