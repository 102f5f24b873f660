//! Snapshots: the state of one partition in a file, a section per slot that holds anything.

pub mod reader;
pub mod writer;

pub use reader::{Section, SnapshotReader, verify};
pub use writer::SnapshotWriter;

use crate::encoding::frame::DirectoryId;
use crate::ids::{PartitionId, Partitions, Position, Slot};
use crate::storage::Installed;

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The data directory.
    pub id: DirectoryId,
    /// How its slots are cut.
    pub partitions: Partitions,
    /// The partition.
    pub partition: PartitionId,
}

/// What a whole and verified snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Position (its oldest section's), length, checksum and digest, as the manifest records them.
    pub installed: Installed,
    /// Number of entries in all sections.
    pub entries: u64,
    /// Digest of each of the partition's slots, in order, as a barrier bears them; 0 for a slot without a section.
    pub digests: Vec<u64>,
}

/// What a section says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionHeader {
    /// The slot.
    pub slot: Slot,
    /// Where in the log the slot was.
    pub position: Position,
    /// Number of entries.
    pub entries: u64,
    /// Length of the entries in bytes.
    pub bytes: u64,
    /// Digest of the slot.
    pub digest: u64,
}
