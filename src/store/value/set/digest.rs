//! The digest of a set: the sum over its members of `mix(TYPE, xxh3(member))`.
//!
//! The sum does not depend on the order in which members were added, nor on the form of the set. This file is part of
//! the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::mix;

/// What keeps sets distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0\0\0\0set");

/// Contribution of one member to a set's digest.
#[inline]
pub(super) fn member(member: &[u8]) -> u64 {
    mix(TYPE, xxh3_64(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(member(b"member"), 2_746_198_195_060_128_880);
    }
}
