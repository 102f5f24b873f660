//! Edits of sets. A set of integers keeps them packed while they are few; with another member it becomes packed bytes;
//! a set that is too large for either becomes a table. The thresholds are Redis's, and so is what becomes what.

use smallvec::SmallVec;

use super::{Member, SetRef, digest, integers};
use crate::config::Packing;
use crate::encoding::edit::Elements;
use crate::encoding::integer;
use crate::store::change::{Contradiction, Key, TOO_LONG, Tools, fit};
use crate::store::table::Record;
use crate::store::value::elements::{Element, ElementTable};
use crate::store::value::form::{Kind, Structure};
use crate::store::value::packed::{self, Limits};
use crate::time::UnixMillis;

const NOT_A_SET: Contradiction = "it does not hold a set";

/// Integers of one edit; usually there is one.
type Integers = SmallVec<[i64; 4]>;

const fn limits(packing: &Packing) -> Limits {
    Limits { entries: packing.set_entries, bytes: packing.set_bytes }
}

/// Maximum number of members of a set of integers.
fn most_integers(packing: &Packing) -> usize {
    (packing.set_integers as usize).min(integers::MAX_INTEGERS)
}

/// Checks that key and members are short enough.
pub(in crate::store::value) fn check(key: Key<'_>, members: &Elements<'_>) -> Result<(), Contradiction> {
    if fit(key.bytes) && members.iter().all(fit) { Ok(()) } else { Err(TOO_LONG) }
}

/// Makes the record of a key that holds a set of about `count` members; there is at least one. Returns it with the
/// set's digest.
pub(in crate::store::value) fn make<'m>(
    key: Key<'_>,
    count: usize,
    members: impl Iterator<Item = &'m [u8]> + Clone,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    let clock = tools.clock;
    let integers = all_integers(count, members.clone(), tools);
    let packed = &mut *tools.scratch;
    packed.clear();
    if let Some(values) = integers {
        integers::add(packed, &values);
        let digest = SetRef::integers(packed).digest();
        return (Record::new(Kind::IntegerSet, key.bytes, packed, expire_at, clock), digest);
    }
    if pack(packed, limits(&tools.packing), count, members.clone()) {
        let digest = SetRef::packed(packed).digest();
        return (Record::new(Kind::PackedSet, key.bytes, packed, expire_at, clock), digest);
    }
    let mut table = ElementTable::with_capacity(tools.seed, count);
    let digest = add_to_table(&mut table, members);
    (in_table(key, table, expire_at, clock), digest)
}

/// The members, ascending and each once, if all are integers and there are not too many for a set of integers.
fn all_integers<'m>(count: usize, members: impl Iterator<Item = &'m [u8]>, tools: &Tools<'_>) -> Option<Integers> {
    if count > most_integers(&tools.packing) {
        return None;
    }
    let mut values = members.map(integer::parse).collect::<Option<Integers>>()?;
    values.sort_unstable();
    values.dedup();
    Some(values)
}

/// Adds members to a packed set. Returns false if they do not all fit; then some of them have been added.
fn pack<'m>(packed: &mut Vec<u8>, limits: Limits, count: usize, mut members: impl Iterator<Item = &'m [u8]>) -> bool {
    count <= limits.entries as usize
        && members.all(|member| {
            packed::find::<1>(packed, member).is_some()
                || limits.admit(packed, [member]) && packed::push(packed, [member])
        })
}

fn in_table(key: Key<'_>, table: ElementTable, expire_at: Option<UnixMillis>, clock: u32) -> Record {
    Record::with_structure(key.bytes, Box::new(Structure::Set(table)), expire_at, clock)
}

/// Adds members to a table. Returns the growth of the digest.
fn add_to_table<'m>(table: &mut ElementTable, members: impl Iterator<Item = &'m [u8]>) -> u64 {
    let before = table.digest();
    members.for_each(|member| table.add(Element::new((member, b"")), |member| digest::member(member.name)));
    table.digest().wrapping_sub(before)
}

/// Adds these members to the record's set. Returns the growth of its digest.
///
/// # Errors
/// If the record holds no set, or a member is too long.
pub(in crate::store::value) fn add(
    key: Key<'_>,
    record: &mut Record,
    members: &Elements<'_>,
    tools: &mut Tools<'_>,
) -> Result<u64, Contradiction> {
    check(key, members)?;
    if let Some(Structure::Set(table)) = record.structure_mut() {
        return Ok(add_to_table(table, members.iter()));
    }
    match record.kind() {
        Some(Kind::IntegerSet) => Ok(add_to_integers(key, record, members, tools)),
        Some(Kind::PackedSet) => {
            tools.scratch.clear();
            tools.scratch.extend_from_slice(record.bytes());
            Ok(add_to_packed(key, record, members.iter(), tools))
        }
        _ => Err(NOT_A_SET),
    }
}

