//! Commands that read streams: XRANGE, XREVRANGE, XREAD.

use std::ops::ControlFlow;

use super::parse::{integer, integer_argument};
use super::registry::row::{READ, READ_FROM, stream, streams};
use super::registry::{Begin, Find, Flags, KeyFlags, KeySpec, Route, Spec};
use super::stream_ids::{end, exact, start};
use super::{Plan, Planned, Refused};
use crate::encoding::event::EventId;
use crate::encoding::resp::{Args, Protocol, Reply};
use crate::encoding::slot::slot_of;
use crate::ids::Slot;
use crate::store::{EventRef, StreamRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    stream("xrange", |p, _| p.xrange(false), -4, "key start-id end-id [COUNT count]", READ).keys(READ_FROM).about(
        "5.0.0",
        "O(N), N being the number of entries returned",
        "Tells the entries whose ids lie between two, in order",
    ),
    streams(
        "xread",
        |p, _| p.xread(),
        -4,
        "[COUNT count] [BLOCK milliseconds] <STREAMS key ... id ...>",
        READ.and(Flags::BLOCKING),
    )
    .route(Route::OneCore)
    .keys(&[among_streams(1)])
    .about(
        "5.0.0",
        "O(N), N being the number of entries returned",
        "Tells the entries of streams behind given ids",
    ),
    stream("xrevrange", |p, _| p.xrange(true), -4, "key end-id start-id [COUNT count]", READ).keys(READ_FROM).about(
        "5.0.0",
        "O(N), N being the number of entries returned",
        "Tells the entries whose ids lie between two, backwards",
    ),
];

/// The keys after the word STREAMS, which stands at argument `from` or later: half of what follows.
pub(super) const fn among_streams(from: i8) -> KeySpec {
    KeySpec {
        begin: Begin::Keyword { word: "STREAMS", from },
        find: Find::Range { last: -1, step: 1, limit: 2 },
        flags: KeyFlags::RO.and(KeyFlags::ACCESS),
    }
}

/// Options of XREAD and XREADGROUP, and what they read.
pub(super) struct Reading<'a> {
    /// Maximum number of entries of each stream.
    pub count: usize,
    /// Whether the client waits if there is nothing.
    pub blocks: bool,
    /// Group and consumer.
    pub group: Option<(&'a [u8], &'a [u8])>,
    /// Whether entries count as acknowledged when they are delivered.
    pub noack: bool,
    /// Number of streams.
    pub streams: usize,
    /// Index of the first key.
    first: usize,
}

