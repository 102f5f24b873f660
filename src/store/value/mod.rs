//! Values: one folder per type, and the only place where the code distinguishes types.
//!
//! Hash table, slots, edits, snapshots and garbage handle values through the interface in this file; a type's folder
//! knows nothing of the other types.
//!
//! | type | forms | folder |
//! |---|---|---|
//! | string | bytes ([`Kind::String`]) | `string` |
//! | hash | packed bytes ([`Kind::PackedHash`]), a table of fields ([`Structure::Hash`]) | `hash` |
//! | hash some of whose fields expire | packed bytes ([`Kind::PackedExpiringHash`]), a table of fields and a tree of times ([`Structure::ExpiringHash`]) | `hash/expiring` |
//! | set | packed integers ([`Kind::IntegerSet`]), packed bytes ([`Kind::PackedSet`]), a table of members ([`Structure::Set`]) | `set` |
//! | sorted set | packed bytes ([`Kind::PackedSortedSet`]), a table and a tree ([`Structure::SortedSet`]) | `sorted_set` |
//! | list | packed bytes ([`Kind::PackedList`]), chunks ([`Structure::List`]) | `list` |
//! | stream | packed blocks in pages ([`Structure::Stream`]) | `stream` |
//!
//! Types share the layout of small values (`packed`), the table of large ones (`elements`) and how elements are picked
//! at random (`pick`).
//!
//! # To add a type
//!
//! 1. Its folder here: what reads it (as [`HashRef`] does, whichever form it is in); `make` and whatever else edits do
//!    to it, each of which says by how much the digest grew; the digest itself; the snapshot entry, in one go and in
//!    slices.
//! 2. `form.rs`: a [`Kind`] for each form that is bytes, a variant of [`Structure`] for each that is not.
//! 3. This file: a variant of [`Value`] and one of [`Slices`], and the arms that the compiler then asks for.
//! 4. `schema/edit.fbs`: a table for each of its edits, at the end of the union `Change`; `encoding/edit/`: a variant
//!    of [`Change`] for each, and a file that writes and reads them.
//! 5. `encoding/entry/`: the layout of its payload in snapshots with a number of its own, and a variant of
//!    [`EntryValue`].
//! 6. `tests/fuzz/targets/model.rs`: what its edits should do, and random ones.
//! 7. Its family of commands.
//!
//! Nothing else names types. Large values must not stall a core: they are freed part by part ([`Structure::dismantle`]
//! gives what `garbage` knows how to free), and entries are written in slices while edits go on
//! ([`Slices`]).

pub(super) mod elements;
pub(super) mod form;
pub(super) mod hash;
pub(super) mod list;
mod packed;
mod pick;
mod set;
pub(super) mod sorted_set;
pub(super) mod stream;
mod string;

pub use hash::{HashRef, LiveHash};
pub use list::ListRef;
pub use pick::Selection;
pub use set::{Member, SetForm, SetRef};
pub use sorted_set::SortedSetRef;
pub use stream::{BlockRef, Consumer, EventRef, Group, Numbers, Pending, StreamRef};

use self::elements::ElementTable;
use self::form::{Kind, Stored, Structure};
use super::change::{Changed, Contradiction, Key, MISSING, TOO_LONG, Tools, fit};
use super::digest::Digest;
use super::table::Record;
use crate::encoding::edit::{Change, End};
use crate::encoding::entry::{self, EntryValue, Head};
use crate::time::UnixMillis;

