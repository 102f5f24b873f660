//! RDB files, item by item.
//!
//! | bytes | what |
//! |---|---|
//! | 5 or 6, 4 or 3 | `REDIS` or `VALKEY`, and the version of the format in digits: 9 bytes together |
//! | … | items, each after the byte of what it is |
//! | 1 | 255: the end |
//! | 8 | checksum of everything before; 0 if the writer made none; missing in versions before 5 |
//!
//! | first byte | item |
//! |---|---|
//! | 244 | numbers of a slot's keys: 3 numbers |
//! | 245 | a library of functions: a string |
//! | 247 | what a module stores beside the keys |
//! | 248, 249 | how long the next key was not used: a number; how often it was: 1 byte |
//! | 250 | what the writer tells of itself: name and value, 2 strings |
//! | 251 | how many keys there are, and how many that expire: 2 numbers |
//! | 252, 253 | when the next key expires: milliseconds, 8 bytes; seconds, 4 bytes |
//! | 254 | the database of the keys that follow: a number |
//! | a type | a key: its name, a string, and its value |
//!
//! The reader holds no bytes and does no I/O: the caller shows it what has been read of the file so far.

use std::borrow::Cow;

use super::input::Input;
use super::measure::{measure, module_name, skip_module};
use super::{CHECKSUM, Limits, ModuleName, RdbError, is_known, types};
use crate::time::UnixMillis;

/// What stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'b> {
    /// What the writer tells of itself.
    Note {
        /// What it tells: `redis-ver`, `used-mem` …
        name: Cow<'b, [u8]>,
        /// The value.
        value: Cow<'b, [u8]>,
    },
    /// A key.
    Key(Key<'b>),
    /// A key whose value is of a type that a module defines.
    ModuleKey {
        /// Name of the key.
        key: Cow<'b, [u8]>,
        /// Name of the module's type.
        module: ModuleName,
    },
    /// What a module stores beside the keys.
    ModuleData(ModuleName),
    /// A library of functions: its source.
    Functions(Cow<'b, [u8]>),
    /// The end of the file. The checksum was right, if there is one.
    End,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'b> {
    /// Number of the key's database.
    pub db: u64,
    /// Name of the key.
    pub key: Cow<'b, [u8]>,
    /// Time at which the key expires, if any.
    pub expire_at: Option<UnixMillis>,
    /// Type of the value, see [`types`].
    pub kind: u8,
    /// The value behind the byte of its type: not decoded, not checked except for its length.
    pub value: &'b [u8],
}

/// Reader of one file.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    /// Version of the file; 0 before the header has been read.
    version: u16,
    db: u64,
    expire_at: Option<UnixMillis>,
    digest: Digest,
}

