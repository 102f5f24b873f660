//! The fixed parts of a snapshot file as bytes: header, section headers and footer. The parent module has the byte
//! table.

use super::{SectionHeader, Subject};
use crate::ids::{DirectoryId, Epoch, Lsn, PartitionId, Partitions, Position, Slot};

/// Format version of snapshot files. Up to version 2, the digest of a value depended on its key.
pub(super) const VERSION: u32 = 3;
/// Length of the file's header in bytes.
pub(super) const HEADER: usize = 64;
/// Length of a section's header in bytes.
pub(super) const SECTION: usize = 48;
/// Length of the footer in bytes.
pub(super) const FOOTER: usize = 32;

const MAGIC: [u8; 8] = *b"ROLLSNP\n";
const SECTION_MAGIC: [u8; 4] = *b"SECT";
const FOOTER_MAGIC: [u8; 4] = *b"DONE";

/// The header at the beginning of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) subject: Subject,
    pub(super) position: Position,
    pub(super) sections: u32,
}

/// Why bytes are not the expected part of a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    #[error("not a snapshot, or one that was never finished")]
    Magic,
    #[error("snapshot of format version {0}, but this program knows only version {VERSION}")]
    Version(u32),
    #[error("checksum mismatch in the {0}")]
    Checksum(&'static str),
    #[error("impossible {0}")]
    Impossible(&'static str),
}

/// Begins a CRC32 with the data directory's id.
pub(super) fn checksum(id: DirectoryId) -> crc32fast::Hasher {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.0);
    hasher
}

fn checksum_of(id: DirectoryId, bytes: &[u8]) -> u32 {
    let mut hasher = checksum(id);
    hasher.update(bytes);
    hasher.finalize()
}

/// Writes fields one after the other.
struct Fields<'a>(&'a mut [u8]);

impl Fields<'_> {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        let (field, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        field.copy_from_slice(bytes);
        self.0 = rest;
        self
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl Header {
    pub(super) fn write(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let Subject { id, partitions, partition } = self.subject;
        Fields(&mut bytes)
            .put(&MAGIC)
            .put(&VERSION.to_le_bytes())
            .put(&[0; 4])
            .put(&id.0)
            .put(&partition.0.to_le_bytes())
            .put(&partitions.count().to_le_bytes())
            .put(&self.position.epoch.0.to_le_bytes())
            .put(&self.position.lsn.0.to_le_bytes())
            .put(&self.sections.to_le_bytes());
        let crc = checksum_of(id, &bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, FormatError> {
        if bytes[..8] != MAGIC {
            return Err(FormatError::Magic);
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(FormatError::Version(u32_at(bytes, 8)));
        }
        let mut id = DirectoryId::default();
        id.0.copy_from_slice(&bytes[16..32]);
        if checksum_of(id, &bytes[16..]) != u32_at(bytes, 12) {
            return Err(FormatError::Checksum("header"));
        }
        let partitions = Partitions::new(u16_at(bytes, 34)).ok_or(FormatError::Impossible("header"))?;
        let subject = Subject { id, partitions, partition: PartitionId(u16_at(bytes, 32)) };
        let position = Position::new(Epoch(u32_at(bytes, 36)), Lsn(u64_at(bytes, 40)));
        let sections = u32_at(bytes, 48);
        let possible = subject.partition.0 < partitions.count() && sections <= u32::from(partitions.slots_each());
        if possible { Ok(Self { subject, position, sections }) } else { Err(FormatError::Impossible("header")) }
    }
}

impl SectionHeader {
    /// Encodes the section header, with a checksum that includes `entries`.
    pub(super) fn write(&self, id: DirectoryId, entries: &[u8]) -> [u8; SECTION] {
        let mut crc = crc32fast::Hasher::new();
        crc.update(entries);
        self.write_with(id, &crc)
    }

    /// As [`Self::write`], given only the checksum of the entries.
    pub(super) fn write_with(&self, id: DirectoryId, entries: &crc32fast::Hasher) -> [u8; SECTION] {
        let mut bytes = [0; SECTION];
        Fields(&mut bytes)
            .put(&SECTION_MAGIC)
            .put(&[0; 4])
            .put(&u32::from(self.slot.0).to_le_bytes())
            .put(&self.position.epoch.0.to_le_bytes())
            .put(&self.position.lsn.0.to_le_bytes())
            .put(&self.entries.to_le_bytes())
            .put(&self.bytes.to_le_bytes())
            .put(&self.digest.to_le_bytes());
        let mut crc = checksum(id);
        crc.update(&bytes[8..]);
        crc.combine(entries);
        bytes[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    /// Parses a section header without verifying its checksum; `None` if the bytes do not begin with a section's magic.
    pub(super) fn parse(bytes: &[u8; SECTION]) -> Option<Self> {
        if bytes[..4] != SECTION_MAGIC {
            return None;
        }
        Some(Self {
            slot: Slot(u16::try_from(u32_at(bytes, 8)).ok()?),
            position: Position::new(Epoch(u32_at(bytes, 12)), Lsn(u64_at(bytes, 16))),
            entries: u64_at(bytes, 24),
            bytes: u64_at(bytes, 32),
            digest: u64_at(bytes, 40),
        })
    }

    /// Whether the checksum of a section header and its entries is right.
    pub(super) fn verify(id: DirectoryId, bytes: &[u8; SECTION], entries: &[u8]) -> bool {
        let mut crc = checksum(id);
        crc.update(&bytes[8..]);
        crc.update(entries);
        crc.finalize() == u32_at(bytes, 4)
    }
}

/// The footer at the end of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) sections: u32,
    pub(super) entries: u64,
    pub(super) digest: u64,
}

impl Footer {
    pub(super) fn write(&self, id: DirectoryId) -> [u8; FOOTER] {
        let mut bytes = [0; FOOTER];
        Fields(&mut bytes)
            .put(&FOOTER_MAGIC)
            .put(&[0; 4])
            .put(&self.sections.to_le_bytes())
            .put(&[0; 4])
            .put(&self.entries.to_le_bytes())
            .put(&self.digest.to_le_bytes());
        let crc = checksum_of(id, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn parse(id: DirectoryId, bytes: &[u8; FOOTER]) -> Result<Self, FormatError> {
        if bytes[..4] != FOOTER_MAGIC || checksum_of(id, &bytes[8..]) != u32_at(bytes, 4) {
            return Err(FormatError::Checksum("footer"));
        }
        Ok(Self { sections: u32_at(bytes, 8), entries: u64_at(bytes, 16), digest: u64_at(bytes, 24) })
    }
}
