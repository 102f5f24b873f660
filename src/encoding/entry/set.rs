//! Payload of a set in a snapshot entry.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of members, at least 1 |
//! | … | per member: its length (4), the member |

use super::{EntryError, Head, SET, begin, counted, length, take, take_slice};

/// Size of the number of members, in bytes.
const COUNT: usize = 4;
/// Size of the length before each member, in bytes.
const LENGTH: usize = 4;

/// Members of a set: at least one, each named once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMembers<'a> {
    bytes: &'a [u8],
    len: usize,
}

/// Appends the beginning of the entry of a key that holds a set of `count` members. `content` is the total length of
/// the members in bytes. The caller must append the members with [`write_member`].
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out, or there are as many members.
pub fn begin_set(out: &mut Vec<u8>, head: Head<'_>, count: usize, content: usize) {
    begin(out, head, SET, COUNT + count * LENGTH + content);
    out.extend_from_slice(&length(count));
}

/// Appends one member of a set.
///
/// # Panics
/// If the member has 4 GiB or more, which the limits on requests rule out.
pub fn write_member(out: &mut Vec<u8>, member: &[u8]) {
    out.extend_from_slice(&length(member.len()));
    out.extend_from_slice(member);
}

impl<'a> EntryMembers<'a> {
    /// Reads a payload, which must contain exactly the number of members that it announces.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, EntryError> {
        let (bytes, len) = counted(payload, EntryError("a set without members"), |rest| member(rest).map(drop))?;
        Ok(Self { bytes, len })
    }

    /// Number of members.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The members.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || member(&mut rest).ok())
    }
}

/// Removes and returns the first member of `rest`.
#[inline]
fn member<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], EntryError> {
    let len = u32::from_le_bytes(take(rest)?);
    take_slice(rest, len.into())
}
