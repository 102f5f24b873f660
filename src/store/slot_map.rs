//! The keys of one slot in one database, with their totals: digest, number of keys with an expiry, soonest expiry of a
//! key or of a field of a hash.
//!
//! Invariants: `digest` is the sum of the keys' digests, `expiring` the number of keys with an expiry, and
//! `next_expiry` ≤ each of those expiries, and ≤ each expiry of a field of a hash.

use super::Entry;
use super::change::{Changed, Contradiction, Key, Tools};
use super::garbage::Garbage;
use super::table::{Record, Seed, Table};
use super::value::form::Structure;
use super::value::{self, Value};
use crate::encoding::edit::Change;
use crate::time::UnixMillis;

/// Marker for "no expiry": later than any time.
pub(super) const NEVER: u64 = u64::MAX;

/// Changes that one edit makes to the totals of a store.
pub(super) struct Tally {
    pub keys: isize,
    pub expiring: isize,
    pub memory: isize,
}

impl Tally {
    /// Tally of an edit that has changed nothing yet.
    pub const fn new() -> Self {
        Self { keys: 0, expiring: 0, memory: 0 }
    }
}

/// The keys of one slot in one database. Its size is one cache line.
#[repr(align(64))]
pub(super) struct SlotMap {
    pub table: Table,
    pub digest: u64,
    pub next_expiry: u64,
    pub expiring: u32,
}

impl Default for SlotMap {
    fn default() -> Self {
        Self { table: Table::default(), digest: 0, next_expiry: NEVER, expiring: 0 }
    }
}

/// Content of a record.
#[inline]
pub(super) fn entry_of(record: &Record) -> Entry<'_> {
    Entry { value: Value::of(record), expire_at: record.expire_at() }
}

impl SlotMap {
    /// Bytes of memory that the keys and their table take, recounted key by key.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.table.iter().map(value::memory).sum::<usize>()
    }

    #[inline]
    fn exchange(&mut self, before: u64, after: u64) {
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Updates the totals after a key's expiry changed from `before` to `after`.
    #[inline]
    fn note_expiry(&mut self, tally: &mut Tally, before: Option<UnixMillis>, after: Option<UnixMillis>) {
        let delta = i32::from(after.is_some()) - i32::from(before.is_some());
        self.expiring = self.expiring.wrapping_add_signed(delta);
        tally.expiring += delta as isize;
        if let Some(at) = after {
            self.next_expiry = self.next_expiry.min(at.get());
        }
    }

    /// Adds a record whose key must not exist yet; `digest` is the digest of its value.
    #[inline]
    pub fn add(&mut self, key: Key<'_>, record: Record, digest: u64, seed: Seed, tally: &mut Tally) {
        let expire_at = record.expire_at();
        self.exchange(0, key.digest.value(digest).wrapping_add(key.digest.expiry(expire_at)));
        self.note_expiry(tally, None, expire_at);
        if let Some(at) = value::soonest_expiry(&record) {
            self.next_expiry = self.next_expiry.min(at.get());
        }
        tally.keys += 1;
        tally.memory += value::memory(&record) as isize;
        tally.memory += self.table.insert(seed, key.hash, record);
    }

    /// Applies a change to the key.
    ///
    /// # Errors
    /// If the change contradicts what the key holds; then nothing has changed.
    #[inline]
    pub fn apply(
        &mut self,
        key: Key<'_>,
        change: &Change<'_>,
        tools: &mut Tools<'_>,
        tally: &mut Tally,
        garbage: &mut Garbage,
    ) -> Result<(), Contradiction> {
        if let Change::Delete(_) = change {
            self.delete(key, tally, garbage);
            return Ok(());
        }
        let Some(record) = self.table.find_mut(key.hash, key.bytes) else {
            if let Some((record, digest)) = value::create(key, change, tools)? {
                self.add(key, record, digest, tools.seed, tally);
            }
            return Ok(());
        };
        let (memory, expire_at) = (value::memory(record), record.expire_at());
        let Changed { digest, replaced, is_empty } = value::change(key, record, change, tools)?;
        record.touch(tools.clock);
        let new_expire_at = record.expire_at();
        if let Some(at) = value::soonest_expiry(record) {
            self.next_expiry = self.next_expiry.min(at.get());
        }
        tally.memory += value::memory(record) as isize - memory as isize;
        let growth = key.digest.value(digest);
        self.exchange(key.digest.expiry(expire_at), growth.wrapping_add(key.digest.expiry(new_expire_at)));
        self.note_expiry(tally, expire_at, new_expire_at);
        if let Some(structure) = replaced {
            discard(*structure, tally, garbage);
        }
        if is_empty {
            self.delete(key, tally, garbage);
        }
        Ok(())
    }

    /// Takes the key's record out, if the key exists. Returns it with the digest of its value.
    pub fn take(&mut self, key: Key<'_>, tally: &mut Tally) -> Option<(Record, u64)> {
        let (record, table) = self.table.remove(key.hash, key.bytes)?;
        let (digest, expire_at) = (Value::of(&record).digest().0, record.expire_at());
        self.exchange(key.digest.value(digest).wrapping_add(key.digest.expiry(expire_at)), 0);
        self.note_expiry(tally, expire_at, None);
        tally.keys -= 1;
        tally.memory += table - value::memory(&record) as isize;
        Some((record, digest))
    }

    /// Removes the key, if it exists.
    pub fn delete(&mut self, key: Key<'_>, tally: &mut Tally, garbage: &mut Garbage) {
        if let Some((mut record, _)) = self.take(key, tally)
            && let Some(structure) = record.take_structure()
        {
            discard(*structure, tally, garbage);
        }
    }
}

/// Frees a structure that no key holds any more, or sets it aside; set aside, it still counts as used memory.
fn discard(structure: Structure, tally: &mut Tally, garbage: &mut Garbage) {
    let memory = structure.memory();
    tally.memory += (memory - garbage.push_structure(structure)) as isize;
}
