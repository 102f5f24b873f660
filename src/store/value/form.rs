//! The forms in which values are stored: as bytes inside their record, of some [`Kind`], or as a [`Structure`] outside
//! of it.
//!
//! A record is made of a `Kind` and bytes, or of a `Structure`; so it never bears a form that is not listed here.

use super::hash::fields::FieldTable;
use crate::store::memory::allocated;
use crate::store::table::Table;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What the bytes of a value mean that is stored inside its record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(in crate::store) enum Kind {
            $($(#[$doc])* $name),+
        }

        impl Kind {
            /// Every kind, at the place that its number says.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

kinds! {
    /// A string. It is the first, because a record's head has a bit of its own for it.
    String,
    /// A small hash, as `value::hash::packed` lays it out.
    PackedHash,
}

/// What a record bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Form {
    /// Bytes of this kind.
    Bytes(Kind),
    /// The address of a [`Structure`].
    Structure,
}

/// A value too large for bytes that are rewritten with each change. It lives in a box that its record owns.
pub(in crate::store) enum Structure {
    /// The fields of a hash.
    Hash(FieldTable),
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
                Self::Hash(fields) => fields.memory(),
            }
    }

    /// Number of elements, each of which takes about as long to free as any other.
    pub fn len(&self) -> usize {
        match self {
            Self::Hash(fields) => fields.len(),
        }
    }

    /// Takes the structure apart, so that its records can be freed in slices. Returns how many bytes of memory that
    /// freed, and the table of records that is left.
    pub fn dismantle(self) -> (usize, Table) {
        match self {
            Self::Hash(fields) => (Self::BOX, fields.into_table()),
        }
    }
}
