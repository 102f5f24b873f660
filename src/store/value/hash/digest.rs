//! The digest of a hash: the sum over its fields of `mix(mix(TYPE, xxh3(field)), xxh3(value))`.
//!
//! The sum does not depend on the order in which fields were set, and changing a field costs only that field. This file
//! is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::mix;
use crate::store::value::elements::Element;

/// What keeps hashes distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0\0\0hash");

/// Contribution of one field to a hash's digest.
#[inline]
pub(super) fn field((name, value): Element<'_>) -> u64 {
    mix(mix(TYPE, xxh3_64(name)), xxh3_64(value))
}

/// Digest of a hash with these fields.
pub(super) fn of<'a>(fields: impl Iterator<Item = Element<'a>>) -> u64 {
    fields.fold(0, |sum, element| sum.wrapping_add(field(element)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(field((b"name", b"value")), 10_796_227_082_217_944_806);
    }
}
