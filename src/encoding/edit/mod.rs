//! Edits and their encoding, a flatbuffer each (`schema/edit.fbs`).
//!
//! [`Edit`] is what the rest of the program knows; only this file names the generated types. A live core encodes the edits that it
//! applies; recovery and the mirror decode the same edits from a log. [`Edit::decode`] verifies the flatbuffer once and then borrows.
//!
//! In a frame, edits follow each other like this; it is also how [`EncodedEdits`] holds them:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `n`, the length of the flatbuffer, little-endian |
//! | n | the flatbuffer |

// tidy: long, because each kind of change stands with how it is encoded and how it is decoded.

use std::borrow::Cow;

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::ids::{Db, PartitionId, Slot};

#[allow(warnings, clippy::all, clippy::pedantic, missing_docs, unsafe_code)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/edit.rs"));
}
use generated::rollbook::edit as fb;

/// A time of the wall clock, in milliseconds since the Unix epoch. Never 0, which on disk means "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// `millis` after the Unix epoch; 0 becomes 1.
    pub const fn new(millis: u64) -> Self {
        Self(if millis == 0 { 1 } else { millis })
    }

    /// Milliseconds since the Unix epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How a missing time is written: 0.
    pub fn option_to_raw(time: Option<Self>) -> u64 {
        time.map_or(0, Self::get)
    }

    /// What [`Self::option_to_raw`] wrote.
    pub fn option_from_raw(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Self(raw))
    }
}

/// The effect of a write on one partition, as absolute state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// One key changes.
    Key {
        /// The database of the key.
        db: Db,
        /// The slot of the key; always `slot_of(key)`.
        slot: Slot,
        /// The key.
        key: Cow<'a, [u8]>,
        /// What becomes of it.
        change: Change<'a>,
    },
    /// Every key of one database of the partition goes.
    Flush {
        /// The partition.
        partition: PartitionId,
        /// The database.
        db: Db,
    },
    /// Two databases of the partition change places.
    SwapDb {
        /// The partition.
        partition: PartitionId,
        /// The one database.
        a: Db,
        /// The other.
        b: Db,
    },
    /// Nothing changes; whoever applies this compares digests.
    Barrier {
        /// The partition.
        partition: PartitionId,
        /// The checkpoint node is asked for a snapshot at this position.
        checkpoint: bool,
        /// Digests of the partition's slots, in the order of the slots.
        digests: Cow<'a, [u64]>,
    },
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It holds this string and expires then.
    PutString {
        /// The string.
        value: Cow<'a, [u8]>,
        /// When it expires.
        expire_at: Option<UnixMillis>,
    },
    /// Its string holds `bytes` from `offset` on; a gap before them is filled with zeros. Made if missing; the expiry stays.
    WriteString {
        /// Where the bytes begin.
        offset: u64,
        /// The bytes.
        bytes: Cow<'a, [u8]>,
    },
    /// It holds exactly this hash and expires then.
    PutHash {
        /// Its fields, each named once.
        fields: Fields<'a>,
        /// When it expires.
        expire_at: Option<UnixMillis>,
    },
    /// These fields of its hash have these values. Made if missing; the expiry stays.
    SetFields(Fields<'a>),
    /// These fields of its hash are gone, and the key with the last of them.
    RemoveFields(Fields<'a>),
    /// It expires then.
    SetExpiry(Option<UnixMillis>),
    /// It is gone.
    Delete(Removal),
}

/// Why a key was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A client asked for it.
    Deleted,
    /// Its time had come.
    Expired,
}

/// Fields of a hash with their values (empty in [`Change::RemoveFields`]), in one run of bytes.
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

    /// Whether there are none.
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

/// Where fields are put together. Kept, it allocates nothing once it has grown.
#[derive(Debug, Default)]
pub struct FieldsBuffer(Fields<'static>);

impl FieldsBuffer {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.spans.to_mut().clear();
        self.0.bytes.to_mut().clear();
    }

    /// Adds a field.
    ///
    /// # Panics
    /// As [`Fields::push`].
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push(name, value);
    }

    /// The fields so far.
    pub fn fields(&self) -> Fields<'_> {
        Fields { spans: Cow::Borrowed(&self.0.spans), bytes: Cow::Borrowed(&self.0.bytes) }
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> usize {
        let room = |bytes: &Cow<'static, [u8]>| match bytes {
            Cow::Owned(bytes) => bytes.capacity(),
            Cow::Borrowed(_) => 0,
        };
        room(&self.0.spans) + room(&self.0.bytes)
    }
}

