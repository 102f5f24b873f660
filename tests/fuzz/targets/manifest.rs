//! A manifest whose checksum is right is understood or refused, and means the same when written down again.
//!
//! Input: the bytes of a copy; magic, version, length and checksum are made right unless the first byte is odd.

use rollbook::storage::manifest::codec;

const MAGIC: &[u8; 8] = b"ROLLMAN\n";
/// Where the checksum stands, what it covers, the length of the body, and the body.
const CRC: usize = 12;
const SEQUENCE: usize = 16;
const LENGTH: usize = 24;
const BODY: usize = 32;

/// Decodes the bytes.
pub fn run(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how % 2 == 0 && bytes.len() >= BODY {
        repair(&mut bytes);
    }
    let Ok((manifest, sequence)) = codec::decode(&bytes) else { return };
    let again = codec::encode(&manifest, sequence);
    assert_eq!(codec::decode(&again), Ok((manifest.clone(), sequence)), "what was written was not read");
    // Copies stand in files that may be longer than they are.
    let longer = [&again[..], &[0xa5; 100]].concat();
    assert_eq!(codec::decode(&longer), Ok((manifest, sequence)), "what stands behind it made a difference");
}

fn repair(bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..CRC].copy_from_slice(&codec::VERSION.to_le_bytes());
    let length = (bytes.len() - BODY) as u32;
    bytes[LENGTH..LENGTH + 4].copy_from_slice(&length.to_le_bytes());
    let crc = crc32fast::hash(&bytes[SEQUENCE..]);
    bytes[CRC..SEQUENCE].copy_from_slice(&crc.to_le_bytes());
}
