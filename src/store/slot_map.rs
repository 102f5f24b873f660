//! The keys of one slot in one database, with what is known of all of them: their digest, how many expire, and the soonest expiry.
//!
//! Always: `digest` is the sum of the keys' digests, `expiring` their number with an expiry, and `next_expiry` ≤ each of those expiries.

use super::digest::KeyDigest;
use super::garbage::Garbage;
use super::hash::{Form, HashRef};
use super::table::MAX_LENGTH;
use super::table::{Hash, Seed, Table};
use super::table::{Record, Stored};
use super::{Entry, Value};
use crate::encoding::edit::UnixMillis;

/// An expiry later than any.
pub(super) const NEVER: u64 = u64::MAX;

/// How an edit changes the numbers that a store keeps of all its keys.
pub(super) struct Tally {
    pub keys: isize,
    pub expiring: isize,
    pub memory: isize,
}

impl Tally {
    /// Nothing changed yet.
    pub const fn new() -> Self {
        Self { keys: 0, expiring: 0, memory: 0 }
    }
}

/// A key on its way through an edit.
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    pub bytes: &'k [u8],
    pub hash: Hash,
    pub digest: KeyDigest,
}

impl<'k> Key<'k> {
    #[inline]
    pub fn new(seed: Seed, bytes: &'k [u8]) -> Self {
        Self { bytes, hash: seed.hash(bytes), digest: KeyDigest::of(bytes) }
    }
}

/// What every change is given besides the key.
pub(super) struct Tools<'t> {
    pub seed: Seed,
    pub tally: &'t mut Tally,
    pub garbage: &'t mut Garbage,
    /// Time of use of what the change makes or overwrites.
    pub clock: u32,
    /// Where a packed hash is put together.
    pub scratch: &'t mut Vec<u8>,
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
    let value = match record.stored() {
        Stored::String(bytes) => Value::String(bytes),
        Stored::PackedHash(packed) => Value::Hash(HashRef(Form::Packed(packed))),
        Stored::TableHash(fields) => Value::Hash(HashRef(Form::Table(fields))),
    };
    Entry { value, expire_at: record.expire_at() }
}

/// Bytes of memory that a record takes, the table of a hash included.
#[inline]
pub(super) fn memory_of(record: &Record) -> usize {
    let fields = if let Stored::TableHash(fields) = record.stored() { fields.memory() } else { 0 };
    record.memory() + fields
}

/// The digest of a record's value, without its expiry.
#[inline]
fn value_digest(key: KeyDigest, record: &Record) -> u64 {
    match record.stored() {
        Stored::String(bytes) => key.string(bytes),
        Stored::PackedHash(packed) => HashRef(Form::Packed(packed)).digest(key),
        Stored::TableHash(fields) => fields.digest(),
    }
}

/// Nothing, or why an edit contradicts the state.
pub(super) type Refusal = Result<(), &'static str>;

pub(super) const TOO_LONG: &str = "it is longer than a key or value may be";
const NOT_A_STRING: &str = "it does not hold a string";
const MISSING: &str = "there is no such key";

impl SlotMap {
    /// Bytes of memory that the keys and their table take, counted one by one.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.table.iter().map(memory_of).sum::<usize>()
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
    pub fn add(&mut self, key: Key<'_>, record: Record, digest: u64, tools: &mut Tools<'_>) {
        let expire_at = record.expire_at();
        self.exchange(0, digest.wrapping_add(key.digest.expiry(expire_at)));
        self.note_expiry(tools.tally, None, expire_at);
        tools.tally.keys += 1;
        tools.tally.memory += memory_of(&record) as isize;
        tools.tally.memory += self.table.insert(tools.seed, key.hash, record);
    }