/// A value, borrowed from its record.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A string.
    String(&'a [u8]),
    /// A hash.
    Hash(HashRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A sorted set.
    SortedSet(SortedSetRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A stream.
    Stream(StreamRef<'a>),
}

impl<'a> Value<'a> {
    /// Value of a record.
    #[inline]
    pub(super) fn of(record: &'a Record) -> Self {
        match record.stored() {
            Stored::Bytes(Kind::String, bytes) => Self::String(bytes),
            Stored::Bytes(Kind::PackedHash, packed) => Self::Hash(HashRef::packed(packed)),
            Stored::Bytes(Kind::IntegerSet, integers) => Self::Set(SetRef::integers(integers)),
            Stored::Bytes(Kind::PackedSet, packed) => Self::Set(SetRef::packed(packed)),
            Stored::Structure(Structure::Hash(fields)) => Self::Hash(HashRef::table(fields)),
            Stored::Bytes(Kind::PackedExpiringHash, packed) => Self::Hash(HashRef::packed_expiring(packed)),
            Stored::Structure(Structure::ExpiringHash(fields)) => Self::Hash(HashRef::expiring_table(fields)),
            Stored::Structure(Structure::Set(members)) => Self::Set(SetRef::table(members)),
            Stored::Bytes(Kind::PackedSortedSet, packed) => Self::SortedSet(SortedSetRef::packed(packed)),
            Stored::Structure(Structure::SortedSet(members)) => Self::SortedSet(SortedSetRef::large(members)),
            Stored::Bytes(Kind::PackedList, packed) => Self::List(ListRef::packed(packed)),
            Stored::Structure(Structure::List(chunks)) => Self::List(ListRef::chunks(chunks)),
            Stored::Structure(Structure::Stream(stream)) => Self::Stream(StreamRef::of(stream)),
        }
    }

    /// Digest of the value, the same under every key. Structures keep theirs; that of bytes is computed.
    #[inline]
    pub fn digest(self) -> Digest {
        Digest(match self {
            Self::String(value) => string::digest::of(value),
            Self::Hash(hash) => hash.digest(),
            Self::Set(set) => set.digest(),
            Self::SortedSet(sorted_set) => sorted_set.digest(),
            Self::List(list) => list.digest(),
            Self::Stream(stream) => stream.digest(),
        })
    }

    /// Appends the snapshot entry of a key that holds this value.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        match self {
            Self::String(value) => entry::write_string(out, head, value),
            Self::Hash(hash) => hash.write_entry(head, out),
            Self::Set(set) => set.write_entry(head, out),
            Self::SortedSet(sorted_set) => sorted_set.write_entry(head, out),
            Self::List(list) => list.write_entry(head, out),
            Self::Stream(stream) => stream.write_entry(head, out),
        }
    }

    /// The table of the value's elements, if it is one.
    const fn elements(self) -> Option<&'a ElementTable> {
        match self {
            Self::String(_) | Self::SortedSet(_) | Self::List(_) | Self::Stream(_) => None,
            Self::Hash(hash) => hash.elements(),
            Self::Set(set) => set.elements(),
        }
    }
}

/// Bytes of memory that a record takes, including its structure.
#[inline]
pub(super) fn memory(record: &Record) -> usize {
    let structure = if let Stored::Structure(structure) = record.stored() { structure.memory() } else { 0 };
    record.memory() + structure
}

/// Soonest time at which an element of the record's value expires, if any does.
#[inline]
pub(super) fn soonest_expiry(record: &Record) -> Option<UnixMillis> {
    match record.stored() {
        Stored::Bytes(Kind::PackedExpiringHash, packed) => HashRef::packed_expiring(packed).soonest_expiry(),
        Stored::Structure(Structure::ExpiringHash(fields)) => fields.least(),
        Stored::Bytes(..) | Stored::Structure(_) => None,
    }
}

/// Applies a change to a key that does not exist. Returns the record that the change creates and the digest of its
/// value; `None` if it creates nothing.
///
/// # Errors
///
/// If the change requires an existing key, or something in it is too long.
#[inline]
pub(super) fn create(
    key: Key<'_>,
    change: &Change<'_>,
    tools: &mut Tools<'_>,
) -> Result<Option<(Record, u64)>, Contradiction> {
    match change {
        Change::PutString { value, expire_at } => {
            string::check(key, value)?;
            Ok(Some(string::make(key, value, *expire_at, tools)))
        }
        Change::WriteString { offset, bytes } => string::make_from(key, *offset, bytes, tools).map(Some),
        Change::PutHash { fields, expire_at } => {
            hash::check(key, fields)?;
            Ok((!fields.is_empty()).then(|| hash::make(key, fields.len(), fields.iter(), *expire_at, tools)))
        }
        Change::SetFields(fields) => {
            hash::check(key, fields)?;
            Ok((!fields.is_empty()).then(|| hash::make(key, fields.len(), fields.iter(), None, tools)))
        }
        Change::PutExpiringHash { fields, expire_at } => {
            hash::check_expiring(key, fields)?;
            Ok((!fields.is_empty()).then(|| hash::make_expiring(key, fields.len(), fields.iter(), *expire_at, tools)))
        }
        Change::SetExpiringFields(fields) => {
            hash::check_expiring(key, fields)?;
            Ok((!fields.is_empty()).then(|| hash::make_expiring(key, fields.len(), fields.iter(), None, tools)))
        }
        Change::PutSet { members, expire_at } => {
            set::check(key, members)?;
            Ok((!members.is_empty()).then(|| set::make(key, members.len(), members.iter(), *expire_at, tools)))
        }
        Change::AddMembers(members) => {
            set::check(key, members)?;
            Ok((!members.is_empty()).then(|| set::make(key, members.len(), members.iter(), None, tools)))
        }
        Change::PutSortedSet { members, expire_at } => {
            sorted_set::check(key, members)?;
            Ok((!members.is_empty()).then(|| sorted_set::make(key, members.len(), members.iter(), *expire_at, tools)))
        }
        Change::SetScores(members) => {
            sorted_set::check(key, members)?;
            Ok((!members.is_empty()).then(|| sorted_set::make(key, members.len(), members.iter(), None, tools)))
        }
        Change::PutList { elements, expire_at } => {
            list::check(key, elements)?;
            let any = !elements.is_empty();
            Ok(any.then(|| list::make(key, End::Right, elements.iter(), *expire_at, tools)))
        }
        Change::PushElements { end, elements } => {
            list::check(key, elements)?;
            Ok((!elements.is_empty()).then(|| list::make(key, *end, elements.iter(), None, tools)))
        }
        Change::PutStream { stream, expire_at } => stream::put(key, stream, *expire_at, tools).map(Some),
        Change::Stream(change) => stream::create(key, change, tools),
        Change::PopElements { .. }
        | Change::SetElement { .. }
        | Change::InsertElement { .. }
        | Change::RemoveElements(_)
        | Change::SetExpiry(_)
        | Change::Move { .. } => Err(MISSING),
        Change::RemoveRanks { count: 1.., .. } => Err(sorted_set::NO_SUCH_RANKS),
        Change::RemoveFields(_)
        | Change::ExpireFields(_)
        | Change::SetFieldExpiry { .. }
        | Change::RemoveMembers(_)
        | Change::RemoveScored(_)
        | Change::RemoveRanks { .. }
        | Change::Delete(_) => Ok(None),
    }
}

