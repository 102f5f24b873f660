//! The manifest as bytes: a header, then a flatbuffer (`schema/manifest.fbs`). No other file names the generated types.
//!
//! ```text
//! offset  bytes  what (integers are little-endian)
//!      0      8  magic "ROLLMAN\n"
//!      8      4  format version of the data directory
//!     12      4  CRC32 over everything from offset 16 to the flatbuffer's end
//!     16      8  sequence: grows by one with every change
//!     24      4  length of the flatbuffer in bytes
//!     28      4  zeros
//!     32      …  flatbuffer
//! ```

use flatbuffers::FlatBufferBuilder;

use super::{EpochRecord, Generations, Installed, Manifest, StreamRecord, Transfer};
use crate::ids::{DirectoryId, Epoch, Lsn, PartitionId, Partitions, Position};

#[allow(warnings, clippy::all, clippy::pedantic, missing_docs, unsafe_code)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/manifest.rs"));
}
use generated::rollbook::manifest as fb;

/// Version of the layout of a data directory. Up to version 2, no value moved from one slot to another with a small
/// edit.
pub const VERSION: u32 = 3;

const MAGIC: [u8; 8] = *b"ROLLMAN\n";
const FORMAT: usize = 8;
const CRC: usize = FORMAT + 4;
const SEQUENCE: usize = CRC + 4;
const LENGTH: usize = SEQUENCE + 8;
const BODY: usize = LENGTH + 4 + 4;
const _: () = assert!(BODY == 32);

/// Why bytes are not a manifest of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The file is missing, empty or all zeros.
    #[error("empty")]
    Empty,
    /// The bytes do not begin with the magic of a manifest.
    #[error("not a manifest")]
    Magic,
    /// The manifest has another format version.
    #[error("format version {0}, but this program knows only version {VERSION}")]
    Version(u32),
    /// The bytes differ from what was written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

/// Encodes `manifest` with the number `sequence` of its last change.
pub fn encode(manifest: &Manifest, sequence: u64) -> Vec<u8> {
    let mut b = FlatBufferBuilder::new();
    let id = b.create_vector::<u8>(&manifest.id.0);
    let epochs: Vec<_> = manifest.epochs.iter().map(|epoch| encode_epoch(&mut b, epoch)).collect();
    let epochs = b.create_vector(&epochs);
    let snapshots = (0u16..).zip(&manifest.snapshots).flat_map(|(partition, generations)| {
        let both = [(0, generations.newest), (1, generations.older)];
        both.into_iter().filter_map(move |(generation, installed)| {
            let s = installed?;
            let (epoch, lsn) = (s.position.epoch.0, s.position.lsn.0);
            Some(fb::Snapshot::new(partition, generation, s.crc, epoch, lsn, s.bytes, s.digest))
        })
    });
    let snapshots = b.create_vector(&snapshots.collect::<Vec<_>>());
    let transfers = manifest.transfers.iter();
    let transfers = transfers.map(|t| fb::Transfer::new(t.from.0, t.to.0, t.position.epoch.0, t.position.lsn.0));
    let transfers = b.create_vector(&transfers.collect::<Vec<_>>());
    let args = fb::ManifestArgs {
        id: Some(id),
        partitions: manifest.partitions.count(),
        epochs: Some(epochs),
        snapshots: Some(snapshots),
        transfers: Some(transfers),
    };
    let root = fb::Manifest::create(&mut b, &args);
    b.finish_minimal(root);
    let body = b.finished_data();
    let length = u32::try_from(body.len()).expect("a flatbuffer is shorter than 2 GiB");
    let mut bytes = Vec::with_capacity(BODY + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    let crc = crc32fast::hash(&bytes[SEQUENCE..]);
    bytes[CRC..SEQUENCE].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn encode_epoch<'a>(b: &mut FlatBufferBuilder<'a>, epoch: &EpochRecord) -> flatbuffers::WIPOffset<fb::Epoch<'a>> {
    let streams = epoch.streams.iter();
    let streams = streams.map(|s| fb::Stream::new(s.first.0, s.last.unwrap_or_default().0, s.last.is_some()));
    let streams = Some(b.create_vector(&streams.collect::<Vec<_>>()));
    fb::Epoch::create(b, &fb::EpochArgs { epoch: epoch.epoch.0, streams })
}

