//! The digest of a sorted set: the sum over its members of `mix(mix(TYPE, xxh3(member)), score)`, where the score is
//! the number that its 64 bits are.
//!
//! The sum does not depend on the order in which members were added, and changing a score costs only that member. This
//! file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::mix;

/// What keeps sorted sets distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0\0\0zset");

/// Contribution of one member to a sorted set's digest.
#[inline]
pub(super) fn member(member: &[u8], score: f64) -> u64 {
    mix(mix(TYPE, xxh3_64(member)), score.to_bits())
}

/// Digest of a sorted set with these members.
pub(super) fn of<'a>(members: impl Iterator<Item = (&'a [u8], f64)>) -> u64 {
    members.fold(0, |sum, (bytes, score)| sum.wrapping_add(member(bytes, score)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(member(b"member", 1.5), 3_418_616_606_057_236_521);
    }
}