/// Adds members to a set of integers, which becomes packed or a table if they do not fit. Returns the growth of the
/// digest.
fn add_to_integers(key: Key<'_>, record: &mut Record, members: &Elements<'_>, tools: &mut Tools<'_>) -> u64 {
    let (mut rest, mut new) = (members.iter().peekable(), Integers::new());
    while let Some(value) = rest.peek().and_then(|member| integer::parse(member)) {
        rest.next();
        if !integers::contains(record.bytes(), value) {
            new.push(value);
        }
    }
    new.sort_unstable();
    new.dedup();
    let all = &mut *tools.scratch;
    all.clear();
    all.extend_from_slice(record.bytes());
    if !new.is_empty() {
        integers::add(all, &new);
    }
    let delta = new.iter().fold(0u64, |sum, value| sum.wrapping_add(digest_of(*value)));
    let few = integers::len(all) <= most_integers(&tools.packing);
    if few && rest.peek().is_none() {
        record.set_bytes(all);
        return delta;
    }
    let more = if few && spell_out(all, limits(&tools.packing)) {
        add_to_packed(key, record, rest, tools)
    } else {
        let mut table = ElementTable::with_capacity(tools.seed, integers::len(all) + rest.len());
        for value in integers::iter(all) {
            Member::Integer(value).with(|digits| add_to_table(&mut table, std::iter::once(digits)));
        }
        let more = add_to_table(&mut table, rest);
        record.replace(in_table(key, table, record.expire_at(), record.clock()));
        more
    };
    delta.wrapping_add(more)
}

fn digest_of(value: i64) -> u64 {
    Member::Integer(value).with(digest::member)
}

/// Replaces packed integers by the packed bytes of their digits. Returns false, and changes nothing, if these do not
/// fit.
fn spell_out(packed: &mut Vec<u8>, limits: Limits) -> bool {
    let mut spelled = Vec::new();
    let fits = integers::iter(packed).all(|value| {
        let push = |digits: &[u8]| limits.admit(&spelled, [digits]) && packed::push(&mut spelled, [digits]);
        Member::Integer(value).with(push)
    });
    if fits {
        *packed = spelled;
    }
    fits
}

/// Makes the record's set one of the packed bytes in `tools.scratch` with these members, or a table if they do not fit.
/// Returns the growth of the digest over that of the packed bytes.
fn add_to_packed<'m>(
    key: Key<'_>,
    record: &mut Record,
    mut members: impl ExactSizeIterator<Item = &'m [u8]>,
    tools: &mut Tools<'_>,
) -> u64 {
    let (packed, limits) = (&mut *tools.scratch, limits(&tools.packing));
    let mut delta = 0u64;
    while let Some(member) = members.next() {
        if packed::find::<1>(packed, member).is_some() {
            continue;
        }
        if limits.admit(packed, [member]) && packed::push(packed, [member]) {
            delta = delta.wrapping_add(digest::member(member));
            continue;
        }
        let mut table = ElementTable::with_capacity(tools.seed, packed::len(packed) + 1 + members.len());
        add_to_table(&mut table, packed::iter(packed).map(|[member]| member));
        let more = add_to_table(&mut table, std::iter::once(member).chain(members));
        record.replace(in_table(key, table, record.expire_at(), record.clock()));
        return delta.wrapping_add(more);
    }
    if record.kind() == Some(Kind::PackedSet) {
        record.set_bytes(packed);
    } else {
        record.replace(Record::new(Kind::PackedSet, key.bytes, packed, record.expire_at(), record.clock()));
    }
    delta
}

/// Removes these members from the record's set. Returns whether any members are left (if not, a packed set is
/// unchanged), and the growth of its digest.
///
/// # Errors
/// If the record holds no set.
pub(in crate::store::value) fn remove(
    record: &mut Record,
    members: &Elements<'_>,
    tools: &mut Tools<'_>,
) -> Result<(bool, u64), Contradiction> {
    if let Some(Structure::Set(table)) = record.structure_mut() {
        let before = table.digest();
        members.iter().for_each(|member| table.remove(member, |member| digest::member(member.name)));
        return Ok((table.len() > 0, table.digest().wrapping_sub(before)));
    }
    let packed = &mut *tools.scratch;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    let delta = match record.kind() {
        Some(Kind::IntegerSet) => remove_integers(packed, members),
        Some(Kind::PackedSet) => remove_packed(packed, members),
        _ => return Err(NOT_A_SET),
    };
    if packed.is_empty() {
        return Ok((false, 0));
    }
    record.set_bytes(packed);
    Ok((true, delta))
}

/// Removes members from packed integers. Returns the growth of the digest.
fn remove_integers(packed: &mut Vec<u8>, members: &Elements<'_>) -> u64 {
    let mut gone: Integers = members.iter().filter_map(integer::parse).collect();
    gone.retain(|value| integers::contains(packed, *value));
    gone.sort_unstable();
    gone.dedup();
    integers::remove(packed, &gone);
    gone.iter().fold(0u64, |sum, value| sum.wrapping_sub(digest_of(*value)))
}

