//! The digest of a set: the sum over its members of `mix(mix(!K, 2), xxh3(member))`, where `K` is the key's digest.
//!
//! The sum does not depend on the order in which members were added, nor on the form of the set. The 2 is the number of
//! the type in snapshots; it keeps members distinct from the content of other types. This file is part of the format on
//! disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::{KeyDigest, mix};

const TYPE: u64 = 2;

/// Contribution of one member to a set's digest.
#[inline]
pub(super) fn member(key: KeyDigest, member: &[u8]) -> u64 {
    mix(mix(!key.get(), TYPE), xxh3_64(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(member(KeyDigest::of(b"key"), b"member"), 7_716_018_108_255_960_945);
    }
}
