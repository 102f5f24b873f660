//! The fields of a large hash, in a table like that of a slot: a hash of millions of fields stalls no more than a slot does.

use std::ops::ControlFlow;

use super::digest::KeyDigest;
use super::memory::allocated;
use super::table::Record;
use super::table::{Hash, Seed, Table};

/// Fields and values, with the digest and the memory of all of them.
pub(super) struct FieldTable {
    table: Table,
    seed: Seed,
    digest: u64,
    memory: usize,
}

impl FieldTable {
    /// Bytes of memory that it takes besides its table and records.
    pub const OWN_MEMORY: usize = allocated(size_of::<Self>());

    /// No fields yet, and room for `count`.
    pub fn with_capacity(seed: Seed, count: usize) -> Self {
        let mut table = Table::default();
        let memory = Self::OWN_MEMORY.wrapping_add_signed(table.reserve(count));
        Self { table, seed, digest: 0, memory }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The sum of the fields' digests.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Bytes of memory that all of it takes.
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.table.find(self.seed.hash(name), name).map(Record::bytes)
    }

    /// Sets a field of the hash with this key digest.
    pub fn set(&mut self, key: KeyDigest, name: &[u8], value: &[u8]) {
        let hash = self.seed.hash(name);
        if let Some(record) = self.table.find_mut(hash, name) {
            self.digest = self.digest.wrapping_sub(key.field(name, record.bytes()));
            self.memory -= record.memory();
            record.set_bytes(value);
            self.memory += record.memory();
        } else {
            self.add(hash, name, value);
        }
        self.digest = self.digest.wrapping_add(key.field(name, value));
    }

    /// Adds a field that is not there yet, without its digest.
    fn add(&mut self, hash: Hash, name: &[u8], value: &[u8]) {
        let record = Record::string(name, value, None, 0);
        self.memory += record.memory();
        self.memory = self.memory.wrapping_add_signed(self.table.insert(self.seed, hash, record));
    }

    /// Removes a field, if it is there.
    pub fn remove(&mut self, key: KeyDigest, name: &[u8]) {
        if let Some((record, delta)) = self.table.remove(self.seed.hash(name), name) {
            self.digest = self.digest.wrapping_sub(key.field(name, record.bytes()));
            self.memory = (self.memory - record.memory()).wrapping_add_signed(delta);
        }
    }

    /// The table, of records that hold a value each. What it takes is [`Self::memory`] less [`Self::OWN_MEMORY`].
    pub fn into_table(self) -> Table {
        self.table
    }

    /// Names and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table.iter().map(|record| (record.key(), record.bytes()))
    }

    /// As [`Table::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        self.table.scan(cursor, count, |record| visit(record.key(), record.bytes()))
    }

    /// As [`Table::sweep`].
    pub fn sweep<'a>(
        &'a self,
        from: u32,
        mut visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        self.table.sweep(self.seed, from, |record| visit(record.key(), record.bytes()))
    }

    /// Where a sweep comes to a field.
    pub fn turn(&self, name: &[u8]) -> u32 {
        self.seed.hash(name).turn()
    }

    /// A field at random.
    pub fn random(&self, random: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        self.table.random(random).map(|record| (record.key(), record.bytes()))
    }
}
