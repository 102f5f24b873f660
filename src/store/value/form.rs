//! Forms in which values are stored: as bytes of some [`Kind`] inside their record, or as a [`Structure`] outside it.
//!
//! A record is made from a `Kind` and bytes, or from a `Structure`, so it never has a form that is not listed here.

use super::elements::{ElementTable, Packs};
use super::hash::expiring::table::{Due, ExpiringTable};
use super::list::chunks::Chunks;
use super::sorted_set::members::{Members, Place};
use super::stream::EventStream;
use crate::store::memory::allocated;
use crate::store::table::Table;
use crate::store::tree::Leaves;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Meaning of the bytes of a value that is stored inside its record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(in crate::store) enum Kind {
            $($(#[$doc])* $name),+
        }

        impl Kind {
            /// Every kind, indexed by its number.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

kinds! {
    /// A string. It comes first, because a record's head marks it with a bit of its own.
    String,
    /// A small hash in the layout of `value::packed`.
    PackedHash,
    /// A small set of integers in the layout of `value::set::integers`.
    IntegerSet,
    /// A small set in the layout of `value::packed`.
    PackedSet,
    /// A small sorted set in the layout of `value::sorted_set::packed`.
    PackedSortedSet,
    /// A small list in the layout of `value::list::packed`.
    PackedList,
    /// A small hash some of whose fields expire, in the layout of `value::hash::expiring::packed`.
    PackedExpiringHash,
}

/// Form of a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Form {
    /// Bytes of this kind, inside the record.
    Bytes(Kind),
    /// Address of a [`Structure`].
    Structure,
}

/// A value too large to be rewritten as bytes with each change. It lives in a box that its record owns.
pub(in crate::store) enum Structure {
    /// A hash as a table of fields.
    Hash(ElementTable),
    /// A hash some of whose fields expire, as a table of fields and a tree of their times.
    ExpiringHash(Box<ExpiringTable>),
    /// A set as a table of members.
    Set(ElementTable),
    /// A sorted set as a table and a tree.
    SortedSet(Members),
    /// A list in chunks.
    List(Chunks),
    /// A stream, or what was cut off one.
    Stream(Box<EventStream>),
}

/// What is left of a structure that no key holds any more, to be freed part by part.
pub(in crate::store) enum Remains {
    /// Records in a table.
    Table(Table),
    /// Elements of a hash or set in packs.
    Elements(Packs),
    /// Places of a sorted set's members in a tree.
    Places(Leaves<Place>),
    /// Times of a hash's fields in a tree.
    Times(Leaves<Due>),
    /// Chunks of a list.
    Chunks(Chunks),
    /// A stream.
    Stream(Box<EventStream>),
}

/// A value in its stored form, borrowed from its record.
#[derive(Clone, Copy)]
pub(in crate::store) enum Stored<'a> {
    /// Bytes of this kind.
    Bytes(Kind, &'a [u8]),
    /// A structure.
    Structure(&'a Structure),
}

impl Structure {
    /// Bytes of memory that the box itself takes.
    const BOX: usize = allocated(size_of::<Self>());

    /// Bytes of memory that the structure takes.
    #[inline]
    pub fn memory(&self) -> usize {
        Self::BOX
            + match self {
                Self::Hash(elements) | Self::Set(elements) => elements.memory(),
                Self::ExpiringHash(fields) => fields.memory(),
                Self::SortedSet(members) => members.memory(),
                Self::List(chunks) => chunks.memory(),
                Self::Stream(stream) => stream.memory(),
            }
    }

    /// Number of parts, each of which takes about the same time to free.
    pub fn len(&self) -> usize {
        match self {
            Self::Hash(elements) | Self::Set(elements) => elements.len(),
            Self::ExpiringHash(fields) => fields.len(),
            Self::SortedSet(members) => members.len(),
            Self::List(chunks) => chunks.chunks(),
            Self::Stream(stream) => stream.parts(),
        }
    }

    /// Takes the structure apart, so that it can be freed in slices. Returns the bytes of memory freed immediately, and
    /// appends what remains to `remains`.
    pub fn dismantle(self, remains: &mut Vec<Remains>) -> usize {
        match self {
            Self::Hash(elements) | Self::Set(elements) => remains.push(Remains::Elements(elements.into_packs())),
            Self::ExpiringHash(fields) => {
                let (packs, times) = fields.into_parts();
                remains.extend([Remains::Elements(packs), Remains::Times(times)]);
                return Self::BOX + ExpiringTable::BOX;
            }
            Self::SortedSet(members) => {
                let (table, places) = members.into_parts();
                remains.extend([Remains::Table(table), Remains::Places(places)]);
            }
            Self::List(chunks) => remains.push(Remains::Chunks(chunks)),
            Self::Stream(stream) => remains.push(Remains::Stream(stream)),
        }
        Self::BOX
    }
}
