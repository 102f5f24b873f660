//! The digest of a sorted set: the sum over its members of `mix(mix(mix(K, 3), xxh3(member)), score)`, where `K` is the
//! key's digest, 3 stands for sorted sets, and the score is the number that its 64 bits are.
//!
//! The sum does not depend on the order in which members were added, and changing a score costs only that member. This
//! file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::{KeyDigest, mix};

/// What keeps sorted sets distinct from values of other types.
const TYPE: u64 = 3;

/// Contribution of one member to a sorted set's digest.
#[inline]
pub(super) fn member(key: KeyDigest, member: &[u8], score: f64) -> u64 {
    mix(mix(mix(key.get(), TYPE), xxh3_64(member)), score.to_bits())
}

/// Digest of a sorted set with these members.
pub(super) fn of<'a>(key: KeyDigest, members: impl Iterator<Item = (&'a [u8], f64)>) -> u64 {
    members.fold(0, |sum, (bytes, score)| sum.wrapping_add(member(key, bytes, score)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(member(KeyDigest::of(b"key"), b"member", 1.5), 1_672_580_026_601_682_395);
    }
}