/// Removes members from packed bytes. Returns the growth of the digest.
fn remove_packed(packed: &mut Vec<u8>, members: &Elements<'_>) -> u64 {
    let mut delta = 0u64;
    for member in members.iter() {
        if let Some(place) = packed::find::<1>(packed, member) {
            packed::remove(packed, &place);
            delta = delta.wrapping_sub(digest::member(member));
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::edit::{Change, Edit};
    use crate::encoding::slot::slot_of;
    use crate::ids::{Db, Partitions};
    use crate::store::{SetForm, Store, Value};

    /// A store of one set, with small thresholds: 6 integers, 4 members of up to 5 bytes.
    struct Rig(Store);

    impl Rig {
        fn new() -> Self {
            let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
            store.set_packing(Packing { set_integers: 6, set_entries: 4, set_bytes: 5, ..Packing::default() });
            Self(store)
        }

        fn edit(&mut self, change: Change<'_>) {
            self.0.apply(&Edit::Key { db: Db(0), slot: slot_of(b"set"), key: b"set".into(), change }).unwrap();
        }

        /// Adds members with one edit. Returns the form of the set.
        fn add(&mut self, members: &[&str]) -> SetForm {
            self.edit(Change::AddMembers(elements(members)));
            self.form()
        }

        fn form(&self) -> SetForm {
            match self.0.get(Db(0), slot_of(b"set"), b"set").unwrap().value {
                Value::Set(set) => set.form(),
                _ => panic!("not a set"),
            }
        }
    }

    fn elements(members: &[&str]) -> Elements<'static> {
        let mut elements = Elements::default();
        members.iter().for_each(|member| elements.push(member.as_bytes()));
        elements
    }

    /// The form of a set that gets these members at once, and of one that gets them one by one; in both the digest must
    /// be the same.
    fn forms(members: &[&str]) -> (SetForm, SetForm) {
        let (mut at_once, mut one_by_one) = (Rig::new(), Rig::new());
        at_once.add(members);
        for member in members {
            one_by_one.add(&[member]);
        }
        assert_eq!(at_once.0.digest(slot_of(b"set")), one_by_one.0.digest(slot_of(b"set")), "{members:?}");
        (at_once.form(), one_by_one.form())
    }

    #[test]
    fn a_set_takes_the_first_form_that_its_members_fit() {
        use SetForm::{Integers, Packed, Table};
        assert_eq!(forms(&["1"]), (Integers, Integers));
        assert_eq!(forms(&["3", "-1", "6", "2", "9223372036854775807", "0"]), (Integers, Integers));
        assert_eq!(forms(&["1", "2", "3", "4", "5", "6", "7"]), (Table, Table));
        assert_eq!(forms(&["1", "01"]), (Packed, Packed));
        assert_eq!(forms(&["1", "2", "3", "x"]), (Packed, Packed));
        assert_eq!(forms(&["x", "1", "2", "3"]), (Packed, Packed));
        assert_eq!(forms(&["1", "2", "3", "4", "x"]), (Table, Table));
        assert_eq!(forms(&["12345", "x"]), (Packed, Packed));
        assert_eq!(forms(&["123456", "x"]), (Table, Table));
        assert_eq!(forms(&["12345", "abcdef"]), (Table, Table));
        assert_eq!(forms(&["a", "b", "c", "d"]), (Packed, Packed));
        assert_eq!(forms(&["a", "b", "c", "d", "e"]), (Table, Table));
        assert_eq!(forms(&["a", "a", "b", "a"]), (Packed, Packed));
        assert_eq!(forms(&["", "abcde"]), (Packed, Packed));
        assert_eq!(forms(&["abcdef"]), (Table, Table));
        // Not fewer than there are: integers that leave their form for their number become a table, as in Redis.
        let mut rig = Rig::new();
        rig.0.set_packing(Packing { set_integers: 2, set_entries: 4, ..Packing::default() });
        assert_eq!(rig.add(&["1", "2"]), Integers);
        assert_eq!(rig.add(&["3"]), Table);
    }

    #[test]
    fn a_set_keeps_its_form_until_it_is_made_anew() {
        let mut rig = Rig::new();
        assert_eq!(rig.add(&["a", "b", "c", "d", "1"]), SetForm::Table);
        rig.edit(Change::RemoveMembers(elements(&["a", "b", "c", "d"])));
        assert_eq!(rig.form(), SetForm::Table);
        rig.edit(Change::PutSet { members: elements(&["1", "2"]), expire_at: None });
        assert_eq!(rig.form(), SetForm::Integers);
        rig.edit(Change::RemoveMembers(elements(&["3", "2", "x", "2"])));
        assert_eq!(rig.add(&["x"]), SetForm::Packed);
        rig.edit(Change::RemoveMembers(elements(&["x"])));
        assert_eq!(rig.form(), SetForm::Packed);
        rig.edit(Change::RemoveMembers(elements(&["1"])));
        assert!(rig.0.is_empty(Db(0)));
    }
}
