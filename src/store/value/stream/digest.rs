//! The digest of a stream: the sum over its parts of `mix` applied, from left to right, to `TYPE` and the numbers of
//! the part. A name or value counts as its `xxh3`.
//!
//! | part | numbers |
//! |---|---|
//! | the stream | 0, greatest id (2), greatest deleted id (2), number of events ever added |
//! | an event | 1, its id (2), per field: name, value |
//! | a group | 2, its name, greatest delivered id (2), number of events read (2^64 - 1: unknown) |
//! | a consumer | 3, the group's name, its name, when it was seen, when it was active (2^64 - 1: never) |
//! | a pending delivery | 4, the group's name, the consumer's name, the event's id (2), time, number of deliveries |
//!
//! The id is in an event's digest, so the sum need not know the order. This file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::event::EventId;
use crate::store::digest::mix;

/// What keeps streams distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0stream");
const NONE: u64 = u64::MAX;

#[inline]
fn part(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(TYPE, mix)
}

/// Contribution of the stream's own numbers.
pub(super) fn numbers(last: EventId, greatest_deleted: EventId, added: u64) -> u64 {
    part([0, last.ms, last.seq, greatest_deleted.ms, greatest_deleted.seq, added])
}

/// Contribution of an event.
pub(super) fn event<'f>(id: EventId, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> u64 {
    let head = part([1, id.ms, id.seq]);
    fields.fold(head, |sum, (name, value)| mix(mix(sum, xxh3_64(name)), xxh3_64(value)))
}

/// Contribution of a group without its consumers.
pub(super) fn group(name: &[u8], last_delivered: EventId, read: Option<u64>) -> u64 {
    part([2, xxh3_64(name), last_delivered.ms, last_delivered.seq, read.unwrap_or(NONE)])
}

/// Contribution of a consumer without what is pending with it.
pub(super) fn consumer(group: &[u8], name: &[u8], seen: u64, active: Option<u64>) -> u64 {
    part([3, xxh3_64(group), xxh3_64(name), seen, active.unwrap_or(NONE)])
}

/// Digests of what is pending with one consumer, which have its name in common.
#[derive(Clone, Copy)]
pub(super) struct PendingDigest(u64);

impl PendingDigest {
    /// Makes what the digests of a consumer's pending deliveries have in common.
    pub fn of(group: &[u8], consumer: &[u8]) -> Self {
        Self(part([4, xxh3_64(group), xxh3_64(consumer)]))
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
        let id = EventId::new(1_700_000_000_000, 7);
        let fields = [(&b"name"[..], &b"value"[..]), (b"size", b"9")];
        let all = [
            numbers(id, EventId::ZERO, 3),
            event(id, fields.into_iter()),
            group(b"group", id, None),
            consumer(b"group", b"worker", 5, Some(6)),
            PendingDigest::of(b"group", b"worker").delivery(id, 8, 9),
        ];
        let expected = [
            12_722_992_035_282_940_839,
            17_804_359_046_343_823_297,
            7_855_828_919_445_242_830,
            5_370_232_544_864_299_337,
            5_803_775_201_755_806_950,
        ];
        assert_eq!(all, expected);
    }
}
