//! Values and files that real servers have written (`tests/compatibility/rdb_payloads.py` makes them anew), damaged
//! ones, and ones made here at random.

mod stream;

use super::file::{Item, Reader};
use super::payload::{Payload, seal};
use super::*;
use crate::encoding::edit::{Elements, Fields, Scored};
use crate::encoding::entry::{Summary, write_stream_event, write_summary};
use crate::encoding::event::EventId;
use crate::time::UnixMillis;

const LIMITS: Limits = Limits { string: 1 << 20, value: 1 << 22 };

/// A payload, with its title and what it contains.
struct Sample {
    title: &'static str,
    payload: Vec<u8>,
    content: &'static str,
}

impl Sample {
    /// The value without version and checksum.
    fn value(&self) -> &[u8] {
        &self.payload[..self.payload.len() - 10]
    }

    fn version(&self) -> u16 {
        u16::from_le_bytes(*self.payload[..self.payload.len() - 8].last_chunk().unwrap())
    }
}

fn samples() -> Vec<Sample> {
    let mut lines = include_str!("tests/payloads.txt").lines();
    std::iter::from_fn(|| {
        let title = lines.by_ref().find(|line| !line.is_empty())?;
        let hex = lines.next()?.as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
        let payload = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        Some(Sample { title, payload, content: lines.next()? })
    })
    .collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace(' ', "\\x20")
}

/// An object in the words of the samples.
fn content(object: &Object<'_>) -> String {
    let mut words = Vec::new();
    let kind = match object {
        Object::String(value) => {
            words.push(shown(value));
            "string"
        }
        Object::List(elements) => {
            words.extend(elements.iter().map(shown));
            "list"
        }
        Object::Set(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable();
            words.extend(members.into_iter().map(shown));
            "set"
        }
        Object::SortedSet(members) => {
            let mut pairs: Vec<_> = members.iter().collect();
            pairs.sort_unstable_by_key(|(member, _)| *member);
            words.extend(pairs.into_iter().map(|(member, score)| format!("{}={score}", shown(member))));
            "zset"
        }
        Object::Hash { fields, expiries } => {
            let mut rows: Vec<_> = fields.iter().enumerate().map(|(at, (name, value))| (name, value, at)).collect();
            rows.sort_unstable();
            for (name, value, at) in rows {
                let expiry = expiries.iter().find(|(place, _)| *place == at).map(|(_, time)| time.get());
                let expiry = expiry.map_or(String::new(), |time| format!("@{time}"));
                words.push(format!("{}={}{expiry}", shown(name), shown(value)));
            }
            "hash"
        }
        Object::Stream(stream) => {
            words.extend(stream::content(stream));
            "stream"
        }
    };
    words.insert(0, kind.to_owned());
    words.join(" ")
}

/// Writes an object. Returns the version that readers must know.
fn write(object: &Object<'_>, out: &mut Vec<u8>) -> u16 {
    match object {
        Object::String(value) => {
            out.push(types::STRING);
            write::string(out, value);
        }
        Object::List(elements) | Object::Set(elements) => {
            out.push(if matches!(object, Object::List(_)) { types::LIST } else { types::SET });
            write::length(out, elements.len());
            elements.iter().for_each(|element| write::string(out, element));
        }
        Object::SortedSet(members) => {
            out.push(types::ZSET_2);
            write::length(out, members.len());
            members.iter().for_each(|(member, score)| write::scored(out, member, score));
        }
        Object::Hash { fields, .. } => {
            out.push(types::HASH);
            write::length(out, fields.len());
            for (name, value) in fields.iter() {
                write::string(out, name);
                write::string(out, value);
            }
        }
        Object::Stream(payload) => return stream::write_all(payload, out),
    }
    write::VERSION
}

