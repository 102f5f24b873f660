//! The digest of a hash: the sum over its fields of `mix(N, xxh3(value))` with `N = mix(TYPE, xxh3(field))`, and of
//! `mix(!N, time)` for each field that expires.
//!
//! The sum does not depend on the order in which fields were set, and changing a field costs only that field. This file
//! is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::mix;
use crate::store::value::elements::Element;
use crate::time::UnixMillis;

/// What keeps hashes distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0\0\0hash");

/// Contribution of one field to a hash's digest.
#[inline]
pub(super) fn field((name, value): (&[u8], &[u8])) -> u64 {
    mix(mix(TYPE, xxh3_64(name)), xxh3_64(value))
}

/// What the expiry of a field adds to its contribution.
#[inline]
pub(super) fn expiry(name: &[u8], expire_at: Option<UnixMillis>) -> u64 {
    expire_at.map_or(0, |at| mix(!mix(TYPE, xxh3_64(name)), at.get()))
}

/// Contribution of a field, with its expiry.
#[inline]
pub(super) fn element(field: Element<'_>) -> u64 {
    self::field((field.name, field.value)).wrapping_add(expiry(field.name, field.expire_at))
}

/// Digest of a hash with these fields.
pub(super) fn of<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    fields.fold(0, |sum, element| sum.wrapping_add(field(element)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        assert_eq!(field((b"name", b"value")), 10_796_227_082_217_944_806);
        assert_eq!(expiry(b"name", Some(UnixMillis::new(1_700_000_000_000))), 16_502_747_662_743_005_263);
        assert_eq!(expiry(b"name", None), 0);
    }
}
