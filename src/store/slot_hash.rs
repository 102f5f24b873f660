//! What edits do to the hashes of a slot. A hash is packed while it is small, and a table from then on.

use super::digest::KeyDigest;
use super::fields::FieldTable;
use super::hash::{Form, HashRef};
use super::packed;
use super::slot_map::{Key, Refusal, SlotMap, TOO_LONG, Tools, fit, memory_of};
use super::table::{Record, Stored};
use crate::encoding::edit::{Fields, UnixMillis};

const NOT_A_HASH: &str = "it does not hold a hash";

impl SlotMap {
    /// The key holds exactly these fields and expires then.
    pub fn put_hash(
        &mut self,
        key: Key<'_>,
        fields: &Fields<'_>,
        expire_at: Option<UnixMillis>,
        tools: &mut Tools<'_>,
    ) -> Refusal {
        check(key, fields)?;
        self.delete(key, tools);
        if !fields.is_empty() {
            let (record, digest) = new_hash(key, fields.len(), fields.iter(), expire_at, tools);
            self.add(key, record, digest, tools);
        }
        Ok(())
    }

    /// These fields of the key's hash have these values.
    pub fn set_fields(&mut self, key: Key<'_>, fields: &Fields<'_>, tools: &mut Tools<'_>) -> Refusal {
        let Some(record) = self.table.find_mut(key.hash, key.bytes) else {
            return self.put_hash(key, fields, None, tools);
        };
        if matches!(record.stored(), Stored::String(_)) {
            return Err(NOT_A_HASH);
        }
        check(key, fields)?;
        let before = memory_of(record);
        let delta = match record.table_mut() {
            Some(table) => set_in_table(key.digest, table, fields.iter()),
            None => set_in_packed(key, record, fields, tools),
        };
        record.touch(tools.clock);
        tools.tally.memory += memory_of(record) as isize - before as isize;
        self.digest = self.digest.wrapping_add(delta);
        Ok(())
    }

    /// These fields of the key's hash are gone, and the key with the last of them.
    pub fn remove_fields(&mut self, key: Key<'_>, fields: &Fields<'_>, tools: &mut Tools<'_>) -> Refusal {
        let Some(record) = self.table.find_mut(key.hash, key.bytes) else { return Ok(()) };
        let before = memory_of(record);
        let (left, delta) = match record.stored() {
            Stored::String(_) => return Err(NOT_A_HASH),
            Stored::PackedHash(_) => remove_from_packed(key.digest, record, fields, tools.scratch),
            Stored::TableHash(_) => remove_from_table(key.digest, record, fields),
        };
        record.touch(tools.clock);
        tools.tally.memory += memory_of(record) as isize - before as isize;
        self.digest = self.digest.wrapping_add(delta);
        if left == 0 {
            self.delete(key, tools);
        }
        Ok(())
    }
}

fn check(key: Key<'_>, fields: &Fields<'_>) -> Refusal {
    let all_fit = fit(key.bytes) && fields.iter().all(|(name, value)| fit(name) && fit(value));
    if all_fit { Ok(()) } else { Err(TOO_LONG) }
}

/// A record of a hash of about `count` fields, with the digest of its value. A name that comes again replaces.
pub(super) fn new_hash<'f>(
    key: Key<'_>,
    count: usize,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    let packed = &mut *tools.scratch;
    packed.clear();
    let mut fields = fields.peekable();
    while fields.next_if(|(name, value)| packed::set(packed, name, value)).is_some() {}
    if fields.peek().is_none() {
        let digest = HashRef(Form::Packed(packed)).digest(key.digest);
        return (Record::packed_hash(key.bytes, packed, expire_at, tools.clock), digest);
    }
    let mut table = Box::new(FieldTable::with_capacity(tools.seed, count));
    set_in_table(key.digest, &mut table, packed::iter(packed));
    set_in_table(key.digest, &mut table, fields);
    let digest = table.digest();
    (Record::table_hash(key.bytes, table, expire_at, tools.clock), digest)
}

/// Sets fields and returns by how much the digest grew; so do the functions below.
fn set_in_table<'f>(key: KeyDigest, table: &mut FieldTable, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> u64 {
    let before = table.digest();
    fields.for_each(|(name, value)| table.set(key, name, value));
    table.digest().wrapping_sub(before)
}

/// The hash becomes a table if the fields do not fit.
fn set_in_packed(key: Key<'_>, record: &mut Record, fields: &Fields<'_>, tools: &mut Tools<'_>) -> u64 {
    let mut delta = 0u64;
    let mut rest = fields.iter();
    // Values that are as long as the old ones go where those were.
    let Some(mut next) = rest.by_ref().find(|(name, value)| match set_in_place(key.digest, record, name, value) {
        Some(change) => {
            delta = delta.wrapping_add(change);
            false
        }
        None => true,
    }) else {
        return delta;
    };
    let packed = &mut *tools.scratch;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    loop {
        let (name, value) = next;
        let old = packed::find(packed, name).map_or(0, |place| key.digest.field(name, &packed[place.value]));
        if !packed::set(packed, name, value) {
            break;
        }
        delta = delta.wrapping_add(key.digest.field(name, value)).wrapping_sub(old);
        let Some(another) = rest.next() else {
            record.set_bytes(packed);
            return delta;
        };
        next = another;
    }
    let mut table = Box::new(FieldTable::with_capacity(tools.seed, packed::len(packed) + 1 + fields.len()));
    set_in_table(key.digest, &mut table, packed::iter(packed));
    let more = set_in_table(key.digest, &mut table, std::iter::once(next).chain(rest));
    record.replace(Record::table_hash(key.bytes, table, record.expire_at(), record.clock()));
    delta.wrapping_add(more)
}

/// Sets a field of a packed hash if it has a value of that length already.
fn set_in_place(key: KeyDigest, record: &mut Record, name: &[u8], value: &[u8]) -> Option<u64> {
    let packed = record.bytes_mut()?;
    let place = packed::find(packed, name).filter(|place| place.value.len() == value.len())?;
    let old = &mut packed[place.value];
    let before = key.field(name, old);
    old.copy_from_slice(value);
    Some(key.field(name, value).wrapping_sub(before))
}

/// Also returns how many fields are left. If none are, the record stays as it was.
fn remove_from_packed(key: KeyDigest, record: &mut Record, fields: &Fields<'_>, packed: &mut Vec<u8>) -> (usize, u64) {
    let mut delta = 0u64;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    for (name, _) in fields.iter() {
        if let Some(place) = packed::find(packed, name) {
            delta = delta.wrapping_sub(key.field(name, &packed[place.value.clone()]));
            packed::remove(packed, place);
        }
    }
    if packed.is_empty() {
        return (0, 0);
    }
    record.set_bytes(packed);
    (packed::len(packed), delta)
}

/// Also returns how many fields are left.
fn remove_from_table(key: KeyDigest, record: &mut Record, fields: &Fields<'_>) -> (usize, u64) {
    let Some(table) = record.table_mut() else { return (0, 0) };
    let before = table.digest();
    fields.iter().for_each(|(name, _)| table.remove(key, name));
    (table.len(), table.digest().wrapping_sub(before))
}
