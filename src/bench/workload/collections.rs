//! Workloads on hashes, sets, sorted sets, lists and streams: one command each, in many small collections or, with the
//! suffix `-large`, in one that holds every record.
//!
//! Commands that add an element add a new one nearly every time; commands that read ask for elements that were loaded.

use super::super::distribution::Distribution;
use super::super::request::{self, DIGITS, digits};
use super::{About, Issued, Sheet, Stream, Tools};

/// Number of records in each small collection after loading.
const SMALL: u64 = 16;

/// Elements that commands on ranges ask for.
const RANGE: u64 = 10;

/// Bound on where ranges of a list begin.
const NEAR: u64 = 100;

/// Type of the collections of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Hash,
    Set,
    SortedSet,
    List,
    Stream,
}

/// The command that a workload measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measured {
    Hset,
    Hget,
    Hsetex,
    Sadd,
    Sismember,
    Zadd,
    Zrange,
    Zrank,
    Lpush,
    Lrange,
    Xadd,
    Xread,
}

/// A workload on collections.
#[derive(Clone, Copy, Debug)]
struct Row {
    of: Type,
    measured: Measured,
    large: bool,
    about: About,
}

macro_rules! rows {
    ($($name:literal, $large:literal, $of:ident, $measured:ident, $text:literal;)*) => {
        &[$(
            row(Type::$of, Measured::$measured, false, $name, concat!($text, " in small collections.")),
            row(Type::$of, Measured::$measured, true, $large, concat!($text, " in one large collection.")),
        )*]
    };
}

const fn row(of: Type, measured: Measured, large: bool, name: &'static str, text: &'static str) -> Row {
    let about = About { name, text, operations: &["call"], distribution: Distribution::Uniform, verifiable: false };
    Row { of, measured, large, about }
}

static ALL: &[Row] = rows! {
    "hset", "hset-large", Hash, Hset, "HSET of a new field";
    "hget", "hget-large", Hash, Hget, "HGET of a field";
    "hsetex", "hsetex-large", Hash, Hsetex, "HSETEX of a new field that expires in an hour";
    "sadd", "sadd-large", Set, Sadd, "SADD of a new member";
    "sismember", "sismember-large", Set, Sismember, "SISMEMBER of a member";
    "zadd", "zadd-large", SortedSet, Zadd, "ZADD of a new member";
    "zrange", "zrange-large", SortedSet, Zrange, "ZRANGE of 10 members";
    "zrank", "zrank-large", SortedSet, Zrank, "ZRANK of a member";
    "lpush", "lpush-large", List, Lpush, "LPUSH of an element";
    "lrange", "lrange-large", List, Lrange, "LRANGE of 10 elements";
    "xadd", "xadd-large", Stream, Xadd, "XADD of an entry of one field";
    "xread", "xread-large", Stream, Xread, "XREAD of 10 entries";
};

/// Descriptions of these workloads.
pub fn all() -> impl Iterator<Item = About> {
    ALL.iter().map(|row| row.about)
}

/// A workload on collections.
#[derive(Debug)]
pub struct Collections(Row);

impl Collections {
    /// Makes the workload of this name, if it exists.
    pub fn new(name: &str) -> Option<Self> {
        ALL.iter().find(|row| row.about.name == name).map(|row| Self(*row))
    }

    /// Name of the collection that holds a record.
    fn key(&self, record: u64) -> [u8; KEY] {
        let mut key = *match self.0.of {
            Type::Hash => b"hash:000000000000",
            Type::Set => b"set::000000000000",
            Type::SortedSet => b"zset:000000000000",
            Type::List => b"list:000000000000",
            Type::Stream => b"strm:000000000000",
        };
        let number = if self.0.large { 0 } else { record / SMALL };
        key[KEY - DIGITS..].copy_from_slice(&digits(number));
        key
    }

    /// Writes the next request.
    pub(super) fn next(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let record = tools.choose(stream);
        let (key, known) = (self.key(record), element(record));
        // Far more numbers than records, so that an element is seldom there already.
        let new = element(stream.random.u64(request::KEYS_MAX / 2..request::KEYS_MAX));
        let out = &mut *sheet.out;
        let size = if self.0.large { tools.keys } else { SMALL };
        // Where a range begins: anywhere in a sorted set, near the front of a list, which is walked from there.
        let size = if self.0.of == Type::List { size.min(NEAR) } else { size };
        let first = stream.random.u64(..size.saturating_sub(RANGE).max(1));
        let (mut from, mut to) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (from, to) = (from.format(first).as_bytes(), to.format(first + RANGE - 1).as_bytes());
        match self.0.measured {
            Measured::Hset | Measured::Sadd | Measured::Zadd | Measured::Lpush | Measured::Xadd => {
                self.add(tools, stream, out, &key, &new);
            }
            Measured::Hget => request::request(out, &[b"HGET", &key, &known]),
            Measured::Hsetex => {
                request::begin(out, &[b"HSETEX", &key, b"EX", b"3600", b"FIELDS", b"1", &new], 1);
                tools.values.write(out, &mut stream.random);
            }
            Measured::Sismember => request::request(out, &[b"SISMEMBER", &key, &known]),
            Measured::Zrange => request::request(out, &[b"ZRANGE", &key, from, to]),
            Measured::Zrank => request::request(out, &[b"ZRANK", &key, &known]),
            Measured::Lrange => request::request(out, &[b"LRANGE", &key, from, to]),
            Measured::Xread => {
                // Before the first entry, whose id is the time at which it was added.
                let after = [b"0-", from].concat();
                request::request(out, &[b"XREAD", b"COUNT", b"10", b"STREAMS", &key, &after]);
            }
        }
        Issued::one(0)
    }

    /// Writes the request that loads a record.
    pub(super) fn load(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>, record: u64) -> Issued {
        self.add(tools, stream, sheet.out, &self.key(record), &element(record));
        Issued::one(0)
    }

    /// Writes the request that adds an element to a collection.
    fn add(&self, tools: &Tools, stream: &mut Stream, out: &mut Vec<u8>, key: &[u8; KEY], element: &[u8; ELEMENT]) {
        match self.0.of {
            Type::Hash => {
                request::begin(out, &[b"HSET", key, element], 1);
                tools.values.write(out, &mut stream.random);
            }
            Type::Set => request::request(out, &[b"SADD", key, element]),
            Type::SortedSet => {
                let mut score = itoa::Buffer::new();
                let score = score.format(stream.random.u32(..1_000_000_000));
                request::request(out, &[b"ZADD", key, score.as_bytes(), element]);
            }
            Type::List => request::request(out, &[b"LPUSH", key, element]),
            Type::Stream => {
                request::begin(out, &[b"XADD", key, b"*", b"field"], 1);
                tools.values.write(out, &mut stream.random);
            }
        }
    }
}

/// Length of a collection's name.
const KEY: usize = 5 + DIGITS;
/// Length of an element's name: 16 bytes, as for keys.
const ELEMENT: usize = 4 + DIGITS;

fn element(number: u64) -> [u8; ELEMENT] {
    let mut element = *b"elt:000000000000";
    element[ELEMENT - DIGITS..].copy_from_slice(&digits(number));
    element
}
