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

use super::pick::{SPARSE, Selection};
use crate::store::table::{Record, RecordRef, Seed, Table, below};
use crate::store::value::form::Kind;
use crate::time::UnixMillis;

/// An element: its name, which is unique in the table, and a value (empty in sets).
pub(in crate::store) type Element<'a> = (&'a [u8], &'a [u8]);

/// Table of elements, with their total digest, length and memory.
pub(in crate::store) struct ElementTable {
    table: Table,
    seed: Seed,
    digest: u64,
    content_len: usize,
    memory: usize,
}

/// Name and value of an element's record.
pub(super) fn element_of(record: &Record) -> Element<'_> {
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
        self.find(name).map(Record::bytes)
    }

    /// Record of an element: its key is the name, its value the value, its expiry the time at which the element
    /// expires.
    pub fn find(&self, name: &[u8]) -> Option<&Record> {
        self.table.find(self.seed.hash(name), name)
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

    /// Sets an element and when it expires; `digest` computes the digest of an element's record. Returns where the
    /// record is.
    pub fn put(
        &mut self,
        (name, value): Element<'_>,
        expire_at: Option<UnixMillis>,
        digest: impl Fn(&Record) -> u64,
    ) -> RecordRef {
        let hash = self.seed.hash(name);
        if let Some(record) = self.table.find_mut(hash, name) {
            self.content_len = self.content_len - record.bytes().len() + value.len();
            self.digest = self.digest.wrapping_sub(digest(record));
            self.memory -= record.memory();
            record.set_bytes(value);
            record.set_expire_at(expire_at);
            self.memory += record.memory();
            self.digest = self.digest.wrapping_add(digest(record));
            return record.reference();
        }
        let record = Record::new(Kind::String, name, value, expire_at, 0);
        let reference = record.reference();
        self.content_len += name.len() + value.len();
        self.digest = self.digest.wrapping_add(digest(&record));
        self.memory += record.memory();
        self.memory = self.memory.wrapping_add_signed(self.table.insert(self.seed, hash, record));
        reference
    }

    /// Changes when an element expires, if it exists; `digest` computes the digest of an element's record. Returns
    /// where the record is.
    pub fn set_expiry(
        &mut self,
        name: &[u8],
        expire_at: Option<UnixMillis>,
        digest: impl Fn(&Record) -> u64,
    ) -> Option<RecordRef> {
        let record = self.table.find_mut(self.seed.hash(name), name)?;
        self.digest = self.digest.wrapping_sub(digest(record));
        self.memory -= record.memory();
        record.set_expire_at(expire_at);
        self.memory += record.memory();
        self.digest = self.digest.wrapping_add(digest(record));
        Some(record.reference())
    }

    /// Removes an element, if it exists; `digest` computes the digest of an element of this value.
    pub fn remove(&mut self, name: &[u8], digest: impl Fn(Element<'_>) -> u64) {
        self.take(name, |record| digest(element_of(record)));
    }

    /// Removes an element, if it exists; `digest` computes the digest of an element's record.
    pub fn take(&mut self, name: &[u8], digest: impl Fn(&Record) -> u64) {
        if let Some((record, delta)) = self.table.remove(self.seed.hash(name), name) {
            self.digest = self.digest.wrapping_sub(digest(&record));
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
        self.records().map(element_of)
    }

    /// The elements' records, in no particular order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.table.iter()
    }

    /// Visits about `count` elements from `cursor` on and returns the next cursor, 0 at the end; see [`Table::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'a>)) -> u64 {
        self.scan_records(cursor, count, |record| visit(element_of(record)))
    }

    /// As [`Self::scan`], with the elements' records.
    pub fn scan_records<'a>(&'a self, cursor: u64, count: usize, visit: impl FnMut(&'a Record)) -> u64 {
        self.table.scan(cursor, count, visit)
    }

    /// Visits the records of elements whose turn is `from` or later in one subtable; see [`Table::sweep`].
    pub fn sweep<'a>(
        &'a self,
        from: u32,
        visit: impl FnMut(&'a Record) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        self.table.sweep(self.seed, from, visit)
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
    pub fn distinct<'a>(&'a self, count: usize, random: impl FnMut() -> u64, visit: impl FnMut(Element<'a>)) {
        self.distinct_of(self.len(), |_| true, count, random, visit);
    }

    /// As [`Self::distinct`], of the `len` elements for whose records `is_one` holds.
    pub fn distinct_of<'a>(
        &'a self,
        len: usize,
        is_one: impl Fn(&Record) -> bool,
        count: usize,
        mut random: impl FnMut() -> u64,
        mut visit: impl FnMut(Element<'a>),
    ) {
        if count > len / SPARSE || self.is_rare(len) {
            let elements = self.records().filter(|record| is_one(record)).map(element_of);
            return Selection::new(count, len).of(elements, random, visit);
        }
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let Some(record) = self.table.random(&mut random) else { return };
            // Each record has an allocation of its own, so that its address stands for it.
            if is_one(record) && drawn.insert(record.key().as_ptr().addr()) {
                visit(element_of(record));
            }
        }
    }

    /// A random one of the `len` elements for whose records `is_one` holds.
    pub fn random_of(
        &self,
        len: usize,
        is_one: impl Fn(&Record) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Option<Element<'_>> {
        if self.is_rare(len) {
            let mut ones = self.records().filter(|record| is_one(record));
            return ones.nth(below(random(), len.max(1))).map(element_of);
        }
        loop {
            let record = self.table.random(&mut random)?;
            if is_one(record) {
                return Some(element_of(record));
            }
        }
    }

    /// Whether `len` elements are so few of all that a walk finds one sooner than draws do.
    fn is_rare(&self, len: usize) -> bool {
        len < self.len() / SPARSE
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
