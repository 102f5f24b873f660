//! The digest of a hash: the sum over its fields of `mix(mix(!K, xxh3(field)), xxh3(value))`, where `K` is the key's
//! digest.
//!
//! The sum does not depend on the order in which fields were set, and changing a field costs only that field. `!K`
//! keeps fields distinct from the chunks of a string. This file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::{KeyDigest, mix};
use crate::store::value::elements::Element;

/// Contribution of one field to a hash's digest.
#[inline]
pub(super) fn field(key: KeyDigest, (name, value): Element<'_>) -> u64 {
    mix(mix(!key.get(), xxh3_64(name)), xxh3_64(value))
}

/// Digest of a hash with these fields.
pub(super) fn of<'a>(key: KeyDigest, fields: impl Iterator<Item = Element<'a>>) -> u64 {
    fields.fold(0, |sum, element| sum.wrapping_add(field(key, element)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(field(KeyDigest::of(b"key"), (b"name", b"value")), 13_796_653_830_500_968_538);
    }
}