/// Bytes that are not an edit.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The flatbuffer is malformed.
    #[error("malformed edit: {0}")]
    Malformed(#[from] flatbuffers::InvalidFlatbuffer),
    /// The flatbuffer is well-formed, but not something that this version writes.
    #[error("edit with {0}")]
    Meaningless(&'static str),
}

impl<'a> Edit<'a> {
    /// The edit in a flatbuffer.
    ///
    /// # Errors
    /// If the bytes are not an edit that this version knows.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EditError> {
        use EditError::Meaningless;
        let edit = flatbuffers::root::<fb::Edit<'a>>(bytes)?;
        let partition = PartitionId(edit.partition());
        let db = Db::new(u64::from(edit.db())).ok_or(Meaningless("an unknown database"))?;
        let change = match edit.change_type() {
            fb::Change::Flush => return Ok(Self::Flush { partition, db }),
            fb::Change::SwapDb => {
                let swap = edit.change_as_swap_db().ok_or(Meaningless("no change"))?;
                let b = Db::new(u64::from(swap.other())).ok_or(Meaningless("an unknown database"))?;
                return Ok(Self::SwapDb { partition, a: db, b });
            }
            fb::Change::Barrier => {
                let barrier = edit.change_as_barrier().ok_or(Meaningless("no change"))?;
                let digests = barrier.digests().iter().collect();
                return Ok(Self::Barrier { partition, checkpoint: barrier.checkpoint(), digests });
            }
            _ => Change::decode(edit)?,
        };
        let key = edit.key().ok_or(Meaningless("no key"))?.bytes();
        if edit.slot() >= crate::ids::SLOTS {
            return Err(Meaningless("an unknown slot"));
        }
        Ok(Self::Key { db, slot: Slot(edit.slot()), key: Cow::Borrowed(key), change })
    }
}

impl<'a> Change<'a> {
    fn decode(edit: fb::Edit<'a>) -> Result<Self, EditError> {
        const EMPTY: EditError = EditError::Meaningless("no change");
        Ok(match edit.change_type() {
            fb::Change::PutString => {
                let put = edit.change_as_put_string().ok_or(EMPTY)?;
                let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
                Self::PutString { value: Cow::Borrowed(put.value().bytes()), expire_at }
            }
            fb::Change::WriteString => {
                let write = edit.change_as_write_string().ok_or(EMPTY)?;
                Self::WriteString { offset: write.offset(), bytes: Cow::Borrowed(write.bytes().bytes()) }
            }
            fb::Change::PutHash => {
                let put = edit.change_as_put_hash().ok_or(EMPTY)?;
                let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
                Self::PutHash { fields: fields(put.spans(), put.bytes())?, expire_at }
            }
            fb::Change::SetFields => {
                let set = edit.change_as_set_fields().ok_or(EMPTY)?;
                Self::SetFields(fields(set.spans(), set.bytes())?)
            }
            fb::Change::RemoveFields => {
                let remove = edit.change_as_remove_fields().ok_or(EMPTY)?;
                Self::RemoveFields(fields(remove.spans(), remove.bytes())?)
            }
            fb::Change::SetExpiry => {
                let set = edit.change_as_set_expiry().ok_or(EMPTY)?;
                Self::SetExpiry(UnixMillis::option_from_raw(set.expire_at_ms()))
            }
            fb::Change::Delete => match edit.change_as_delete().ok_or(EMPTY)?.removal() {
                fb::Removal::Deleted => Self::Delete(Removal::Deleted),
                fb::Removal::Expired => Self::Delete(Removal::Expired),
                _ => return Err(EditError::Meaningless("an unknown removal")),
            },
            _ => return Err(EditError::Meaningless("an unknown change")),
        })
    }
}

/// Fields out of a verified flatbuffer.
fn fields<'a>(
    spans: flatbuffers::Vector<'a, fb::FieldSpan>,
    bytes: flatbuffers::Vector<'a, u8>,
) -> Result<Fields<'a>, EditError> {
    let fields = Fields { spans: Cow::Borrowed(spans.bytes()), bytes: Cow::Borrowed(bytes.bytes()) };
    if fields.is_consistent() { Ok(fields) } else { Err(EditError::Meaningless("fields of other lengths than stated")) }
}

