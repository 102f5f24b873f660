//! The keys of one slot in one database, with what is known of all of them: their digest, how many expire, and the
//! soonest expiry.
//!
//! Always: `digest` is the sum of the keys' digests, `expiring` their number with an expiry, and `next_expiry` ≤ each
//! of those expiries.

use super::Entry;
use super::change::{Changed, Contradiction, Key, Tools};
use super::garbage::Garbage;
use super::table::{Record, Seed, Table};
use super::value::form::Structure;
use super::value::{self, Value};
use crate::encoding::edit::Change;
use crate::time::UnixMillis;

/// An expiry later than any.
pub(super) const NEVER: u64 = u64::MAX;

/// By how much an edit changes the numbers that a store keeps of all its keys.
pub(super) struct Tally {
    pub keys: isize,
    pub expiring: isize,
    pub memory: isize,
}

impl Tally {
    /// The tally of an edit that has changed nothing yet.
    pub const fn new() -> Self {
        Self { keys: 0, expiring: 0, memory: 0 }
    }
}

/// The keys of one slot in one database; one cache line.
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

/// The content of a record.
#[inline]
pub(super) fn entry_of(record: &Record) -> Entry<'_> {
    Entry { value: Value::of(record), expire_at: record.expire_at() }
}

impl SlotMap {
    /// Bytes of memory that the keys and their table take, counted one by one.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.table.iter().map(value::memory).sum::<usize>()
    }

    #[inline]
    fn exchange(&mut self, before: u64, after: u64) {
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Notes that a key expires at another time than before.
    #[inline]
    fn note_expiry(&mut self, tally: &mut Tally, before: Option<UnixMillis>, after: Option<UnixMillis>) {
        let delta = i32::from(after.is_some()) - i32::from(before.is_some());
        self.expiring = self.expiring.wrapping_add_signed(delta);
        tally.expiring += delta as isize;
        if let Some(at) = after {
            self.next_expiry = self.next_expiry.min(at.get());
        }
    }

    /// Adds a record whose key is not there; `digest` is that of its value.
    #[inline]
    pub fn add(&mut self, key: Key<'_>, record: Record, digest: u64, seed: Seed, tally: &mut Tally) {
        let expire_at = record.expire_at();
        self.exchange(0, digest.wrapping_add(key.digest.expiry(expire_at)));
        self.note_expiry(tally, None, expire_at);
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
        tally.memory += value::memory(record) as isize - memory as isize;
        self.exchange(key.digest.expiry(expire_at), digest.wrapping_add(key.digest.expiry(new_expire_at)));
        self.note_expiry(tally, expire_at, new_expire_at);
        if let Some(structure) = replaced {
            discard(*structure, tally, garbage);
        }
        if is_empty {
            self.delete(key, tally, garbage);
        }
        Ok(())
    }

    /// Removes the key, if it is there.
    fn delete(&mut self, key: Key<'_>, tally: &mut Tally, garbage: &mut Garbage) {
        let Some((mut record, table)) = self.table.remove(key.hash, key.bytes) else { return };
        let expire_at = record.expire_at();
        self.exchange(Value::of(&record).digest(key.digest).wrapping_add(key.digest.expiry(expire_at)), 0);
        self.note_expiry(tally, expire_at, None);
        tally.keys -= 1;
        tally.memory += table - value::memory(&record) as isize;
        if let Some(structure) = record.take_structure() {
            discard(*structure, tally, garbage);
        }
    }
}

/// Frees a structure that no key holds any more, or puts it aside; until it is freed, it counts as used memory again.
fn discard(structure: Structure, tally: &mut Tally, garbage: &mut Garbage) {
    let memory = structure.memory();
    tally.memory += (memory - garbage.push_structure(structure)) as isize;
}
