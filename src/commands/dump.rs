//! Values in Redis's own format, by which tools copy keys from one server to another: DUMP, RESTORE.

use std::ops::ControlFlow;

use super::parse::integer_argument;
use super::registry::row::{KEYSPACE, OVERWRITTEN, PUT, READ, READ_FROM, VARIES, generic_key};
use super::registry::{Categories, Spec};
use super::{MAX_CONTENT, Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, ExpiringFields, Removal};
use crate::encoding::event::EventId;
use crate::encoding::rdb::payload::{Payload, seal};
use crate::encoding::rdb::write_stream::{self, EventWriter, Form};
use crate::encoding::rdb::{Limits, Object, RdbError, expiring, types, write};
use crate::store::{StreamRef, Value};
use crate::time::UnixMillis;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    generic_key("dump", |p, s| p.dump(s), 2, "key").keys(READ_FROM).flags(READ, KEYSPACE).tips(VARIES).about(
        "2.6.0",
        "O(N), N being the size of the value",
        "Tells a key's value in the format that RESTORE takes",
    ),
    generic_key(
        "restore",
        |p, _| p.restore(),
        -4,
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    )
    .keys(OVERWRITTEN)
    .flags(PUT, KEYSPACE.and(Categories::DANGEROUS))
    .about("2.6.0", "O(N), N being the size of the value", "Creates a key with a value that DUMP has told"),
];

const TOO_LARGE: Refused = Refused::Because("ERR the value is too large to be dumped");

/// Options of RESTORE.
#[derive(Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<i64>,
    frequency: Option<i64>,
}

