//! The digest of a stream: the sum over its parts of `mix` applied, from left to right, to `K ^ TAG` and the numbers of
//! the part, where `K` is the key's digest. A name or value counts as its `xxh3`.
//!
//! | part | numbers |
//! |---|---|
//! | the stream | 0, greatest id (2), greatest deleted id (2), number of events ever added |
//! | an event | 1, its id (2), per field: name, value |
//! | a group | 2, its name, greatest delivered id (2), number of events read (2^64 - 1: unknown) |
//! | a consumer | 3, the group's name, its name, when it was seen, when it was active (2^64 - 1: never) |
//! | a pending delivery | 4, the group's name, the consumer's name, the event's id (2), time, number of deliveries |
//!
//! The id is in an event's digest, so the sum need not know the order. The tag keeps streams distinct from other types.
//! This file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::event::EventId;
use crate::store::digest::{KeyDigest, mix};

/// "stream" in ASCII.
const TAG: u64 = 0x7374_7265_616d;
const NONE: u64 = u64::MAX;

#[inline]
fn part(key: KeyDigest, numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(key.get() ^ TAG, mix)
}

/// Contribution of the stream's own numbers.
pub(super) fn numbers(key: KeyDigest, last: EventId, greatest_deleted: EventId, added: u64) -> u64 {
    part(key, [0, last.ms, last.seq, greatest_deleted.ms, greatest_deleted.seq, added])
}

/// Contribution of an event.
pub(super) fn event<'f>(key: KeyDigest, id: EventId, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> u64 {
    let head = part(key, [1, id.ms, id.seq]);
    fields.fold(head, |sum, (name, value)| mix(mix(sum, xxh3_64(name)), xxh3_64(value)))
}

/// Contribution of a group without its consumers.
pub(super) fn group(key: KeyDigest, name: &[u8], last_delivered: EventId, read: Option<u64>) -> u64 {
    part(key, [2, xxh3_64(name), last_delivered.ms, last_delivered.seq, read.unwrap_or(NONE)])
}

/// Contribution of a consumer without what is pending with it.
pub(super) fn consumer(key: KeyDigest, group: &[u8], name: &[u8], seen: u64, active: Option<u64>) -> u64 {
    part(key, [3, xxh3_64(group), xxh3_64(name), seen, active.unwrap_or(NONE)])
}

/// Digests of what is pending with one consumer, which have its name in common.
#[derive(Clone, Copy)]
pub(super) struct PendingDigest(u64);

impl PendingDigest {
    /// Makes what the digests of a consumer's pending deliveries have in common.
    pub fn of(key: KeyDigest, group: &[u8], consumer: &[u8]) -> Self {
        Self(part(key, [4, xxh3_64(group), xxh3_64(consumer)]))
    }

    /// Contribution of one pending delivery.
    pub fn delivery(self, id: EventId, delivered_at: u64, deliveries: u64) -> u64 {
        [id.ms, id.seq, delivered_at, deliveries].into_iter().fold(self.0, mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        let (key, id) = (KeyDigest::of(b"key"), EventId::new(1_700_000_000_000, 7));
        let fields = [(&b"name"[..], &b"value"[..]), (b"size", b"9")];
        let all = [
            numbers(key, id, EventId::ZERO, 3),
            event(key, id, fields.into_iter()),
            group(key, b"group", id, None),
            consumer(key, b"group", b"worker", 5, Some(6)),
            PendingDigest::of(key, b"group", b"worker").delivery(id, 8, 9),
        ];
        let expected = [
            3_048_937_424_801_466_465,
            6_876_460_820_928_236_699,
            14_632_374_221_807_323_805,
            16_923_576_915_402_042_344,
            1_394_255_092_730_267_725,
        ];
        assert_eq!(all, expected);
    }
}