/// Applies a change to the record of an existing key.
///
/// # Errors
/// If the change contradicts the key's value; then nothing has changed.
#[inline]
pub(super) fn change(
    key: Key<'_>,
    record: &mut Record,
    change: &Change<'_>,
    tools: &mut Tools<'_>,
) -> Result<Changed, Contradiction> {
    match change {
        Change::PutString { value, expire_at } => {
            string::check(key, value)?;
            Ok(match string::overwrite(record, value, *expire_at) {
                Some(digest) => Changed::by(digest),
                None => replace(record, string::make(key, value, *expire_at, tools)),
            })
        }
        Change::WriteString { offset, bytes } => string::write(record, *offset, bytes).map(Changed::by),
        Change::PutHash { fields, expire_at } => {
            hash::check(key, fields)?;
            Ok(put(record, fields.len(), || hash::make(key, fields.len(), fields.iter(), *expire_at, tools)))
        }
        Change::SetFields(fields) => hash::set(key, record, fields, tools).map(Changed::by),
        Change::PutExpiringHash { fields, expire_at } => {
            hash::check_expiring(key, fields)?;
            Ok(put(record, fields.len(), || hash::make_expiring(key, fields.len(), fields.iter(), *expire_at, tools)))
        }
        Change::SetExpiringFields(fields) => hash::set_expiring(key, record, fields, tools).map(Changed::by),
        Change::SetFieldExpiry { fields, expire_at: at } => {
            hash::set_times(record, fields, *at, tools).map(Changed::by)
        }
        Change::RemoveFields(fields) | Change::ExpireFields(fields) => {
            hash::remove(record, fields, tools).map(Changed::left)
        }
        Change::PutSet { members, expire_at } => {
            set::check(key, members)?;
            Ok(put(record, members.len(), || set::make(key, members.len(), members.iter(), *expire_at, tools)))
        }
        Change::AddMembers(members) => set::add(key, record, members, tools).map(Changed::by),
        Change::RemoveMembers(members) => set::remove(record, members, tools).map(Changed::left),
        Change::PutSortedSet { members, expire_at } => {
            sorted_set::check(key, members)?;
            Ok(put(record, members.len(), || sorted_set::make(key, members.len(), members.iter(), *expire_at, tools)))
        }
        Change::SetScores(members) => sorted_set::set(key, record, members, tools).map(Changed::by),
        Change::RemoveScored(members) => sorted_set::remove(record, members, tools).map(Changed::left),
        Change::RemoveRanks { first, count } => {
            sorted_set::remove_ranks(record, (*first, *count), tools).map(Changed::left)
        }
        Change::PutList { elements, expire_at } => {
            list::check(key, elements)?;
            Ok(put(record, elements.len(), || list::make(key, End::Right, elements.iter(), *expire_at, tools)))
        }
        Change::PushElements { end, elements } => list::push(key, record, *end, elements, tools),
        Change::PopElements { end, count } => list::pop(key, record, *end, *count, tools),
        Change::SetElement { index, value } => list::set(key, record, *index, value, tools),
        Change::InsertElement { index, value } => list::insert(key, record, *index, value, tools),
        Change::RemoveElements(ranges) => list::remove(key, record, ranges, tools),
        Change::PutStream { stream, expire_at } => Ok(replace(record, stream::put(key, stream, *expire_at, tools)?)),
        Change::Stream(change) => stream::change(record, change, tools),
        Change::SetExpiry(expire_at) => {
            record.set_expire_at(*expire_at);
            Ok(Changed::default())
        }
        // The store itself moves a value, for the other key may be in another database.
        Change::Delete(_) | Change::Move { .. } => Ok(Changed { is_empty: true, ..Changed::default() }),
    }
}

