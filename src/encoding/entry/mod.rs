//! Snapshot entries: one key with all its content, as stored in a snapshot's section.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | layout of the payload: 0 a string, 1 a hash, 2 a set, 3 a sorted set, 4 a list, 5 a stream, 6 a hash some of whose fields expire |
//! | 1 | database, 4 bits; 3 zeros; whether the key expires, 1 bit |
//! | 4 | length of the key |
//! | 8 | length of the payload |
//! | 8 or 0 | when the key expires, if it does: milliseconds since the Unix epoch |
//! | … | the key |
//! | … | the payload: a string's bytes; for other types see the file of the type |
//!
//! All numbers are little-endian. Entries follow each other without gaps. The payload length lets a reader skip an
//! entry without understanding it. A change of a type's payload takes a new layout number, as expiries of fields did,
//! so that existing snapshots never change their meaning. A large value may be written in slices with edits in between:
//! lengths and numbers are those of the value when its entry was begun, and so is all the content.

mod expiring;
mod hash;
mod list;
mod set;
mod sorted_set;
mod stream;

pub use expiring::{EntryExpiringFields, ExpiringField, begin_expiring_hash, write_expiring_field};
pub use hash::{EntryFields, begin_hash, write_field};
pub use list::{EntryElements, begin_list, write_element};
pub use set::{EntryMembers, begin_set, write_member};
pub use sorted_set::{EntryScored, begin_sorted_set, write_scored};
pub use stream::{
    CONSUMER_BYTES, EVENT_MARK_BYTES, EntryConsumer, EntryGroup, EntryPending, EntryStream, GROUP_BYTES, PENDING_BYTES,
    SUMMARY_BYTES, StreamPart, Summary, begin_stream, write_consumer, write_group, write_pending, write_stream_event,
    write_summary,
};

use crate::ids::Db;
use crate::time::UnixMillis;

const STRING: u8 = 0;
const HASH: u8 = 1;
const SET: u8 = 2;
const SORTED_SET: u8 = 3;
const LIST: u8 = 4;
const STREAM: u8 = 5;
const EXPIRING_HASH: u8 = 6;
const DATABASE: u8 = 0x0f;
const EXPIRES: u8 = 0x80;

/// The part of an entry that is the same for all types: everything but the value.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The database of the key.
    pub db: Db,
    /// Name of the key.
    pub key: &'a [u8],
    /// Time at which the key expires, if any.
    pub expire_at: Option<UnixMillis>,
}

/// One key with all its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The database of the key.
    pub db: Db,
    /// Name of the key.
    pub key: &'a [u8],
    /// Time at which the key expires, if any.
    pub expire_at: Option<UnixMillis>,
    /// Value of the key.
    pub value: EntryValue<'a>,
}

