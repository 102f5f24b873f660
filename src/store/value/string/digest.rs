//! The digest of a string: the sum over its chunks of 4096 bytes of `mix(mix(K, chunk's number), xxh3(chunk))`, where
//! `K` is the key's digest. An empty string is one empty chunk.
//!
//! Chunks make a write into a long string cost only as much as the bytes written. This file is part of the format on
//! disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::{KeyDigest, mix};

const CHUNK: usize = 4096;

/// Digest of the string that a key holds.
#[inline]
pub(in crate::store) fn of(key: KeyDigest, value: &[u8]) -> u64 {
    if value.len() <= CHUNK { chunk(key, 0, value) } else { part(key, value, 0, value.len()) }
}

/// Digest of the chunks that a write to bytes `start..end` of a string touches.
pub(super) fn part(key: KeyDigest, value: &[u8], start: usize, end: usize) -> u64 {
    if value.is_empty() {
        return chunk(key, 0, value);
    }
    let first = start / CHUNK;
    let chunks = value.chunks(CHUNK).enumerate().skip(first).take_while(|(number, _)| number * CHUNK < end);
    chunks.fold(0, |sum, (number, bytes)| sum.wrapping_add(chunk(key, number, bytes)))
}

#[inline]
fn chunk(key: KeyDigest, number: usize, bytes: &[u8]) -> u64 {
    mix(mix(key.get(), number as u64), xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        let key = KeyDigest::of(b"key");
        let all = [of(key, b""), of(key, b"value"), of(key, &[7; 10_000])];
        assert_eq!(all, [638_693_455_480_342_841, 11_511_140_319_158_692_404, 2_066_866_169_942_374_393]);
    }

    #[test]
    fn a_part_is_what_a_write_changes() {
        let key = KeyDigest::of(b"key");
        let mut value = vec![1u8; 3 * CHUNK + 5];
        for (start, end) in [(0, 1), (CHUNK - 1, CHUNK + 1), (2 * CHUNK, 3 * CHUNK), (3 * CHUNK, 3 * CHUNK + 5)] {
            let (whole, before) = (of(key, &value), part(key, &value, start, end));
            value[start..end].fill(9);
            let (whole_after, after) = (of(key, &value), part(key, &value, start, end));
            assert_eq!(whole_after.wrapping_sub(whole), after.wrapping_sub(before));
            assert_ne!(whole, whole_after);
        }
    }
}
