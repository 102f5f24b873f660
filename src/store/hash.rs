//! Reading a hash, in whichever of its two forms it is stored.

use std::ops::ControlFlow;

use super::digest::KeyDigest;
use super::fields::FieldTable;
use super::packed;
use super::table::below;

/// A hash, borrowed.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(pub(super) Form<'a>);

/// How it is stored.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    Packed(&'a [u8]),
    Table(&'a FieldTable),
}

impl<'a> HashRef<'a> {
    /// Number of fields; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a hash without fields is no key")]
    pub fn len(self) -> usize {
        match self.0 {
            Form::Packed(packed) => packed::len(packed),
            Form::Table(fields) => fields.len(),
        }
    }

    /// The value of a field.
    pub fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        match self.0 {
            Form::Packed(packed) => packed::find(packed, field).map(|place| &packed[place.value]),
            Form::Table(fields) => fields.get(field),
        }
    }

    /// Calls `visit` with every field and value until it breaks.
    pub fn for_each<B>(self, mut visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        match self.0 {
            Form::Packed(packed) => packed::iter(packed).try_for_each(|(field, value)| visit(field, value)),
            Form::Table(fields) => fields.iter().try_for_each(|(field, value)| visit(field, value)),
        }
    }

    /// For HSCAN: visits about `count` fields from `cursor` on (0 begins), returns the next cursor (0 = end). Fields that are there
    /// all along are visited, however many come and go between calls. A packed hash is visited whole in one call.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        match self.0 {
            Form::Packed(packed) => {
                packed::iter(packed).for_each(|(field, value)| visit(field, value));
                0
            }
            Form::Table(fields) => fields.scan(cursor, count, visit),
        }
    }

    /// A field at random, each as likely as any other, `random` being a uniform 64-bit number.
    pub fn random_field(self, random: u64) -> (&'a [u8], &'a [u8]) {
        let mut rng = fastrand::Rng::with_seed(random);
        let field = match self.0 {
            Form::Packed(packed) => packed::iter(packed).nth(below(random, packed::len(packed))),
            Form::Table(fields) => fields.random(|| rng.u64(..)),
        };
        field.unwrap_or_default()
    }

    /// True while it is small and packed ("listpack" in OBJECT ENCODING), false once it is a table ("hashtable").
    pub const fn is_packed(self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// The sum of the fields' digests.
    pub(super) fn digest(self, key: KeyDigest) -> u64 {
        match self.0 {
            Form::Packed(packed) => {
                packed::iter(packed).fold(0, |sum, (name, value)| sum.wrapping_add(key.field(name, value)))
            }
            Form::Table(fields) => fields.digest(),
        }
    }
}
