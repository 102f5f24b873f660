//! Hashes, in two forms: packed bytes while small, then a table of fields (which it stays until the key is deleted).
//! Each has a second form for hashes some of whose fields expire.
//!
//! | file | what it is |
//! |---|---|
//! | this one | a hash in any form as it is stored, with what has expired and is not deleted yet; its snapshot entry |
//! | `live` | reading a hash as it is at a moment |
//! | `edits` | what edits do to hashes |
//! | `expiring` | the forms of hashes some of whose fields expire |
//! | `digest` | the digest of a hash |
//!
//! The packed form ([`Kind::PackedHash`](super::form::Kind)) has the layout of [`packed`]; the table
//! ([`Structure::Hash`](super::form::Structure)) is an [`ElementTable`].

mod digest;
mod edits;
pub(in crate::store) mod expiring;
mod live;

use std::ops::ControlFlow;

use self::expiring::table::{ExpiringTable, Position};
use super::elements::{Element, ElementTable, slices::Slices};
use super::packed;
use crate::encoding::edit::Fields;
use crate::encoding::entry::{self, Head};
use crate::time::UnixMillis;

pub(super) use edits::{check, check_expiring, make, make_expiring, remove, set, set_expiring, set_times};
pub use live::LiveHash;

/// A hash as it is stored, borrowed from its record.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(Layout<'a>);