/// Replaces a record by the one that `make` makes for a value of `len` elements; a value without elements is no key.
fn put(record: &mut Record, len: usize, make: impl FnOnce() -> (Record, u64)) -> Changed {
    if len == 0 { Changed { is_empty: true, ..Changed::default() } } else { replace(record, make()) }
}

/// Replaces a record by a new one of the same key.
fn replace(record: &mut Record, (new, digest): (Record, u64)) -> Changed {
    let before = Value::of(record).digest().0;
    let replaced = record.take_structure();
    record.replace(new);
    Changed { digest: digest.wrapping_sub(before), replaced, is_empty: false }
}

/// Checks limits on a snapshot entry's value that decoding does not enforce.
///
/// # Errors
/// If something in it is too long.
pub(super) fn check_entry(value: EntryValue<'_>) -> Result<(), Contradiction> {
    let fits = match value {
        EntryValue::String(value) => fit(value),
        EntryValue::Hash(fields) => fields.iter().all(|(name, value)| fit(name) && fit(value)),
        EntryValue::ExpiringHash(fields) => fields.iter().all(|(name, value, _)| fit(name) && fit(value)),
        EntryValue::Set(members) => members.iter().all(fit),
        EntryValue::SortedSet(members) => members.iter().all(|(member, _)| fit(member)),
        EntryValue::List(elements) => elements.iter().all(fit),
        EntryValue::Stream(stream) => stream::check(&stream),
    };
    if fits { Ok(()) } else { Err(TOO_LONG) }
}

/// Makes the record of a snapshot entry whose value has been checked. Returns it with the value's digest.
pub(super) fn load_entry(
    key: Key<'_>,
    value: EntryValue<'_>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    match value {
        EntryValue::String(value) => string::make(key, value, expire_at, tools),
        EntryValue::Hash(fields) => hash::make(key, fields.len(), fields.iter(), expire_at, tools),
        EntryValue::ExpiringHash(fields) => hash::make_expiring(key, fields.len(), fields.iter(), expire_at, tools),
        EntryValue::Set(members) => set::make(key, members.len(), members.iter(), expire_at, tools),
        EntryValue::SortedSet(members) => sorted_set::make(key, members.len(), members.iter(), expire_at, tools),
        EntryValue::List(elements) => list::make(key, End::Right, elements.iter(), expire_at, tools),
        EntryValue::Stream(stream) => stream::make(key, &stream, expire_at, tools),
    }
}

/// What [`Slices::save_before`] has saved of a value before a change.
pub(super) enum Saved {
    /// All that the change takes away.
    All,
    /// All but the parts that the change cuts off: they must be handed to [`Slices::claim`].
    ButParts,
    /// Not the rest: it must be written before the change. So it is where little is left.
    NotRest,
}

impl Saved {
    const fn unless_rest(writes_rest: bool) -> Self {
        if writes_rest { Self::NotRest } else { Self::All }
    }
}

/// Capture of a large value for a snapshot, written in slices with edits in between.
pub(super) enum Slices {
    /// Capture of a string.
    String(string::slices::Slices),
    /// Capture of a value whose elements are in a table.
    Elements(elements::slices::Slices),
    /// Capture of a sorted set.
    SortedSet(sorted_set::slices::Slices),
    /// Capture of a list.
    List(list::slices::Slices),
    /// Capture of a stream.
    Stream(stream::slices::Slices),
}

