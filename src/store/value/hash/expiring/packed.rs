//! Small hashes some of whose fields expire, as one run of bytes.
//!
//! | bytes | what |
//! |---|---|
//! | … | entries in the layout of [`packed`](crate::store::value::packed): name, value, time; a field that does not expire has a time of no bytes |
//! | 8 | the least of the times |
//!
//! Times are milliseconds since the Unix epoch in 8 bytes; all numbers are little-endian. The least time stands apart,
//! so that whoever looks for what has expired passes by without looking at the fields.

use super::Field;
use crate::store::value::packed::{self, Place};
use crate::time::UnixMillis;

/// Bytes of a time.
const TIME: usize = 8;

/// The entries of a hash in this layout.
#[inline]
pub fn entries(packed: &[u8]) -> &[u8] {
    packed.split_last_chunk::<TIME>().map_or(&[], |(entries, _)| entries)
}

/// Least of the times.
#[inline]
pub fn least(packed: &[u8]) -> Option<UnixMillis> {
    time(packed.last_chunk::<TIME>().map_or(&[], |least| least))
}

/// The time in an entry.
#[inline]
fn time(bytes: &[u8]) -> Option<UnixMillis> {
    bytes.first_chunk().and_then(|time| UnixMillis::option_from_raw(u64::from_le_bytes(*time)))
}

/// Fields of these entries, in stored order.
pub fn fields(entries: &[u8]) -> impl Iterator<Item = Field<'_>> {
    packed::iter(entries).map(|[name, value, at]| (name, value, time(at)))
}

/// Value and time of the field of this name.
#[inline]
pub fn get<'e>(entries: &'e [u8], name: &[u8]) -> Option<(&'e [u8], Option<UnixMillis>)> {
    packed::find::<3>(entries, name).map(|place| field_at(entries, &place))
}

/// Value and time of the field at `place`.
#[inline]
pub fn field_at<'e>(entries: &'e [u8], place: &Place<3>) -> (&'e [u8], Option<UnixMillis>) {
    (&entries[place.element(1)], time(&entries[place.element(2)]))
}

/// Adds a field whose name no other has. Returns false, and changes nothing, if this layout cannot hold it.
pub fn push(entries: &mut Vec<u8>, (name, value, expire_at): Field<'_>) -> bool {
    packed::push(entries, [name, value, bytes_of(expire_at, &mut [0; TIME])])
}

/// Changes when the field at `place` expires. Returns false, and changes nothing, if this layout cannot hold that.
pub fn set_time(entries: &mut Vec<u8>, place: &Place<3>, expire_at: Option<UnixMillis>) -> bool {
    packed::replace_last(entries, place, bytes_of(expire_at, &mut [0; TIME]))
}

fn bytes_of(expire_at: Option<UnixMillis>, buffer: &mut [u8; TIME]) -> &[u8] {
    let Some(at) = expire_at else { return &[] };
    *buffer = at.get().to_le_bytes();
    buffer
}

/// Makes entries of names and values none of which expires.
pub fn fill<'e>(entries: &mut Vec<u8>, pairs: impl Iterator<Item = (&'e [u8], &'e [u8])> + Clone) -> bool {
    packed::fill(entries, pairs.map(|(name, value)| [name, value, &[]]))
}

/// Completes the layout of entries. Returns false, and changes nothing, if none of them expires.
pub fn seal(entries: &mut Vec<u8>) -> bool {
    let Some(least) = fields(entries).filter_map(|(_, _, at)| at).min() else { return false };
    entries.extend_from_slice(&least.get().to_le_bytes());
    true
}
