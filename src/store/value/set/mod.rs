//! Sets, in three forms: packed integers, packed bytes, and a table of members. A set leaves a form when it outgrows
//! it, and does not come back until it is made anew.
//!
//! | file | what it is |
//! |---|---|
//! | this one | reading a set in any form; its snapshot entry |
//! | `integers` | the form of integers ([`Kind::IntegerSet`](super::form::Kind)) |
//! | `edits` | what edits do to sets |
//! | `digest` | the digest of a set |
//!
//! The packed form ([`Kind::PackedSet`](super::form::Kind)) has the layout of [`packed`]; the table
//! ([`Structure::Set`](super::form::Structure)) is an [`ElementTable`] whose elements have empty values.

mod digest;
mod edits;
mod integers;

use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;

use super::elements::{Element, ElementTable, slices::Slices};
use super::packed;
use super::pick::Selection;
use crate::encoding::entry::{self, Head};
use crate::encoding::integer;
use crate::store::table::below;

pub(super) use edits::{add, check, make, remove};

/// A set, borrowed from its record.
#[derive(Clone, Copy)]
pub struct SetRef<'a>(Layout<'a>);

/// Form in which a set is stored.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Integers(&'a [u8]),
    Packed(&'a [u8]),
    Table(&'a ElementTable),
}

/// A member of a set, borrowed from the set: its bytes, or an integer that stands for its decimal digits. Two members
/// are equal if their bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Member<'a> {
    /// A member by its bytes.
    Bytes(&'a [u8]),
    /// A member by its digits.
    Integer(i64),
}

impl Member<'_> {
    /// Calls `read` with the member's bytes.
    #[inline]
    pub fn with<R>(self, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes(bytes) => read(bytes),
            Self::Integer(integer) => read(itoa::Buffer::new().format(integer).as_bytes()),
        }
    }

    /// The integer whose digits the member's bytes are.
    #[inline]
    fn integer(self) -> Option<i64> {
        match self {
            Self::Bytes(bytes) => integer::parse(bytes),
            Self::Integer(integer) => Some(integer),
        }
    }
}

impl PartialEq for Member<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (a, b) => a.integer() == b.integer(),
        }
    }
}

impl Eq for Member<'_> {}

impl Hash for Member<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.with(|bytes| state.write(bytes));
    }
}

/// Members of a packed set, in stored order.
fn members(packed: &[u8]) -> impl Iterator<Item = Member<'_>> {
    packed::iter(packed).map(|[member]| Member::Bytes(member))
}

/// Appends a member to a snapshot entry.
fn write_member(out: &mut Vec<u8>, member: Element<'_>) {
    entry::write_member(out, member.name);
}

/// Form of a set, as clients may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetForm {
    /// A few integers ("intset" in OBJECT ENCODING).
    Integers,
    /// A few short members ("listpack").
    Packed,
    /// Any members ("hashtable").
    Table,
}

impl<'a> SetRef<'a> {
    /// Set in these packed integers.
    pub(super) const fn integers(integers: &'a [u8]) -> Self {
        Self(Layout::Integers(integers))
    }

    /// Set in these packed bytes.
    pub(super) const fn packed(packed: &'a [u8]) -> Self {
        Self(Layout::Packed(packed))
    }

    /// Set in this table of members.
    pub(super) const fn table(members: &'a ElementTable) -> Self {
        Self(Layout::Table(members))
    }

    /// Number of members; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a set without members is no key")]
    pub fn len(self) -> usize {
        match self.0 {
            Layout::Integers(integers) => integers::len(integers),
            Layout::Packed(packed) => packed::len(packed),
            Layout::Table(members) => members.len(),
        }
    }

    /// Form in which the set is stored.
    pub const fn form(self) -> SetForm {
        match self.0 {
            Layout::Integers(_) => SetForm::Integers,
            Layout::Packed(_) => SetForm::Packed,
            Layout::Table(_) => SetForm::Table,
        }
    }

    /// Whether the set has this member.
    #[inline]
    pub fn contains(self, member: Member<'_>) -> bool {
        match self.0 {
            Layout::Integers(integers) => member.integer().is_some_and(|value| integers::contains(integers, value)),
            Layout::Packed(packed) => member.with(|member| packed::find::<1>(packed, member).is_some()),
            Layout::Table(members) => member.with(|member| members.find(member).is_some()),
        }
    }

