//! Edits of hashes: their fields, and how they are encoded as flatbuffers.

use std::borrow::Cow;

use flatbuffers::{Vector, WIPOffset};

use super::{Body, Builder, Change, EditError, UNKNOWN_REMOVAL, UnixMillis, fb};

/// Fields of a hash with their values (empty where a change only names them), stored in one byte buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Per field: length of name and of value, 4 bytes each, little-endian.
    spans: Cow<'a, [u8]>,
    bytes: Cow<'a, [u8]>,
}

const SPAN: usize = 8;

impl Fields<'_> {
    /// Adds a field.
    ///
    /// # Panics
    /// If name or value has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let length = |b: &[u8]| u32::try_from(b.len()).expect("requests are far shorter than 4 GiB").to_le_bytes();
        let spans = self.spans.to_mut();
        spans.extend_from_slice(&length(name));
        spans.extend_from_slice(&length(value));
        let bytes = self.bytes.to_mut();
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.spans.len() / SPAN
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.bytes[..];
        self.spans.as_chunks::<SPAN>().0.iter().map(move |span| {
            let (name_len, value_len) = span_lengths(span);
            let (name, after) = rest.split_at(name_len);
            let (value, after) = after.split_at(value_len);
            rest = after;
            (name, value)
        })
    }

    /// Removes all fields.
    pub(super) fn clear(&mut self) {
        self.spans.to_mut().clear();
        self.bytes.to_mut().clear();
    }

    /// The same fields, borrowed.
    pub(super) fn borrowed(&self) -> Fields<'_> {
        Fields { spans: Cow::Borrowed(&self.spans), bytes: Cow::Borrowed(&self.bytes) }
    }

    /// Capacity of the buffers that the fields own, in bytes.
    pub(super) fn capacity(&self) -> usize {
        owned(&self.spans) + owned(&self.bytes)
    }

    /// Whether the lengths add up to the bytes; iteration relies on it.
    fn is_consistent(&self) -> bool {
        let spans = self.spans.as_chunks::<SPAN>().0;
        let total = spans.iter().map(span_lengths).map(|(n, v)| n as u64 + v as u64).sum::<u64>();
        total == self.bytes.len() as u64
    }
}

fn span_lengths(span: &[u8; SPAN]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = *span;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}

/// Reusable buffer in which fields are assembled. Reused, it seldom allocates.
#[derive(Debug, Default)]
pub struct FieldsBuffer(Fields<'static>);

impl FieldsBuffer {
    /// Removes all fields.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a field.
    ///
    /// # Panics
    /// If name or value has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push(name, value);
    }

    /// The fields that have been added.
    pub fn fields(&self) -> Fields<'_> {
        self.0.borrowed()
    }

    /// Capacity of the buffer in bytes.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// Capacity of bytes, if they are owned.
#[expect(clippy::ptr_arg, reason = "whether they are owned is the question")]
pub(super) const fn owned(bytes: &Cow<'_, [u8]>) -> usize {
    match bytes {
        Cow::Owned(bytes) => bytes.capacity(),
        Cow::Borrowed(_) => 0,
    }
}

pub(super) fn decode_put(put: fb::PutHash<'_>) -> Result<Change<'_>, EditError> {
    let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
    Ok(Change::PutHash { fields: fields(put.spans(), put.bytes())?, expire_at })
}

pub(super) fn decode_set(set: fb::SetFields<'_>) -> Result<Change<'_>, EditError> {
    fields(set.spans(), set.bytes()).map(Change::SetFields)
}

pub(super) fn decode_remove(remove: fb::RemoveFields<'_>) -> Result<Change<'_>, EditError> {
    let fields = fields(remove.spans(), remove.bytes())?;
    match remove.removal() {
        fb::Removal::Deleted => Ok(Change::RemoveFields(fields)),
        fb::Removal::Expired => Ok(Change::ExpireFields(fields)),
        _ => Err(UNKNOWN_REMOVAL),
    }
}

/// Reads fields from a verified flatbuffer.
pub(super) fn fields<'a>(spans: Vector<'a, fb::FieldSpan>, bytes: Vector<'a, u8>) -> Result<Fields<'a>, EditError> {
    let fields = Fields { spans: Cow::Borrowed(spans.bytes()), bytes: Cow::Borrowed(bytes.bytes()) };
    if fields.is_consistent() { Ok(fields) } else { Err(EditError::Meaningless("fields of other lengths than stated")) }
}

pub(super) fn build_put(b: &mut Builder, fields: &Fields<'_>, expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let (spans, bytes) = build_fields(b, fields);
    let put = fb::PutHash::create(b, &fb::PutHashArgs { spans, bytes, expire_at_ms });
    (fb::Change::PutHash, put.as_union_value())
}

pub(super) fn build_set(b: &mut Builder, fields: &Fields<'_>) -> Body {
    let (spans, bytes) = build_fields(b, fields);
    let set = fb::SetFields::create(b, &fb::SetFieldsArgs { spans, bytes });
    (fb::Change::SetFields, set.as_union_value())
}

pub(super) fn build_remove(b: &mut Builder, fields: &Fields<'_>, removal: fb::Removal) -> Body {
    let (spans, bytes) = build_fields(b, fields);
    let remove = fb::RemoveFields::create(b, &fb::RemoveFieldsArgs { spans, bytes, removal });
    (fb::Change::RemoveFields, remove.as_union_value())
}

type FieldOffsets = (Option<WIPOffset<Vector<'static, fb::FieldSpan>>>, Option<WIPOffset<Vector<'static, u8>>>);

pub(super) fn build_fields(b: &mut Builder, fields: &Fields<'_>) -> FieldOffsets {
    let (chunks, _) = fields.spans.as_chunks::<SPAN>();
    b.start_vector::<fb::FieldSpan>(chunks.len());
    for chunk in chunks.iter().rev() {
        let (name_len, value_len) = span_lengths(chunk);
        b.push(fb::FieldSpan::new(name_len as u32, value_len as u32));
    }
    let spans = b.end_vector(chunks.len());
    (Some(spans), Some(b.create_vector::<u8>(&fields.bytes)))
}
