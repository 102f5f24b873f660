//! Digests of content: the same whatever the order in which the content came to be, and kept up to date edit by edit.
//!
//! They stand in barriers and snapshots, so this file is part of the format on disk:
//!
//! | digest of | is |
//! |---|---|
//! | a key's name | `K = xxh3(key)` |
//! | a string | the sum over its chunks of 4096 bytes of `mix(mix(K, chunk's number), xxh3(chunk))`; an empty string is one empty chunk |
//! | a hash | the sum over its fields of `mix(mix(!K, xxh3(field)), xxh3(value))` |
//! | a key | its value's digest, plus `mix(K, time)` if it expires |
//! | a slot | the sum over databases of (the sum of its keys) × (2 × database + 1) |
//!
//! All sums wrap. A string is cut into chunks so that writing into a long one costs no more than what is written.

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::edit::UnixMillis;
use crate::ids::Db;

const CHUNK: usize = 4096;

/// An order-independent digest of content; contents add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl std::iter::Sum for Digest {
    fn sum<I: Iterator<Item = Self>>(digests: I) -> Self {
        Self(digests.fold(0, |sum, d| sum.wrapping_add(d.0)))
    }
}

/// Digest of a key's name, which goes into the digest of everything that belongs to the key.
#[derive(Clone, Copy)]
pub(super) struct KeyDigest(u64);

impl KeyDigest {
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// What the expiry adds.
    #[inline]
    pub fn expiry(self, expire_at: Option<UnixMillis>) -> u64 {
        expire_at.map_or(0, |at| mix(self.0, at.get()))
    }

    /// Digest of a string.
    #[inline]
    pub fn string(self, value: &[u8]) -> u64 {
        if value.len() <= CHUNK { self.chunk(0, value) } else { self.string_part(value, 0, value.len()) }
    }

    /// Digest of those chunks of a string that a write to the bytes from `start` up to `end` touches.
    pub fn string_part(self, value: &[u8], start: usize, end: usize) -> u64 {
        if value.is_empty() {
            return self.chunk(0, value);
        }
        let first = start / CHUNK;
        let chunks = value.chunks(CHUNK).enumerate().skip(first).take_while(|(number, _)| number * CHUNK < end);
        chunks.fold(0, |sum, (number, chunk)| sum.wrapping_add(self.chunk(number, chunk)))
    }

    /// Digest of one field of a hash.
    #[inline]
    pub fn field(self, name: &[u8], value: &[u8]) -> u64 {
        mix(mix(!self.0, xxh3_64(name)), xxh3_64(value))
    }

    #[inline]
    fn chunk(self, number: usize, chunk: &[u8]) -> u64 {
        mix(mix(self.0, number as u64), xxh3_64(chunk))
    }
}

/// The part of a slot's digest that the keys of one database with this sum make.
#[inline]
pub(super) fn of_database(db: Db, keys: u64) -> u64 {
    keys.wrapping_mul(2 * u64::from(db.0) + 1)
}

/// Two numbers to one, of which every bit depends on every bit of both.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd1b5_4a32_d192_ed03;
    let product = u128::from(a ^ A) * u128::from(b ^ B);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded ^ (folded >> 32)).wrapping_mul(A)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        let key = KeyDigest::of(b"key");
        let long = vec![7; 10_000];
        let all = [
            key.string(b""),
            key.string(b"value"),
            key.string(&long),
            key.field(b"name", b"value"),
            key.expiry(Some(UnixMillis::new(1_700_000_000_000))),
            key.expiry(None),
        ];
        let expected: [u64; 6] = [
            638_693_455_480_342_841,
            11_511_140_319_158_692_404,
            2_066_866_169_942_374_393,
            13_796_653_830_500_968_538,
            14_948_440_591_699_875_446,
            0,
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_part_is_what_a_write_changes() {
        let key = KeyDigest::of(b"key");
        let mut value = vec![1u8; 3 * CHUNK + 5];
        for (start, end) in [(0, 1), (CHUNK - 1, CHUNK + 1), (2 * CHUNK, 3 * CHUNK), (3 * CHUNK, 3 * CHUNK + 5)] {
            let (whole, part) = (key.string(&value), key.string_part(&value, start, end));
            value[start..end].fill(9);
            let (whole_after, part_after) = (key.string(&value), key.string_part(&value, start, end));
            assert_eq!(whole_after.wrapping_sub(whole), part_after.wrapping_sub(part));
            assert_ne!(whole, whole_after);
        }
    }
}
