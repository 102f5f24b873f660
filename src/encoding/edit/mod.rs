//! Edits and their encoding, a flatbuffer each (`schema/edit.fbs`).
//!
//! [`Edit`] is what the rest of the program knows; only this module names the generated types. A live core encodes the
//! edits that it applies; recovery and the mirror decode the same edits from a log. [`Edit::decode`] verifies the
//! flatbuffer once and then borrows.
//!
//! In a frame, edits follow each other like this; it is also how [`EncodedEdits`] holds them:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `n`, the length of the flatbuffer, little-endian |
//! | n | the flatbuffer |
//!
//! The file of each type of value (`string`, `hash`) has how its changes are encoded and decoded.

mod hash;
mod string;

use std::borrow::Cow;

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::ids::{Db, PartitionId, Slot};
use crate::time::UnixMillis;

#[allow(warnings, clippy::all, clippy::pedantic, missing_docs, unsafe_code)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/edit.rs"));
}
use generated::rollbook::edit as fb;

pub use hash::{Fields, FieldsBuffer};

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
        /// One of the databases.
        a: Db,
        /// The database that takes its place.
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
    /// The key holds this string and expires then.
    PutString {
        /// The string.
        value: Cow<'a, [u8]>,
        /// When the key expires.
        expire_at: Option<UnixMillis>,
    },
    /// The key's string holds `bytes` from `offset` on; a gap before them is filled with zeros. The string is made if
    /// it is missing; the expiry stays.
    WriteString {
        /// Where the bytes begin.
        offset: u64,
        /// The bytes.
        bytes: Cow<'a, [u8]>,
    },
    /// The key holds exactly this hash and expires then.
    PutHash {
        /// The hash's fields, each named once.
        fields: Fields<'a>,
        /// When the key expires.
        expire_at: Option<UnixMillis>,
    },
    /// These fields of the key's hash have these values. The hash is made if it is missing; the expiry stays.
    SetFields(Fields<'a>),
    /// These fields of the key's hash are gone, and the key with the last of them.
    RemoveFields(Fields<'a>),
    /// The key expires then.
    SetExpiry(Option<UnixMillis>),
    /// The key is gone.
    Delete(Removal),
}

/// Why a key was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A client asked for it.
    Deleted,
    /// The key's time had come.
    Expired,
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
            fb::Change::PutString => string::decode_put(edit.change_as_put_string().ok_or(EMPTY)?),
            fb::Change::WriteString => string::decode_write(edit.change_as_write_string().ok_or(EMPTY)?),
            fb::Change::PutHash => hash::decode_put(edit.change_as_put_hash().ok_or(EMPTY)?)?,
            fb::Change::SetFields => hash::decode_set(edit.change_as_set_fields().ok_or(EMPTY)?)?,
            fb::Change::RemoveFields => hash::decode_remove(edit.change_as_remove_fields().ok_or(EMPTY)?)?,
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

/// Edits as they stand in a frame, one after the other. Kept and cleared, it allocates nothing once it has grown.
#[derive(Default)]
pub struct EncodedEdits {
    builder: FlatBufferBuilder<'static>,
    bytes: Vec<u8>,
    count: u32,
}

impl EncodedEdits {
    /// A buffer without edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all edits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Number of edits.
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

/// Bytes of the length that stands before each edit of a body.
pub const LENGTH: usize = 4;

/// The flatbuffers in a frame's body, in order; an `Err` ends the walk.
pub fn split(body: &[u8]) -> impl Iterator<Item = Result<&[u8], EditError>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = rest.split_first_chunk::<LENGTH>().and_then(|(length, after)| {
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
        Change::PutString { value, expire_at } => string::build_put(b, value, *expire_at),
        Change::WriteString { offset, bytes } => string::build_write(b, *offset, bytes),
        Change::PutHash { fields, expire_at } => hash::build_put(b, fields, *expire_at),
        Change::SetFields(fields) => hash::build_set(b, fields),
        Change::RemoveFields(fields) => hash::build_remove(b, fields),
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
