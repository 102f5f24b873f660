//! A key with all its content, as it stands in a snapshot's section.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | database, 4 bits; kind, 3 bits (0 string, 1 hash); whether it expires, 1 bit |
//! | 8 or 0 | when it expires, if it does: milliseconds since the Unix epoch |
//! | 4 | length of the key |
//! | 4 | length of the string; number of fields of the hash |
//! | … | the key |
//! | … | the string's bytes; the hash's fields behind each other |
//!
//! A field is its name's length (4), its value's length (4), its name, its value. All numbers are little-endian. Entries follow each
//! other without gaps; a hash has at least one field.

use super::edit::UnixMillis;
use crate::ids::Db;

const STRING: u8 = 0;
const HASH: u8 = 1;
const KIND_SHIFT: u32 = 4;
const EXPIRES: u8 = 0x80;

/// A key with all its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The database of the key.
    pub db: Db,
    /// The key.
    pub key: &'a [u8],
    /// When it expires.
    pub expire_at: Option<UnixMillis>,
    /// What it holds.
    pub value: EntryValue<'a>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryValue<'a> {
    /// A string.
    String(&'a [u8]),
    /// A hash.
    Hash(EntryFields<'a>),
}

/// The fields of a hash, each named once; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFields<'a> {
    bytes: &'a [u8],
    len: usize,
}

/// Bytes that are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed entry: {0}")]
pub struct EntryError(&'static str);

/// Appends a key that holds a string.
///
/// # Panics
/// If key or value has 4 GiB or more, which the limits on requests rule out.
pub fn write_string(out: &mut Vec<u8>, db: Db, key: &[u8], expire_at: Option<UnixMillis>, value: &[u8]) {
    begin_string(out, db, key, expire_at, value.len());
    out.extend_from_slice(value);
}

/// Appends the beginning of a key that holds a string of `len` bytes: these are to follow.
///
/// # Panics
/// As [`write_string`].
pub fn begin_string(out: &mut Vec<u8>, db: Db, key: &[u8], expire_at: Option<UnixMillis>, len: usize) {
    head(out, db, STRING, key, expire_at, len);
}

/// Appends a key that holds a hash; `fields` calls the function that it is given with every name and value.
///
/// # Panics
/// If key, name or value has 4 GiB or more, which the limits on requests rule out, or if there are as many fields.
pub fn write_hash(
    out: &mut Vec<u8>,
    db: Db,
    key: &[u8],
    expire_at: Option<UnixMillis>,
    fields: impl FnOnce(&mut dyn FnMut(&[u8], &[u8])),
) {
    begin_hash(out, db, key, expire_at, 0);
    let start = out.len();
    let mut count = 0;
    fields(&mut |name, value| {
        count += 1;
        write_field(out, name, value);
    });
    let count = length(count);
    let place = start - key.len() - count.len();
    out[place..place + count.len()].copy_from_slice(&count);
}

/// Appends the beginning of a key that holds a hash of `count` fields: these are to follow.
///
/// # Panics
/// As [`write_hash`].
pub fn begin_hash(out: &mut Vec<u8>, db: Db, key: &[u8], expire_at: Option<UnixMillis>, count: usize) {
    head(out, db, HASH, key, expire_at, count);
}

/// Appends a field of the hash that was begun.
///
/// # Panics
/// As [`write_hash`].
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(&length(name.len()));
    out.extend_from_slice(&length(value.len()));
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

fn head(out: &mut Vec<u8>, db: Db, kind: u8, key: &[u8], expire_at: Option<UnixMillis>, value: usize) {
    let expires = if expire_at.is_some() { EXPIRES } else { 0 };
    out.push(db.0 | kind << KIND_SHIFT | expires);
    if let Some(at) = expire_at {
        out.extend_from_slice(&at.get().to_le_bytes());
    }
    out.extend_from_slice(&length(key.len()));
    out.extend_from_slice(&length(value));
    out.extend_from_slice(key);
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).expect("keys and values are far shorter than 4 GiB").to_le_bytes()
}

impl<'a> Entry<'a> {
    /// Takes the first entry off `bytes`.
    ///
    /// # Errors
    /// If they do not begin with an entry that this version knows. Nothing is read or reserved beyond `bytes`, whatever they say.
    #[inline]
    pub fn read(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let rest = &mut *bytes;
        let [flags] = take(rest)?;
        let expire_at = if flags & EXPIRES == 0 {
            None
        } else {
            let raw = u64::from_le_bytes(take(rest)?);
            Some(UnixMillis::option_from_raw(raw).ok_or(EntryError("an expiry of 0"))?)
        };
        let (key_len, value_len) = (u32::from_le_bytes(take(rest)?), u32::from_le_bytes(take(rest)?));
        let key = take_slice(rest, key_len)?;
        let value = match (flags & !EXPIRES) >> KIND_SHIFT {
            STRING => EntryValue::String(take_slice(rest, value_len)?),
            HASH => EntryValue::Hash(EntryFields::take(rest, value_len)?),
            _ => return Err(EntryError("an unknown kind")),
        };
        Ok(Self { db: Db(flags & 0xf), key, expire_at, value })
    }
}

impl<'a> EntryFields<'a> {
    fn take(rest: &mut &'a [u8], count: u32) -> Result<Self, EntryError> {
        let all = *rest;
        if count == 0 {
            return Err(EntryError("a hash without fields"));
        }
        for _ in 0..count {
            field(rest)?;
        }
        Ok(Self { bytes: &all[..all.len() - rest.len()], len: count as usize })
    }

    /// Their number.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || field(&mut rest).ok())
    }
}

