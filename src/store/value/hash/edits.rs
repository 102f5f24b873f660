//! Edits of hashes. A hash is packed while it is small, and becomes a table when it outgrows that. Where fields expire,
//! `expiring` does the same in its own forms.

use super::expiring::{Field, Work};
use super::{digest, pairs};
use crate::config::Packing;
use crate::encoding::edit::{ExpiringFields, Fields};
use crate::store::change::{Contradiction, Key, TOO_LONG, Tools, fit};
use crate::store::table::Record;
use crate::store::value::elements::{Element, ElementTable};
use crate::store::value::form::{Kind, Structure};
use crate::store::value::packed::{self, Limits, Place};
use crate::time::UnixMillis;

const fn limits(packing: &Packing) -> Limits {
    Limits { entries: packing.hash_entries, bytes: packing.hash_bytes }
}

/// Sets the field at `place`, or adds it. Returns false, and changes nothing, if it does not fit into a packed hash.
fn put(packed: &mut Vec<u8>, limits: Limits, place: Option<Place<2>>, name: &[u8], value: &[u8]) -> bool {
    match place {
        Some(place) => limits.admit_elements([value]) && packed::replace_last(packed, &place, value),
        None => limits.admit(packed, [name, value]) && packed::push(packed, [name, value]),
    }
}

/// Checks that key and fields are short enough.
pub(in crate::store::value) fn check(key: Key<'_>, fields: &Fields<'_>) -> Result<(), Contradiction> {
    let all_fit = fit(key.bytes) && fields.iter().all(|(name, value)| fit(name) && fit(value));
    if all_fit { Ok(()) } else { Err(TOO_LONG) }
}

/// As [`check`], for fields with expiries.
pub(in crate::store::value) fn check_expiring(key: Key<'_>, fields: &ExpiringFields<'_>) -> Result<(), Contradiction> {
    let all_fit = fit(key.bytes) && fields.iter().all(|(name, value, _)| fit(name) && fit(value));
    if all_fit { Ok(()) } else { Err(TOO_LONG) }
}

/// Makes the record of a key that holds a hash of at most `count` fields with expiries. Returns it with the hash's
/// digest. If a name occurs twice, its last value and time count.
pub(in crate::store::value) fn make_expiring<'f>(
    key: Key<'_>,
    count: usize,
    fields: impl Iterator<Item = Field<'f>>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    let (limits, clock) = (limits(&tools.packing), tools.clock);
    let mut work = Work::new(limits, tools);
    fields.enumerate().for_each(|(at, field)| work.set(field, count.saturating_sub(at + 1)));
    work.into_record(key, expire_at, clock)
}

/// Makes the record of a key that holds a hash of about `count` fields. Returns it with the hash's digest. If a name
/// occurs twice, its last value counts.
pub(in crate::store::value) fn make<'f>(
    key: Key<'_>,
    count: usize,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    let (packed, limits) = (&mut *tools.scratch, limits(&tools.packing));
    packed.clear();
    let mut fields = fields.peekable();
    while fields.next_if(|(name, value)| put(packed, limits, packed::find(packed, name), name, value)).is_some() {}
    if fields.peek().is_none() {
        let digest = digest::of(pairs(packed));
        return (Record::new(Kind::PackedHash, key.bytes, packed, expire_at, tools.clock), digest);
    }
    let mut table = ElementTable::with_capacity(tools.seed, count);
    set_in_table(&mut table, pairs(packed));
    set_in_table(&mut table, fields);
    let digest = table.digest();
    (in_table(key, table, expire_at, tools.clock), digest)
}

fn in_table(key: Key<'_>, table: ElementTable, expire_at: Option<UnixMillis>, clock: u32) -> Record {
    Record::with_structure(key.bytes, Box::new(Structure::Hash(table)), expire_at, clock)
}

/// Sets these fields of the record's hash. Returns the growth of its digest.
///
/// # Errors
/// If the record holds no hash, or a field is too long.
pub(in crate::store::value) fn set(
    key: Key<'_>,
    record: &mut Record,
    fields: &Fields<'_>,
    tools: &mut Tools<'_>,
) -> Result<u64, Contradiction> {
    check(key, fields)?;
    if let Some(Structure::Hash(table)) = record.structure_mut() {
        return Ok(set_in_table(table, fields.iter()));
    }
    if record.kind() == Some(Kind::PackedHash) {
        Ok(set_in_packed(key, record, fields, tools))
    } else {
        set_fields(record, fields.len(), fields.iter().map(|(name, value)| (name, value, None)), tools)
    }
}

/// Sets these fields of the record's hash, with their expiries. Returns the growth of its digest.
///
/// # Errors
/// If the record holds no hash, or a field is too long.
pub(in crate::store::value) fn set_expiring(
    key: Key<'_>,
    record: &mut Record,
    fields: &ExpiringFields<'_>,
    tools: &mut Tools<'_>,
) -> Result<u64, Contradiction> {
    check_expiring(key, fields)?;
    set_fields(record, fields.len(), fields.iter(), tools)
}

