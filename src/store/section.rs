//! Writes a slot's keys as a snapshot section in one go, and loads such a section without looking up each key.

use super::apply::{ApplyError, NOT_HERE};
use super::change::{Key, TOO_LONG, Tools, fit};
use super::digest::Digest;
use super::slot_map::Tally;
use super::table::Record;
use super::value::{self, Value};
use super::{Database, Store};
use crate::encoding::entry::{Entry, Head};
use crate::ids::{DATABASES, Db, Slot};

impl Store {
    /// Appends the entries of a slot in all databases, encoded by [`crate::encoding::entry`]. Returns their number.
    pub fn write_section(&self, slot: Slot, out: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        for (db, map) in self.maps(slot) {
            count += map.table.len() as u64;
            for record in map.table.iter() {
                write(out, db, record);
            }
        }
        count
    }

    /// Writes every slot as a section and loads it again, so that all content is as a restart would make it. Takes as
    /// long as that.
    ///
    /// # Errors
    /// If a section cannot be loaded, or has another digest than its slot had. Content may be lost then.
    pub fn reload(&mut self) -> Result<(), ApplyError> {
        self.restart_expiry();
        let mut entries = Vec::new();
        for index in 0..usize::from(self.slots) {
            let slot = Slot(self.first_slot + index as u16);
            entries.clear();
            let (count, digest) = (self.write_section(slot, &mut entries), self.digest(slot));
            for database in self.databases.iter_mut().flatten() {
                self.memory -= database.clear(index..index + 1, &mut self.garbage);
            }
            self.load_again(slot, count, digest, &entries)?;
            self.free_all();
        }
        Ok(())
    }

    /// Loads a section into its slot, which must be empty and have this digest afterwards.
    pub(super) fn load_again(
        &mut self,
        slot: Slot,
        count: u64,
        digest: Digest,
        entries: &[u8],
    ) -> Result<(), ApplyError> {
        self.load_section(slot, count, entries)?;
        if self.digest(slot) == digest {
            Ok(())
        } else {
            Err(ApplyError::slot(slot, "it has another digest once it is loaded again"))
        }
    }

    /// Fills an empty slot with `count` entries that [`Self::write_section`] wrote. Duplicate keys are not checked
    /// here; the section's digest reveals them.
    ///
    /// # Errors
    ///
    /// Returns an error, and changes nothing, if the number of entries differs from `count`, an entry is malformed, or
    /// the slot is not empty or not in this store.
    pub fn load_section(&mut self, slot: Slot, count: u64, entries: &[u8]) -> Result<(), ApplyError> {
        let index = self.index(slot).ok_or_else(|| ApplyError::slot(slot, NOT_HERE))?;
        if self.maps(slot).any(|(_, map)| map.table.len() > 0) {
            return Err(ApplyError::slot(slot, "it is not empty"));
        }
        let counts = check(entries, count).map_err(|why| ApplyError::slot(slot, why))?;
        let mut tally = [const { Tally::new() }; DATABASES as usize];
        for (db, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let slots = usize::from(self.slots);
            let database = self.databases[db].get_or_insert_with(|| {
                self.memory += Database::memory_of(slots);
                Database::new(slots)
            });
            tally[db].memory += database.slots[index].table.reserve(count);
        }
        let mut rest = entries;
        while let (false, Ok(entry)) = (rest.is_empty(), Entry::read(&mut rest)) {
            let db = usize::from(entry.db.0);
            let Some(database) = &mut self.databases[db] else { continue };
            let tools =
                &mut Tools { seed: self.seed, clock: self.clock, packing: self.packing, scratch: &mut self.scratch };
            let key = Key::new(self.seed, entry.key);
            let (record, digest) = value::load_entry(key, entry.value, entry.expire_at, tools);
            database.slots[index].add(key, record, digest, self.seed, &mut tally[db]);
        }
        let partition = self.partition_index(slot);
        for (database, tally) in self.databases.iter_mut().zip(&tally) {
            if let Some(database) = database {
                database.count(tally);
                self.next_expiry[partition] = self.next_expiry[partition].min(database.slots[index].next_expiry);
            }
            self.memory = self.memory.wrapping_add_signed(tally.memory);
        }
        Ok(())
    }
}

/// Checks that the entries are well-formed and `count` in all. Returns their number per database.
fn check(mut entries: &[u8], count: u64) -> Result<[usize; DATABASES as usize], &'static str> {
    let mut counts = [0; DATABASES as usize];
    while !entries.is_empty() {
        let entry = Entry::read(&mut entries).map_err(|_| "it has a malformed entry")?;
        value::check_entry(entry.value)?;
        if !fit(entry.key) {
            return Err(TOO_LONG);
        }
        counts[usize::from(entry.db.0)] += 1;
    }
    if counts.iter().sum::<usize>() as u64 == count { Ok(counts) } else { Err("it has another number of entries") }
}

/// Head of a record's snapshot entry: everything but the value.
pub(super) fn head_of(db: Db, record: &Record) -> Head<'_> {
    Head { db, key: record.key(), expire_at: record.expire_at() }
}

/// Appends the snapshot entry of a record.
pub(super) fn write(out: &mut Vec<u8>, db: Db, record: &Record) {
    Value::of(record).write_entry(head_of(db, record), out);
}