/// Edits as they stand in a frame, one after the other. Kept and cleared, it allocates nothing once it has grown.
#[derive(Default)]
pub struct EncodedEdits {
    builder: FlatBufferBuilder<'static>,
    bytes: Vec<u8>,
    count: u32,
}

impl EncodedEdits {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Their number.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The bytes for a frame's body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Encodes one more edit. `partition` is that of the edit's slot.
    ///
    /// # Panics
    /// If the edit has 2 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, partition: PartitionId, edit: &Edit<'_>) {
        self.builder.reset();
        let root = build(&mut self.builder, partition, edit);
        self.builder.finish_minimal(root);
        let data = self.builder.finished_data();
        let length = u32::try_from(data.len()).expect("a flatbuffer is shorter than 2 GiB");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(data);
        self.count += 1;
    }
}

/// The flatbuffers in a frame's body, in order; an `Err` ends the walk.
pub fn split(body: &[u8]) -> impl Iterator<Item = Result<&[u8], EditError>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = rest.split_first_chunk::<4>().and_then(|(length, after)| {
            let length = u32::from_le_bytes(*length) as usize;
            after.split_at_checked(length)
        });
        Some(if let Some((edit, after)) = taken {
            rest = after;
            Ok(edit)
        } else {
            rest = &[];
            Err(EditError::Meaningless("a length beyond its frame"))
        })
    })
}

type Builder = FlatBufferBuilder<'static>;
type Body = (fb::Change, WIPOffset<UnionWIPOffset>);