impl<'a> Reading<'a> {
    /// Parses the options of a command and the words up to its keys.
    pub fn parse(args: Args<'a>, of_group: bool) -> Result<Self, Refused> {
        let mut reading = Self { count: usize::MAX, blocks: false, group: None, noack: false, streams: 0, first: 0 };
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let more = args.len() - at - 1;
            if is(b"BLOCK") && more > 0 {
                reading.blocks = true;
                check_timeout(args.at(at + 1))?;
                at += 1;
            } else if is(b"COUNT") && more > 0 {
                let count = integer_argument(args.at(at + 1))?;
                reading.count = usize::try_from(count).ok().filter(|count| *count > 0).unwrap_or(usize::MAX);
                at += 1;
            } else if is(b"STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err(Refused::Because(if of_group { UNBALANCED_GROUP } else { UNBALANCED }));
                }
                (reading.streams, reading.first) = (more / 2, at + 1);
                break;
            } else if is(b"GROUP") && more >= 2 {
                if !of_group {
                    return Err(Refused::Because(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                reading.group = Some((args.at(at + 1), args.at(at + 2)));
                at += 2;
            } else if is(b"NOACK") {
                if !of_group {
                    return Err(Refused::Because(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                reading.noack = true;
            } else {
                return Err(Refused::Syntax);
            }
            at += 1;
        }
        if reading.streams == 0 { Err(Refused::Syntax) } else { Ok(reading) }
    }

    /// Slot and key of each stream, and the text of its id.
    ///
    /// The slots are not those that the command was routed by: a group or consumer called STREAMS may have led astray
    /// whoever looked for the keys. Such keys are then missing here.
    pub fn each(&self, args: Args<'a>) -> impl Iterator<Item = (Slot, &'a [u8], &'a [u8])> + use<'a> {
        let (first, streams) = (self.first, self.streams);
        (0..streams).map(move |index| {
            let key = args.at(first + index);
            (slot_of(key), key, args.at(first + streams + index))
        })
    }
}

const UNBALANCED: &str =
    "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.";
const UNBALANCED_GROUP: &str =
    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.";

/// Checks a time-out in milliseconds.
fn check_timeout(text: &[u8]) -> Planned {
    match integer(text) {
        None => Err(Refused::Because("ERR timeout is not an integer or out of range")),
        Some(..0) => Err(Refused::Because("ERR timeout is negative")),
        Some(_) => Ok(()),
    }
}

impl<'p> Plan<'p, '_, '_> {
    /// XRANGE key start end [COUNT count], XREVRANGE key end start [COUNT count]
    pub(super) fn xrange(&mut self, back: bool) -> Planned {
        let (from, to) = if back { (3, 2) } else { (2, 3) };
        let (from, to) = (start(self.args.at(from))?, end(self.args.at(to))?);
        let mut count = usize::MAX;
        let mut words = self.args.from(4);
        while let Some(word) = words.next() {
            let Some(value) = words.next().filter(|_| word.eq_ignore_ascii_case(b"COUNT")) else {
                return Err(Refused::Syntax);
            };
            count = usize::try_from(integer_argument(value)?).unwrap_or(0);
        }
        match self.first_stream()? {
            None => self.reply.array(0),
            Some(_) if count == 0 => self.reply.null_array(),
            Some(stream) => {
                self.reply.array_of(|reply| write_events(stream, from, to, count, back, reply));
            }
        }
        Ok(())
    }

    /// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key ... id ...
    pub(super) fn xread(&mut self) -> Planned {
        let reading = Reading::parse(self.args, false)?;
        let mut sources = Vec::with_capacity(reading.streams);
        for (slot, key, id) in reading.each(self.args) {
            let stream = self.stream_at(slot, key)?;
            let behind = match id {
                b"$" => stream.map(|stream| stream.numbers().last).unwrap_or_default(),
                b"+" => stream.and_then(|stream| stream.last()?.id.previous()).unwrap_or_default(),
                b">" => {
                    return Err(Refused::Because(
                        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                         option.",
                    ));
                }
                id => exact(id, 0)?,
            };
            sources.extend(stream.and_then(|stream| Some((key, stream, first_behind(stream, behind)?))));
        }
        if sources.is_empty() {
            return if reading.blocks {
                self.wait()
            } else {
                self.reply.null_array();
                Ok(())
            };
        }
        let begin = self.reply.written();
        begin_streams(self.reply, sources.len());
        for (key, stream, first) in sources {
            begin_stream(self.reply, key);
            let (count, last) = (reading.count, EventId::MAX);
            self.reply.array_of(|reply| write_events(stream, first, last, count, false, reply));
            self.bound_reply(begin)?;
        }
        Ok(())
    }
}

/// Id of the first entry behind `behind`.
pub(super) fn first_behind(stream: StreamRef<'_>, behind: EventId) -> Option<EventId> {
    // What asks for news mostly finds none.
    if stream.numbers().last <= behind {
        return None;
    }
    let found = stream.visit(behind.next()?, EventId::MAX, |event| ControlFlow::Break(event.id));
    found.break_value()
}

/// Begins the reply of a command that reads `count` streams: a map in RESP3.
pub(super) fn begin_streams(reply: &mut Reply<'_>, count: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
}

/// Begins the part of such a reply that has the entries of the stream at `key`; they follow as an array.
pub(super) fn begin_stream(reply: &mut Reply<'_>, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// Appends up to `count` entries of a range. Returns their number.
pub(super) fn write_events(
    stream: StreamRef<'_>,
    from: EventId,
    to: EventId,
    count: usize,
    back: bool,
    reply: &mut Reply<'_>,
) -> usize {
    let mut written = 0;
    let mut write = |event: EventRef<'_>| {
        write_event(event, reply);
        written += 1;
        if written < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let _ = if back { stream.visit_back(from, to, &mut write) } else { stream.visit(from, to, &mut write) };
    written
}

/// Appends an entry: its id, and its fields as a flat array.
pub(super) fn write_event(event: EventRef<'_>, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk(event.id.text().as_bytes());
    reply.array(2 * event.len());
    for (name, value) in event.fields() {
        reply.bulk(name);
        reply.bulk(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    #[test]
    fn ranges_are_read_forwards_and_backwards_across_blocks() {
        let mut rig = Rig::new();
        (1..=350).for_each(|n| drop(rig.line(&format!("XADD s {n}-0 f{} v", n % 2))));
        let ids = |reply: String| {
            let words: Vec<&str> = reply.split(' ').filter(|word| word.ends_with("-0")).collect();
            (words.len(), words.first().map_or(0, |id| id[..id.len() - 2].parse::<u32>().unwrap()))
        };
        assert_eq!(ids(rig.line("XRANGE s - +")), (350, 1));
        assert_eq!(ids(rig.line("XREVRANGE s + -")), (350, 350));
        assert_eq!(ids(rig.line("XRANGE s 99 (202-0")), (103, 99));
        assert_eq!(ids(rig.line("XREVRANGE s (202-0 99")), (103, 201));
        assert_eq!(ids(rig.line("XRANGE s 101 + COUNT 150")), (150, 101));
        assert_eq!(ids(rig.line("XREVRANGE s 101 - COUNT 2")), (2, 101));
        assert_eq!(ids(rig.line("XREAD COUNT 3 STREAMS s 100")), (3, 101));
        assert_eq!(ids(rig.line("XREAD STREAMS s +")), (1, 350));
        assert_eq!(rig.line("XREAD STREAMS s $"), "*-1");
        assert_eq!(rig.line("XREAD BLOCK 0 STREAMS s $"), "$-1");
        assert!(rig.edits.is_empty());
    }

    #[test]
    fn streams_are_a_map_in_the_newer_protocol() {
        let mut rig = Rig::new();
        rig.line("XADD s 1-0 a 1");
        assert_eq!(rig.line("XREAD STREAMS s t 0 0"), "*1 *2 $1 s *1 *2 $3 1-0 *2 $1 a $1 1");
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("XREAD STREAMS s t 0 0"), "%1 $1 s *1 *2 $3 1-0 *2 $1 a $1 1");
        assert_eq!(rig.line("XREAD STREAMS t 0"), "_");
    }

    #[test]
    fn no_request_makes_a_reply_without_bounds() {
        let mut rig = Rig::new();
        let value = "v".repeat(400_000);
        rig.line(&format!("XADD s 1-0 a {value}"));
        assert!(rig.line("XREAD STREAMS s s s s 0 0 0 0").starts_with("-ERR the reply would be longer"));
        rig.line("XGROUP CREATE s g 0");
        rig.line("XREADGROUP GROUP g c STREAMS s >");
        assert!(rig.line("XREADGROUP GROUP g c STREAMS s s s s 0 0 0 0").starts_with("-ERR the reply would be longer"));
        assert!(rig.line("XCLAIM s g c 0 1-0 1-0 1-0 1-0").starts_with("-ERR the reply would be longer"));
        assert!(rig.edits.is_empty());
    }
}
