//! Snapshots: the state of one partition in a file, with a section for each slot that holds anything.
//!
//! ```text
//! header  bytes  what (integers are little-endian; each CRC32 is over the data directory's id, then over what it says)
//!      0      8  magic "ROLLSNP\n"
//!      8      4  format version
//!     12      4  CRC32 over bytes 16 to 63 of the header
//!     16     16  the data directory's id
//!     32      2  partition
//!     34      2  number of partitions
//!     36      4  position: epoch
//!     40      8  position: lsn
//!     48      4  number of sections
//!     52     12  zeros
//!
//! section, in the order of the slots; none for an empty slot, unless its position is later than the snapshot's
//!      0      4  magic "SECT"
//!      4      4  CRC32 over everything from offset 8 to the section's end
//!      8      4  slot
//!     12      4  position: epoch
//!     16      8  position: lsn
//!     24      8  number of entries
//!     32      8  length of the entries in bytes
//!     40      8  digest of the slot
//!     48      …  entries, as `encoding::entry` lays them out
//!
//! footer
//!      0      4  magic "DONE"
//!      4      4  CRC32 over everything from offset 8 to the footer's end
//!      8      4  number of sections
//!     12      4  zeros
//!     16      8  number of entries in all sections
//!     24      8  digest of the partition: the wrapping sum of the sections'
//! ```
//!
//! The header is written last, so an unfinished file is not a snapshot. A section's position is the snapshot's, or
//! later if a core wrote the partition slot by slot beside live traffic.

mod format;
pub mod reader;
mod streamed;
#[cfg(test)]
mod tests;
pub mod writer;

pub use reader::{Section, SnapshotReader, verify, verify_in};
pub use writer::SnapshotWriter;

use crate::ids::{DirectoryId, PartitionId, Partitions, Position, Slot};
use crate::storage::Installed;

/// What a snapshot is of: a partition of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Id of the data directory.
    pub id: DirectoryId,
    /// How the slots are divided into partitions.
    pub partitions: Partitions,
    /// The partition.
    pub partition: PartitionId,
}

/// Summary of a snapshot that was read or written as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Position (no section has an earlier one), length, checksum and digest, as the manifest records them.
    pub installed: Installed,
    /// Number of sections.
    pub sections: u32,
    /// Number of entries in all sections.
    pub entries: u64,
    /// Digest of each of the partition's slots, in order, as in a barrier; 0 for a slot without a section.
    pub digests: Vec<u64>,
}

/// The header of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionHeader {
    /// The slot that the section holds.
    pub slot: Slot,
    /// Position in the log of the slot's state.
    pub position: Position,
    /// Number of entries.
    pub entries: u64,
    /// Length of the entries in bytes.
    pub bytes: u64,
    /// Digest of the slot.
    pub digest: u64,
}

impl SectionHeader {
    /// Whether a snapshot at `position` needs the section. A slot without a section counts as empty at that position,
    /// so an empty slot needs one only at a later position.
    pub fn is_needed(&self, position: Position) -> bool {
        self.entries > 0 || self.position != position && self.bytes == 0 && self.digest == 0
    }
}
