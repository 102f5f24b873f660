//! Digests of content. They do not depend on the order in which the content was written, and each edit updates them
//! incrementally. This file has the part that all types share.
//!
//! Digests stand in barriers and snapshots, so this file is part of the format on disk:
//!
//! | digest of | is |
//! |---|---|
//! | a key's name | `K = xxh3(key)` |
//! | a value | `C`, as its type's `digest` file says (`value/<type>/`); the key has no part in it |
//! | a key | `C × (K \| 1)`, plus `mix(K, time)` if it expires |
//! | a slot | the sum over databases of (the sum of its keys) × (2 × database + 1) |
//!
//! Sums and products wrap. A product distributes over sums, so that the growth of `C` times `K | 1` is the growth of
//! the key's digest; and an odd factor keeps different `C` apart. A value that gets another key keeps its `C`, however
//! large it is. A constant of the type goes into each part of `C`, so that values of different types differ.

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::Db;
use crate::time::UnixMillis;

/// A digest of content. The digest of several keys is the wrapping sum of theirs, in whatever order they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl std::iter::Sum for Digest {
    fn sum<I: Iterator<Item = Self>>(digests: I) -> Self {
        Self(digests.fold(0, |sum, d| sum.wrapping_add(d.0)))
    }
}

/// Digest of a key's name, which ties the digests of value and expiry to the key.
#[derive(Clone, Copy)]
pub(super) struct KeyDigest(u64);

impl KeyDigest {
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// Amount that the key's expiry adds to the digest of its slot.
    #[inline]
    pub fn expiry(self, expire_at: Option<UnixMillis>) -> u64 {
        expire_at.map_or(0, |at| mix(self.0, at.get()))
    }

    /// Amount that a value, or the growth of a value, with this digest adds to the digest of its slot.
    #[inline]
    pub const fn value(self, digest: u64) -> u64 {
        digest.wrapping_mul(self.0 | 1)
    }
}

/// Contribution of one database to a slot's digest, given the sum of its keys' digests.
#[inline]
pub(super) fn of_database(db: Db, keys: u64) -> u64 {
    keys.wrapping_mul(2 * u64::from(db.0) + 1)
}

/// Mixes two numbers into one; every bit of the result depends on every bit of both.
#[inline]
pub(super) fn mix(a: u64, b: u64) -> u64 {
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
        let at = Some(UnixMillis::new(1_700_000_000_000));
        assert_eq!((key.expiry(at), key.expiry(None)), (14_948_440_591_699_875_446, 0));
        assert_eq!(key.value(5), 12_363_017_534_798_495_087);
        assert_eq!(of_database(Db(3), 5), 35);
    }
}
