//! Hashes, in two forms: packed bytes while small, then a table of fields (which it stays until the key is deleted).
//!
//! | file | what it is |
//! |---|---|
//! | this one | reading a hash in either form; its snapshot entry |
//! | `edits` | what edits do to hashes |
//! | `digest` | the digest of a hash |
//!
//! The packed form ([`Kind::PackedHash`](super::form::Kind)) has the layout of [`packed`]; the table
//! ([`Structure::Hash`](super::form::Structure)) is an [`ElementTable`].

mod digest;
mod edits;

use std::ops::ControlFlow;

use super::elements::{Element, ElementTable, slices::Slices};
use super::packed;
use super::pick::Selection;
use crate::encoding::entry::{self, Head};
use crate::store::table::below;

pub(super) use edits::{check, make, remove, set};

/// A hash, borrowed from its record.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(Layout<'a>);

/// Form in which a hash is stored.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Packed(&'a [u8]),
    Table(&'a ElementTable),
}

/// Names and values of a packed hash, in stored order.
fn pairs(packed: &[u8]) -> impl Iterator<Item = Element<'_>> {
    packed::iter(packed).map(|[name, value]| (name, value))
}

/// Appends a field to a snapshot entry.
fn write_field(out: &mut Vec<u8>, (name, value): Element<'_>) {
    entry::write_field(out, name, value);
}

impl<'a> HashRef<'a> {
    /// Hash in these packed bytes.
    pub(super) const fn packed(packed: &'a [u8]) -> Self {
        Self(Layout::Packed(packed))
    }

    /// Hash in this table of fields.
    pub(super) const fn table(fields: &'a ElementTable) -> Self {
        Self(Layout::Table(fields))
    }

    /// Number of fields; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a hash without fields is no key")]
    pub fn len(self) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::len(packed),
            Layout::Table(fields) => fields.len(),
        }
    }

    /// Value of a field.
    pub fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        match self.0 {
            Layout::Packed(packed) => packed::find::<2>(packed, field).map(|place| &packed[place.element(1)]),
            Layout::Table(fields) => fields.get(field),
        }
    }

    /// Calls `visit` with every field and value until it breaks.
    pub fn for_each<B>(self, mut visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        match self.0 {
            Layout::Packed(packed) => pairs(packed).try_for_each(|(field, value)| visit(field, value)),
            Layout::Table(fields) => fields.iter().try_for_each(|(field, value)| visit(field, value)),
        }
    }

    /// For HSCAN: visits about `count` fields from `cursor` on (0 begins). Returns the next cursor, 0 at the end.
    /// Fields present throughout the scan are visited, however many others come and go between calls. A packed hash is
    /// visited whole in one call.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        match self.0 {
            Layout::Packed(packed) => {
                pairs(packed).for_each(|(field, value)| visit(field, value));
                0
            }
            Layout::Table(fields) => fields.scan(cursor, count, |(field, value)| visit(field, value)),
        }
    }

    /// A random field, uniformly distributed; `random` returns uniform 64-bit numbers.
    pub fn random_field(self, mut random: impl FnMut() -> u64) -> (&'a [u8], &'a [u8]) {
        let field = match self.0 {
            Layout::Packed(packed) => pairs(packed).nth(below(random(), packed::len(packed))),
            Layout::Table(fields) => fields.random(random),
        };
        field.unwrap_or_default()
    }

    /// Visits random fields, each drawn from all of them, until `visit` breaks.
    pub fn random_fields<B>(
        self,
        mut random: impl FnMut() -> u64,
        mut visit: impl FnMut((&'a [u8], &'a [u8])) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let packed: Vec<_> = if let Layout::Packed(packed) = self.0 { pairs(packed).collect() } else { Vec::new() };
        loop {
            visit(match self.0 {
                Layout::Packed(_) => packed[below(random(), packed.len())],
                Layout::Table(fields) => fields.random(&mut random).unwrap_or_default(),
            })?;
        }
    }

    /// Visits `count` different fields, or all if there are fewer; each selection is equally likely.
    pub fn distinct_fields(self, count: usize, random: impl FnMut() -> u64, visit: impl FnMut((&'a [u8], &'a [u8]))) {
        match self.0 {
            Layout::Packed(packed) => Selection::new(count, self.len()).of(pairs(packed), random, visit),
            Layout::Table(fields) => fields.distinct(count, random, visit),
        }
    }

    /// Whether the hash is small and packed ("listpack" in OBJECT ENCODING) rather than a table ("hashtable").
    pub const fn is_packed(self) -> bool {
        matches!(self.0, Layout::Packed(_))
    }

    /// Digest of the hash.
    pub(super) fn digest(self) -> u64 {
        match self.0 {
            Layout::Packed(packed) => digest::of(pairs(packed)),
            Layout::Table(fields) => fields.digest(),
        }
    }

    /// Appends the snapshot entry of a key that holds this hash.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        self.begin_entry(head, out);
        let _ = self.for_each(|name, value| {
            write_field(out, (name, value));
            ControlFlow::<()>::Continue(())
        });
    }

    fn begin_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        let content_len = match self.0 {
            Layout::Packed(packed) => packed::content_len::<2>(packed),
            Layout::Table(fields) => fields.content_len(),
        };
        entry::begin_hash(out, head, self.len(), content_len);
    }

    /// Begins the entry of a hash that is large enough to have a table, to be written in slices; `None` for others.
    pub(super) fn begin_slices(self, head: Head<'_>, out: &mut Vec<u8>) -> Option<Slices> {
        let fields = self.elements()?;
        self.begin_entry(head, out);
        Some(Slices::new(fields, write_field))
    }

    /// The table of fields, if the hash has one.
    pub(super) const fn elements(self) -> Option<&'a ElementTable> {
        match self.0 {
            Layout::Packed(_) => None,
            Layout::Table(fields) => Some(fields),
        }
    }
}