    /// Calls `visit` with every member until it breaks.
    pub fn for_each<B>(self, visit: impl FnMut(Member<'a>) -> ControlFlow<B>) -> ControlFlow<B> {
        match self.0 {
            Layout::Integers(integers) => integers::iter(integers).map(Member::Integer).try_for_each(visit),
            Layout::Packed(packed) => members(packed).try_for_each(visit),
            Layout::Table(table) => table.iter().map(|member| Member::Bytes(member.name)).try_for_each(visit),
        }
    }

    /// For SSCAN: visits about `count` members from `cursor` on (0 begins). Returns the next cursor, 0 at the end.
    /// Members present throughout the scan are visited, however many others come and go between calls. A packed set is
    /// visited whole in one call.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Member<'a>)) -> u64 {
        if let Layout::Table(members) = self.0 {
            return members.scan(cursor, count, |member| visit(Member::Bytes(member.name)));
        }
        let _ = self.for_each(|member| {
            visit(member);
            ControlFlow::<()>::Continue(())
        });
        0
    }

    /// A random member, uniformly distributed; `random` returns uniform 64-bit numbers.
    pub fn random_member(self, mut random: impl FnMut() -> u64) -> Member<'a> {
        match self.0 {
            Layout::Integers(integers) => Member::Integer(integers::get(integers, below(random(), self.len()))),
            Layout::Packed(packed) => members(packed).nth(below(random(), self.len())).unwrap_or(Member::Bytes(b"")),
            Layout::Table(members) => Member::Bytes(members.random(random).map_or(b"", |member| member.name)),
        }
    }

    /// Visits random members, each drawn from all of them, until `visit` breaks.
    pub fn random_members<B>(
        self,
        mut random: impl FnMut() -> u64,
        mut visit: impl FnMut(Member<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let packed: Vec<_> = if let Layout::Packed(packed) = self.0 { members(packed).collect() } else { Vec::new() };
        loop {
            visit(match self.0 {
                Layout::Packed(_) => packed[below(random(), packed.len())],
                _ => self.random_member(&mut random),
            })?;
        }
    }

    /// Visits `count` different members, or all if there are fewer; each selection is equally likely.
    pub fn distinct_members(self, count: usize, random: impl FnMut() -> u64, mut visit: impl FnMut(Member<'a>)) {
        let selection = Selection::new(count, self.len());
        match self.0 {
            Layout::Integers(integers) => {
                selection.of(integers::iter(integers).map(Member::Integer), random, visit);
            }
            Layout::Packed(packed) => selection.of(members(packed), random, visit),
            Layout::Table(members) => members.distinct(count, random, |member| visit(Member::Bytes(member.name))),
        }
    }

    /// Digest of the set.
    pub(super) fn digest(self) -> u64 {
        if let Layout::Table(members) = self.0 {
            return members.digest();
        }
        let mut sum = 0u64;
        let _ = self.for_each(|member| {
            sum = sum.wrapping_add(member.with(digest::member));
            ControlFlow::<()>::Continue(())
        });
        sum
    }

    /// Appends the snapshot entry of a key that holds this set.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        self.begin_entry(head, out);
        let _ = self.for_each(|member| {
            member.with(|member| entry::write_member(out, member));
            ControlFlow::<()>::Continue(())
        });
    }

    fn begin_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        let content_len = match self.0 {
            Layout::Integers(integers) => {
                integers::iter(integers).map(|value| Member::Integer(value).with(<[u8]>::len)).sum()
            }
            Layout::Packed(packed) => packed::content_len::<1>(packed),
            Layout::Table(members) => members.content_len(),
        };
        entry::begin_set(out, head, self.len(), content_len);
    }

    /// Begins the entry of a set that is large enough to have a table, to be written in slices; `None` for others.
    pub(super) fn begin_slices(self, head: Head<'_>, out: &mut Vec<u8>) -> Option<Slices> {
        let members = self.elements()?;
        self.begin_entry(head, out);
        Some(Slices::new(members, write_member))
    }

    /// The table of members, if the set has one.
    pub(super) const fn elements(self) -> Option<&'a ElementTable> {
        match self.0 {
            Layout::Integers(_) | Layout::Packed(_) => None,
            Layout::Table(members) => Some(members),
        }
    }
}
