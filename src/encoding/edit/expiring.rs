//! Edits of hashes whose fields may expire, and how they are encoded as flatbuffers.

use std::borrow::Cow;

use flatbuffers::{Vector, WIPOffset};

use super::hash::{self, Fields};
use super::{Body, Builder, Change, EditError, UnixMillis, fb};

/// Fields of a hash with their values and the times at which they expire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiringFields<'a> {
    fields: Fields<'a>,
    /// Per field: its time, or 0 if it does not expire, 8 bytes, little-endian.
    times: Cow<'a, [u8]>,
}

const TIME: usize = 8;

impl<'a> ExpiringFields<'a> {
    /// These fields, of which some expire; `times` names those by their positions, in ascending order.
    pub fn new(fields: Fields<'a>, times: &[(usize, UnixMillis)]) -> Self {
        let mut bytes = vec![0; fields.len() * TIME];
        let (all, _) = bytes.as_chunks_mut::<TIME>();
        for (at, time) in times {
            if let Some(place) = all.get_mut(*at) {
                *place = time.get().to_le_bytes();
            }
        }
        Self { fields, times: bytes.into() }
    }

    /// Adds a field.
    ///
    /// # Panics
    /// If name or value has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, name: &[u8], value: &[u8], expire_at: Option<UnixMillis>) {
        self.fields.push(name, value);
        self.times.to_mut().extend_from_slice(&UnixMillis::option_to_raw(expire_at).to_le_bytes());
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Names, values and times, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Option<UnixMillis>)> {
        let (times, _) = self.times.as_chunks::<TIME>();
        self.fields
            .iter()
            .zip(times)
            .map(|((name, value), time)| (name, value, UnixMillis::option_from_raw(u64::from_le_bytes(*time))))
    }
}

/// Reusable buffer in which fields with expiries are assembled. Reused, it seldom allocates.
#[derive(Debug, Default)]
pub struct ExpiringFieldsBuffer(ExpiringFields<'static>);

impl ExpiringFieldsBuffer {
    /// Removes all fields.
    pub fn clear(&mut self) {
        self.0.fields.clear();
        self.0.times.to_mut().clear();
    }

    /// Adds a field.
    ///
    /// # Panics
    /// If name or value has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, name: &[u8], value: &[u8], expire_at: Option<UnixMillis>) {
        self.0.push(name, value, expire_at);
    }

    /// The fields that have been added.
    pub fn fields(&self) -> ExpiringFields<'_> {
        ExpiringFields { fields: self.0.fields.borrowed(), times: Cow::Borrowed(&self.0.times) }
    }

    /// Capacity of the buffer in bytes.
    pub fn capacity(&self) -> usize {
        self.0.fields.capacity() + hash::owned(&self.0.times)
    }
}

pub(super) fn decode_put(put: fb::PutExpiringHash<'_>) -> Result<Change<'_>, EditError> {
    let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
    Ok(Change::PutExpiringHash { fields: fields(put.spans(), put.bytes(), put.times_ms())?, expire_at })
}

pub(super) fn decode_set(set: fb::SetExpiringFields<'_>) -> Result<Change<'_>, EditError> {
    fields(set.spans(), set.bytes(), set.times_ms()).map(Change::SetExpiringFields)
}

pub(super) fn decode_time(set: fb::SetFieldExpiry<'_>) -> Result<Change<'_>, EditError> {
    let expire_at = UnixMillis::option_from_raw(set.expire_at_ms());
    Ok(Change::SetFieldExpiry { fields: hash::fields(set.spans(), set.bytes())?, expire_at })
}

/// Reads fields and times from a verified flatbuffer.
fn fields<'a>(
    spans: Vector<'a, fb::FieldSpan>,
    bytes: Vector<'a, u8>,
    times: Vector<'a, u64>,
) -> Result<ExpiringFields<'a>, EditError> {
    let fields = hash::fields(spans, bytes)?;
    if fields.len() != times.len() {
        return Err(EditError::Meaningless("another number of times than of fields"));
    }
    Ok(ExpiringFields { fields, times: Cow::Borrowed(times.bytes()) })
}

pub(super) fn build_put(b: &mut Builder, fields: &ExpiringFields<'_>, expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let (spans, bytes) = hash::build_fields(b, &fields.fields);
    let times_ms = Some(build_times(b, fields));
    let put = fb::PutExpiringHash::create(b, &fb::PutExpiringHashArgs { spans, bytes, times_ms, expire_at_ms });
    (fb::Change::PutExpiringHash, put.as_union_value())
}

pub(super) fn build_set(b: &mut Builder, fields: &ExpiringFields<'_>) -> Body {
    let (spans, bytes) = hash::build_fields(b, &fields.fields);
    let times_ms = Some(build_times(b, fields));
    let set = fb::SetExpiringFields::create(b, &fb::SetExpiringFieldsArgs { spans, bytes, times_ms });
    (fb::Change::SetExpiringFields, set.as_union_value())
}

pub(super) fn build_time(b: &mut Builder, fields: &Fields<'_>, expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let (spans, bytes) = hash::build_fields(b, fields);
    let set = fb::SetFieldExpiry::create(b, &fb::SetFieldExpiryArgs { spans, bytes, expire_at_ms });
    (fb::Change::SetFieldExpiry, set.as_union_value())
}

fn build_times(b: &mut Builder, fields: &ExpiringFields<'_>) -> WIPOffset<Vector<'static, u64>> {
    let (times, _) = fields.times.as_chunks::<TIME>();
    b.start_vector::<u64>(times.len());
    for time in times.iter().rev() {
        b.push(u64::from_le_bytes(*time));
    }
    b.end_vector(times.len())
}
