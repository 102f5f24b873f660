//! Segments: the files of a stream. Each begins with a header block; then come frames, then zeros up to its full size.
//!
//! ```text
//! offset  bytes  what (integers are little-endian)
//!      0      8  magic "ROLLSEG\n"
//!      8      4  format version
//!     12      4  CRC32 over the data directory's id, then over bytes 16 to 4095
//!     16     16  the data directory's id
//!     32      4  epoch
//!     36      2  core
//!     38      2  zeros
//!     40      8  lsn of the first edit in the segment
//!     48      8  first lsn of the segment before; 0 in a stream's first segment
//!     56      8  size of the file in bytes
//!     64   4032  zeros
//! ```
//!
//! Durable bytes of a segment are never changed, and a later life of the master never appends to the segment.
//!
//! Always: everything before a segment's first edit is on disk before its name is, and its size, header and name are on
//! disk before the first frame in it is written.

use crate::encoding::frame::BLOCK;
use crate::ids::{CoreId, DirectoryId, Epoch, Lsn, StreamId};

/// Version of the format of segments and of the frames in them. Frames of version 1 had no `durable`; in barriers up to
/// version 2, the digest of a value depended on its key; up to version 3, no value moved to another slot.
pub const VERSION: u32 = 4;
/// Smallest size of a segment in bytes: its header, a frame, and the block reserved for the seal.
pub const MIN_BYTES: u64 = 3 * BLOCK as u64;

/// Largest size of a stream's first segment in bytes: an epoch may be short, and a start must be quick.
const MOST_FIRST: u64 = 16 << 20;

const MAGIC: [u8; 8] = *b"ROLLSEG\n";
const FORMAT: usize = 8;
const CRC: usize = FORMAT + 4;
const ID: usize = CRC + 4;
const EPOCH: usize = ID + 16;
const CORE: usize = EPOCH + 4;
const FIRST: usize = CORE + 2 + 2;
const PREVIOUS: usize = FIRST + 8;
const BYTES: usize = PREVIOUS + 8;
const END: usize = BYTES + 8;
const _: () = assert!(END == 64 && END <= BLOCK);

/// Size in bytes of a stream's first segment, if later ones have `segment_bytes`. The actual one is smaller only if the
/// disk was full when it was created.
pub fn first_bytes(segment_bytes: u64) -> u64 {
    segment_bytes.min(MOST_FIRST).next_multiple_of(BLOCK as u64).max(MIN_BYTES)
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The stream that the segment belongs to.
    pub stream: StreamId,
    /// Lsn of the segment's first edit; all edits before it are on disk.
    pub first: Lsn,
    /// First lsn of the previous segment; 0 if there is none.
    pub previous: Lsn,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// Why a block is not the header of a segment of this data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The block is all zeros: no header was ever written.
    #[error("the segment's header was never written")]
    Empty,
    /// The block does not begin with the magic of a segment.
    #[error("not a segment")]
    Magic,
    /// The segment has another format version.
    #[error("segment of format version {0}, but this program knows only version {VERSION}")]
    Version(u32),
    /// The checksum is wrong: the block is damaged, or belongs to another data directory.
    #[error("checksum mismatch in the segment's header")]
    Checksum,
}

impl SegmentHeader {
    /// Writes the header into `block`.
    pub fn write(&self, id: DirectoryId, block: &mut [u8; BLOCK]) {
        block.fill(0);
        block[..FORMAT].copy_from_slice(&MAGIC);
        block[FORMAT..CRC].copy_from_slice(&VERSION.to_le_bytes());
        block[ID..EPOCH].copy_from_slice(&id.0);
        block[EPOCH..CORE].copy_from_slice(&self.stream.epoch.0.to_le_bytes());
        block[CORE..CORE + 2].copy_from_slice(&self.stream.core.0.to_le_bytes());
        block[FIRST..PREVIOUS].copy_from_slice(&self.first.0.to_le_bytes());
        block[PREVIOUS..BYTES].copy_from_slice(&self.previous.0.to_le_bytes());
        block[BYTES..END].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = checksum(id, block);
        block[CRC..ID].copy_from_slice(&crc.to_le_bytes());
    }

    /// The id of the data directory that the segment claims to belong to; not verified.
    pub fn claimed_id(block: &[u8; BLOCK]) -> DirectoryId {
        let mut id = DirectoryId::default();
        id.0.copy_from_slice(&block[ID..EPOCH]);
        id
    }

    /// Parses and verifies the header in `block`.
    ///
    /// # Errors
    /// If the block is not the header of a segment of this data directory.
    pub fn parse(id: DirectoryId, block: &[u8; BLOCK]) -> Result<Self, HeaderError> {
        if block.iter().all(|b| *b == 0) {
            return Err(HeaderError::Empty);
        }
        if block[..FORMAT] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let u32_at = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        // The version is checked before the checksum, which another version may compute in another way.
        if u32_at(FORMAT) != VERSION {
            return Err(HeaderError::Version(u32_at(FORMAT)));
        }
        if checksum(id, block) != u32_at(CRC) {
            return Err(HeaderError::Checksum);
        }
        let core = u16::from_le_bytes([block[CORE], block[CORE + 1]]);
        Ok(Self {
            stream: StreamId::new(Epoch(u32_at(EPOCH)), CoreId(core)),
            first: Lsn(u64_at(FIRST)),
            previous: Lsn(u64_at(PREVIOUS)),
            bytes: u64_at(BYTES),
        })
    }
}

fn checksum(id: DirectoryId, block: &[u8; BLOCK]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.0);
    hasher.update(&block[ID..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_parsed_and_every_flipped_bit_is_noticed() {
        let stream = StreamId::new(Epoch(9), CoreId(2));
        let header = SegmentHeader { stream, first: Lsn(7 << 40 | 3), previous: Lsn(7 << 40 | 1), bytes: 1 << 33 };
        let mut block = [1; BLOCK];
        header.write(DirectoryId([3; 16]), &mut block);
        assert_eq!(SegmentHeader::parse(DirectoryId([3; 16]), &block), Ok(header));
        assert!(SegmentHeader::parse(DirectoryId([4; 16]), &block).is_err());
        for at in 0..BLOCK {
            for bit in 0..8 {
                let mut damaged = block;
                damaged[at] ^= 1 << bit;
                assert!(SegmentHeader::parse(DirectoryId([3; 16]), &damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert_eq!(SegmentHeader::parse(DirectoryId([3; 16]), &[0; BLOCK]), Err(HeaderError::Empty));
    }
}
