//! Values in the format of Redis's RDB files, which is also that of DUMP and RESTORE.
//!
//! | file | content |
//! |---|---|
//! | `payload` | what DUMP replies and RESTORE takes: one value with a version and a checksum |
//! | `file` | an RDB file, item by item |
//! | `object`, `stream` | a value: read into an [`Object`], whichever of Redis's encodings it is in |
//! | `measure` | where a value ends, without decoding it |
//! | `input`, `lzf` | lengths, numbers and strings; compressed strings |
//! | `packed`, `listpack` | several elements in one string: ziplist, zipmap, intset; listpack |
//! | `write`, `write_stream` | values in the plain encodings, which every version of Redis reads; streams |
//! | `expiring` | hashes some of whose fields expire, in their plain encoding |
//!
//! A value begins with the byte of its type ([`types`]). Numbers are big-endian in lengths and little-endian elsewhere.
//!
//! | first byte of a length | length |
//! |---|---|
//! | `00……` | the other 6 bits |
//! | `01……` | the other 6 bits and the next byte |
//! | `0x80` | the next 4 bytes |
//! | `0x81` | the next 8 bytes |
//! | `11……` | none: a string follows that is a number of 1, 2 or 4 bytes (0, 1, 2), or compressed (3) |
//!
//! Nothing is allocated because a number says so: every count is compared with the bytes that are left, and what is
//! decoded is taken from a budget ([`Limits`]). A compressed or packed value may decode to many times its size.

pub mod expiring;
pub mod file;
mod input;
mod listpack;
mod lzf;
mod measure;
mod object;
mod packed;
pub mod payload;
mod stream;
#[cfg(test)]
mod tests;
pub mod write;
pub mod write_stream;

pub use measure::measure;
pub use object::{Object, read};

use std::fmt;

/// Types of values, as the first byte of a value states them. Many types of Redis have several encodings.
pub mod types {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set whose scores are texts.
    pub const ZSET: u8 = 3;
    /// A hash, field by field.
    pub const HASH: u8 = 4;
    /// A sorted set whose scores are binary.
    pub const ZSET_2: u8 = 5;
    /// A module's value of a version that was never released.
    pub const MODULE_PRE_GA: u8 = 6;
    /// A module's value.
    pub const MODULE_2: u8 = 7;
    /// A hash in a zipmap.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list in a ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set of integers in an intset.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set in a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A hash in a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list in several ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream, first version.
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A hash in a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set in a listpack.
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list in several listpacks, with large elements beside them.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream that knows how many events were added and deleted.
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// A set in a listpack.
    pub const SET_LISTPACK: u8 = 20;
    /// A stream that knows when its consumers were last active.
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// In Valkey ([`VALKEY`](super::VALKEY)): a hash whose fields may expire. In Redis: the same, before 7.4 was
    /// released.
    pub const HASH_2: u8 = 22;
    /// A hash in a listpack whose fields may expire, before Redis 7.4 was released.
    pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    /// A hash whose fields may expire.
    pub const HASH_METADATA: u8 = 24;
    /// A hash in a listpack whose fields may expire.
    pub const HASH_LISTPACK_EX: u8 = 25;
}

/// Highest version of Redis's format that is read: that of Redis 7.4 to 8.2.
pub const NEWEST: u16 = 12;
/// Version of the format that Valkey 9 writes where Redis's versions do not suffice.
pub const VALKEY: u16 = 80;

/// Whether values of this version of the format are read.
pub const fn is_known(version: u16) -> bool {
    matches!(version, 1..=NEWEST | VALKEY)
}

/// How much may be decoded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum length in bytes of a string, element, field or name.
    pub string: usize,
    /// Maximum size in bytes of a value's content, with some bytes for each element.
    pub value: usize,
}

/// Reason why bytes are not a value that this version reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// The bytes end too early.
    #[error("the value is cut short")]
    Truncated,
    /// The bytes contradict the format.
    #[error("malformed value: {0}")]
    Malformed(&'static str),
    /// A value without elements, which no key may hold.
    #[error("a value without elements")]
    Empty,
    /// A type that this version does not know.
    #[error("values of type {0} are not known")]
    UnknownType(u8),
    /// A value of a type that a module defines.
    #[error("a value of the module {0}")]
    Module(ModuleName),
    /// The value exceeds the [`Limits`].
    #[error("the value is larger than the limits allow")]
    TooLarge,
    /// The version of a file or payload that is not read.
    #[error("version {0} of the RDB format is not known")]
    UnknownVersion(u16),
    /// The checksum of a file or payload is wrong.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Name of a module's type: nine characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleName(u64);

impl ModuleName {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}

impl fmt::Display for ModuleName {
    /// The id has 6 bits for each character, the first one highest, and 10 bits for a version.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..9).rev().try_for_each(|place| {
            let character = Self::CHARACTERS[(self.0 >> (10 + 6 * place)) as usize & 63];
            fmt::Write::write_char(f, char::from(character))
        })
    }
}

static CHECKSUM: crc::Crc<u64, crc::Table<16>> = crc::Crc::<u64, crc::Table<16>>::new(&crc::CRC_64_REDIS);