#[test]
fn what_real_servers_write_is_read() {
    let samples = samples();
    assert!(samples.len() > 60);
    for sample in &samples {
        let object = Payload::check(&sample.payload).and_then(|payload| payload.read(LIMITS));
        let object = object.unwrap_or_else(|error| panic!("{}: {error}", sample.title));
        assert_eq!(content(&object), sample.content, "{}", sample.title);
        let value = sample.value();
        assert_eq!(measure(value[0], &value[1..], sample.version()), Ok(value.len() - 1), "{}", sample.title);
    }
}

#[test]
fn what_is_written_is_read() {
    for sample in samples() {
        let object = read(sample.value(), sample.version(), LIMITS).unwrap();
        let mut out = Vec::new();
        let version = write(&object, &mut out);
        let again = read(&out, version, LIMITS).unwrap();
        match (&object, &again) {
            // Expiries of fields have no plain encoding.
            (Object::Hash { fields, .. }, Object::Hash { fields: again, .. }) => assert_eq!(fields, again),
            _ => assert_eq!(object, again, "{}", sample.title),
        }
        assert_eq!(measure(out[0], &out[1..], version), Ok(out.len() - 1));
    }
}

#[test]
fn valkeys_hashes_have_a_time_at_each_field() {
    let mut value = vec![types::HASH_2, 2, 1, b'f', 1, b'1'];
    value.extend_from_slice(&(-1i64).to_le_bytes());
    value.extend_from_slice(&[1, b'g', 1, b'2']);
    value.extend_from_slice(&4_102_444_800_123u64.to_le_bytes());
    let object = read(&value, VALKEY, LIMITS).unwrap();
    assert_eq!(content(&object), "hash f=1 g=2@4102444800123");
    assert_eq!(measure(value[0], &value[1..], VALKEY), Ok(value.len() - 1));
}

#[test]
fn damaged_values_are_refused_or_other_values_but_never_a_panic() {
    for sample in samples() {
        let (value, version) = (sample.value(), sample.version());
        for at in 0..value.len() {
            assert!(read(&value[..at], version, LIMITS).is_err(), "{}: the first {at} bytes", sample.title);
            if at > 0 {
                assert_eq!(measure(value[0], &value[1..at], version), Err(RdbError::Truncated), "{}", sample.title);
            }
            for flip in [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff] {
                let mut damaged = value.to_vec();
                damaged[at] ^= flip;
                let _ = measure(damaged[0], &damaged[1..], version);
                if let Ok(object) = read(&damaged, version, LIMITS) {
                    let mut out = Vec::new();
                    let version = write(&object, &mut out);
                    assert!(read(&out, version, LIMITS).is_ok(), "{}: {at}, {flip:#x}", sample.title);
                }
            }
        }
    }
}

#[test]
fn a_count_allocates_nothing() {
    let huge = [0x81, 0, 0, 1, 0, 0, 0, 0, 0];
    for kind in 0..=30 {
        for before in [0, 8] {
            let mut value = vec![kind];
            value.extend_from_slice(&[0; 8][..before]);
            value.extend_from_slice(&huge);
            value.extend_from_slice(&[0; 40]);
            assert!(read(&value, 11, LIMITS).is_err(), "type {kind}");
        }
    }
    // A compressed string that is said to be huge.
    let mut value = vec![types::STRING, 0xc3, 5];
    value.extend_from_slice(&huge);
    value.extend_from_slice(&[4, b'a', b'b', b'c', b'd']);
    let unlimited = Limits { string: usize::MAX, value: usize::MAX };
    assert_eq!(read(&value, 11, LIMITS), Err(RdbError::TooLarge));
    assert!(read(&value, 11, unlimited).is_err());
}

