//! Fields of a large hash, in the same kind of table as the keys of a slot: millions of fields stall a core no more
//! than millions of keys do.

use std::ops::ControlFlow;

use super::digest;
use crate::store::digest::KeyDigest;
use crate::store::table::{Hash, Record, Seed, Table};
use crate::store::value::form::Kind;

/// Table of fields and values, with their total digest, length and memory.
pub(in crate::store) struct FieldTable {
    table: Table,
    seed: Seed,
    digest: u64,
    content_len: usize,
    memory: usize,
}

impl FieldTable {
    /// Makes an empty table with room for `count` fields.
    pub fn with_capacity(seed: Seed, count: usize) -> Self {
        let mut table = Table::default();
        let memory = 0usize.wrapping_add_signed(table.reserve(count));
        Self { table, seed, digest: 0, content_len: 0, memory }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Sum of the fields' digests.
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

    /// Value of a field.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.table.find(self.seed.hash(name), name).map(Record::bytes)
    }

    /// Sets a field; `key` is the digest of the hash's key.
    pub fn set(&mut self, key: KeyDigest, name: &[u8], value: &[u8]) {
        let hash = self.seed.hash(name);
        if let Some(record) = self.table.find_mut(hash, name) {
            self.digest = self.digest.wrapping_sub(digest::field(key, name, record.bytes()));
            self.memory -= record.memory();
            self.content_len = self.content_len - record.bytes().len() + value.len();
            record.set_bytes(value);
            self.memory += record.memory();
        } else {
            self.add(hash, name, value);
        }
        self.digest = self.digest.wrapping_add(digest::field(key, name, value));
    }

    /// Adds a field that does not exist yet; the caller adds its digest.
    fn add(&mut self, hash: Hash, name: &[u8], value: &[u8]) {
        let record = Record::new(Kind::String, name, value, None, 0);
        self.memory += record.memory();
        self.content_len += name.len() + value.len();
        self.memory = self.memory.wrapping_add_signed(self.table.insert(self.seed, hash, record));
    }

    /// Removes a field, if it exists.
    pub fn remove(&mut self, key: KeyDigest, name: &[u8]) {
        if let Some((record, delta)) = self.table.remove(self.seed.hash(name), name) {
            self.digest = self.digest.wrapping_sub(digest::field(key, name, record.bytes()));
            self.content_len -= name.len() + record.bytes().len();
            self.memory = (self.memory - record.memory()).wrapping_add_signed(delta);
        }
    }

    /// Consumes this and returns the table of records, one per field; they take [`Self::memory`] in all.
    pub fn into_table(self) -> Table {
        self.table
    }

    /// Names and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table.iter().map(|record| (record.key(), record.bytes()))
    }

    /// Visits about `count` fields from `cursor` on and returns the next cursor, 0 at the end; see [`Table::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        self.table.scan(cursor, count, |record| visit(record.key(), record.bytes()))
    }

    /// Visits the fields whose turn is `from` or later in one subtable; see [`Table::sweep`].
    pub fn sweep<'a>(
        &'a self,
        from: u32,
        mut visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        self.table.sweep(self.seed, from, |record| visit(record.key(), record.bytes()))
    }

    /// Position of a field in the order of a sweep.
    pub fn turn(&self, name: &[u8]) -> u32 {
        self.seed.hash(name).turn()
    }

    /// A random field, uniformly distributed.
    pub fn random(&self, random: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        self.table.random(random).map(|record| (record.key(), record.bytes()))
    }
}
