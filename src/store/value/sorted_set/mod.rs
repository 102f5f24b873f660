//! Sorted sets, in two forms: packed bytes while small, then a table and a tree (which they stay until the key is
//! deleted).
//!
//! | file | what it is |
//! |---|---|
//! | this one | reading a sorted set in either form; its snapshot entry |
//! | `packed` | the packed form ([`Kind::PackedSortedSet`](super::form::Kind)) |
//! | `members` | table and tree ([`Structure::SortedSet`](super::form::Structure)) |
//! | `edits` | what edits do to sorted sets |
//! | `digest` | the digest of a sorted set |
//! | `slices` | writing a large sorted set to a snapshot in slices |
//!
//! Members are ordered by their scores, and those of equal scores by their bytes. A rank counts from the least member,
//! which has rank 0. No score is NaN, and none is -0, so that equal scores have equal bits.

mod digest;
mod edits;
pub(in crate::store) mod members;
mod packed;
pub(super) mod slices;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use smallvec::SmallVec;

use self::members::Members;
use super::pick::{SPARSE, Selection};
use crate::encoding::entry::{self, Head};
use crate::store::table::below;

pub(super) use edits::{NO_SUCH_RANKS, check, make, remove, remove_ranks, set};

/// Number of members of a packed sorted set that are kept without an allocation while they are turned round.
const TURNED: usize = 128;

/// Order of members: by score, then by bytes.
#[inline]
fn order(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1))
}

/// A sorted set, borrowed from its record.
#[derive(Clone, Copy)]
pub struct SortedSetRef<'a>(Layout<'a>);

/// Form in which a sorted set is stored.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Packed(&'a [u8]),
    Large(&'a Members),
}

impl<'a> SortedSetRef<'a> {
    /// Sorted set in these packed bytes.
    pub(super) const fn packed(packed: &'a [u8]) -> Self {
        Self(Layout::Packed(packed))
    }

    /// Sorted set of these members.
    pub(super) const fn large(members: &'a Members) -> Self {
        Self(Layout::Large(members))
    }

    /// Number of members; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a sorted set without members is no key")]
    pub fn len(self) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::len(packed),
            Layout::Large(members) => members.len(),
        }
    }

    /// Score of a member.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self.0 {
            Layout::Packed(packed) => packed::find(packed, member).map(|place| place.score),
            Layout::Large(members) => members.score(member),
        }
    }

    /// Rank and score of a member.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0 {
            Layout::Packed(packed) => packed::find(packed, member).map(|place| (place.rank, place.score)),
            Layout::Large(members) => {
                let score = members.score(member)?;
                Some((members.rank(member, score).ok()?, score))
            }
        }
    }

    /// Number of members from the least on whose scores `is_below` holds for; it must not hold for a score that is
    /// greater than one that it does not hold for.
    pub fn below(self, mut is_below: impl FnMut(f64) -> bool) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::iter(packed).take_while(|member| is_below(member.score)).count(),
            Layout::Large(members) => members.below(is_below),
        }
    }

    /// The same by the members' bytes, for a sorted set of members with equal scores.
    pub fn before(self, mut is_before: impl FnMut(&[u8]) -> bool) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::iter(packed).take_while(|member| is_before(member.bytes)).count(),
            Layout::Large(members) => members.before(is_before),
        }
    }

    /// Member and score at a rank.
    pub fn at(self, rank: usize) -> Option<(&'a [u8], f64)> {
        match self.0 {
            Layout::Packed(packed) => packed::iter(packed).nth(rank).map(|member| (member.bytes, member.score)),
            Layout::Large(members) => members.at(rank),
        }
    }

    /// Calls `visit` with members and scores of these ranks until it breaks, in ascending or descending order.
    pub fn walk<B>(
        self,
        ranks: Range<usize>,
        descending: bool,
        mut visit: impl FnMut(&'a [u8], f64) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let count = ranks.len();
        let visit = |(member, score)| visit(member, score);
        match (self.0, descending) {
            (_, _) if count == 0 => ControlFlow::Continue(()),
            (Layout::Large(members), false) => members.forwards(ranks.start).take(count).try_for_each(visit),
            (Layout::Large(members), true) => members.backwards(ranks.end - 1).take(count).try_for_each(visit),
            (Layout::Packed(packed), false) => packed_from(packed, ranks.start).take(count).try_for_each(visit),
            (Layout::Packed(packed), true) => {
                let turned: SmallVec<[_; TURNED]> = packed_from(packed, ranks.start).take(count).collect();
                turned.into_iter().rev().try_for_each(visit)
            }
        }
    }

    /// Calls `visit` with every member and score until it breaks, in ascending order.
    pub fn for_each<B>(self, visit: impl FnMut(&'a [u8], f64) -> ControlFlow<B>) -> ControlFlow<B> {
        self.walk(0..self.len(), false, visit)
    }

    /// Visits `count` different members with their scores, or all if there are fewer; each selection is equally likely.
    /// A few members of many are drawn one by one.
    pub fn distinct_members(self, count: usize, mut random: impl FnMut() -> u64, mut visit: impl FnMut(&'a [u8], f64)) {
        let len = self.len();
        let (selection, take) = (Selection::new(count, len), |(member, score)| visit(member, score));
        match self.0 {
            Layout::Packed(packed) => return selection.of(packed_from(packed, 0), random, take),
            Layout::Large(members) if count > len / SPARSE => return selection.of(members.forwards(0), random, take),
            Layout::Large(_) => {}
        }
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let rank = below(random(), len);
            if drawn.insert(rank) {
                let (member, score) = self.at(rank).unwrap_or_default();
                visit(member, score);
            }
        }
    }

    /// For ZSCAN: visits about `count` members from `cursor` on (0 begins). Returns the next cursor, 0 at the end.
    /// Members present throughout the scan are visited, however many others come and go between calls. A packed sorted
    /// set is visited whole in one call.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], f64)) -> u64 {
        match self.0 {
            Layout::Packed(packed) => {
                packed::iter(packed).for_each(|member| visit(member.bytes, member.score));
                0
            }
            Layout::Large(members) => members.scan(cursor, count, visit),
        }
    }

    /// Whether the sorted set is small and packed ("listpack" in OBJECT ENCODING) rather than large ("skiplist").
    pub const fn is_packed(self) -> bool {
        matches!(self.0, Layout::Packed(_))
    }

    /// Digest of the sorted set.
    pub(super) fn digest(self) -> u64 {
        match self.0 {
            Layout::Packed(packed) => digest::of(packed_from(packed, 0)),
            Layout::Large(members) => members.digest(),
        }
    }

    /// Appends the snapshot entry of a key that holds this sorted set.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        let content_len = match self.0 {
            Layout::Packed(packed) => packed::content_len(packed),
            Layout::Large(members) => members.content_len(),
        };
        entry::begin_sorted_set(out, head, self.len(), content_len);
        let _ = self.for_each(|member, score| {
            entry::write_scored(out, member, score);
            ControlFlow::<()>::Continue(())
        });
    }
}

/// Members and scores of a packed sorted set from a rank on.
fn packed_from(packed: &[u8], rank: usize) -> impl Iterator<Item = (&[u8], f64)> {
    packed::iter(packed).skip(rank).map(|member| (member.bytes, member.score))
}
