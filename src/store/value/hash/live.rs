//! Reading a hash as it is at a moment: what expired before that is not there, be it deleted already or not.

use std::ops::ControlFlow;

use super::expiring::packed as entries;
use super::{HashRef, Layout, Pair, pairs};
use crate::store::table::below;
use crate::store::value::elements::Element;
use crate::store::value::packed;
use crate::store::value::pick::Selection;
use crate::time::UnixMillis;

/// A hash as it is at a moment, borrowed from its record. It has at least one field.
#[derive(Clone, Copy)]
pub struct LiveHash<'a> {
    hash: HashRef<'a>,
    now: UnixMillis,
}

/// Name and value of a field in a table.
const fn pair(field: Element<'_>) -> Pair<'_> {
    (field.name, field.value)
}

/// Whether a field that expires at this time has expired.
const fn is_over(expire_at: Option<UnixMillis>, now: UnixMillis) -> bool {
    matches!(expire_at, Some(at) if at.get() < now.get())
}

impl<'a> LiveHash<'a> {
    /// Hash as it is at `now`; `None` if no field is left.
    #[inline]
    pub(super) fn new(hash: HashRef<'a>, now: UnixMillis) -> Option<Self> {
        let live = Self { hash, now };
        (!hash.expires() || live.len() > 0).then_some(live)
    }

    /// Number of fields; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a hash without fields is no key")]
    pub fn len(self) -> usize {
        match self.hash.0 {
            Layout::PackedExpiring(packed) if is_over(entries::least(packed), self.now) => self.live(packed).count(),
            Layout::ExpiringTable(fields) => fields.len() - fields.before(self.now),
            Layout::Packed(_) | Layout::Table(_) | Layout::PackedExpiring(_) => self.hash.len(),
        }
    }

    /// Value of a field.
    #[inline]
    pub fn get(self, name: &[u8]) -> Option<&'a [u8]> {
        match self.hash.0 {
            Layout::Packed(packed) => packed::find::<2>(packed, name).map(|place| &packed[place.element(1)]),
            Layout::Table(fields) => fields.find(name).map(|field| field.value),
            Layout::PackedExpiring(_) | Layout::ExpiringTable(_) => self.field(name).map(|(value, _)| value),
        }
    }

    /// Value of a field, and when it expires.
    pub fn field(self, name: &[u8]) -> Option<(&'a [u8], Option<UnixMillis>)> {
        let (value, expire_at) = match self.hash.0 {
            Layout::Packed(_) | Layout::Table(_) => (self.get(name)?, None),
            Layout::PackedExpiring(packed) => entries::get(entries::entries(packed), name)?,
            Layout::ExpiringTable(fields) => fields.fields().find(name).map(|field| (field.value, field.expire_at))?,
        };
        (!is_over(expire_at, self.now)).then_some((value, expire_at))
    }

    /// Calls `visit` with every field and value until it breaks.
    pub fn for_each<B>(self, mut visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        match self.hash.0 {
            Layout::Packed(packed) => pairs(packed).try_for_each(|(name, value)| visit(name, value)),
            Layout::Table(fields) => fields.iter().try_for_each(|field| visit(field.name, field.value)),
            Layout::PackedExpiring(packed) => self.live(packed).try_for_each(|(name, value)| visit(name, value)),
            Layout::ExpiringTable(fields) => fields
                .fields()
                .iter()
                .filter(|field| self.has(*field))
                .try_for_each(|field| visit(field.name, field.value)),
        }
    }

    /// For HSCAN: visits about `count` fields from `cursor` on (0 begins). Returns the next cursor, 0 at the end.
    /// Fields present throughout the scan are visited, however many others come and go between calls. A packed hash is
    /// visited whole in one call.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        match self.hash.0 {
            Layout::Packed(packed) => {
                pairs(packed).for_each(|(name, value)| visit(name, value));
                0
            }
            Layout::Table(fields) => fields.scan(cursor, count, |field| visit(field.name, field.value)),
            Layout::PackedExpiring(packed) => {
                self.live(packed).for_each(|(name, value)| visit(name, value));
                0
            }
            Layout::ExpiringTable(fields) => fields.fields().scan(cursor, count, |field| {
                if self.has(field) {
                    visit(field.name, field.value);
                }
            }),
        }
    }

    /// A random field, uniformly distributed; `random` returns uniform 64-bit numbers.
    pub fn random_field(self, mut random: impl FnMut() -> u64) -> (&'a [u8], &'a [u8]) {
        let field = match self.hash.0 {
            Layout::Packed(packed) => pairs(packed).nth(below(random(), packed::len(packed))),
            Layout::Table(fields) => fields.random(random).map(pair),
            Layout::PackedExpiring(packed) => self.live(packed).nth(below(random(), self.len())),
            Layout::ExpiringTable(fields) => {
                fields.fields().random_of(self.len(), |field| self.has(field), random).map(pair)
            }
        };
        field.unwrap_or_default()
    }

    /// Visits random fields, each drawn from all of them, until `visit` breaks.
    pub fn random_fields<B>(
        self,
        mut random: impl FnMut() -> u64,
        mut visit: impl FnMut((&'a [u8], &'a [u8])) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let packed: Vec<_> = match self.hash.0 {
            Layout::Packed(packed) => pairs(packed).collect(),
            Layout::PackedExpiring(packed) => self.live(packed).collect(),
            Layout::Table(_) | Layout::ExpiringTable(_) => Vec::new(),
        };
        loop {
            visit(match self.hash.0 {
                Layout::Packed(_) | Layout::PackedExpiring(_) => packed[below(random(), packed.len())],
                Layout::Table(_) | Layout::ExpiringTable(_) => self.random_field(&mut random),
            })?;
        }
    }

    /// Visits `count` different fields, or all if there are fewer; each selection is equally likely.
    pub fn distinct_fields(self, count: usize, random: impl FnMut() -> u64, mut visit: impl FnMut(Pair<'a>)) {
        match self.hash.0 {
            Layout::Packed(packed) => Selection::new(count, self.len()).of(pairs(packed), random, visit),
            Layout::Table(fields) => fields.distinct(count, random, |field| visit(pair(field))),
            Layout::PackedExpiring(packed) => Selection::new(count, self.len()).of(self.live(packed), random, visit),
            Layout::ExpiringTable(fields) => {
                fields.fields().distinct_of(
                    self.len(),
                    |field| self.has(field),
                    count,
                    random,
                    |field| visit(pair(field)),
                );
            }
        }
    }

    /// Fields of a packed hash that have not expired.
    fn live(self, packed: &'a [u8]) -> impl Iterator<Item = Pair<'a>> {
        let fields = entries::fields(entries::entries(packed));
        fields.filter(move |(_, _, at)| !is_over(*at, self.now)).map(|(name, value, _)| (name, value))
    }

    /// Whether a field of a table has not expired.
    fn has(self, field: Element<'_>) -> bool {
        !is_over(field.expire_at, self.now)
    }
}
