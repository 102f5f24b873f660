//! The digest of a string: the sum over its chunks of 4096 bytes of `mix(mix(TYPE, chunk's number), xxh3(chunk))`. An
//! empty string is one empty chunk.
//!
//! Chunks make a write into a long string cost only as much as the bytes written. This file is part of the format on
//! disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::mix;

/// What keeps strings distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0string");
const CHUNK: usize = 4096;

/// Digest of a string.
#[inline]
pub(in crate::store) fn of(value: &[u8]) -> u64 {
    if value.len() <= CHUNK { chunk(0, value) } else { part(value, 0, value.len()) }
}

/// Digest of the chunks that a write to bytes `start..end` of a string touches.
pub(super) fn part(value: &[u8], start: usize, end: usize) -> u64 {
    if value.is_empty() {
        return chunk(0, value);
    }
    let first = start / CHUNK;
    let chunks = value.chunks(CHUNK).enumerate().skip(first).take_while(|(number, _)| number * CHUNK < end);
    chunks.fold(0, |sum, (number, bytes)| sum.wrapping_add(chunk(number, bytes)))
}

#[inline]
fn chunk(number: usize, bytes: &[u8]) -> u64 {
    mix(mix(TYPE, number as u64), xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        let all = [of(b""), of(b"value"), of(&[7; 10_000])];
        assert_eq!(all, [11_687_266_587_857_088_744, 10_419_551_786_160_021_664, 2_669_603_011_442_709_157]);
    }

    #[test]
    fn a_part_is_what_a_write_changes() {
        let mut value = vec![1u8; 3 * CHUNK + 5];
        for (start, end) in [(0, 1), (CHUNK - 1, CHUNK + 1), (2 * CHUNK, 3 * CHUNK), (3 * CHUNK, 3 * CHUNK + 5)] {
            let (whole, before) = (of(&value), part(&value, start, end));
            value[start..end].fill(9);
            let (whole_after, after) = (of(&value), part(&value, start, end));
            assert_eq!(whole_after.wrapping_sub(whole), after.wrapping_sub(before));
            assert_ne!(whole, whole_after);
        }
    }
}