#[test]
fn what_decodes_to_too_much_is_refused() {
    // Events that name one long field each by a bit.
    let (name, last) = ([b'n'; 3500], EventId::new(1, 1999));
    let mut stream = Vec::new();
    write_summary(&mut stream, &Summary { last, added: 1999, events: 1999, ..Summary::default() });
    for seq in 1..2000 {
        write_stream_event(&mut stream, EventId::new(1, seq), 1, [(&name[..], &b"v"[..])].into_iter());
    }
    let mut out = Vec::new();
    stream::write_all(&stream, &mut out);
    assert!(out.len() < stream.len() / 8);
    assert_eq!(read(&out, 11, LIMITS), Err(RdbError::TooLarge));
    assert!(read(&out, 11, Limits { value: 1 << 24, ..LIMITS }).is_ok());
    // One element beyond the limit of a string.
    let mut out = vec![types::LIST, 1];
    write::string(&mut out, &[0; 100]);
    assert_eq!(read(&out, 11, Limits { string: 99, ..LIMITS }), Err(RdbError::TooLarge));
}

#[test]
fn what_no_key_may_hold_is_refused() {
    let twice = RdbError::Malformed("an element that occurs twice");
    let cases: [(&[u8], RdbError); 9] = [
        (&[types::LIST, 0], RdbError::Empty),
        (&[types::SET, 0], RdbError::Empty),
        (&[types::HASH, 0], RdbError::Empty),
        (&[types::ZSET_2, 0], RdbError::Empty),
        (&[types::SET, 2, 1, b'a', 1, b'a'], twice),
        (&[types::HASH, 2, 1, b'a', 0, 1, b'a', 0], twice),
        (&[types::ZSET, 1, 1, b'a', 253], RdbError::Malformed("a score that is no number")),
        (&[types::STRING, 1, b'a', 0], RdbError::Malformed("bytes after the value")),
        (&[26, 0], RdbError::UnknownType(26)),
    ];
    for (value, error) in cases {
        assert_eq!(read(value, 11, LIMITS), Err(error), "{value:?}");
    }
    let negative_zero = [&[types::ZSET_2, 1, 0][..], &(-0.0f64).to_le_bytes()].concat();
    let Ok(Object::SortedSet(members)) = read(&negative_zero, 11, LIMITS) else { panic!("no sorted set") };
    assert!(members.iter().all(|(_, score)| score.is_sign_positive()));
}

#[test]
fn a_module_is_called_by_its_name() {
    // The id of RedisJSON's type: "ReJSON-RL", encoding version 3.
    let name: u64 = b"ReJSON-RL".iter().fold(0, |id, character| {
        id << 6 | ModuleName::CHARACTERS.iter().position(|one| one == character).unwrap() as u64
    });
    let mut value = vec![types::MODULE_2, 0x81];
    value.extend_from_slice(&(name << 10 | 3).to_be_bytes());
    value.extend_from_slice(&[2, 7, 5, 2, b'{', b'}', 0]);
    let error = read(&value, 11, LIMITS).unwrap_err();
    assert_eq!(error.to_string(), "a value of the module ReJSON-RL");
    assert_eq!(measure(value[0], &value[1..], 11), Ok(value.len() - 1));
}

/// A random value.
fn random_object(random: &mut fastrand::Rng) -> Object<'static> {
    let text = |random: &mut fastrand::Rng| -> Vec<u8> {
        let longest = [1, 10, 100, 20_000][random.usize(..4)];
        let length = random.usize(..longest);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    };
    let most = [3, 300][random.usize(..2)];
    let count = random.usize(1..=most);
    let (mut elements, mut fields, mut members) = (Elements::default(), Fields::default(), Scored::default());
    for at in 0..count {
        let unique = [format!("{at}:").as_bytes(), &text(random)].concat();
        elements.push(&unique);
        fields.push(&unique, &text(random));
        members.push(&unique, if at == 0 { f64::INFINITY } else { random.f64() * 1e9 - 5e8 });
    }
    match random.u8(..6) {
        0 => Object::String(text(random).into()),
        1 => Object::List(elements),
        2 => Object::Set(elements),
        3 => Object::SortedSet(members),
        4 => Object::Hash { fields, expiries: Vec::new() },
        _ => Object::Stream(stream::random(random, &fields)),
    }
}