fn build(b: &mut Builder, partition: PartitionId, edit: &Edit<'_>) -> WIPOffset<fb::Edit<'static>> {
    let mut args = fb::EditArgs { partition: partition.0, slot: 0, db: 0, key: None, ..Default::default() };
    let (change_type, change) = match edit {
        Edit::Key { db, slot, key, change } => {
            (args.slot, args.db) = (slot.0, db.0);
            args.key = Some(b.create_vector::<u8>(key));
            build_change(b, change)
        }
        Edit::Flush { db, .. } => {
            args.db = db.0;
            (fb::Change::Flush, fb::Flush::create(b, &fb::FlushArgs {}).as_union_value())
        }
        Edit::SwapDb { a, b: other, .. } => {
            args.db = a.0;
            (fb::Change::SwapDb, fb::SwapDb::create(b, &fb::SwapDbArgs { other: other.0 }).as_union_value())
        }
        Edit::Barrier { checkpoint, digests, .. } => {
            let digests = Some(b.create_vector::<u64>(digests));
            let barrier = fb::Barrier::create(b, &fb::BarrierArgs { checkpoint: *checkpoint, digests });
            (fb::Change::Barrier, barrier.as_union_value())
        }
    };
    (args.change_type, args.change) = (change_type, Some(change));
    fb::Edit::create(b, &args)
}

fn build_change(b: &mut Builder, change: &Change<'_>) -> Body {
    match change {
        Change::PutString { value, expire_at } => {
            let expire_at_ms = UnixMillis::option_to_raw(*expire_at);
            let value = Some(b.create_vector::<u8>(value));
            (
                fb::Change::PutString,
                fb::PutString::create(b, &fb::PutStringArgs { value, expire_at_ms }).as_union_value(),
            )
        }
        Change::WriteString { offset, bytes } => {
            let bytes = Some(b.create_vector::<u8>(bytes));
            let write = fb::WriteString::create(b, &fb::WriteStringArgs { offset: *offset, bytes });
            (fb::Change::WriteString, write.as_union_value())
        }
        Change::PutHash { fields, expire_at } => {
            let expire_at_ms = UnixMillis::option_to_raw(*expire_at);
            let (spans, bytes) = build_fields(b, fields);
            let put = fb::PutHash::create(b, &fb::PutHashArgs { spans, bytes, expire_at_ms });
            (fb::Change::PutHash, put.as_union_value())
        }
        Change::SetFields(fields) => {
            let (spans, bytes) = build_fields(b, fields);
            let set = fb::SetFields::create(b, &fb::SetFieldsArgs { spans, bytes });
            (fb::Change::SetFields, set.as_union_value())
        }
        Change::RemoveFields(fields) => {
            let (spans, bytes) = build_fields(b, fields);
            let remove = fb::RemoveFields::create(b, &fb::RemoveFieldsArgs { spans, bytes });
            (fb::Change::RemoveFields, remove.as_union_value())
        }
        Change::SetExpiry(expire_at) => {
            let expire_at_ms = UnixMillis::option_to_raw(*expire_at);
            (fb::Change::SetExpiry, fb::SetExpiry::create(b, &fb::SetExpiryArgs { expire_at_ms }).as_union_value())
        }
        Change::Delete(removal) => {
            let removal = match removal {
                Removal::Deleted => fb::Removal::Deleted,
                Removal::Expired => fb::Removal::Expired,
            };
            (fb::Change::Delete, fb::Delete::create(b, &fb::DeleteArgs { removal }).as_union_value())
        }
    }
}

type FieldOffsets = (
    Option<WIPOffset<flatbuffers::Vector<'static, fb::FieldSpan>>>,
    Option<WIPOffset<flatbuffers::Vector<'static, u8>>>,
);

fn build_fields(b: &mut Builder, fields: &Fields<'_>) -> FieldOffsets {
    let (chunks, _) = fields.spans.as_chunks::<SPAN>();
    b.start_vector::<fb::FieldSpan>(chunks.len());
    for chunk in chunks.iter().rev() {
        let (name_len, value_len) = span_lengths(chunk);
        b.push(fb::FieldSpan::new(name_len as u32, value_len as u32));
    }
    let spans = b.end_vector(chunks.len());
    (Some(spans), Some(b.create_vector::<u8>(&fields.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_edit(change: Change<'_>) -> Edit<'_> {
        Edit::Key { db: Db(3), slot: Slot(77), key: Cow::Borrowed(b"key"), change }
    }

    fn samples() -> Vec<Edit<'static>> {
        let mut fields = Fields::default();
        fields.push(b"size", b"4096");
        fields.push(b"", b"");
        fields.push(b"mtime", &[0, 255, 10]);
        let mut names = Fields::default();
        names.push(b"owner", b"");
        let at = Some(UnixMillis::new(1_700_000_000_123));
        vec![
            key_edit(Change::PutString { value: b"value".into(), expire_at: None }),
            key_edit(Change::PutString { value: b"".into(), expire_at: at }),
            key_edit(Change::WriteString { offset: 9, bytes: b"tail".into() }),
            key_edit(Change::PutHash { fields: fields.clone(), expire_at: at }),
            key_edit(Change::SetFields(fields)),
            key_edit(Change::RemoveFields(names)),
            key_edit(Change::SetExpiry(at)),
            key_edit(Change::SetExpiry(None)),
            key_edit(Change::Delete(Removal::Deleted)),
            key_edit(Change::Delete(Removal::Expired)),
            Edit::Flush { partition: PartitionId(7), db: Db(15) },
            Edit::SwapDb { partition: PartitionId(7), a: Db(0), b: Db(9) },
            Edit::Barrier { partition: PartitionId(7), checkpoint: true, digests: vec![1, u64::MAX, 0].into() },
        ]
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut encoded = EncodedEdits::new();
        for edit in samples() {
            encoded.push(PartitionId(7), &edit);
        }
        let decoded: Vec<_> = split(encoded.as_bytes()).map(|e| Edit::decode(e.unwrap()).unwrap()).collect();
        assert_eq!(decoded, samples());
        assert_eq!(encoded.count() as usize, samples().len());
    }

    #[test]
    fn damaged_bytes_are_refused_or_are_another_edit_but_never_a_panic() {
        for edit in samples() {
            let mut encoded = EncodedEdits::new();
            encoded.push(PartitionId(7), &edit);
            let bytes = encoded.as_bytes();
            for at in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut damaged = bytes.to_vec();
                    damaged[at] ^= flip;
                    for part in split(&damaged).flatten() {
                        if let Ok(Edit::Key { change: Change::SetFields(fields), .. }) = Edit::decode(part) {
                            assert!(fields.iter().count() == fields.len());
                        }
                    }
                }
                for part in split(&bytes[..at]).flatten() {
                    assert!(Edit::decode(part).is_err());
                }
            }
        }
    }
}
