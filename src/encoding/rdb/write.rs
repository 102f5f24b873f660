//! Values in the plain encodings: element by element, nothing packed or compressed. Every version of Redis reads them.

use super::input::{BITS_32, BITS_64};

/// Version of the format of strings, lists, sets, sorted sets and hashes: that of Redis 5, which newer ones read.
pub const VERSION: u16 = 9;

/// Appends a number in the form of a length.
pub fn length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => number(out, length as u64),
    }
}

/// Appends a number of up to 64 bits in the form of a length.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    match u32::try_from(number) {
        Ok(small @ 0..0x4000) => length(out, small as usize),
        Ok(number) => {
            out.push(BITS_32);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Err(_) => {
            out.push(BITS_64);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a string: a value, an element, a name.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a member of a sorted set with its score, for [`ZSET_2`](super::types::ZSET_2).
pub fn scored(out: &mut Vec<u8>, member: &[u8], score: f64) {
    string(out, member);
    out.extend_from_slice(&score.to_le_bytes());
}
