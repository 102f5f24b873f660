//! Elements of a large value (fields of a hash, members of a set) in the same kind of table as the keys of a slot:
//! millions of elements stall a core no more than millions of keys do.
//!
//! | file | what it is |
//! |---|---|
//! | this one | the table, with its totals |
//! | `slices` | writing its elements to a snapshot in slices |

pub(in crate::store) mod slices;

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::pick::Selection;
use crate::store::table::{Record, Seed, Table};
use crate::store::value::form::Kind;

/// An element: its name, which is unique in the table, and a value (empty in sets).
pub(in crate::store) type Element<'a> = (&'a [u8], &'a [u8]);

/// Drawing elements one by one is quicker than a walk up to one in so many elements.
const SPARSE: usize = 16;

/// Table of elements, with their total digest, length and memory.
pub(in crate::store) struct ElementTable {
    table: Table,
    seed: Seed,
    digest: u64,
    content_len: usize,
    memory: usize,
}

fn element_of(record: &Record) -> Element<'_> {
    (record.key(), record.bytes())
}

impl ElementTable {
    /// Makes an empty table with room for `count` elements.
    pub fn with_capacity(seed: Seed, count: usize) -> Self {
        let mut table = Table::default();
        let memory = 0usize.wrapping_add_signed(table.reserve(count));
        Self { table, seed, digest: 0, content_len: 0, memory }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Sum of the elements' digests.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Total bytes of all names and values.
    pub const fn content_len(&self) -> usize {
        self.content_len
    }

    /// Bytes of memory that the table and its records take.
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// Value of an element.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.table.find(self.seed.hash(name), name).map(Record::bytes)
    }

    /// Sets an element; `digest` computes the digest of an element of this value.
    pub fn set(&mut self, (name, value): Element<'_>, digest: impl Fn(Element<'_>) -> u64) {
        let hash = self.seed.hash(name);
        if let Some(record) = self.table.find_mut(hash, name) {
            self.digest = self.digest.wrapping_sub(digest(element_of(record)));
            self.memory -= record.memory();
            self.content_len = self.content_len - record.bytes().len() + value.len();
            record.set_bytes(value);
            self.memory += record.memory();
        } else {
            let record = Record::new(Kind::String, name, value, None, 0);
            self.memory += record.memory();
            self.content_len += name.len() + value.len();
            self.memory = self.memory.wrapping_add_signed(self.table.insert(self.seed, hash, record));
        }
        self.digest = self.digest.wrapping_add(digest((name, value)));
    }

    /// Removes an element, if it exists; `digest` computes the digest of an element of this value.
    pub fn remove(&mut self, name: &[u8], digest: impl Fn(Element<'_>) -> u64) {
        if let Some((record, delta)) = self.table.remove(self.seed.hash(name), name) {
            self.digest = self.digest.wrapping_sub(digest(element_of(&record)));
            self.content_len -= name.len() + record.bytes().len();
            self.memory = (self.memory - record.memory()).wrapping_add_signed(delta);
        }
    }

    /// Consumes this and returns the table of records, one per element; they take [`Self::memory`] in all.
    pub fn into_table(self) -> Table {
        self.table
    }

    /// The elements, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        self.table.iter().map(element_of)
    }

    /// Visits about `count` elements from `cursor` on and returns the next cursor, 0 at the end; see [`Table::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'a>)) -> u64 {
        self.table.scan(cursor, count, |record| visit(element_of(record)))
    }

    /// Visits the elements whose turn is `from` or later in one subtable; see [`Table::sweep`].
    pub fn sweep<'a>(
        &'a self,
        from: u32,
        mut visit: impl FnMut(Element<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        self.table.sweep(self.seed, from, |record| visit(element_of(record)))
    }

    /// Position of an element in the order of a sweep.
    pub fn turn(&self, name: &[u8]) -> u32 {
        self.seed.hash(name).turn()
    }

    /// A random element, uniformly distributed.
    pub fn random(&self, random: impl FnMut() -> u64) -> Option<Element<'_>> {
        self.table.random(random).map(element_of)
    }

    /// Visits `count` different elements, or all if there are fewer; each selection is equally likely. A few elements
    /// of many are drawn one by one, so that their cost does not depend on the size of the table.
    pub fn distinct<'a>(&'a self, count: usize, mut random: impl FnMut() -> u64, mut visit: impl FnMut(Element<'a>)) {
        if count > self.len() / SPARSE {
            return Selection::new(count, self.len()).of(self.iter(), random, visit);
        }
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let Some(element) = self.random(&mut random) else { return };
            // Each record has an allocation of its own, so that its address stands for it.
            if drawn.insert(element.0.as_ptr().addr()) {
                visit(element);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_few_elements_of_many_are_drawn_without_a_walk() {
        let mut table = ElementTable::with_capacity(Seed::get(), 100_000);
        (0..100_000u32).for_each(|n| table.set((&n.to_le_bytes(), b""), |_| 1));
        let mut random = fastrand::Rng::with_seed(1);
        for count in [0, 1, 10, 100] {
            let (mut numbers, mut drawn) = (0, BTreeSet::new());
            let next = || {
                numbers += 1;
                random.u64(..)
            };
            table.distinct(count, next, |(name, _)| assert!(drawn.insert(name.to_vec())));
            assert_eq!(drawn.len(), count);
            assert!(numbers <= 50 + 20 * count, "{numbers} random numbers for {count} elements");
        }
    }

    #[test]
    fn every_element_is_drawn_as_often_as_any_other() {
        let mut table = ElementTable::with_capacity(Seed::get(), 1000);
        (0..1000u32).for_each(|n| table.set((&n.to_le_bytes(), b""), |_| 1));
        let mut random = fastrand::Rng::with_seed(1);
        for count in [20, 700] {
            let mut times = vec![0; 1000];
            for _ in 0..200_000 / count {
                table.distinct(
                    count,
                    || random.u64(..),
                    |(name, _)| times[u32::from_le_bytes(name.try_into().unwrap()) as usize] += 1,
                );
            }
            assert!(times.iter().all(|times| (120..300).contains(times)), "{times:?}");
        }
    }
}
