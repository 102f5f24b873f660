//! Large hashes some of whose fields expire: a table of the fields, and a tree of their times that finds those that are
//! due.
//!
//! A field that expires has a record of its own, which holds its time, 8 bytes, and the tree holds times and addresses
//! of records, some 18 bytes for each field that expires.
//!
//! Invariant, on which the `unsafe` here relies: each address in the tree is that of a record in the table. A record
//! stays where it is while the table grows and shrinks. It may move when the field's value or its time changes, so a
//! field is taken out of the tree before it changes, and goes back in behind that.

use std::cmp::Ordering;

use super::super::digest;
use super::Field;
use crate::store::memory::allocated;
use crate::store::table::RecordRef;
use crate::store::tree::{Item, Leaves, Tree};
use crate::store::value::elements::{Element, ElementTable, Packs};
use crate::store::value::form::Structure;
use crate::time::UnixMillis;

/// Fields with their expiries.
pub(in crate::store) struct ExpiringTable {
    fields: ElementTable,
    times: Tree<Due>,
}

/// A field's place in the tree.
#[derive(Clone, Copy)]
pub(in crate::store) struct Due {
    at: UnixMillis,
    field: RecordRef,
}

/// Position in the order of times: a time, and the address of a field that has it.
pub(in crate::store) type Position = (UnixMillis, usize);

impl Item for Due {
    type Mark = Self;

    #[inline]
    fn mark(&self) -> Self {
        *self
    }
}

impl Due {
    #[inline]
    fn position(&self) -> Position {
        (self.at, self.field.address())
    }
}

/// Comparison of places with a position.
#[inline]
fn compare(position: Position) -> impl FnMut(&Due) -> Ordering {
    move |due| due.position().cmp(&position)
}

impl ExpiringTable {
    /// Bytes of memory that the box of this takes.
    pub const BOX: usize = allocated(size_of::<Self>());

    /// Makes a hash of these fields, none of which expires yet.
    pub fn new(fields: ElementTable) -> Self {
        Self { fields, times: Tree::default() }
    }

    /// The structure that holds these fields: a plain hash if none of them expires.
    pub fn into_structure(self) -> Structure {
        if self.times.weight() > 0 { Structure::ExpiringHash(Box::new(self)) } else { Structure::Hash(self.fields) }
    }

    /// Takes this apart, to be freed in slices: the parts and the box take [`Self::memory`] in all.
    pub fn into_parts(self) -> (Packs, Leaves<Due>) {
        (self.fields.into_packs(), self.times.into_leaves())
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Bytes of memory that table, tree and box take.
    pub const fn memory(&self) -> usize {
        self.fields.memory() + self.times.memory() + Self::BOX
    }

    /// The table of fields.
    pub const fn fields(&self) -> &ElementTable {
        &self.fields
    }

    /// Least of the times.
    pub fn least(&self) -> Option<UnixMillis> {
        self.times.at(0).map(|(due, _)| due.at)
    }

    /// Number of fields whose time is before `time`.
    pub fn before(&self, time: UnixMillis) -> usize {
        self.rank(|due| if due.at < time { Ordering::Less } else { Ordering::Greater })
    }

    fn rank(&self, compare: impl FnMut(&Due) -> Ordering) -> usize {
        self.times.search(compare).unwrap_or_else(|rank| rank)
    }

    /// Names and positions of the fields whose time is `until` or before it, in the order of times, behind `after`.
    pub fn due(&self, after: Option<Position>, until: UnixMillis) -> impl Iterator<Item = (&[u8], Position)> {
        let first = after.map_or(0, |after| {
            self.rank(|due| if due.position() <= after { Ordering::Less } else { Ordering::Greater })
        });
        let due = self.times.forwards(first).take_while(move |due| due.at <= until);
        // SAFETY: by the invariant the record is in the table, which does not change while it is borrowed.
        due.map(|due| (unsafe { due.field.key() }, due.position()))
    }

    /// Sets a field's value and time.
    pub fn set(&mut self, (name, value, expire_at): Field<'_>) {
        self.take_time(name);
        let record = self.fields.set(Element { name, value, expire_at }, digest::element);
        self.put_time(expire_at, record);
    }

    /// Sets a field's time, if the field exists.
    pub fn set_time(&mut self, name: &[u8], expire_at: Option<UnixMillis>) {
        self.take_time(name);
        let record = self.fields.set_expiry(name, expire_at, digest::element);
        self.put_time(expire_at, record);
    }

    /// Removes a field, if it exists.
    pub fn remove(&mut self, name: &[u8]) {
        self.take_time(name);
        self.fields.remove(name, digest::element);
    }

    /// Takes a field out of the tree, if it is there.
    fn take_time(&mut self, name: &[u8]) {
        if let Some(record) = self.fields.record(name)
            && let Some(at) = record.expire_at()
        {
            self.times.remove(compare((at, record.reference().address())));
        }
    }

    /// Puts a field of the table that expires into the tree; it has a record.
    fn put_time(&mut self, expire_at: Option<UnixMillis>, record: Option<RecordRef>) {
        let (Some(at), Some(field)) = (expire_at, record) else { return };
        let due = Due { at, field };
        self.times.insert(compare(due.position()), due);
    }
}