#[test]
fn random_values_survive_being_written() {
    let seed = std::env::var("ROLLBOOK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("ROLLBOOK_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..60 {
        let object = random_object(&mut random);
        let mut payload = Vec::new();
        let version = write(&object, &mut payload);
        seal(&mut payload, version);
        let again = Payload::check(&payload).unwrap().read(Limits { string: 1 << 20, value: 1 << 30 }).unwrap();
        assert_eq!(object, again);
    }
}

/// The items of a file that comes in pieces, in words.
fn items(file: &[u8], piece: usize) -> Result<Vec<String>, RdbError> {
    let mut reader = Reader::new(LIMITS);
    let (mut start, mut end, mut seen) = (0, piece.min(file.len()), Vec::new());
    loop {
        let (item, read) = match reader.next(&file[start..end]) {
            Err(RdbError::Truncated) if end < file.len() => {
                end = file.len().min(end + piece);
                continue;
            }
            read => read?,
        };
        start += read;
        seen.extend(match item {
            None => continue,
            Some(Item::End) => return Ok(seen),
            Some(Item::Key(key)) => {
                let value = [&[key.kind], key.value].concat();
                let content = content(&super::read(&value, reader.version(), LIMITS)?);
                let expiry = key.expire_at.map(UnixMillis::get);
                Some(format!("{} {} {expiry:?} {content}", key.db, shown(&key.key)))
            }
            Some(Item::Functions(source)) => Some(shown(&source)),
            Some(Item::Note { name, .. }) if name[..] != *b"redis-ver" => continue,
            Some(Item::Note { name, value }) => Some(format!("{} {}", shown(&name), shown(&value))),
            Some(Item::ModuleKey { module, .. } | Item::ModuleData(module)) => Some(module.to_string()),
        });
    }
}

const FILES: [&[u8]; 3] = [
    include_bytes!("tests/redis-6.2.rdb"),
    include_bytes!("tests/redis-7.0.rdb"),
    include_bytes!("tests/redis-8.2.rdb"),
];

#[test]
fn files_are_read_item_by_item_wherever_they_are_cut() {
    let text = format!("string {}", "ab".repeat(100));
    for (file, version) in FILES.into_iter().zip(["6.2.14", "7.0.15", "8.2.3"]) {
        let all = items(file, usize::MAX).unwrap();
        let version = format!("redis-ver {version}");
        let hash = "3 hash None hash f=1".to_owned();
        let expected = if version.ends_with("6.2.14") {
            vec![version, format!("0 text Some(4102444800123) {text}"), hash]
        } else {
            let source =
                "#!lua\\x20name=lib\\nredis.register_function(\\'f\\',\\x20function()\\x20return\\x201\\x20end)";
            let expiring = "0 expiring Some(4102444800123) string 1".to_owned();
            vec![version, source.to_owned(), format!("0 text None {text}"), expiring, hash]
        };
        let sorted = |mut words: Vec<String>| {
            words.sort();
            words
        };
        assert_eq!(sorted(all.clone()), sorted(expected));
        for piece in [1, 2, 3, 7, 50] {
            assert_eq!(items(file, piece).as_ref(), Ok(&all), "pieces of {piece}");
        }
    }
}

#[test]
fn a_damaged_file_is_refused() {
    for file in FILES {
        for at in 0..file.len() {
            assert_eq!(items(&file[..at], 64), Err(RdbError::Truncated), "the first {at} bytes");
            // Another version may be one without a checksum.
            for flip in [1, 0x10, 0x80].into_iter().filter(|_| !(5..9).contains(&at)) {
                let mut damaged = file.to_vec();
                damaged[at] ^= flip;
                assert!(items(&damaged, usize::MAX).is_err(), "byte {at}");
            }
        }
        let mut unchecked = file.to_vec();
        unchecked[file.len() - 8..].fill(0);
        assert_eq!(items(&unchecked, 64), items(file, 64), "a checksum of 0 is none");
    }
}
