//! Members of a large sorted set: a table that finds a member's score, and a counted tree of the same members in order.
//!
//! The tree does not hold the members' bytes, but scores and addresses of the table's records. A record holds its score
//! in two halves: the lower one is its value, the upper one its clock, which only keys need. So a member of 16 bytes
//! takes 32 bytes, its share of the table some 12, and its place in the tree 18.
//!
//! Invariant, on which the `unsafe` here relies: each address in the tree is that of a record in the table. A record
//! keeps its address while it is there, for its key never changes and its value always has four bytes. A member goes
//! first into the table and then into the tree, and first out of the tree.

use std::cmp::Ordering;

use super::{digest, order};
use crate::store::table::{Record, RecordRef, Seed, Table};
use crate::store::tree::{Item, Leaves, Tree};
use crate::store::value::form::Kind;

/// Members and scores, with their total digest, length and memory.
pub(in crate::store) struct Members {
    table: Table,
    order: Tree<Place>,
    seed: Seed,
    digest: u64,
    content_len: usize,
    /// Bytes of memory that table and records take.
    table_memory: usize,
}

/// A member's place in the tree.
#[derive(Clone, Copy)]
pub(in crate::store) struct Place {
    score: f64,
    member: RecordRef,
}

impl Item for Place {
    type Mark = Self;

    #[inline]
    fn mark(&self) -> Self {
        *self
    }
}

impl Place {
    /// Bytes of the member, for as long as `_members` is not changed.
    #[inline]
    fn member<'a>(&self, _members: &'a Members) -> &'a [u8] {
        // SAFETY: only trees hand out places, and by the invariant the record is in the table beside the tree.
        unsafe { self.member.key() }
    }
}

/// Score in a member's record.
#[inline]
fn score_of(record: &Record) -> f64 {
    let low = record.bytes().first_chunk().map_or(0, |low| u32::from_le_bytes(*low));
    f64::from_bits(u64::from(record.clock()) << 32 | u64::from(low))
}

/// Halves of a score as a record holds them: value and clock.
#[inline]
fn halves(score: f64) -> ([u8; 4], u32) {
    let bits = score.to_bits();
    ((bits as u32).to_le_bytes(), (bits >> 32) as u32)
}

/// Comparison of places with a member.
#[inline]
fn compare(score: f64, member: &[u8]) -> impl FnMut(&Place) -> Ordering {
    move |place| {
        // SAFETY: only trees compare places, and by the invariant the record is in the table beside the tree.
        place.score.total_cmp(&score).then_with(|| unsafe { place.member.key() }.cmp(member))
    }
}

impl Members {
    /// Makes an empty sorted set with room for `count` members.
    pub fn with_capacity(seed: Seed, count: usize) -> Self {
        let mut table = Table::default();
        let table_memory = 0usize.wrapping_add_signed(table.reserve(count));
        Self { table, order: Tree::default(), seed, digest: 0, content_len: 0, table_memory }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Sum of the members' digests.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Total bytes of all members.
    pub const fn content_len(&self) -> usize {
        self.content_len
    }

    /// Bytes of memory that table, records and tree take.
    pub const fn memory(&self) -> usize {
        self.table_memory + self.order.memory()
    }

    /// Score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.table.find(self.seed.hash(member), member).map(score_of)
    }

    /// Number of members before one that has this score, be it there (`Ok`) or not.
    pub fn rank(&self, member: &[u8], score: f64) -> Result<usize, usize> {
        self.order.search(compare(score, member))
    }

    /// Number of members from the least on whose scores `is_below` holds for.
    pub fn below(&self, mut is_below: impl FnMut(f64) -> bool) -> usize {
        self.partition(|place| is_below(place.score))
    }

    /// Number of members from the least on that `is_before` holds for.
    pub fn before(&self, mut is_before: impl FnMut(&[u8]) -> bool) -> usize {
        self.partition(|place| is_before(place.member(self)))
    }

    fn partition(&self, mut is_before: impl FnMut(&Place) -> bool) -> usize {
        let found = self.order.search(|place| if is_before(place) { Ordering::Less } else { Ordering::Greater });
        found.unwrap_or_else(|rank| rank)
    }

    /// Member and score at `rank`.
    pub fn at(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.order.at(rank).map(|(place, _)| (place.member(self), place.score))
    }

    /// Members and scores from `rank` on, in ascending order.
    pub fn forwards(&self, rank: usize) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.forwards(rank).map(|place| (place.member(self), place.score))
    }

    /// Members and scores from `rank` back to the least.
    pub fn backwards(&self, rank: usize) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.backwards(rank).map(|place| (place.member(self), place.score))
    }

    /// Visits about `count` members from `cursor` on and returns the next cursor, 0 at the end; see [`Table::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], f64)) -> u64 {
        self.table.scan(cursor, count, |record| visit(record.key(), score_of(record)))
    }

    /// Sets a member's score.
    pub fn set(&mut self, member: &[u8], score: f64) {
        let hash = self.seed.hash(member);
        let (low, high) = halves(score);
        let record = if let Some(record) = self.table.find_mut(hash, member) {
            let old = score_of(record);
            if old == score {
                return;
            }
            record.set_bytes(&low);
            record.touch(high);
            self.digest = self.digest.wrapping_sub(digest::member(member, old));
            let record = record.reference();
            self.order.remove(compare(old, member));
            record
        } else {
            let new = Record::new(Kind::String, member, &low, None, high);
            let record = new.reference();
            self.content_len += member.len();
            self.table_memory += new.memory();
            self.table_memory = self.table_memory.wrapping_add_signed(self.table.insert(self.seed, hash, new));
            record
        };
        self.digest = self.digest.wrapping_add(digest::member(member, score));
        self.place(member, Place { score, member: record });
    }

    /// Puts a member that is in the table into the tree.
    fn place(&mut self, member: &[u8], place: Place) {
        let is_last = |last: &Place| order((last.score, last.member(self)), (place.score, member)) == Ordering::Less;
        if self.order.last().is_some_and(is_last) {
            self.order.insert_at(usize::MAX, place);
        } else {
            self.order.insert(compare(place.score, member), place);
        }
    }

    /// Removes a member, if it exists.
    pub fn remove(&mut self, member: &[u8]) {
        if let Some(score) = self.score(member) {
            self.order.remove(compare(score, member));
            self.forget(member, score);
        }
    }

    /// Removes `count` members, beginning with the one at rank `first`.
    pub fn remove_ranks(&mut self, first: usize, count: usize) {
        let mut removed = Vec::with_capacity(count.min(self.len()));
        self.order.remove_at(first, count, |place| removed.push(place));
        for place in removed {
            // SAFETY: the place was in the tree a moment ago, and its record is still in the table; the bytes are no
            // longer used when `forget` has removed the record.
            let member = unsafe { place.member.key() };
            self.forget(member, place.score);
        }
    }

    /// Removes a member that is in the tree no more from the table.
    fn forget(&mut self, member: &[u8], score: f64) {
        self.digest = self.digest.wrapping_sub(digest::member(member, score));
        self.content_len -= member.len();
        if let Some((record, delta)) = self.table.remove(self.seed.hash(member), member) {
            self.table_memory = (self.table_memory - record.memory()).wrapping_add_signed(delta);
        }
    }

    /// Takes this apart, to be freed in slices: the parts take [`Self::memory`] in all.
    pub fn into_parts(self) -> (Table, Leaves<Place>) {
        (self.table, self.order.into_leaves())
    }
}