/// Sets `count` fields of a hash some of whose fields expire, or will.
fn set_fields<'f>(
    record: &mut Record,
    count: usize,
    fields: impl Iterator<Item = Field<'f>>,
    tools: &mut Tools<'_>,
) -> Result<u64, Contradiction> {
    let mut work = Work::open(record, limits(&tools.packing), tools)?;
    fields.enumerate().for_each(|(at, field)| work.set(field, count - at - 1));
    Ok(work.close(record).1)
}

/// Sets when these fields of the record's hash expire, as far as it has them. Returns the growth of its digest.
///
/// # Errors
/// If the record holds no hash.
pub(in crate::store::value) fn set_times(
    record: &mut Record,
    fields: &Fields<'_>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> Result<u64, Contradiction> {
    let mut work = Work::open(record, limits(&tools.packing), tools)?;
    fields.iter().for_each(|(name, _)| work.set_time(name, expire_at));
    Ok(work.close(record).1)
}

/// Removes these fields from the record's hash. Returns whether any fields are left, and the growth of its digest.
///
/// # Errors
/// If the record holds no hash.
pub(in crate::store::value) fn remove(
    record: &mut Record,
    fields: &Fields<'_>,
    tools: &mut Tools<'_>,
) -> Result<(bool, u64), Contradiction> {
    if let Some(Structure::Hash(table)) = record.structure_mut() {
        let before = table.digest();
        fields.iter().for_each(|(name, _)| table.remove(name, digest::element));
        return Ok((table.len() > 0, table.digest().wrapping_sub(before)));
    }
    if record.kind() == Some(Kind::PackedHash) {
        return Ok(remove_from_packed(record, fields, tools.scratch));
    }
    let mut work = Work::open(record, limits(&tools.packing), tools)?;
    fields.iter().for_each(|(name, _)| work.remove(name));
    Ok(work.close(record))
}

/// Sets fields in a table. Returns the growth of the digest.
fn set_in_table<'f>(table: &mut ElementTable, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> u64 {
    let before = table.digest();
    fields.for_each(|field| {
        table.set(Element::new(field), digest::element);
    });
    table.digest().wrapping_sub(before)
}

/// Sets fields of a packed hash, which becomes a table if they do not fit. Returns the growth of the digest.
fn set_in_packed(key: Key<'_>, record: &mut Record, fields: &Fields<'_>, tools: &mut Tools<'_>) -> u64 {
    let mut delta = 0u64;
    let mut rest = fields.iter();
    // New values as long as the old ones are written in place.
    let Some(mut next) = rest.by_ref().find(|(name, value)| match set_in_place(record, name, value) {
        Some(change) => {
            delta = delta.wrapping_add(change);
            false
        }
        None => true,
    }) else {
        return delta;
    };
    let (packed, limits) = (&mut *tools.scratch, limits(&tools.packing));
    packed.clear();
    packed.extend_from_slice(record.bytes());
    loop {
        let (name, value) = next;
        let place = packed::find(packed, name);
        let old = place.map_or(0, |place| digest::field((name, &packed[place.element(1)])));
        if !put(packed, limits, place, name, value) {
            break;
        }
        delta = delta.wrapping_add(digest::field((name, value))).wrapping_sub(old);
        let Some(another) = rest.next() else {
            record.set_bytes(packed);
            return delta;
        };
        next = another;
    }
    let mut table = ElementTable::with_capacity(tools.seed, packed::len(packed) + 1 + fields.len());
    set_in_table(&mut table, pairs(packed));
    let more = set_in_table(&mut table, std::iter::once(next).chain(rest));
    record.replace(in_table(key, table, record.expire_at(), record.clock()));
    delta.wrapping_add(more)
}

/// Overwrites a field of a packed hash in place if its current value has the same length. Returns the growth of the
/// digest, `None` if it does not.
fn set_in_place(record: &mut Record, name: &[u8], value: &[u8]) -> Option<u64> {
    let packed = record.bytes_mut()?;
    let place = packed::find::<2>(packed, name).map(|place| place.element(1));
    let old = &mut packed[place.filter(|place| place.len() == value.len())?];
    let before = digest::field((name, old));
    old.copy_from_slice(value);
    Some(digest::field((name, value)).wrapping_sub(before))
}

/// Removes fields from a packed hash. Returns whether any fields are left (if not, the record is unchanged), and the
/// growth of the digest.
fn remove_from_packed(record: &mut Record, fields: &Fields<'_>, packed: &mut Vec<u8>) -> (bool, u64) {
    let mut delta = 0u64;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    for (name, _) in fields.iter() {
        if let Some(place) = packed::find::<2>(packed, name) {
            delta = delta.wrapping_sub(digest::field((name, &packed[place.element(1)])));
            packed::remove(packed, &place);
        }
    }
    if packed.is_empty() {
        return (false, 0);
    }
    record.set_bytes(packed);
    (true, delta)
}
