//! Hashes, in two forms: packed bytes while small, then a table of fields (which it stays until the key is deleted).
//!
//! | file | what it is |
//! |---|---|
//! | this one | reading a hash in either form; its snapshot entry |
//! | `packed` | the packed form ([`Kind::PackedHash`](super::form::Kind)) |
//! | `fields` | the table ([`Structure::Hash`](super::form::Structure)) |
//! | `edits` | what edits do to hashes |
//! | `digest` | what a hash adds to its slot's digest |
//! | `slices` | writing a large hash to a snapshot in slices |

mod digest;
mod edits;
pub(in crate::store) mod fields;
mod packed;
pub(super) mod slices;

use std::ops::ControlFlow;

use self::fields::FieldTable;
use crate::encoding::entry::{self, Head};
use crate::store::digest::KeyDigest;
use crate::store::table::below;

pub(super) use edits::{check, make, remove, set};

/// A hash, borrowed from its record.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(Layout<'a>);

/// Form in which a hash is stored.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Packed(&'a [u8]),
    Table(&'a FieldTable),
}

impl<'a> HashRef<'a> {
    /// Hash in these packed bytes.
    pub(super) const fn packed(packed: &'a [u8]) -> Self {
        Self(Layout::Packed(packed))
    }

    /// Hash in this table of fields.
    pub(super) const fn table(fields: &'a FieldTable) -> Self {
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
            Layout::Packed(packed) => packed::find(packed, field).map(|place| &packed[place.value]),
            Layout::Table(fields) => fields.get(field),
        }
    }

    /// Calls `visit` with every field and value until it breaks.
    pub fn for_each<B>(self, mut visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        match self.0 {
            Layout::Packed(packed) => packed::iter(packed).try_for_each(|(field, value)| visit(field, value)),
            Layout::Table(fields) => fields.iter().try_for_each(|(field, value)| visit(field, value)),
        }
    }

    /// For HSCAN: visits about `count` fields from `cursor` on (0 begins). Returns the next cursor, 0 at the end.
    /// Fields present throughout the scan are visited, however many others come and go between calls. A packed hash is
    /// visited whole in one call.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        match self.0 {
            Layout::Packed(packed) => {
                packed::iter(packed).for_each(|(field, value)| visit(field, value));
                0
            }
            Layout::Table(fields) => fields.scan(cursor, count, visit),
        }
    }

    /// A random field, uniformly distributed; `random` is a uniform 64-bit number.
    pub fn random_field(self, random: u64) -> (&'a [u8], &'a [u8]) {
        let mut rng = fastrand::Rng::with_seed(random);
        let field = match self.0 {
            Layout::Packed(packed) => packed::iter(packed).nth(below(random, packed::len(packed))),
            Layout::Table(fields) => fields.random(|| rng.u64(..)),
        };
        field.unwrap_or_default()
    }

    /// Whether the hash is small and packed ("listpack" in OBJECT ENCODING) rather than a table ("hashtable").
    pub const fn is_packed(self) -> bool {
        matches!(self.0, Layout::Packed(_))
    }

    /// Contribution of the hash to the digest of its slot.
    pub(super) fn digest(self, key: KeyDigest) -> u64 {
        match self.0 {
            Layout::Packed(packed) => digest::of(key, packed::iter(packed)),
            Layout::Table(fields) => fields.digest(),
        }
    }

    /// Appends the snapshot entry of a key that holds this hash.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        let content_len = match self.0 {
            Layout::Packed(packed) => packed::content_len(packed),
            Layout::Table(fields) => fields.content_len(),
        };
        entry::begin_hash(out, head, self.len(), content_len);
        let _ = self.for_each(|name, value| {
            entry::write_field(out, name, value);
            ControlFlow::<()>::Continue(())
        });
    }
}
