//! Hashes some of whose fields expire. A hash takes one of these forms with the first expiry and leaves it with the
//! last one, so that others pay nothing for them.
//!
//! | file | what it is |
//! |---|---|
//! | this one | what edits do to such hashes |
//! | `packed` | the small form |
//! | `table` | the large form |

pub(in crate::store::value) mod packed;
pub(in crate::store) mod table;

use self::table::ExpiringTable;
use super::{digest, pairs};
use crate::store::change::{Contradiction, Key, Tools};
use crate::store::table::{Record, Seed};
use crate::store::value::elements::ElementTable;
use crate::store::value::form::{Kind, Structure};
use crate::store::value::packed::{Limits, find, remove};
use crate::time::UnixMillis;

const NOT_A_HASH: Contradiction = "it does not hold a hash";

/// A field: its name, its value, and when it expires.
pub(in crate::store::value) type Field<'a> = (&'a [u8], &'a [u8], Option<UnixMillis>);

/// What a field adds to the digest of its hash.
pub(super) fn digest_of((name, value, expire_at): Field<'_>) -> u64 {
    digest::field((name, value)).wrapping_add(digest::expiry(name, expire_at))
}

/// A hash while an edit changes it: packed as long as that fits, then a table.
pub(super) struct Work<'w> {
    seed: Seed,
    limits: Limits,
    /// Entries of the packed form; meaningless once there is a table.
    entries: &'w mut Vec<u8>,
    table: Option<ExpiringTable>,
    /// Growth of the digest, as far as the table does not know it.
    digest: u64,
}

impl<'w> Work<'w> {
    /// Begins a new hash.
    pub fn new(limits: Limits, tools: &'w mut Tools<'_>) -> Self {
        tools.scratch.clear();
        Self { seed: tools.seed, limits, entries: tools.scratch, table: None, digest: 0 }
    }

    /// Begins to change the hash of a record, which [`Self::close`] must complete.
    ///
    /// # Errors
    /// If the record holds no hash.
    pub fn open(record: &mut Record, limits: Limits, tools: &'w mut Tools<'_>) -> Result<Self, Contradiction> {
        let mut work = Self::new(limits, tools);
        if let Some(structure) = record.structure_mut() {
            let nothing = Structure::Hash(ElementTable::with_capacity(work.seed, 0));
            let table = match std::mem::replace(structure, nothing) {
                Structure::Hash(fields) => ExpiringTable::new(fields),
                Structure::ExpiringHash(table) => *table,
                other => {
                    *structure = other;
                    return Err(NOT_A_HASH);
                }
            };
            work.digest = table.fields().digest().wrapping_neg();
            work.table = Some(table);
            return Ok(work);
        }
        let is_packed = match record.kind() {
            Some(Kind::PackedExpiringHash) => {
                work.entries.extend_from_slice(packed::entries(record.bytes()));
                true
            }
            Some(Kind::PackedHash) => packed::fill(work.entries, pairs(record.bytes())),
            _ => return Err(NOT_A_HASH),
        };
        if !is_packed {
            let count = pairs(record.bytes()).count();
            pairs(record.bytes()).for_each(|(name, value)| work.large(count).set((name, value, None)));
            work.digest = work.digest.wrapping_sub(digest::of(pairs(record.bytes())));
        }
        Ok(work)
    }

    /// The table, which is made of the entries if there is none yet, with room for `more` fields.
    fn large(&mut self, more: usize) -> &mut ExpiringTable {
        let entries = &mut *self.entries;
        self.table.get_or_insert_with(|| {
            let count = packed::fields(entries).count() + more;
            let mut table = ExpiringTable::new(ElementTable::with_capacity(self.seed, count));
            packed::fields(entries).for_each(|field| table.set(field));
            self.digest = self.digest.wrapping_sub(table.fields().digest());
            table
        })
    }

    /// Sets a field's value and time. `more` is the number of fields that will follow.
    pub fn set(&mut self, field: Field<'_>, more: usize) {
        let (name, value, _) = field;
        if self.table.is_none() {
            self.remove(name);
            if self.limits.admit(self.entries, [name, value]) && packed::push(self.entries, field) {
                self.digest = self.digest.wrapping_add(digest_of(field));
                return;
            }
        }
        self.large(more + 1).set(field);
    }

    /// Sets a field's time, if the field exists.
    pub fn set_time(&mut self, name: &[u8], expire_at: Option<UnixMillis>) {
        if self.table.is_none() {
            let Some(place) = find::<3>(self.entries, name) else { return };
            let (_, before) = packed::field_at(self.entries, &place);
            if packed::set_time(self.entries, &place, expire_at) {
                let added = digest::expiry(name, expire_at);
                self.digest = self.digest.wrapping_add(added).wrapping_sub(digest::expiry(name, before));
                return;
            }
        }
        self.large(0).set_time(name, expire_at);
    }

    /// Removes a field, if it exists.
    pub fn remove(&mut self, name: &[u8]) {
        if let Some(table) = &mut self.table {
            table.remove(name);
        } else if let Some(place) = find::<3>(self.entries, name) {
            let (value, expire_at) = packed::field_at(self.entries, &place);
            self.digest = self.digest.wrapping_sub(digest_of((name, value, expire_at)));
            remove(self.entries, &place);
        }
    }

    /// Completes a new hash, which has at least one field. Returns its record and its digest.
    pub fn into_record(self, key: Key<'_>, expire_at: Option<UnixMillis>, clock: u32) -> (Record, u64) {
        let digest = self.growth();
        let record = match self.table {
            Some(table) => Record::with_structure(key.bytes, Box::new(table.into_structure()), expire_at, clock),
            None => Record::new(seal(self.entries), key.bytes, self.entries, expire_at, clock),
        };
        (record, digest)
    }

    /// Puts the hash back into its record. Returns whether any fields are left, and the growth of the digest; if no
    /// field is left of a packed hash, the record is unchanged.
    pub fn close(self, record: &mut Record) -> (bool, u64) {
        let (digest, expire_at, clock) = (self.growth(), record.expire_at(), record.clock());
        if let Some(table) = self.table {
            let any_left = table.len() > 0;
            let structure = table.into_structure();
            match record.structure_mut() {
                Some(place) => *place = structure,
                None => record.replace(Record::with_structure(record.key(), Box::new(structure), expire_at, clock)),
            }
            return (any_left, digest);
        }
        if self.entries.is_empty() {
            return (false, 0);
        }
        let kind = seal(self.entries);
        if record.kind() == Some(kind) {
            record.set_bytes(self.entries);
        } else {
            record.replace(Record::new(kind, record.key(), self.entries, expire_at, clock));
        }
        (true, digest)
    }

    fn growth(&self) -> u64 {
        self.digest.wrapping_add(self.table.as_ref().map_or(0, |table| table.fields().digest()))
    }
}

/// Completes the layout of entries: that of a plain packed hash if none of them expires.
fn seal(entries: &mut Vec<u8>) -> Kind {
    if packed::seal(entries) {
        return Kind::PackedExpiringHash;
    }
    let mut plain = Vec::with_capacity(entries.len());
    let fields = packed::fields(entries).map(|(name, value, _)| [name, value]).collect::<Vec<_>>();
    crate::store::value::packed::fill(&mut plain, fields.into_iter());
    *entries = plain;
    Kind::PackedHash
}
