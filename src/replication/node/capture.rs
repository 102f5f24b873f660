//! A copy of a partition's state at a barrier, in memory, so that the stream is followed on while another thread writes
//! the file.

use std::path::Path;

use crate::ids::{PartitionId, Position, Slot};
use crate::partition::replica::Replica;
use crate::storage::snapshot::{SectionHeader, SnapshotWriter, Subject};
use crate::storage::{Files, Installed, StorageError};

/// The captured state, encoded as in a snapshot.
pub struct Capture {
    /// The captured partition.
    pub partition: PartitionId,
    /// Position of the barrier.
    pub position: Position,
    sections: Vec<SectionHeader>,
    /// Entries of all sections, one section after the other.
    bytes: Vec<u8>,
}

impl Capture {
    /// Captures the present state of `partition`, which is at `position`; slots that are ahead of it get their own
    /// positions.
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
