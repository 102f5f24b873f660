//! Edits and their encoding, a flatbuffer each (`schema/edit.fbs`).
//!
//! [`Edit`] is the type that the rest of the program uses; only this module names the generated types. A live core
//! encodes the edits that it applies; recovery and the mirror decode the same edits from a log. [`Edit::decode`]
//! verifies the flatbuffer once and then borrows from it.
//!
//! In the body of a frame, and in [`EncodedEdits`], each edit has this layout:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `n`, the length of the flatbuffer, little-endian |
//! | n | the flatbuffer |
//!
//! The file of each type of value (`string`, `hash` and `expiring`, `set`, `sorted_set`, `list`, `stream`) encodes and
//! decodes the changes of that type.

// tidy: long, because the changes of all types are listed here, each with an example for the tests.

mod elements;
mod expiring;
mod hash;
mod list;
mod set;
mod sorted_set;
mod stream;
mod string;

use std::borrow::Cow;

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::encoding::slot::slot_of;
use crate::ids::{Db, PartitionId, Slot};
use crate::time::UnixMillis;

#[allow(warnings, clippy::all, clippy::pedantic, missing_docs, unsafe_code)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/edit.rs"));
}
use generated::rollbook::edit as fb;

pub use elements::{Elements, ElementsBuffer};
pub use expiring::{ExpiringFields, ExpiringFieldsBuffer};
pub use hash::{Fields, FieldsBuffer};
pub use list::{End, Ranges};
pub(crate) use sorted_set::is_score;
pub use sorted_set::{Scored, ScoredBuffer};
pub use stream::{Assignment, EventIds, PendingEvents, StreamChange};

/// Effect of a write on one partition, stated as absolute state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// A change of one key.
    Key {
        /// The database of the key.
        db: Db,
        /// The slot of the key; always `slot_of(key)`.
        slot: Slot,
        /// Name of the key.
        key: Cow<'a, [u8]>,
        /// The key's new content or expiry.
        change: Change<'a>,
    },
    /// Deletion of every key in one database of the partition.
    Flush {
        /// The affected partition.
        partition: PartitionId,
        /// The database that is emptied.
        db: Db,
    },
    /// Exchange of two databases of the partition.
    SwapDb {
        /// The affected partition.
        partition: PartitionId,
        /// One of the two databases.
        a: Db,
        /// The other of the two databases.
        b: Db,
    },
    /// A check that changes nothing: whoever applies it compares digests.
    Barrier {
        /// The partition whose digests are given.
        partition: PartitionId,
        /// Whether the checkpoint node is to make a snapshot at this position.
        checkpoint: bool,
        /// Digests of the partition's slots, in the order of the slots.
        digests: Cow<'a, [u64]>,
    },
}