impl Options {
    fn parse<'a>(mut words: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Self, Refused> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let has_argument = words.len() > 0;
            if is(b"REPLACE") {
                options.replace = true;
            } else if is(b"ABSTTL") {
                options.absolute = true;
            } else if is(b"IDLETIME") && has_argument && options.frequency.is_none() {
                let idle = integer_argument(words.next().unwrap_or_default())?;
                if idle < 0 {
                    return Err(Refused::Because("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle_s = Some(idle);
            } else if is(b"FREQ") && has_argument && options.idle_s.is_none() {
                let frequency = integer_argument(words.next().unwrap_or_default())?;
                if !(0..=255).contains(&frequency) {
                    return Err(Refused::Because("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
                options.frequency = Some(frequency);
            } else {
                return Err(Refused::Syntax);
            }
        }
        Ok(options)
    }
}

impl<'a> Plan<'_, 'a, '_> {
    /// DUMP key
    pub(super) fn dump(&mut self, scratch: &'a mut Scratch) -> Planned {
        match self.first() {
            None => self.reply.null(),
            Some(entry) => {
                scratch.dump(entry.value)?;
                self.reply.bulk(&scratch.bytes);
            }
        }
        Ok(())
    }

    /// RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
    ///
    /// How often a key was used is not counted, so FREQ has no effect, as in a Redis that does not count it.
    pub(super) fn restore(&mut self) -> Planned {
        let options = Options::parse(self.args.from(4))?;
        let old = self.first();
        if old.is_some() && !options.replace {
            return Err(Refused::Because("BUSYKEY Target key name already exists."));
        }
        let ttl = integer_argument(self.args.at(2))?;
        let ttl = u64::try_from(ttl).map_err(|_| Refused::Because("ERR Invalid TTL value, must be >= 0"))?;
        let base = if options.absolute { 0 } else { self.context.now.get() };
        let expire_at = (ttl > 0).then(|| UnixMillis::new(ttl.saturating_add(base)));
        let payload = Payload::check(self.args.at(3));
        let payload = payload.map_err(|_| Refused::Because("ERR DUMP payload version or checksum are wrong"))?;
        let limits = Limits { string: self.context.max_string as usize, value: MAX_CONTENT };
        let put = put(payload.read(limits).map_err(refusal)?, expire_at)?;
        if expire_at.is_none_or(|at| at > self.context.now) {
            self.edit_first(put);
            self.effects.last_use = options.idle_s.map(|idle| self.context.coarse_now().wrapping_sub(idle as u32));
        } else if old.is_some() {
            self.edit_first(Change::Delete(Removal::Deleted));
        }
        self.reply.ok();
        Ok(())
    }
}

/// Reply to a payload that can't be restored, though its checksum is right.
fn refusal(error: RdbError) -> Refused {
    match error {
        RdbError::TooLarge => Refused::Because("ERR the value is larger than the limits allow"),
        _ => Refused::Because("ERR Bad data format"),
    }
}

/// The change that gives a key this value.
fn put(object: Object<'_>, expire_at: Option<UnixMillis>) -> Result<Change<'_>, Refused> {
    match object {
        Object::String(value) => Ok(Change::PutString { value, expire_at }),
        Object::Hash { fields, expiries } if expiries.is_empty() => Ok(Change::PutHash { fields, expire_at }),
        Object::Hash { fields, expiries } => {
            Ok(Change::PutExpiringHash { fields: ExpiringFields::new(fields, &expiries), expire_at })
        }
        Object::Set(members) => Ok(Change::PutSet { members, expire_at }),
        Object::List(elements) => Ok(Change::PutList { elements, expire_at }),
        Object::SortedSet(members) => Ok(Change::PutSortedSet { members, expire_at }),
        Object::Stream(payload) => Ok(Change::PutStream { stream: payload.into(), expire_at }),
    }
}

impl Scratch {
    /// Writes the payload of a value.
    ///
    /// # Errors
    /// If it is too large for a reply.
    fn dump(&mut self, value: Value<'_>) -> Planned {
        self.clear();
        let out = &mut self.bytes;
        let mut version = write::VERSION;
        let written = match value {
            Value::String(value) => {
                out.push(types::STRING);
                write::string(out, value);
                bound(out)
            }
            Value::Hash(hash) => match hash.soonest_expiry() {
                Some(first) => {
                    version = expiring::VERSION;
                    expiring::begin(out, hash.len(), first);
                    hash.for_each_field(|name, value, at| {
                        expiring::field(out, name, value, at, first);
                        bound(out)
                    })
                }
                None => {
                    out.push(types::HASH);
                    write::length(out, hash.len());
                    hash.for_each_field(|name, value, _| {
                        write::string(out, name);
                        write::string(out, value);
                        bound(out)
                    })
                }
            },
            Value::Set(set) => {
                out.push(types::SET);
                write::length(out, set.len());
                set.for_each(|member| {
                    member.with(|member| write::string(out, member));
                    bound(out)
                })
            }
            Value::SortedSet(sorted_set) => {
                out.push(types::ZSET_2);
                write::length(out, sorted_set.len());
                sorted_set.for_each(|member, score| {
                    write::scored(out, member, score);
                    bound(out)
                })
            }
            Value::Stream(stream) => {
                let consumers = stream.groups().flat_map(|group| group.consumers());
                let form = Form::of(consumers.map(|consumer| (consumer.seen, consumer.active)));
                version = form.version();
                dump_stream(out, stream, form)
            }
            Value::List(list) => {
                out.push(types::LIST);
                write::length(out, list.len());
                list.iter().try_for_each(|element| {
                    write::string(out, element);
                    bound(out)
                })
            }
        };
        if written.is_break() {
            return Err(TOO_LARGE);
        }
        seal(out, version);
        Ok(())
    }
}

/// Breaks if what has been written is too large for a reply.
const fn bound(out: &[u8]) -> ControlFlow<()> {
    if out.len() <= MAX_CONTENT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Appends a stream with the byte of its type.
fn dump_stream(out: &mut Vec<u8>, stream: StreamRef<'_>, form: Form) -> ControlFlow<()> {
    out.push(form.kind());
    let mut events = EventWriter::new(out);
    stream.visit(EventId::ZERO, EventId::MAX, |event| {
        events.push(out, event.id, event.len(), event.fields());
        bound(out)
    })?;
    let first = events.finish(out);
    write_stream::numbers(out, first, &stream.summary());
    for group in stream.groups() {
        write_stream::group(out, &group.name, group.last_delivered, group.read, group.pending_count());
        for pending in group.pending_from(EventId::ZERO) {
            write_stream::pending(out, pending.id, pending.delivered_at, pending.deliveries);
        }
        write::length(out, group.consumer_count());
        for consumer in group.consumers() {
            let pending = (consumer.pending_count(), consumer.pending_from(EventId::ZERO));
            write_stream::consumer(out, form, (&consumer.name, consumer.seen, consumer.active), pending);
            bound(out)?;
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    /// The payload that DUMP replies.
    fn dump(rig: &mut Rig, key: &[u8]) -> Vec<u8> {
        let reply = rig.run(&[b"DUMP", key]);
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        reply[start..reply.len() - 2].to_vec()
    }

    fn restore(rig: &mut Rig, key: &[u8], ttl: &[u8], payload: &[u8], options: &[&[u8]]) -> String {
        let words = [&[b"RESTORE", key, ttl, payload], options].concat();
        String::from_utf8(rig.run(&words)).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_value_comes_back_as_it_was() {
        let mut rig = Rig::new();
        rig.run(&[b"SET", b"s", b"a \r\n\xff"]);
        rig.line("HSET h a 1 b 2");
        for at in 0..2000 {
            rig.line(&format!("HSET large f{at} {at}"));
        }
        for key in [&b"s"[..], b"h", b"large"] {
            let payload = dump(&mut rig, key);
            assert_eq!(restore(&mut rig, b"copy", b"0", &payload, &[b"REPLACE"]), "+OK");
            assert_eq!(dump(&mut rig, b"copy").len(), payload.len());
            let read = |rig: &mut Rig, key: &[u8]| match key {
                b"s" => rig.run(&[b"GET", key]),
                _ => rig.run(&[b"HMGET", key, b"a", b"b", b"f0", b"f1999"]),
            };
            rig.run(&[b"RENAME", b"copy", if key == b"s" { b"s" } else { b"x" }]);
            let copy: &[u8] = if key == b"s" { b"s" } else { b"x" };
            let before = read(&mut rig, key);
            assert_eq!(read(&mut rig, copy), before);
        }
        assert_eq!(rig.line("HLEN x"), ":2000");
        assert_eq!(rig.line("DUMP missing"), "$-1");
    }

    #[test]
    fn a_stream_comes_back_with_its_groups_and_what_its_consumers_did() {
        let mut rig = Rig::new();
        for at in 1..300 {
            rig.line(&format!("XADD s {at}-1 number {at}"));
        }
        rig.line("XDEL s 5-1");
        rig.line("XTRIM s MINID 3");
        rig.line("XGROUP CREATE s g 0");
        rig.line("XGROUP CREATE s h $");
        // The oldest version that knows all: that of Redis 7.2 once a consumer asked in vain, or never got anything.
        for (command, version) in [
            ("XREADGROUP GROUP g reader COUNT 120 STREAMS s >", 10),
            ("XREADGROUP GROUP g reader STREAMS s 250", 11),
            ("XREADGROUP GROUP g reader COUNT 1 STREAMS s >", 10),
            ("XGROUP CREATECONSUMER s g idle", 11),
        ] {
            rig.now += 70;
            rig.line(command);
            let payload = dump(&mut rig, b"s");
            assert_eq!(payload[payload.len() - 10], version, "{command}");
            assert_eq!(restore(&mut rig, b"copy", b"0", &payload, &[b"REPLACE"]), "+OK");
            assert_eq!(rig.line("XINFO STREAM copy FULL COUNT 0"), rig.line("XINFO STREAM s FULL COUNT 0"));
        }
        let whole = dump(&mut rig, b"copy");
        for at in 0..whole.len() - 10 {
            let mut damaged = whole[..whole.len() - 10].to_vec();
            damaged[at] ^= 0x15;
            seal(&mut damaged, 11);
            let reply = restore(&mut rig, b"copy", b"0", &damaged, &[b"REPLACE"]);
            assert!(reply == "+OK" || reply == "-ERR Bad data format", "byte {at}: {reply}");
        }
    }

    #[test]
    fn options_and_their_errors_are_those_of_redis() {
        let mut rig = Rig::new();
        rig.line("SET s v");
        let payload = dump(&mut rig, b"s");
        let mut try_with = |ttl: &[u8], options: &[&[u8]]| restore(&mut rig, b"new", ttl, &payload, options);
        for (ttl, options, reply) in [
            (&b"x"[..], &[][..], "-ERR value is not an integer or out of range"),
            (b"-1", &[], "-ERR Invalid TTL value, must be >= 0"),
            (b"0", &[&b"IDLETIME"[..]], "-ERR syntax error"),
            (b"0", &[b"IDLETIME", b"-1"], "-ERR Invalid IDLETIME value, must be >= 0"),
            (b"0", &[b"FREQ", b"256"], "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            (b"0", &[b"FREQ", b"1", b"IDLETIME", b"1"], "-ERR syntax error"),
            (b"0", &[b"WHATEVER"], "-ERR syntax error"),
            (b"5000", &[b"idletime", b"100"], "+OK"),
            (b"0", &[], "-BUSYKEY Target key name already exists."),
            (b"0", &[b"freq", b"5", b"replace"], "+OK"),
        ] {
            assert_eq!(try_with(ttl, options), reply, "{ttl:?} {options:?}");
        }
        let mut damaged = payload.clone();
        damaged[1] ^= 1;
        let wrong = "-ERR DUMP payload version or checksum are wrong";
        assert_eq!(restore(&mut rig, b"other", b"0", &damaged, &[]), wrong);
        assert_eq!(restore(&mut rig, b"other", b"0", b"", &[]), wrong);
        let mut unknown = vec![99];
        seal(&mut unknown, 11);
        assert_eq!(restore(&mut rig, b"other", b"0", &unknown, &[]), "-ERR Bad data format");
        assert!(rig.edits.is_empty());
    }

    #[test]
    fn the_expiry_is_what_the_command_says() {
        let mut rig = Rig::new();
        rig.line("SET s v PX 100000");
        let payload = dump(&mut rig, b"s");
        assert_eq!(restore(&mut rig, b"a", b"5000", &payload, &[]), "+OK");
        assert_eq!(rig.line("PTTL a"), ":5000");
        let later = (rig.now + 7000).to_string();
        assert_eq!(restore(&mut rig, b"b", later.as_bytes(), &payload, &[b"ABSTTL"]), "+OK");
        assert_eq!(rig.line("PTTL b"), ":7000");
        assert_eq!(restore(&mut rig, b"c", b"0", &payload, &[]), "+OK");
        assert_eq!(rig.line("PTTL c"), ":-1");
        assert_eq!(restore(&mut rig, b"d", b"1", &payload, &[b"ABSTTL"]), "+OK");
        assert_eq!(restore(&mut rig, b"c", b"1", &payload, &[b"ABSTTL", b"REPLACE"]), "+OK");
        assert_eq!(rig.line("EXISTS c d"), ":0");
        let most = i64::MAX.to_string();
        assert_eq!(restore(&mut rig, b"e", most.as_bytes(), &payload, &[]), "+OK");
    }
}
