//! Writes a large sorted set to a snapshot in slices.
//!
//! The members are written in their order, so that loading them appends to the tree. Before an edit changes a member
//! that the walk has not reached, its old score is written; the walk then skips it, as it does members that were
//! created after the capture began, or were moved ahead of the walk.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::members::Members;
use super::{Layout, SortedSetRef, order};
use crate::encoding::edit::Change;
use crate::encoding::entry::{self, Head};
use crate::store::pace::Pace;

/// State of a sorted set's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Number of members from the beginning that are still to be written.
    left: usize,
    /// The last member that the walk has passed, with its score.
    passed: Option<(f64, Box<[u8]>)>,
    /// Members ahead of the walk that it must skip.
    settled: HashSet<Box<[u8]>>,
}

impl Slices {
    /// Begins the entry of a large sorted set; `None` for packed ones.
    pub fn begin(head: Head<'_>, sorted_set: SortedSetRef<'_>, out: &mut Vec<u8>) -> Option<Self> {
        let Layout::Large(members) = sorted_set.0 else { return None };
        entry::begin_sorted_set(out, head, members.len(), members.content_len());
        Some(Self { left: members.len(), passed: None, settled: HashSet::new() })
    }

    /// Whether exactly the members from the beginning have been written.
    pub const fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// Writes members until none is left or `go_on`, called with the length of `out`, returns false. Returns whether
    /// none is left.
    pub fn go_on(
        &mut self,
        sorted_set: SortedSetRef<'_>,
        out: &mut Vec<u8>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        match sorted_set.0 {
            Layout::Large(members) if self.left > 0 => self.walk(members, out, go_on),
            // A sorted set stays large as long as it is captured.
            Layout::Large(_) | Layout::Packed(_) => true,
        }
    }

    fn walk(&mut self, members: &Members, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        let from = self.passed.as_ref().map_or(0, |(score, member)| match members.rank(member, *score) {
            Ok(rank) => rank + 1,
            Err(rank) => rank,
        });
        let Self { settled, passed, .. } = self;
        settled.retain(|member| members.score(member).is_some_and(|score| is_ahead(passed, member, score)));
        let mut pace = Pace::new();
        for (member, score) in members.forwards(from) {
            if self.settled.contains(member) {
                continue;
            }
            entry::write_scored(out, member, score);
            self.left = self.left.wrapping_sub(1);
            if pace.count(member.len(), || go_on(out.len())).is_break() {
                self.passed = Some((score, member.into()));
                return self.left == 0;
            }
        }
        true
    }

    /// Call before `change` is applied: writes the members that it changes. Returns whether the caller must first have
    /// all remaining members written.
    pub fn save_before(&mut self, sorted_set: SortedSetRef<'_>, change: &Change<'_>, out: &mut Vec<u8>) -> bool {
        let Layout::Large(members) = sorted_set.0 else { return true };
        match change {
            // The expiry is part of the entry's head, which has been written.
            Change::SetExpiry(_) => return false,
            Change::SetScores(changed) => changed.iter().for_each(|(member, _)| self.save(members, member, out)),
            Change::RemoveScored(removed) => removed.iter().for_each(|member| self.save(members, member, out)),
            Change::RemoveRanks { first, count } => {
                let removed = members.forwards(usize::try_from(*first).unwrap_or(usize::MAX));
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                removed.take(count).for_each(|(member, _)| self.save(members, member, out));
            }
            _ => return true,
        }
        // Removing the last member may delete the key.
        self.left == 0
    }

    fn save(&mut self, members: &Members, member: &[u8], out: &mut Vec<u8>) {
        // Wherever the member is or comes to be, the walk is done with it.
        if !self.settled.insert(member.into()) {
            return;
        }
        if let Some(score) = members.score(member)
            && is_ahead(&self.passed, member, score)
        {
            entry::write_scored(out, member, score);
            self.left = self.left.wrapping_sub(1);
        }
    }
}

/// Whether a member comes behind the last one that was passed.
fn is_ahead(passed: &Option<(f64, Box<[u8]>)>, member: &[u8], score: f64) -> bool {
    passed.as_ref().is_none_or(|(last, name)| order((score, member), (*last, name)) == Ordering::Greater)
}