impl Slices {
    /// Begins the entry of a large value; `None` for small ones. The entry states the value's length and number of
    /// elements at this moment: what follows is the value as it is now.
    pub fn begin(head: Head<'_>, value: Value<'_>, out: &mut Vec<u8>) -> Option<Self> {
        match value {
            Value::String(value) => string::slices::Slices::begin(head, value, out).map(Self::String),
            Value::Hash(hash) => hash.begin_slices(head, out).map(Self::Elements),
            Value::Set(set) => set.begin_slices(head, out).map(Self::Elements),
            Value::SortedSet(value) => sorted_set::slices::Slices::begin(head, value, out).map(Self::SortedSet),
            Value::List(list) => list::slices::Slices::begin(head, list, out).map(Self::List),
            Value::Stream(stream) => stream::slices::Slices::begin(head, stream, out).map(Self::Stream),
        }
    }

    /// Whether exactly the value from the beginning has been written. `false` once nothing is left means a bug.
    pub const fn is_whole(&self) -> bool {
        match self {
            Self::String(slices) => slices.is_whole(),
            Self::Elements(slices) => slices.is_whole(),
            Self::SortedSet(slices) => slices.is_whole(),
            Self::List(slices) => slices.is_whole(),
            Self::Stream(slices) => slices.is_whole(),
        }
    }

    /// Bytes of old content that edits have removed from the value and that are still to be written.
    pub fn kept(&self) -> usize {
        match self {
            Self::String(slices) => slices.kept(),
            Self::List(slices) => slices.kept(),
            Self::Stream(slices) => slices.kept(),
            // What edits remove is written at once.
            Self::Elements(_) | Self::SortedSet(_) => 0,
        }
    }

    /// Writes until nothing is left or `go_on`, called with the length of `out`, returns false. Returns whether nothing
    /// is left. `value` is the value as it is now.
    pub fn go_on(&mut self, value: Value<'_>, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        match (self, value) {
            (Self::String(slices), Value::String(value)) => slices.go_on(value, out, go_on),
            (Self::Elements(slices), value) => slices.go_on(value.elements(), out, go_on),
            (Self::SortedSet(slices), Value::SortedSet(value)) => slices.go_on(value, out, go_on),
            (Self::List(slices), Value::List(list)) => slices.go_on(list, out, go_on),
            (Self::Stream(slices), Value::Stream(stream)) => slices.go_on(stream, out, go_on),
            // Our own bug: a value that is replaced by one of another type is taken out of the store before.
            (Self::String(_) | Self::SortedSet(_) | Self::List(_) | Self::Stream(_), _) => true,
        }
    }

    /// Call before `change`, which does not replace the whole value, is applied to it: writes or keeps what it changes.
    pub fn save_before(&mut self, value: Value<'_>, change: &Change<'_>, out: &mut Vec<u8>) -> Saved {
        match (self, value) {
            // The value stays as it is, and the caller follows it to its other key.
            _ if matches!(change, Change::Move { .. }) => Saved::All,
            (Self::String(slices), Value::String(value)) => Saved::unless_rest(slices.save_before(value, change)),
            (Self::Elements(slices), value) => Saved::unless_rest(slices.save_before(value.elements(), change, out)),
            (Self::SortedSet(slices), Value::SortedSet(value)) => {
                Saved::unless_rest(slices.save_before(value, change, out))
            }
            (Self::List(slices), Value::List(list)) => slices.save_before(list, change),
            (Self::Stream(slices), Value::Stream(stream)) => slices.save_before(stream, change, out),
            (Self::String(_) | Self::SortedSet(_) | Self::List(_) | Self::Stream(_), _) => Saved::NotRest,
        }
    }

    /// Takes in a part that a change has cut off the value. Returns it if nothing of it is needed.
    pub fn claim(&mut self, part: Structure) -> Option<Structure> {
        match (self, part) {
            (Self::List(slices), Structure::List(chunks)) => slices.claim(chunks).map(Structure::List),
            (Self::Stream(slices), Structure::Stream(stream)) => slices.claim(stream).map(Structure::Stream),
            (_, part) => Some(part),
        }
    }

    /// Whether parts were claimed.
    pub fn owns_parts(&self) -> bool {
        match self {
            Self::List(slices) => slices.owns_parts(),
            Self::Stream(slices) => slices.owns_parts(),
            Self::String(_) | Self::Elements(_) | Self::SortedSet(_) => false,
        }
    }

    /// The parts that were claimed.
    pub fn into_parts(self) -> Vec<Structure> {
        match self {
            Self::List(slices) => slices.into_parts().into_iter().map(Structure::List).collect(),
            Self::Stream(slices) => slices.into_parts().map(Structure::Stream).collect(),
            Self::String(_) | Self::Elements(_) | Self::SortedSet(_) => Vec::new(),
        }
    }
}
