//! The digest of a hash: the sum over its fields of `mix(N, xxh3(value))` with `N = mix(!K, xxh3(field))`, where `K` is
//! the key's digest; and of `mix(!N, time)` for each field that expires.
//!
//! The sum does not depend on the order in which fields were set, and changing a field costs only that field. `!K`
//! keeps fields distinct from the chunks of a string. This file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::digest::{KeyDigest, mix};
use crate::store::value::elements::Element;
use crate::time::UnixMillis;

/// Contribution of one field to a hash's digest.
#[inline]
pub(super) fn field(key: KeyDigest, (name, value): Element<'_>) -> u64 {
    mix(mix(!key.get(), xxh3_64(name)), xxh3_64(value))
}

/// What the expiry of a field adds to its contribution.
#[inline]
pub(super) fn expiry(key: KeyDigest, name: &[u8], expire_at: Option<UnixMillis>) -> u64 {
    expire_at.map_or(0, |at| mix(!mix(!key.get(), xxh3_64(name)), at.get()))
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
        assert_eq!(
            expiry(KeyDigest::of(b"key"), b"name", Some(UnixMillis::new(1_700_000_000_000))),
            1_283_180_234_795_053_863
        );
        assert_eq!(expiry(KeyDigest::of(b"key"), b"name", None), 0);
    }
}
