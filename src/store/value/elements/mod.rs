//! Elements of a large value (fields of a hash, members of a set). About a dozen lie in one allocation, for they are
//! often shorter than what an allocation of their own costs. Millions of elements stall a core no more than millions of
//! keys do.
//!
//! | file | what it is |
//! |---|---|
//! | this one | the table of elements, with its totals; elements at random |
//! | `packs` | a table of packs, which grows and shrinks by one pack at a time |
//! | `pack` | about a dozen elements, short ones inline, others in records |
//! | `inline` | the layout of short elements in one allocation |
//! | `slices` | writing the elements to a snapshot in slices |

mod inline;
mod pack;
mod packs;
pub(in crate::store) mod slices;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::pick::{SPARSE, Selection};
use crate::store::table::{Record, RecordRef, Seed, below};
use crate::time::UnixMillis;

pub(in crate::store) use self::packs::Packs;

/// An element, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Element<'a> {
    /// Its name, which is unique in the table.
    pub name: &'a [u8],
    /// Its value; empty in sets.
    pub value: &'a [u8],
    /// When it expires, if it does.
    pub expire_at: Option<UnixMillis>,
}

impl<'a> Element<'a> {
    /// Element that does not expire, of this name and value.
    pub const fn new((name, value): (&'a [u8], &'a [u8])) -> Self {
        Self { name, value, expire_at: None }
    }

    /// Element in a record.
    fn of(record: &'a Record) -> Self {
        Self { name: record.key(), value: record.bytes(), expire_at: record.expire_at() }
    }

    /// Bytes of name and value.
    const fn len(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

/// Table of elements, with their total digest, length and memory.
pub(in crate::store) struct ElementTable {
    packs: Packs,
    digest: u64,
    content_len: usize,
}

impl ElementTable {
    /// Makes an empty table with room for `count` elements.
    pub fn with_capacity(seed: Seed, count: usize) -> Self {
        Self { packs: Packs::with_capacity(seed, count), digest: 0, content_len: 0 }
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.packs.len()
    }

    /// Sum of the elements' digests.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Total bytes of all names and values.
    pub const fn content_len(&self) -> usize {
        self.content_len
    }

    /// Bytes of memory that the table and its elements take.
    pub const fn memory(&self) -> usize {
        self.packs.memory()
    }

    /// Finds an element.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<Element<'_>> {
        self.packs.find(name)
    }

    /// Record of an element, if it has one; one that expires does.
    pub fn record(&self, name: &[u8]) -> Option<&Record> {
        self.packs.record(name)
    }

    /// Sets an element; `digest` computes the digest of an element. Returns the address of the element's record, if it
    /// has one; one that expires does. The record keeps its address until the element changes.
    pub fn set(&mut self, element: Element<'_>, digest: impl Fn(Element<'_>) -> u64) -> Option<RecordRef> {
        let (sum, content_len) = (&mut self.digest, &mut self.content_len);
        self.packs.set(element, |before| {
            if let Some(before) = before {
                *sum = sum.wrapping_sub(digest(before));
                *content_len -= before.len();
            }
            *sum = sum.wrapping_add(digest(element));
            *content_len += element.len();
        })
    }

    /// Adds an element, unless there is one of its name; `digest` computes the digest of an element.
    pub fn add(&mut self, element: Element<'_>, digest: impl Fn(Element<'_>) -> u64) {
        if self.packs.add(element) {
            self.digest = self.digest.wrapping_add(digest(element));
            self.content_len += element.len();
        }
    }

    /// Changes when an element expires, if it exists; `digest` computes the digest of an element. Returns as
    /// [`Self::set`] does.
    pub fn set_expiry(
        &mut self,
        name: &[u8],
        expire_at: Option<UnixMillis>,
        digest: impl Fn(Element<'_>) -> u64,
    ) -> Option<RecordRef> {
        let sum = &mut self.digest;
        self.packs.set_expiry(name, expire_at, |before| {
            let after = digest(Element { expire_at, ..before });
            *sum = sum.wrapping_sub(digest(before)).wrapping_add(after);
        })
    }

    /// Removes an element, if it exists; `digest` computes the digest of an element.
    pub fn remove(&mut self, name: &[u8], digest: impl Fn(Element<'_>) -> u64) {
        let (sum, content_len) = (&mut self.digest, &mut self.content_len);
        self.packs.remove(name, |before| {
            *sum = sum.wrapping_sub(digest(before));
            *content_len -= before.len();
        });
    }

    /// Consumes this and returns the packs of elements; they take [`Self::memory`] in all.
    pub fn into_packs(self) -> Packs {
        self.packs
    }

    /// The elements, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        self.packs.iter()
    }

    /// Visits about `count` elements from `cursor` on and returns the next cursor, 0 at the end; see [`Packs::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: impl FnMut(Element<'a>)) -> u64 {
        self.packs.scan(cursor, count, visit)
    }

    /// Visits the elements of one pack whose turn is `from` or later; see [`Packs::sweep`].
    pub fn sweep<'a>(
        &'a self,
        from: u32,
        visit: impl FnMut(Element<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        self.packs.sweep(from, visit)
    }

    /// Position of an element in the order of a sweep.
    pub fn turn(&self, name: &[u8]) -> u32 {
        self.packs.turn(name)
    }

    /// A random element, uniformly distributed.
    pub fn random(&self, random: impl FnMut() -> u64) -> Option<Element<'_>> {
        self.packs.random(random)
    }

    /// Visits `count` different elements, or all if there are fewer; each selection is equally likely. A few elements
    /// of many are drawn one by one, so that their cost does not depend on the size of the table.
    pub fn distinct<'a>(&'a self, count: usize, random: impl FnMut() -> u64, visit: impl FnMut(Element<'a>)) {
        self.distinct_of(self.len(), |_| true, count, random, visit);
    }

    /// As [`Self::distinct`], of the `len` elements for which `is_one` holds.
    pub fn distinct_of<'a>(
        &'a self,
        len: usize,
        is_one: impl Fn(Element<'a>) -> bool,
        count: usize,
        mut random: impl FnMut() -> u64,
        mut visit: impl FnMut(Element<'a>),
    ) {
        if count > len / SPARSE || self.is_rare(len) {
            let elements = self.iter().filter(|element| is_one(*element));
            return Selection::new(count, len).of(elements, random, visit);
        }
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let Some(element) = self.random(&mut random) else { return };
            // Place and length of its name tell an element from all others; an empty name is where another one begins.
            if is_one(element) && drawn.insert(std::ptr::from_ref(element.name)) {
                visit(element);
            }
        }
    }

    /// A random one of the `len` elements for which `is_one` holds.
    pub fn random_of<'a>(
        &'a self,
        len: usize,
        is_one: impl Fn(Element<'a>) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Option<Element<'a>> {
        if self.is_rare(len) {
            let mut ones = self.iter().filter(|element| is_one(*element));
            return ones.nth(below(random(), len.max(1)));
        }
        loop {
            let element = self.random(&mut random)?;
            if is_one(element) {
                return Some(element);
            }
        }
    }

    /// Whether `len` elements are so few of all that a walk finds one sooner than draws do.
    const fn is_rare(&self, len: usize) -> bool {
        len < self.len() / SPARSE
    }
}