#[inline]
fn field<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), EntryError> {
    let (name_len, value_len) = (u32::from_le_bytes(take(rest)?), u32::from_le_bytes(take(rest)?));
    Ok((take_slice(rest, name_len)?, take_slice(rest, value_len)?))
}

#[inline]
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], EntryError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(EntryError("cut short"))?;
    *rest = after;
    Ok(*taken)
}

#[inline]
fn take_slice<'a>(rest: &mut &'a [u8], len: u32) -> Result<&'a [u8], EntryError> {
    let (taken, after) = rest.split_at_checked(len as usize).ok_or(EntryError("cut short"))?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<u8> {
        let at = Some(UnixMillis::new(1_700_000_000_123));
        let mut out = Vec::new();
        write_string(&mut out, Db(0), b"key", None, b"value");
        write_string(&mut out, Db(15), b"", at, b"");
        write_hash(&mut out, Db(3), b"hash", at, |field| {
            field(b"size", b"4096");
            field(b"", b"");
        });
        out
    }

    fn read_all(mut bytes: &[u8]) -> Result<Vec<Entry<'_>>, EntryError> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            entries.push(Entry::read(&mut bytes)?);
        }
        Ok(entries)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = samples();
        let entries = read_all(&bytes).unwrap();
        let at = Some(UnixMillis::new(1_700_000_000_123));
        let string = |value| EntryValue::String(value);
        assert_eq!(entries[0], Entry { db: Db(0), key: b"key", expire_at: None, value: string(b"value") });
        assert_eq!(entries[1], Entry { db: Db(15), key: b"", expire_at: at, value: string(b"") });
        let EntryValue::Hash(fields) = entries[2].value else { panic!("not a hash") };
        assert_eq!((entries[2].db, entries[2].key, entries[2].expire_at), (Db(3), &b"hash"[..], at));
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"size"[..], &b"4096"[..]), (b"", b"")]);
        assert_eq!((fields.len(), entries.len()), (2, 3));
    }

    #[test]
    fn bytes_cut_short_are_refused_and_damaged_ones_never_a_panic() {
        let bytes = samples();
        let ends: Vec<usize> = {
            let mut rest = &bytes[..];
            std::iter::from_fn(|| (!rest.is_empty()).then(|| Entry::read(&mut rest).map(|_| bytes.len() - rest.len())))
                .collect::<Result<_, _>>()
                .unwrap()
        };
        for at in 0..bytes.len() {
            assert_eq!(read_all(&bytes[..at]).is_ok(), at == 0 || ends.contains(&at));
            for flip in [1, 0x10, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                for entry in read_all(&damaged).unwrap_or_default() {
                    if let EntryValue::Hash(fields) = entry.value {
                        assert_eq!(fields.iter().count(), fields.len());
                    }
                }
            }
        }
    }
}
