//! Payload of a hash some of whose fields expire, in a snapshot entry.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of fields, at least 1 |
//! | … | per field: length of its name (4), length of its value (4), when it expires in milliseconds since the Unix epoch or 0 (8), its name, its value |

use super::{EXPIRING_HASH, EntryError, Head, begin, counted, length, take, take_slice};
use crate::time::UnixMillis;

/// Size of the number of fields, in bytes.
const COUNT: usize = 4;
/// Size of the two lengths and the time before each name, in bytes.
const MARK: usize = 16;

/// A field: its name, its value, and when it expires.
pub type ExpiringField<'a> = (&'a [u8], &'a [u8], Option<UnixMillis>);

/// Fields of a hash: at least one, each named once, with their expiries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryExpiringFields<'a> {
    bytes: &'a [u8],
    len: usize,
}

/// Appends the beginning of the entry of a key that holds a hash of `count` fields of which some expire. `content` is
/// the total length of names and values in bytes. The caller must append the fields with [`write_expiring_field`].
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out, or there are as many fields.
pub fn begin_expiring_hash(out: &mut Vec<u8>, head: Head<'_>, count: usize, content: usize) {
    begin(out, head, EXPIRING_HASH, COUNT + count * MARK + content);
    out.extend_from_slice(&length(count));
}

/// Appends one field of a hash.
///
/// # Panics
/// If name or value has 4 GiB or more, which the limits on requests rule out.
pub fn write_expiring_field(out: &mut Vec<u8>, (name, value, expire_at): ExpiringField<'_>) {
    out.extend_from_slice(&length(name.len()));
    out.extend_from_slice(&length(value.len()));
    out.extend_from_slice(&UnixMillis::option_to_raw(expire_at).to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

impl<'a> EntryExpiringFields<'a> {
    /// Reads a payload, which must contain exactly the number of fields that it announces.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, EntryError> {
        let (bytes, len) = counted(payload, EntryError("a hash without fields"), |rest| field(rest).map(drop))?;
        Ok(Self { bytes, len })
    }

    /// Number of fields.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Names, values and times.
    pub fn iter(&self) -> impl Iterator<Item = ExpiringField<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || field(&mut rest).ok())
    }
}

/// Removes and returns the first field of `rest`.
#[inline]
fn field<'a>(rest: &mut &'a [u8]) -> Result<ExpiringField<'a>, EntryError> {
    let (name_len, value_len) = (u32::from_le_bytes(take(rest)?), u32::from_le_bytes(take(rest)?));
    let expire_at = UnixMillis::option_from_raw(u64::from_le_bytes(take(rest)?));
    Ok((take_slice(rest, name_len.into())?, take_slice(rest, value_len.into())?, expire_at))
}
