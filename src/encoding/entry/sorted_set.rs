//! Payload of a sorted set in a snapshot entry.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of members, at least 1 |
//! | … | per member: its length (4), its score (8, neither NaN nor -0), the member |
//!
//! Members mostly stand in the order of their scores, in which they are loaded fastest, but need not.

use super::{EntryError, Head, SORTED_SET, begin, counted, length, take, take_slice};
use crate::encoding::edit::is_score;

/// Size of the number of members, in bytes.
const COUNT: usize = 4;
/// Size of length and score before each member, in bytes.
const BEFORE_MEMBER: usize = 12;

/// Members of a sorted set with their scores: at least one, each named once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryScored<'a> {
    bytes: &'a [u8],
    len: usize,
}

/// Appends the beginning of the entry of a key that holds a sorted set of `count` members. `content` is the members'
/// total length in bytes. The caller must append the members with [`write_scored`].
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out, or there are as many members.
pub fn begin_sorted_set(out: &mut Vec<u8>, head: Head<'_>, count: usize, content: usize) {
    begin(out, head, SORTED_SET, COUNT + count * BEFORE_MEMBER + content);
    out.extend_from_slice(&length(count));
}

/// Appends one member of a sorted set.
///
/// # Panics
/// If it has 4 GiB or more, which the limits on requests rule out.
pub fn write_scored(out: &mut Vec<u8>, member: &[u8], score: f64) {
    out.extend_from_slice(&length(member.len()));
    out.extend_from_slice(&score.to_le_bytes());
    out.extend_from_slice(member);
}

impl<'a> EntryScored<'a> {
    /// Reads a payload, which must contain exactly the number of members that it announces.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, EntryError> {
        let (bytes, len) = counted(payload, EntryError("a sorted set without members"), |rest| match member(rest)? {
            (_, score) if is_score(score) => Ok(()),
            _ => Err(EntryError("a score that is none")),
        })?;
        Ok(Self { bytes, len })
    }

    /// Number of members.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Members and scores.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], f64)> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || member(&mut rest).ok())
    }
}

/// Removes and returns the first member of `rest`.
#[inline]
fn member<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], f64), EntryError> {
    let (len, score) = (u32::from_le_bytes(take(rest)?), f64::from_le_bytes(take(rest)?));
    Ok((take_slice(rest, len.into())?, score))
}