    /// The key holds this string and expires then.
    #[inline]
    pub fn put_string(
        &mut self,
        key: Key<'_>,
        value: &[u8],
        expire_at: Option<UnixMillis>,
        tools: &mut Tools<'_>,
    ) -> Refusal {
        if !fit(key.bytes) || !fit(value) {
            return Err(TOO_LONG);
        }
        let digest = key.digest.string(value);
        let Some(record) = self.table.find_mut(key.hash, key.bytes) else {
            self.add(key, Record::string(key.bytes, value, expire_at, tools.clock), digest, tools);
            return Ok(());
        };
        let (old_memory, old_expiry, old_digest) =
            (record.memory(), record.expire_at(), value_digest(key.digest, record));
        if matches!(record.stored(), Stored::String(_)) && old_expiry.is_some() == expire_at.is_some() {
            record.set_bytes(value);
            record.set_expire_at(expire_at);
            record.touch(tools.clock);
        } else {
            if let Some(fields) = record.take_fields() {
                tools.tally.memory -= tools.garbage.push_fields(*fields) as isize;
            }
            record.replace(Record::string(key.bytes, value, expire_at, tools.clock));
        }
        tools.tally.memory += record.memory() as isize - old_memory as isize;
        let before = old_digest.wrapping_add(key.digest.expiry(old_expiry));
        self.exchange(before, digest.wrapping_add(key.digest.expiry(expire_at)));
        self.note_expiry(tools.tally, old_expiry, expire_at);
        Ok(())
    }

    /// The key's string holds `bytes` from `offset` on.
    pub fn write_string(&mut self, key: Key<'_>, offset: u64, bytes: &[u8], tools: &mut Tools<'_>) -> Refusal {
        let offset = usize::try_from(offset).map_err(|_| TOO_LONG)?;
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= MAX_LENGTH).ok_or(TOO_LONG)?;
        let Some(record) = self.table.find_mut(key.hash, key.bytes) else {
            let mut value = vec![0; end];
            value[offset..].copy_from_slice(bytes);
            return self.put_string(key, &value, None, tools);
        };
        let Stored::String(old) = record.stored() else { return Err(NOT_A_STRING) };
        let (old_memory, old_len) = (record.memory(), old.len());
        // A string that grows changes from its old end on, for its last chunk gets longer.
        let start = if end > old_len { offset.min(old_len.saturating_sub(1)) } else { offset };
        let before = key.digest.string_part(old, start, end);
        if end > old_len {
            record.resize(end);
        }
        if let Some(string) = record.bytes_mut() {
            string[offset..end].copy_from_slice(bytes);
        }
        record.touch(tools.clock);
        tools.tally.memory += record.memory() as isize - old_memory as isize;
        let after = key.digest.string_part(record.bytes(), start, end);
        self.exchange(before, after);
        Ok(())
    }

    /// The key expires then.
    pub fn set_expiry(&mut self, key: Key<'_>, expire_at: Option<UnixMillis>, tools: &mut Tools<'_>) -> Refusal {
        let record = self.table.find_mut(key.hash, key.bytes).ok_or(MISSING)?;
        let (old_memory, before) = (record.memory(), record.expire_at());
        record.set_expire_at(expire_at);
        record.touch(tools.clock);
        tools.tally.memory += record.memory() as isize - old_memory as isize;
        self.exchange(key.digest.expiry(before), key.digest.expiry(expire_at));
        self.note_expiry(tools.tally, before, expire_at);
        Ok(())
    }

    /// The key is gone, if it was there.
    pub fn delete(&mut self, key: Key<'_>, tools: &mut Tools<'_>) {
        let Some((mut record, table)) = self.table.remove(key.hash, key.bytes) else { return };
        let expire_at = record.expire_at();
        self.exchange(value_digest(key.digest, &record).wrapping_add(key.digest.expiry(expire_at)), 0);
        self.note_expiry(tools.tally, expire_at, None);
        tools.tally.keys -= 1;
        tools.tally.memory += table - record.memory() as isize;
        if let Some(fields) = record.take_fields() {
            tools.tally.memory -= tools.garbage.push_fields(*fields) as isize;
        }
    }
}

/// Whether bytes are short enough for a key or value.
pub(super) const fn fit(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_LENGTH
}