/// Change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The key gets this string and this expiry, replacing whatever it held.
    PutString {
        /// The new value.
        value: Cow<'a, [u8]>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// `bytes` are written into the key's string at `offset`; a gap before them is filled with zeros. The string is
    /// created if it is missing; its expiry stays.
    WriteString {
        /// Position of the first byte written.
        offset: u64,
        /// The bytes written.
        bytes: Cow<'a, [u8]>,
    },
    /// The key gets exactly this hash and this expiry, replacing whatever it held.
    PutHash {
        /// All fields of the hash, each named once.
        fields: Fields<'a>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// These fields of the key's hash get these values and no expiry. The hash is created if it is missing; the key's
    /// expiry stays.
    SetFields(Fields<'a>),
    /// These fields of the key's hash are deleted; the key is deleted with the last of them.
    RemoveFields(Fields<'a>),
    /// These fields of the key's hash are deleted because their expiries were reached; the key is deleted with the last
    /// of them.
    ExpireFields(Fields<'a>),
    /// The key gets exactly this hash, whose fields may expire, and this expiry, replacing whatever it held.
    PutExpiringHash {
        /// All fields of the hash, each named once.
        fields: ExpiringFields<'a>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// These fields of the key's hash get these values and expiries. The hash is created if it is missing; the key's
    /// expiry stays.
    SetExpiringFields(ExpiringFields<'a>),
    /// Of these fields, those that the key's hash has get this expiry, or lose theirs.
    SetFieldExpiry {
        /// Names of the fields.
        fields: Fields<'a>,
        /// Time at which they expire, if any.
        expire_at: Option<UnixMillis>,
    },
    /// The key gets exactly this set and this expiry, replacing whatever it held.
    PutSet {
        /// All members of the set, each named once.
        members: Elements<'a>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// These members are in the key's set. The set is created if it is missing; its expiry stays.
    AddMembers(Elements<'a>),
    /// These members of the key's set are deleted; the key is deleted with the last of them.
    RemoveMembers(Elements<'a>),
    /// The key gets exactly this sorted set and this expiry, replacing whatever it held.
    PutSortedSet {
        /// All members of the sorted set, each named once.
        members: Scored<'a>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// These members of the key's sorted set get these scores. The sorted set is created if it is missing; its expiry
    /// stays.
    SetScores(Scored<'a>),
    /// These members of the key's sorted set are deleted; the key is deleted with the last of them.
    RemoveScored(Elements<'a>),
    /// Of the members of the key's sorted set, those are deleted that have these ranks; the key is deleted with the
    /// last of them. One small edit says so of any number of members.
    RemoveRanks {
        /// Rank of the first of them.
        first: u64,
        /// Number of them.
        count: u64,
    },
    /// The key gets exactly this list and this expiry, replacing whatever it held.
    PutList {
        /// All elements of the list.
        elements: Elements<'a>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// These elements are put at one end of the key's list, each after the one before it. The list is created if it is
    /// missing; its expiry stays.
    PushElements {
        /// The end of the list.
        end: End,
        /// The elements, in the order in which they are put there.
        elements: Elements<'a>,
    },
    /// So many elements at one end of the key's list are removed; the key is deleted with the last of them.
    PopElements {
        /// The end of the list.
        end: End,
        /// Number of elements, at most as many as the list has.
        count: u64,
    },
    /// One element of the key's list is replaced.
    SetElement {
        /// Its index from the left, counted from 0.
        index: u64,
        /// The new element.
        value: Cow<'a, [u8]>,
    },
    /// One element is inserted into the key's list.
    InsertElement {
        /// Its index from the left once it is there, counted from 0; at most the list's length.
        index: u64,
        /// The element.
        value: Cow<'a, [u8]>,
    },
    /// These elements of the key's list are removed; the key is deleted with the last of them.
    RemoveElements(Ranges<'a>),
    /// The key gets exactly this stream and this expiry, replacing whatever it held.
    PutStream {
        /// The stream, in the layout of [`EntryStream`](crate::encoding::entry::EntryStream).
        stream: Cow<'a, [u8]>,
        /// Time at which the key expires, if any.
        expire_at: Option<UnixMillis>,
    },
    /// Part of the key's stream changes.
    Stream(StreamChange<'a>),
    /// The key gets this expiry, or loses its expiry.
    SetExpiry(Option<UnixMillis>),
    /// The key is deleted.
    Delete(Removal),
    /// Another key gets the key's value and expiry, replacing whatever it held; the key is deleted. The other key may
    /// be of another slot and of another partition, but of the same core. The edit is small however large the value is.
    Move {
        /// Database of the other key.
        to_db: Db,
        /// Name of the other key.
        to_key: Cow<'a, [u8]>,
    },
}

/// Reason why a key was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A client deleted it.
    Deleted,
    /// The key's expiry was reached.
    Expired,
}

/// Error for bytes that are not a valid edit.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The flatbuffer is malformed.
    #[error("malformed edit: {0}")]
    Malformed(#[from] flatbuffers::InvalidFlatbuffer),
    /// The flatbuffer is well-formed, but no version of this program writes such an edit.
    #[error("edit with {0}")]
    Meaningless(&'static str),
}

impl<'a> Edit<'a> {
    /// Slot to which the edit moves a value, if that is not the slot that the value comes from.
    #[inline]
    pub fn moves_to(&self) -> Option<Slot> {
        match self {
            Self::Key { slot, change: Change::Move { to_key, .. }, .. } => {
                Some(slot_of(to_key)).filter(|to| to != slot)
            }
            _ => None,
        }
    }

    /// Decodes the edit in a flatbuffer.
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
    /// Whether nothing stays of what the key holds, whatever that is.
    pub const fn replaces_all(&self) -> bool {
        match self {
            Self::PutString { .. }
            | Self::PutHash { .. }
            | Self::PutExpiringHash { .. }
            | Self::PutSet { .. }
            | Self::PutSortedSet { .. }
            | Self::PutList { .. }
            | Self::PutStream { .. }
            | Self::Delete(_) => true,
            Self::WriteString { .. }
            | Self::SetFields(_)
            | Self::RemoveFields(_)
            | Self::ExpireFields(_)
            | Self::SetExpiringFields(_)
            | Self::SetFieldExpiry { .. }
            | Self::AddMembers(_)
            | Self::RemoveMembers(_)
            | Self::SetScores(_)
            | Self::RemoveScored(_)
            | Self::RemoveRanks { .. }
            | Self::PushElements { .. }
            | Self::PopElements { .. }
            | Self::SetElement { .. }
            | Self::InsertElement { .. }
            | Self::RemoveElements(_)
            | Self::Stream(_)
            | Self::SetExpiry(_)
            | Self::Move { .. } => false,
        }
    }

    fn decode(edit: fb::Edit<'a>) -> Result<Self, EditError> {
        const EMPTY: EditError = EditError::Meaningless("no change");
        Ok(match edit.change_type() {
            fb::Change::PutString => string::decode_put(edit.change_as_put_string().ok_or(EMPTY)?),
            fb::Change::WriteString => string::decode_write(edit.change_as_write_string().ok_or(EMPTY)?),
            fb::Change::PutHash => hash::decode_put(edit.change_as_put_hash().ok_or(EMPTY)?)?,
            fb::Change::SetFields => hash::decode_set(edit.change_as_set_fields().ok_or(EMPTY)?)?,
            fb::Change::RemoveFields => hash::decode_remove(edit.change_as_remove_fields().ok_or(EMPTY)?)?,
            fb::Change::PutSet => set::decode_put(edit.change_as_put_set().ok_or(EMPTY)?)?,
            fb::Change::AddMembers => set::decode_add(edit.change_as_add_members().ok_or(EMPTY)?)?,
            fb::Change::RemoveMembers => set::decode_remove(edit.change_as_remove_members().ok_or(EMPTY)?)?,
            fb::Change::PutSortedSet => sorted_set::decode_put(edit.change_as_put_sorted_set().ok_or(EMPTY)?)?,
            fb::Change::SetScores => sorted_set::decode_set(edit.change_as_set_scores().ok_or(EMPTY)?)?,
            fb::Change::RemoveScored => sorted_set::decode_remove(edit.change_as_remove_scored().ok_or(EMPTY)?)?,
            fb::Change::RemoveRanks => sorted_set::decode_ranks(edit.change_as_remove_ranks().ok_or(EMPTY)?),
            fb::Change::PutList => list::decode_put(edit.change_as_put_list().ok_or(EMPTY)?)?,
            fb::Change::PushElements => list::decode_push(edit.change_as_push_elements().ok_or(EMPTY)?)?,
            fb::Change::PopElements => list::decode_pop(edit.change_as_pop_elements().ok_or(EMPTY)?)?,
            fb::Change::SetElement => list::decode_set(edit.change_as_set_element().ok_or(EMPTY)?),
            fb::Change::InsertElement => list::decode_insert(edit.change_as_insert_element().ok_or(EMPTY)?),
            fb::Change::RemoveElements => list::decode_remove(edit.change_as_remove_elements().ok_or(EMPTY)?)?,
            fb::Change::SetExpiry => {
                let set = edit.change_as_set_expiry().ok_or(EMPTY)?;
                Self::SetExpiry(UnixMillis::option_from_raw(set.expire_at_ms()))
            }
            fb::Change::Delete => match edit.change_as_delete().ok_or(EMPTY)?.removal() {
                fb::Removal::Deleted => Self::Delete(Removal::Deleted),
                fb::Removal::Expired => Self::Delete(Removal::Expired),
                _ => return Err(UNKNOWN_REMOVAL),
            },
            fb::Change::PutExpiringHash => expiring::decode_put(edit.change_as_put_expiring_hash().ok_or(EMPTY)?)?,
            fb::Change::SetExpiringFields => expiring::decode_set(edit.change_as_set_expiring_fields().ok_or(EMPTY)?)?,
            fb::Change::SetFieldExpiry => expiring::decode_time(edit.change_as_set_field_expiry().ok_or(EMPTY)?)?,
            fb::Change::Move => {
                let to = edit.change_as_move().ok_or(EMPTY)?;
                let to_db = Db::new(u64::from(to.to_db())).ok_or(EditError::Meaningless("an unknown database"))?;
                Self::Move { to_db, to_key: Cow::Borrowed(to.to_key().bytes()) }
            }
            fb::Change::PutStream => stream::decode_put(edit.change_as_put_stream().ok_or(EMPTY)?)?,
            _ => return stream::decode(edit).map(Self::Stream),
        })
    }
}

/// Encoded edits, one after the other as in a frame's body. Cleared and reused, it seldom allocates.
#[derive(Default)]
pub struct EncodedEdits {
    builder: FlatBufferBuilder<'static>,
    bytes: Vec<u8>,
    count: u32,
}

impl EncodedEdits {
    /// Makes an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all edits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Number of edits.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The encoded edits, for use as a frame's body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Encodes an edit and appends it. `partition` must be the partition of the edit's slot.
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

const UNKNOWN_REMOVAL: EditError = EditError::Meaningless("an unknown removal");

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
        Change::RemoveFields(fields) => hash::build_remove(b, fields, fb::Removal::Deleted),
        Change::ExpireFields(fields) => hash::build_remove(b, fields, fb::Removal::Expired),
        Change::PutExpiringHash { fields, expire_at } => expiring::build_put(b, fields, *expire_at),
        Change::SetExpiringFields(fields) => expiring::build_set(b, fields),
        Change::SetFieldExpiry { fields, expire_at } => expiring::build_time(b, fields, *expire_at),
        Change::PutSet { members, expire_at } => set::build_put(b, members, *expire_at),
        Change::AddMembers(members) => set::build_add(b, members),
        Change::RemoveMembers(members) => set::build_remove(b, members),
        Change::PutSortedSet { members, expire_at } => sorted_set::build_put(b, members, *expire_at),
        Change::SetScores(members) => sorted_set::build_set(b, members),
        Change::RemoveScored(members) => sorted_set::build_remove(b, members),
        Change::RemoveRanks { first, count } => sorted_set::build_ranks(b, *first, *count),
        Change::PutList { elements, expire_at } => list::build_put(b, elements, *expire_at),
        Change::PushElements { end, elements } => list::build_push(b, *end, elements),
        Change::PopElements { end, count } => list::build_pop(b, *end, *count),
        Change::SetElement { index, value } => list::build_set(b, *index, value),
        Change::InsertElement { index, value } => list::build_insert(b, *index, value),
        Change::RemoveElements(ranges) => list::build_remove(b, ranges),
        Change::PutStream { stream, expire_at } => stream::build_put(b, stream, *expire_at),
        Change::Stream(change) => stream::build(b, change),
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
        Change::Move { to_db, to_key } => {
            let to_key = Some(b.create_vector::<u8>(to_key));
            (fb::Change::Move, fb::Move::create(b, &fb::MoveArgs { to_db: to_db.0, to_key }).as_union_value())
        }
    }
}

#[cfg(test)]
mod tests;