/// Value in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryValue<'a> {
    /// A string.
    String(&'a [u8]),
    /// A hash none of whose fields expires.
    Hash(EntryFields<'a>),
    /// A hash some of whose fields expire.
    ExpiringHash(EntryExpiringFields<'a>),
    /// A set.
    Set(EntryMembers<'a>),
    /// A sorted set.
    SortedSet(EntryScored<'a>),
    /// A list.
    List(EntryElements<'a>),
    /// A stream.
    Stream(EntryStream<'a>),
}

/// Error for bytes that are not a valid entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed entry: {0}")]
pub struct EntryError(&'static str);

/// Appends the entry of a key that holds a string.
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out.
pub fn write_string(out: &mut Vec<u8>, head: Head<'_>, value: &[u8]) {
    begin_string(out, head, value.len());
    out.extend_from_slice(value);
}

/// Appends the beginning of the entry of a key that holds a string of `len` bytes. The caller must append the bytes.
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out.
pub fn begin_string(out: &mut Vec<u8>, head: Head<'_>, len: usize) {
    begin(out, head, STRING, len);
}

/// Appends an entry up to its payload; the caller must append the payload.
fn begin(out: &mut Vec<u8>, head: Head<'_>, layout: u8, payload: usize) {
    let Head { db, key, expire_at } = head;
    out.push(layout);
    out.push(db.0 | if expire_at.is_some() { EXPIRES } else { 0 });
    out.extend_from_slice(&length(key.len()));
    out.extend_from_slice(&(payload as u64).to_le_bytes());
    if let Some(at) = expire_at {
        out.extend_from_slice(&at.get().to_le_bytes());
    }
    out.extend_from_slice(key);
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).expect("keys and values are far shorter than 4 GiB").to_le_bytes()
}

impl<'a> Entry<'a> {
    /// Reads the first entry of `bytes` and advances `bytes` past it.
    ///
    /// # Errors
    ///
    /// If `bytes` does not begin with an entry that this version knows. Whatever lengths the entry claims, nothing
    /// beyond `bytes` is read or allocated.
    #[inline]
    pub fn read(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let rest = &mut *bytes;
        let [layout, flags] = take(rest)?;
        if flags & !(DATABASE | EXPIRES) != 0 {
            return Err(EntryError("unknown flags"));
        }
        let (key_len, payload_len) = (u32::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
        let expire_at = if flags & EXPIRES == 0 {
            None
        } else {
            let raw = u64::from_le_bytes(take(rest)?);
            Some(UnixMillis::option_from_raw(raw).ok_or(EntryError("an expiry of 0"))?)
        };
        let (key, payload) = (take_slice(rest, key_len.into())?, take_slice(rest, payload_len)?);
        let value = match layout {
            STRING => EntryValue::String(payload),
            HASH => EntryValue::Hash(EntryFields::read(payload)?),
            SET => EntryValue::Set(EntryMembers::read(payload)?),
            SORTED_SET => EntryValue::SortedSet(EntryScored::read(payload)?),
            LIST => EntryValue::List(EntryElements::read(payload)?),
            STREAM => EntryValue::Stream(EntryStream::read(payload)?),
            EXPIRING_HASH => EntryValue::ExpiringHash(EntryExpiringFields::read(payload)?),
            _ => return Err(EntryError("an unknown layout")),
        };
        Ok(Self { db: Db(flags & DATABASE), key, expire_at, value })
    }
}

/// Reads parts that follow their number, as many as that says, up to the end of the payload; `part` reads one. Returns
/// the bytes of all parts, and how many there are. No parts are the error `none`.
fn counted<'a>(
    payload: &'a [u8],
    none: EntryError,
    mut part: impl FnMut(&mut &'a [u8]) -> Result<(), EntryError>,
) -> Result<(&'a [u8], usize), EntryError> {
    let mut bytes = payload;
    let count = u32::from_le_bytes(take(&mut bytes)?);
    if count == 0 {
        return Err(none);
    }
    let mut rest = bytes;
    for _ in 0..count {
        part(&mut rest)?;
    }
    if rest.is_empty() { Ok((bytes, count as usize)) } else { Err(EntryError("more parts than stated")) }
}

#[inline]
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], EntryError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(EntryError("cut short"))?;
    *rest = after;
    Ok(*taken)
}

#[inline]
fn take_slice<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], EntryError> {
    let len = usize::try_from(len).map_err(|_| EntryError("cut short"))?;
    let (taken, after) = rest.split_at_checked(len).ok_or(EntryError("cut short"))?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<u8> {
        let at = Some(UnixMillis::new(1_700_000_000_123));
        let mut out = Vec::new();
        write_string(&mut out, Head { db: Db(0), key: b"key", expire_at: None }, b"value");
        write_string(&mut out, Head { db: Db(15), key: b"", expire_at: at }, b"");
        begin_hash(&mut out, Head { db: Db(3), key: b"hash", expire_at: at }, 2, 8);
        write_field(&mut out, b"size", b"4096");
        write_field(&mut out, b"", b"");
        begin_set(&mut out, Head { db: Db(4), key: b"set", expire_at: at }, 3, 7);
        [&b"one"[..], b"", b"four"].into_iter().for_each(|member| write_member(&mut out, member));
        begin_sorted_set(&mut out, Head { db: Db(1), key: b"sorted", expire_at: None }, 2, 3);
        write_scored(&mut out, b"", f64::NEG_INFINITY);
        write_scored(&mut out, b"one", 1.5);
        begin_list(&mut out, Head { db: Db(2), key: b"list", expire_at: None }, 3, 9);
        [&b"first"[..], b"", b"last"].into_iter().for_each(|element| write_element(&mut out, element));
        begin_expiring_hash(&mut out, Head { db: Db(5), key: b"expiring", expire_at: at }, 2, 8);
        write_expiring_field(&mut out, (b"size", b"4096", at));
        write_expiring_field(&mut out, (b"", b"", None));
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
        let EntryValue::Set(members) = entries[3].value else { panic!("not a set") };
        assert_eq!((entries[3].db, entries[3].key, entries[3].expire_at), (Db(4), &b"set"[..], at));
        assert_eq!(members.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"four"]);
        let EntryValue::SortedSet(scored) = entries[4].value else { panic!("not a sorted set") };
        assert_eq!((entries[4].db, entries[4].key, entries[4].expire_at), (Db(1), &b"sorted"[..], None));
        assert_eq!(scored.iter().collect::<Vec<_>>(), [(&b""[..], f64::NEG_INFINITY), (b"one", 1.5)]);
        let EntryValue::List(elements) = entries[5].value else { panic!("not a list") };
        assert_eq!((entries[5].db, entries[5].key, entries[5].expire_at), (Db(2), &b"list"[..], None));
        assert_eq!(elements.iter().collect::<Vec<_>>(), [&b"first"[..], b"", b"last"]);
        let EntryValue::ExpiringHash(expiring) = entries[6].value else { panic!("not a hash with expiries") };
        assert_eq!((entries[6].db, entries[6].key, entries[6].expire_at), (Db(5), &b"expiring"[..], at));
        assert_eq!(expiring.iter().collect::<Vec<_>>(), [(&b"size"[..], &b"4096"[..], at), (b"", b"", None)]);
        assert_eq!((fields.len(), members.len(), scored.len(), expiring.len(), entries.len()), (2, 3, 2, 2, 7));
    }

    #[test]
    fn an_entry_holds_exactly_what_its_head_says() {
        let head = Head { db: Db(3), key: b"hash", expire_at: None };
        let hash = |count, content| {
            let mut out = Vec::new();
            begin_hash(&mut out, head, count, content);
            write_field(&mut out, b"size", b"4096");
            write_field(&mut out, b"owner", b"7");
            out
        };
        let good = hash(2, 14);
        assert_eq!(read_all(&good).unwrap().len(), 1);
        // A reader that trusts the length finds the next entry without reading the payload.
        let length = u64::from_le_bytes(good[6..14].try_into().unwrap());
        assert_eq!(good.len() as u64, 14 + 4 + length);
        for (count, content) in [(1, 14), (1, 22), (3, 14), (3, 6), (2, 13), (2, 15), (0, 30)] {
            assert!(read_all(&hash(count, content)).is_err(), "{count} fields, {content} bytes");
        }
        let expiring = |count, content| {
            let mut out = Vec::new();
            begin_expiring_hash(&mut out, head, count, content);
            write_expiring_field(&mut out, (b"size", b"4096", Some(UnixMillis::new(1))));
            write_expiring_field(&mut out, (b"owner", b"7", None));
            out
        };
        assert_eq!(read_all(&expiring(2, 14)).unwrap().len(), 1);
        for (count, content) in [(1, 14), (1, 30), (3, 14), (2, 13), (2, 15), (0, 46)] {
            assert!(read_all(&expiring(count, content)).is_err(), "{count} fields, {content} bytes");
        }
        let set = |count, content| {
            let mut out = Vec::new();
            begin_set(&mut out, head, count, content);
            write_member(&mut out, b"one");
            write_member(&mut out, b"three");
            out
        };
        assert_eq!(read_all(&set(2, 8)).unwrap().len(), 1);
        for (count, content) in [(1, 8), (1, 12), (3, 8), (3, 4), (2, 7), (2, 9), (0, 16)] {
            assert!(read_all(&set(count, content)).is_err(), "{count} members, {content} bytes");
        }
        let sorted_set = |count, content, score| {
            let mut out = Vec::new();
            begin_sorted_set(&mut out, head, count, content);
            write_scored(&mut out, b"one", score);
            out
        };
        assert_eq!(read_all(&sorted_set(1, 3, 0.5)).unwrap().len(), 1);
        for (count, content, score) in
            [(1, 2, 1.0), (1, 4, 1.0), (2, 3, 1.0), (0, 15, 1.0), (1, 3, f64::NAN), (1, 3, -0.0)]
        {
            assert!(read_all(&sorted_set(count, content, score)).is_err(), "{count} members, {content} bytes, {score}");
        }
        let list = |count, content| {
            let mut out = Vec::new();
            begin_list(&mut out, head, count, content);
            write_element(&mut out, b"first");
            write_element(&mut out, b"2nd");
            out
        };
        assert_eq!(read_all(&list(2, 8)).unwrap().len(), 1);
        for (count, content) in [(1, 8), (1, 12), (3, 8), (3, 4), (2, 7), (2, 9), (0, 16)] {
            assert!(read_all(&list(count, content)).is_err(), "{count} elements, {content} bytes");
        }
        for (at, bits) in [(0, 0x80), (1, 0x10), (1, 0x20), (1, 0x40)] {
            let mut strange = good.clone();
            strange[at] |= bits;
            assert!(read_all(&strange).is_err(), "an unknown layout or flag");
        }
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
                    match entry.value {
                        EntryValue::String(_) => {}
                        EntryValue::Hash(fields) => assert_eq!(fields.iter().count(), fields.len()),
                        EntryValue::ExpiringHash(fields) => assert_eq!(fields.iter().count(), fields.len()),
                        EntryValue::Set(members) => assert_eq!(members.iter().count(), members.len()),
                        EntryValue::SortedSet(members) => assert_eq!(members.iter().count(), members.len()),
                        EntryValue::List(elements) => assert_ne!(elements.iter().count(), 0),
                        EntryValue::Stream(stream) => {
                            assert_eq!(stream.groups().count(), stream.summary.groups as usize);
                        }
                    }
                }
            }
        }
    }
}