/// Decodes the manifest at the start of `bytes`, which may be longer; returns it with its sequence.
///
/// # Errors
/// If `bytes` do not begin with a valid manifest of this version.
pub fn decode(bytes: &[u8]) -> Result<(Manifest, u64), ManifestError> {
    use ManifestError::Damaged;
    if bytes.iter().all(|b| *b == 0) {
        return Err(ManifestError::Empty);
    }
    let header = bytes.first_chunk::<BODY>().ok_or(Damaged("too short"))?;
    if header[..FORMAT] != MAGIC {
        return Err(ManifestError::Magic);
    }
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if u32_at(FORMAT) != VERSION {
        return Err(ManifestError::Version(u32_at(FORMAT)));
    }
    let whole = bytes.get(..BODY + u32_at(LENGTH) as usize).ok_or(Damaged("cut off"))?;
    if crc32fast::hash(&whole[SEQUENCE..]) != u32_at(CRC) {
        return Err(Damaged("checksum mismatch"));
    }
    let sequence = u64::from(u32_at(SEQUENCE)) | u64::from(u32_at(SEQUENCE + 4)) << 32;
    let root = flatbuffers::root::<fb::Manifest<'_>>(&whole[BODY..]).map_err(|_| Damaged("malformed"))?;
    let manifest = decode_body(root).ok_or(Damaged("impossible content"))?;
    Ok((manifest, sequence))
}

fn decode_body(root: fb::Manifest<'_>) -> Option<Manifest> {
    let id = DirectoryId(root.id().bytes().try_into().ok()?);
    let mut manifest = Manifest::new(id, Partitions::new(root.partitions())?);
    for epoch in root.epochs() {
        let streams = epoch.streams().iter();
        let streams = streams.map(|s| StreamRecord { first: Lsn(s.first()), last: s.ended().then_some(Lsn(s.last())) });
        let record = EpochRecord { epoch: Epoch(epoch.epoch()), streams: streams.collect() };
        manifest.epochs.push(record);
    }
    for s in root.snapshots() {
        let generations: &mut Generations = manifest.snapshots.get_mut(usize::from(s.partition()))?;
        let place = match s.generation() {
            0 => &mut generations.newest,
            1 => &mut generations.older,
            _ => return None,
        };
        let position = Position::new(Epoch(s.epoch()), Lsn(s.lsn()));
        *place = Some(Installed { position, bytes: s.bytes(), crc: s.crc(), digest: s.digest() });
    }
    for t in root.transfers() {
        let position = Position::new(Epoch(t.epoch()), Lsn(t.lsn()));
        manifest.transfers.push(Transfer { from: PartitionId(t.from()), to: PartitionId(t.to()), position });
    }
    manifest.is_consistent().then_some(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CoreId;

    fn sample() -> Manifest {
        let mut manifest = Manifest::new(DirectoryId([5; 16]), Partitions::new(4).unwrap());
        manifest.begin_epoch(2);
        manifest.end_streams(Epoch(1), &[(CoreId(0), Lsn(10)), (CoreId(1), Lsn(0))]).unwrap();
        manifest.begin_epoch(3);
        for lsn in [4, 9] {
            let position = Position::new(Epoch(1), Lsn(lsn));
            manifest.install(PartitionId(3), Installed { position, bytes: 100, crc: 7, digest: u64::MAX });
        }
        let position = Position::new(Epoch(1), Lsn(8));
        manifest.transfers.push(Transfer { from: PartitionId(3), to: PartitionId(1), position });
        manifest
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for sequence in [0, 77, u64::from(u32::MAX) + 77, u64::MAX] {
            assert_eq!(decode(&encode(&sample(), sequence)), Ok((sample(), sequence)));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encode(&sample(), 77);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
            assert!(decode(&bytes[..at]).is_err());
        }
    }
}