struct Digest(crc::Digest<'static, u64, crc::Table<16>>);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

/// Size of the header, in bytes.
const HEADER: usize = 9;
/// First version of the format that ends with a checksum.
const CHECKSUMS: u16 = 5;

const SLOT: u8 = 244;
const FUNCTIONS: u8 = 245;
const MODULE_DATA: u8 = 247;
const IDLE: u8 = 248;
const FREQUENCY: u8 = 249;
const NOTE: u8 = 250;
const SIZES: u8 = 251;
const EXPIRES_MILLIS: u8 = 252;
const EXPIRES_SECONDS: u8 = 253;
const DATABASE: u8 = 254;
const END: u8 = 255;

impl Reader {
    /// Makes a reader for the beginning of a file. Names and notes must be within the limits; values are not decoded.
    pub fn new(limits: Limits) -> Self {
        Self { limits, version: 0, db: 0, expire_at: None, digest: Digest(CHECKSUM.digest()) }
    }

    /// Version of the file; 0 before its header has been read.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Reads up to the next item that is of interest. `bytes` is what follows what was read before. Returns the item
    /// and the number of bytes that are read now; the reader does not want to see them again. No item: call again with
    /// the rest.
    ///
    /// # Errors
    ///
    /// [`RdbError::Truncated`] if `bytes` ends within an item: call again with the same bytes and more of them, if the
    /// file has more. Any other error is one of the file.
    pub fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<(Option<Item<'b>>, usize), RdbError> {
        if self.version == 0 {
            self.version = header(bytes)?;
            self.digest.0.update(&bytes[..HEADER]);
            return Ok((None, HEADER));
        }
        let mut input = Input::new(bytes, self.limits);
        let item = self.item(&mut input, bytes)?;
        let read = bytes.len() - input.left();
        if item != Some(Item::End) {
            self.digest.0.update(&bytes[..read]);
        }
        Ok((item, read))
    }

    fn item<'b>(&mut self, input: &mut Input<'b>, bytes: &'b [u8]) -> Result<Option<Item<'b>>, RdbError> {
        let first = input.byte()?;
        match first {
            NOTE => {
                let (name, value) = (name(input)?, name(input)?);
                return Ok(Some(Item::Note { name, value }));
            }
            DATABASE => self.db = input.number()?,
            SIZES => (0..2).try_for_each(|_| input.number().map(drop))?,
            SLOT => (0..3).try_for_each(|_| input.number().map(drop))?,
            EXPIRES_SECONDS => {
                let seconds = u32::from_le_bytes(input.array()?);
                self.expire_at = UnixMillis::option_from_raw(u64::from(seconds) * 1000);
            }
            EXPIRES_MILLIS => {
                let millis = u64::try_from(input.millis()?).map_err(|_| RdbError::Malformed("a time before 1970"))?;
                self.expire_at = UnixMillis::option_from_raw(millis);
            }
            IDLE => drop(input.number()?),
            FREQUENCY => drop(input.byte()?),
            FUNCTIONS => return name(input).map(|source| Some(Item::Functions(source))),
            MODULE_DATA => {
                let module = module_name(&bytes[1..])?;
                // The module's id and when it is to be loaded: a mark and a number.
                (0..3).try_for_each(|_| input.number().map(drop))?;
                skip_module(input)?;
                return Ok(Some(Item::ModuleData(module)));
            }
            END => return self.end(input, bytes).map(Some),
            kind => return self.key(kind, input, bytes).map(Some),
        }
        Ok(None)
    }

    fn key<'b>(&mut self, kind: u8, input: &mut Input<'b>, bytes: &'b [u8]) -> Result<Item<'b>, RdbError> {
        let key = name(input)?;
        let rest = &bytes[bytes.len() - input.left()..];
        let value = input.take(measure(kind, rest, self.version)? as u64)?;
        let expire_at = self.expire_at.take();
        if kind == types::MODULE_2 {
            return Ok(Item::ModuleKey { key, module: module_name(value)? });
        }
        Ok(Item::Key(Key { db: self.db, key, expire_at, kind, value }))
    }

    fn end<'b>(&mut self, input: &mut Input<'b>, bytes: &'b [u8]) -> Result<Item<'b>, RdbError> {
        if self.version < CHECKSUMS {
            return Ok(Item::End);
        }
        let stored = u64::from_le_bytes(input.array()?);
        let mut digest = self.digest.0.clone();
        digest.update(&bytes[..1]);
        if stored == 0 || stored == digest.finalize() { Ok(Item::End) } else { Err(RdbError::Checksum) }
    }
}

/// Version of a file that begins with these bytes.
fn header(bytes: &[u8]) -> Result<u16, RdbError> {
    let header = bytes.first_chunk::<HEADER>().ok_or(RdbError::Truncated)?;
    let digits = header.strip_prefix(b"REDIS").or(header.strip_prefix(b"VALKEY"));
    let digits = digits.and_then(|digits| str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    match digits.ok_or(RdbError::Malformed("not an RDB file"))? {
        version if is_known(version) => Ok(version),
        version => Err(RdbError::UnknownVersion(version)),
    }
}

/// A name, or another string that is not a value, within the limits.
fn name<'b>(input: &mut Input<'b>) -> Result<Cow<'b, [u8]>, RdbError> {
    let name = input.string()?;
    input.spend(name.len())?;
    Ok(name)
}