/// Form in which a hash is stored.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Packed(&'a [u8]),
    Table(&'a ElementTable),
    PackedExpiring(&'a [u8]),
    ExpiringTable(&'a ExpiringTable),
}

/// Name and value of a field.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Names and values of a packed hash, in stored order.
fn pairs(packed: &[u8]) -> impl Iterator<Item = Pair<'_>> + Clone {
    packed::iter(packed).map(|[name, value]| (name, value))
}

/// Appends a field to the snapshot entry of a hash none of whose fields expires.
fn write_field(out: &mut Vec<u8>, field: Element<'_>) {
    entry::write_field(out, field.name, field.value);
}

/// Appends a field to the snapshot entry of a hash some of whose fields expire.
fn write_expiring_field(out: &mut Vec<u8>, field: Element<'_>) {
    entry::write_expiring_field(out, (field.name, field.value, field.expire_at));
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

    /// Hash in these packed bytes, some of whose fields expire.
    pub(super) const fn packed_expiring(packed: &'a [u8]) -> Self {
        Self(Layout::PackedExpiring(packed))
    }

    /// Hash in this table of fields, some of which expire.
    pub(super) const fn expiring_table(fields: &'a ExpiringTable) -> Self {
        Self(Layout::ExpiringTable(fields))
    }

    /// The hash as it is at `now`; `None` if all its fields expired before.
    #[inline]
    pub fn at(self, now: UnixMillis) -> Option<LiveHash<'a>> {
        LiveHash::new(self, now)
    }

    /// Number of fields, with those that have expired and are not deleted yet; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a hash without fields is no key")]
    pub fn len(self) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::len(packed),
            Layout::Table(fields) => fields.len(),
            Layout::PackedExpiring(packed) => packed::len(packed),
            Layout::ExpiringTable(fields) => fields.len(),
        }
    }

    /// Calls `visit` with name, value and expiry of every field until it breaks.
    pub fn for_each_field<B>(
        self,
        mut visit: impl FnMut(&'a [u8], &'a [u8], Option<UnixMillis>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match self.0 {
            Layout::Packed(packed) => pairs(packed).try_for_each(|(name, value)| visit(name, value, None)),
            Layout::PackedExpiring(packed) => {
                let mut fields = expiring::packed::fields(expiring::packed::entries(packed));
                fields.try_for_each(|(name, value, at)| visit(name, value, at))
            }
            Layout::Table(fields) => fields.iter().try_for_each(|f| visit(f.name, f.value, f.expire_at)),
            Layout::ExpiringTable(fields) => {
                fields.fields().iter().try_for_each(|f| visit(f.name, f.value, f.expire_at))
            }
        }
    }

    /// Whether the hash is small and packed ("listpack" in OBJECT ENCODING) rather than a table ("hashtable").
    pub const fn is_packed(self) -> bool {
        matches!(self.0, Layout::Packed(_) | Layout::PackedExpiring(_))
    }

    /// Whether some of the fields expire.
    #[inline]
    pub const fn expires(self) -> bool {
        matches!(self.0, Layout::PackedExpiring(_) | Layout::ExpiringTable(_))
    }

    /// Soonest time at which a field expires, if any does.
    pub fn soonest_expiry(self) -> Option<UnixMillis> {
        match self.0 {
            Layout::Packed(_) | Layout::Table(_) => None,
            Layout::PackedExpiring(packed) => expiring::packed::least(packed),
            Layout::ExpiringTable(fields) => fields.least(),
        }
    }

    /// Adds to `found` the names of fields that expire at `now` or have expired, behind `after`: about `most`, or all
    /// of a packed hash. Returns where to go on; `None` if there are no more.
    pub(in crate::store) fn due(
        self,
        now: UnixMillis,
        after: Option<Position>,
        most: usize,
        found: &mut Fields<'_>,
    ) -> Option<Position> {
        match self.0 {
            Layout::Packed(_) | Layout::Table(_) => None,
            Layout::PackedExpiring(packed) => {
                let fields = expiring::packed::fields(expiring::packed::entries(packed));
                let due = fields.filter(|(_, _, at)| at.is_some_and(|at| at <= now));
                due.for_each(|(name, ..)| found.push(name, b""));
                None
            }
            Layout::ExpiringTable(fields) => {
                let (mut last, mut left) = (None, most.max(1));
                for (name, position) in fields.due(after, now) {
                    if left == 0 {
                        return last;
                    }
                    found.push(name, b"");
                    (last, left) = (Some(position), left - 1);
                }
                None
            }
        }
    }

    /// Digest of the hash.
    pub(super) fn digest(self) -> u64 {
        match self.0 {
            Layout::Packed(packed) => digest::of(pairs(packed)),
            Layout::Table(fields) => fields.digest(),
            Layout::PackedExpiring(packed) => {
                let fields = expiring::packed::fields(expiring::packed::entries(packed));
                fields.fold(0, |sum, field| sum.wrapping_add(expiring::digest_of(field)))
            }
            Layout::ExpiringTable(fields) => fields.fields().digest(),
        }
    }

    /// Appends the snapshot entry of a key that holds this hash.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        self.begin_entry(head, out);
        let expires = self.expires();
        let _ = self.for_each_field(|name, value, at| {
            if expires {
                entry::write_expiring_field(out, (name, value, at));
            } else {
                entry::write_field(out, name, value);
            }
            ControlFlow::<()>::Continue(())
        });
    }

    fn begin_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        let content_len = match self.0 {
            Layout::Packed(packed) => packed::content_len::<2>(packed),
            Layout::Table(fields) => fields.content_len(),
            Layout::PackedExpiring(packed) => {
                let fields = expiring::packed::fields(expiring::packed::entries(packed));
                fields.map(|(name, value, _)| name.len() + value.len()).sum()
            }
            Layout::ExpiringTable(fields) => fields.fields().content_len(),
        };
        let begin = if self.expires() { entry::begin_expiring_hash } else { entry::begin_hash };
        begin(out, head, self.len(), content_len);
    }

    /// Begins the entry of a hash that is large enough to have a table, to be written in slices; `None` for others.
    pub(super) fn begin_slices(self, head: Head<'_>, out: &mut Vec<u8>) -> Option<Slices> {
        let fields = self.elements()?;
        self.begin_entry(head, out);
        Some(Slices::new(fields, if self.expires() { write_expiring_field } else { write_field }))
    }

    /// The table of fields, if the hash has one.
    pub(super) const fn elements(self) -> Option<&'a ElementTable> {
        match self.0 {
            Layout::Packed(_) | Layout::PackedExpiring(_) => None,
            Layout::Table(fields) => Some(fields),
            Layout::ExpiringTable(fields) => Some(fields.fields()),
        }
    }
}
