//! Strings, in one form: bytes in the record ([`Kind::String`]).
//!
//! | file | what it is |
//! |---|---|
//! | this one | what edits do to strings; their snapshot entries |
//! | `digest` | the digest of a string |
//! | `slices` | writing a long string to a snapshot in slices |

pub(super) mod digest;
pub(super) mod slices;

use super::form::{Kind, Stored};
use crate::store::change::{Contradiction, Key, TOO_LONG, Tools, fit};
use crate::store::table::{MAX_LENGTH, Record};
use crate::time::UnixMillis;

const NOT_A_STRING: Contradiction = "it does not hold a string";

/// Makes the record of a key that holds this string. Returns it with the string's digest.
#[inline]
pub(super) fn make(key: Key<'_>, value: &[u8], expire_at: Option<UnixMillis>, tools: &Tools<'_>) -> (Record, u64) {
    let record = Record::new(Kind::String, key.bytes, value, expire_at, tools.clock);
    (record, digest::of(value))
}

/// Makes the record of a key that holds `offset` zero bytes followed by `bytes`. Returns it with the string's digest.
///
/// # Errors
/// If key or string is too long.
pub(super) fn make_from(
    key: Key<'_>,
    offset: u64,
    bytes: &[u8],
    tools: &Tools<'_>,
) -> Result<(Record, u64), Contradiction> {
    let (offset, end) = span(offset, bytes)?;
    let mut value = vec![0; end];
    value[offset..].copy_from_slice(bytes);
    check(key, &value)?;
    Ok(make(key, &value, None, tools))
}

/// Overwrites the record's string if it holds one and need not gain or lose an expiry. Returns the growth of the
/// digest; `None`, with the record unchanged, if the record must be made anew.
#[inline]
pub(super) fn overwrite(record: &mut Record, value: &[u8], expire_at: Option<UnixMillis>) -> Option<u64> {
    let Stored::Bytes(Kind::String, old) = record.stored() else { return None };
    if record.expire_at().is_some() != expire_at.is_some() {
        return None;
    }
    let before = digest::of(old);
    record.set_bytes(value);
    record.set_expire_at(expire_at);
    Some(digest::of(value).wrapping_sub(before))
}

/// Writes `bytes` into the record's string at `offset`; a gap before them is filled with zeros. Returns the growth of
/// the digest.
///
/// # Errors
/// If the record holds no string, or the string would be too long.
pub(super) fn write(record: &mut Record, offset: u64, bytes: &[u8]) -> Result<u64, Contradiction> {
    let (offset, end) = span(offset, bytes)?;
    let Stored::Bytes(Kind::String, old) = record.stored() else { return Err(NOT_A_STRING) };
    let old_len = old.len();
    // A growing string changes from its old end on, because its last chunk gets longer.
    let start = if end > old_len { offset.min(old_len.saturating_sub(1)) } else { offset };
    let before = digest::part(old, start, end);
    if end > old_len {
        record.resize(end);
    }
    if let Some(string) = record.bytes_mut() {
        string[offset..end].copy_from_slice(bytes);
    }
    Ok(digest::part(record.bytes(), start, end).wrapping_sub(before))
}

/// Checks that key and string are short enough.
#[inline]
pub(super) fn check(key: Key<'_>, value: &[u8]) -> Result<(), Contradiction> {
    if fit(key.bytes) && fit(value) { Ok(()) } else { Err(TOO_LONG) }
}

/// Byte range of a write: start and end.
fn span(offset: u64, bytes: &[u8]) -> Result<(usize, usize), Contradiction> {
    let offset = usize::try_from(offset).map_err(|_| TOO_LONG)?;
    let end = offset.checked_add(bytes.len()).filter(|end| *end <= MAX_LENGTH).ok_or(TOO_LONG)?;
    Ok((offset, end))
}
