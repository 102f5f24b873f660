//! Commands on consumer groups: XGROUP, XREADGROUP, XACK, XACKDEL.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;

use super::parse::integer_argument;
use super::registry::row::{ANY_TIME, CHANGED, PUT, WRITE_FAST, key, stream, streams};
use super::registry::{Categories, Flags, Group as Topic, KeyFlags, KeySpec, Route, Spec};
use super::stream_counts::Extent;
use super::stream_ids::{bound, exact};
use super::stream_reads::{Reading, among_streams, begin_stream, begin_streams, first_behind, write_event};
use super::stream_trims::{References, is_referenced};
use super::streams::{exact_ids, ids_option};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Assignment, Change, EventIds, PendingEvents, StreamChange};
use crate::encoding::event::EventId;
use crate::encoding::resp::Reply;
use crate::ids::Slot;
use crate::store::{Consumer, Group, StreamRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    stream("xack", |p, _| p.xack(), -4, "key group id ...", WRITE_FAST).keys(CHANGED).about(
        "5.0.0",
        "O(log N) for each entry, N being the number of pending entries",
        "Acknowledges entries that a consumer of a group has got",
    ),
    stream("xackdel", |p, _| p.xackdel(), -6, "key group [KEEPREF|DELREF|ACKED] <IDS numids id ...>", WRITE_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::UPDATE).and(KeyFlags::DELETE))])
        .about("8.2.0", "O(log N) for each entry and group", "Acknowledges entries and removes them"),
    Spec::new(Topic::Stream, "xgroup", -2, "")
        .flags(Flags::NONE, Categories::NONE)
        .about("5.0.0", "Depends on the subcommand", "Changes the consumer groups of a stream")
        .subcommands(XGROUP),
    streams(
        "xreadgroup",
        |p, _| p.xreadgroup(),
        -7,
        "<GROUP group consumer> [COUNT count] [BLOCK milliseconds] [NOACK] <STREAMS key ... id ...>",
        Flags::WRITE.and(Flags::BLOCKING),
    )
    .route(Route::OneCore)
    .keys(&[among_streams(4)])
    .about(
        "5.0.0",
        "O(N), N being the number of entries returned",
        "Tells a consumer the entries that its group has not read, or those that it has yet to acknowledge",
    ),
];

const XGROUP: &[Spec] = &[
    stream("xgroup|create", |p, _| p.xgroup_create(), -5, "key group <id|$> [MKSTREAM] [ENTRIESREAD entries-read]", PUT)
        .keys(&[key(2, KeyFlags::RW.and(KeyFlags::INSERT))])
        .about("5.0.0", "O(1)", "Makes a group"),
    stream("xgroup|createconsumer", |p, _| p.xgroup_createconsumer(), 5, "key group consumer", PUT)
        .keys(&[key(2, KeyFlags::RW.and(KeyFlags::INSERT))])
        .about("6.2.0", "O(1)", "Makes a consumer in a group"),
    stream("xgroup|delconsumer", |p, _| p.xgroup_delconsumer(), 5, "key group consumer", Flags::WRITE)
        .keys(REMOVED_FROM)
        .about("5.0.0", "O(N), N being the number of entries pending with it", "Removes a consumer from a group"),
    stream("xgroup|destroy", |p, _| p.xgroup_destroy(), 4, "key group", Flags::WRITE).keys(REMOVED_FROM).about(
        "5.0.0",
        "O(N), N being the number of pending entries",
        "Removes a group",
    ),
    Spec::new(Topic::Stream, "xgroup|help", 2, "").flags(ANY_TIME, Categories::STREAM).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of XGROUP",
    ),
    stream("xgroup|setid", |p, _| p.xgroup_setid(), -5, "key group <id|$> [ENTRIESREAD entries-read]", Flags::WRITE)
        .keys(&[key(2, KeyFlags::RW.and(KeyFlags::UPDATE))])
        .about("5.0.0", "O(1)", "Sets how far a group has read"),
];

const REMOVED_FROM: &[KeySpec] = &[key(2, KeyFlags::RW.and(KeyFlags::DELETE))];

const NO_STREAM: Refused = Refused::Because(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
);

/// Replies that a stream has no such group, in words that differ between commands.
pub(super) fn reply_no_group(reply: &mut Reply<'_>, parts: [&[u8]; 5]) {
    let text = parts.map(|part| &part[..memchr::memchr(0, part).unwrap_or(part.len())]);
    reply.error_bytes(&text.concat());
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// Plans a change of the stream at `key`.
    pub(super) fn edit_stream(&mut self, slot: Slot, key: &'a [u8], change: StreamChange<'a>) {
        self.edit(self.context.db, slot, key, Change::Stream(change));
    }

    /// Group that the first key's stream has under the name in argument `at`; `None` if there is no such key or group.
    pub(super) fn group_of_first(&mut self, at: usize) -> Result<Option<(StreamRef<'p>, &'p Group)>, Refused> {
        let name = self.args.at(at);
        Ok(self.first_stream()?.and_then(|stream| Some((stream, stream.group(name)?))))
    }

    /// Group that a subcommand of XGROUP names. `None` if there is none; then an error has been replied.
    fn subject_group(&mut self) -> Result<Option<(StreamRef<'p>, &'p Group)>, Refused> {
        let (key, name) = (self.args.at(2), self.args.at(3));
        let stream = self.stream_at(self.slot(), key)?.ok_or(NO_STREAM)?;
        let Some(group) = stream.group(name) else {
            let parts = [b"NOGROUP No such consumer group '", name, b"' for key name '", key, b"'"];
            reply_no_group(self.reply, parts);
            return Ok(None);
        };
        Ok(Some((stream, group)))
    }

    /// Parses the options of XGROUP CREATE and SETID: MKSTREAM, and the number of entries read. `None` if they are wrong;
    /// then an error has been replied.
    fn group_options(&mut self, of_create: bool) -> Result<Option<(bool, Option<u64>)>, Refused> {
        let (mut make, mut read) = (false, None);
        let mut words = self.args.from(5);
        while let Some(word) = words.next() {
            if of_create && word.eq_ignore_ascii_case(b"MKSTREAM") {
                make = true;
                continue;
            }
            let Some(number) = words.next().filter(|_| word.eq_ignore_ascii_case(b"ENTRIESREAD")) else {
                self.reply_subcommand("XGROUP");
                return Ok(None);
            };
            let number = integer_argument(number)?;
            if number < -1 {
                return Err(Refused::Because("ERR value for ENTRIESREAD must be positive or -1"));
            }
            read = u64::try_from(number).ok();
        }
        if self.args.len() > 8 {
            self.reply_subcommand("XGROUP");
            return Ok(None);
        }
        Ok(Some((make, read)))
    }

    /// Replies that the arguments of a subcommand of `parent` are wrong.
    pub(super) fn reply_subcommand(&mut self, parent: &str) {
        let name = self.args.at(1);
        let name = &name[..name.len().min(128)];
        let text = b"ERR unknown subcommand or wrong number of arguments for '";
        self.reply.error_bytes(&[text, name, b"'. Try ", parent.as_bytes(), b" HELP."].concat());
    }

    /// XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]
    pub(super) fn xgroup_create(&mut self) -> Planned {
        let Some((make, read)) = self.group_options(true)? else { return Ok(()) };
        let (slot, key, name) = (self.slot(), self.args.at(2), self.args.at(3));
        let stream = self.stream_at(slot, key)?;
        if stream.is_none() && !make {
            return Err(NO_STREAM);
        }
        let numbers = stream.map(StreamRef::numbers).unwrap_or_default();
        let last_delivered = match self.args.at(4) {
            b"$" => numbers.last,
            id => exact(id, 0)?,
        };
        if stream.is_some_and(|stream| stream.group(name).is_some()) {
            return Err(Refused::Because("BUSYGROUP Consumer Group name already exists"));
        }
        let read = read.map(|read| read.min(numbers.added));
        self.edit_stream(slot, key, StreamChange::PutGroup { group: name.into(), last_delivered, read });
        self.reply.ok();
        Ok(())
    }

    /// XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]
    pub(super) fn xgroup_setid(&mut self) -> Planned {
        let Some((_, read)) = self.group_options(false)? else { return Ok(()) };
        let Some((stream, _)) = self.subject_group()? else { return Ok(()) };
        let last_delivered = match self.args.at(4) {
            b"$" => stream.numbers().last,
            id => bound(id, 0)?,
        };
        let (key, group) = (self.args.at(2), self.args.at(3).into());
        let read = read.map(|read| read.min(stream.numbers().added));
        self.edit_stream(self.slot(), key, StreamChange::PutGroup { group, last_delivered, read });
        self.reply.ok();
        Ok(())
    }

    /// XGROUP DESTROY key group
    pub(super) fn xgroup_destroy(&mut self) -> Planned {
        let (slot, key, name) = (self.slot(), self.args.at(2), self.args.at(3));
        let stream = self.stream_at(slot, key)?.ok_or(NO_STREAM)?;
        let found = stream.group(name).is_some();
        if found {
            self.edit_stream(slot, key, StreamChange::RemoveGroup(name.into()));
        }
        self.reply.int(found.into());
        Ok(())
    }

    /// XGROUP CREATECONSUMER key group consumer
    pub(super) fn xgroup_createconsumer(&mut self) -> Planned {
        let Some((_, group)) = self.subject_group()? else { return Ok(()) };
        let (key, name, consumer) = (self.args.at(2), self.args.at(3), self.args.at(4));
        let is_new = group.consumer_named(consumer).is_none();
        if is_new {
            let seen = self.context.now.get();
            let put = Assignment { group: name.into(), consumer: consumer.into(), seen, ..Assignment::default() };
            self.edit_stream(self.slot(), key, StreamChange::PutConsumer(Box::new(put)));
        }
        self.reply.int(is_new.into());
        Ok(())
    }

    /// XGROUP DELCONSUMER key group consumer
    pub(super) fn xgroup_delconsumer(&mut self) -> Planned {
        let Some((_, group)) = self.subject_group()? else { return Ok(()) };
        let (key, name, consumer) = (self.args.at(2), self.args.at(3), self.args.at(4));
        let found = group.consumer_named(consumer);
        if found.is_some() {
            let change = StreamChange::RemoveConsumer { group: name.into(), consumer: consumer.into() };
            self.edit_stream(self.slot(), key, change);
        }
        self.reply.count(found.map_or(0, |consumer| consumer.pending_count()));
        Ok(())
    }

    /// XACK key group id ...
    pub(super) fn xack(&mut self) -> Planned {
        let Some((_, group)) = self.group_of_first(2)? else {
            self.reply.int(0);
            return Ok(());
        };
        let mut seen = HashSet::new();
        let ids = exact_ids(self.args.from(3))?.into_iter();
        let ids: EventIds<'static> = ids.filter(|id| group.pending(*id).is_some() && seen.insert(*id)).collect();
        self.reply.count(ids.len());
        self.acknowledge(ids);
        Ok(())
    }

    /// Plans to remove what is pending of these entries in the first key's group that argument 2 names.
    fn acknowledge(&mut self, ids: EventIds<'a>) {
        if !ids.is_empty() {
            let group = Cow::Borrowed(self.args.at(2));
            self.edit_first(Change::Stream(StreamChange::RemovePending { group, ids }));
        }
    }

    /// XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id ...
    pub(super) fn xackdel(&mut self) -> Planned {
        let (references, texts) = ids_option(self.args, 3)?;
        let Some((stream, group)) = self.group_of_first(2)? else {
            self.reply.array(texts.len());
            texts.for_each(|_| self.reply.int(-1));
            return Ok(());
        };
        let ids = exact_ids(texts)?;
        self.reply.array(ids.len());
        let (mut acknowledged, mut deleted, mut seen) = (EventIds::default(), EventIds::default(), HashSet::new());
        for id in ids {
            if group.pending(id).is_none() || !seen.insert(id) {
                self.reply.int(-1);
                continue;
            }
            acknowledged.push(id);
            if references == References::Acked && is_referenced(stream, Some(group), id) {
                self.reply.int(2);
                continue;
            }
            deleted.push(id);
            self.reply.int(1);
        }
        self.acknowledge(acknowledged);
        self.remove(stream, deleted, references == References::Delete);
        Ok(())
    }

    /// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key ... id ...
    pub(super) fn xreadgroup(&mut self) -> Planned {
        let reading = Reading::parse(self.args, true)?;
        let Some((name, consumer)) = reading.group else {
            return Err(Refused::Because("ERR Missing GROUP option for XREADGROUP"));
        };
        let mut sources = Vec::with_capacity(reading.streams);
        for (slot, key, id) in reading.each(self.args) {
            let stream = self.stream_at(slot, key)?;
            let Some((stream, group)) = stream.and_then(|stream| Some((stream, stream.group(name)?))) else {
                let parts = [b"NOGROUP No such key '", key, b"' or consumer group '", name, NO_GROUP_END];
                reply_no_group(self.reply, parts);
                return Ok(());
            };
            sources.push((slot, key, stream, group, behind(id)?));
        }
        // Streams by key: one that is named twice is read twice, the second time as the first has left it.
        let mut progress = BTreeMap::new();
        let (mut parts, mut replies) = (0, Vec::new());
        for (slot, key, stream, group, behind) in sources {
            let progress = progress.entry(key).or_insert_with(|| Progress::of(slot, stream, group, consumer));
            let mut reply = Reply::new(&mut replies, self.reply.protocol());
            let before = reply.written();
            begin_stream(&mut reply, key);
            let served = match behind {
                Some(behind) => {
                    progress.repeat(behind, reading.count, &mut reply);
                    true
                }
                None => progress.deliver(reading.count, reading.noack, self.context.now.get(), &mut reply),
            };
            parts += usize::from(served);
            if !served {
                reply.take_back(before);
            }
            if reply.written() > self.context.max_reply {
                return Err(TOO_LONG);
            }
        }
        for (key, progress) in progress {
            progress.edits(name, consumer, self.context.now.get(), |slot, change| self.edit_stream(slot, key, change));
        }
        match parts {
            0 if reading.blocks => return self.wait(),
            0 => self.reply.null_array(),
            parts => {
                begin_streams(self.reply, parts);
                self.reply.raw(&replies);
            }
        }
        Ok(())
    }
}

const NO_GROUP_END: &[u8] = b"' in XREADGROUP with GROUP option";
const TOO_LONG: Refused = Refused::Because("ERR the reply would be longer than limits.output_buffer_bytes");

/// Parses an id of XREADGROUP: that of the entry before the first one wanted; `None` for those that nobody has got.
fn behind(text: &[u8]) -> Result<Option<EventId>, Refused> {
    match text {
        b">" => Ok(None),
        b"$" => Err(Refused::Because(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
        )),
        b"+" => Err(Refused::Because(
            "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
        )),
        // Redis has the greatest id stand for `>`.
        id => exact(id, 0).map(|id| Some(id).filter(|id| *id != EventId::MAX)),
    }
}

/// What one command reads of a stream for a consumer, and what it leaves behind.
struct Progress<'p> {
    slot: Slot,
    stream: StreamRef<'p>,
    group: &'p Group,
    consumer: Option<&'p Consumer>,
    extent: Extent,
    last_delivered: EventId,
    read: Option<u64>,
    active: Option<u64>,
    /// Entries delivered by this command, with how often each has been delivered by now.
    delivered: BTreeMap<EventId, u64>,
}

impl<'p> Progress<'p> {
    fn of(slot: Slot, stream: StreamRef<'p>, group: &'p Group, consumer: &[u8]) -> Self {
        let consumer = group.consumer_named(consumer);
        Self {
            slot,
            stream,
            group,
            consumer,
            extent: Extent::of(stream),
            last_delivered: group.last_delivered,
            read: group.read,
            active: consumer.and_then(|consumer| consumer.active),
            delivered: BTreeMap::new(),
        }
    }

    /// Delivers entries that the group has not read. Returns whether there are any.
    fn deliver(&mut self, count: usize, noack: bool, now: u64, reply: &mut Reply<'_>) -> bool {
        let Some(first) = first_behind(self.stream, self.last_delivered) else { return false };
        let stream = self.stream;
        reply.array_of(|reply| {
            let mut delivered = 0;
            let _: ControlFlow<()> = stream.visit(first, EventId::MAX, |event| {
                self.read = self.extent.read_after(event.id, self.last_delivered, self.read);
                self.last_delivered = event.id;
                write_event(event, reply);
                if !noack {
                    self.active = Some(now);
                    self.delivered.insert(event.id, 1);
                }
                delivered += 1;
                if delivered < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            delivered
        });
        true
    }

    /// Delivers entries again that are pending with the consumer, behind the id `behind`.
    fn repeat(&mut self, behind: EventId, count: usize, reply: &mut Reply<'_>) {
        let Some(from) = behind.next() else { return reply.array(0) };
        let pending = self.consumer.into_iter().flat_map(|consumer| consumer.pending_from(from).take(count));
        let own = self.delivered.range(from..).map(|(id, _)| *id).take(count);
        let ids: BTreeSet<EventId> = pending.chain(own).collect();
        let ids = ids.into_iter().take(count);
        reply.array_of(|reply| {
            let mut repeated = 0;
            for id in ids {
                repeated += 1;
                let Some(event) = self.stream.get(id) else {
                    reply.array(2);
                    reply.bulk(id.text().as_bytes());
                    reply.null_array();
                    continue;
                };
                write_event(event, reply);
                let before = self.group.pending(id).map_or(0, |pending| pending.deliveries);
                let deliveries = self.delivered.entry(id).or_insert(before);
                *deliveries = deliveries.wrapping_add(1);
            }
            repeated
        });
    }

    /// Calls `edit` with the changes that make up the progress.
    fn edits<'a>(
        self,
        group: &'a [u8],
        consumer: &'a [u8],
        now: u64,
        mut edit: impl FnMut(Slot, StreamChange<'a>),
    ) {
        if (self.last_delivered, self.read) != (self.group.last_delivered, self.group.read) {
            let (last_delivered, read) = (self.last_delivered, self.read);
            edit(self.slot, StreamChange::PutGroup { group: group.into(), last_delivered, read });
        }
        let known = self.consumer.map(|consumer| (consumer.seen, consumer.active));
        if self.delivered.is_empty() && known == Some((now, self.active)) {
            return;
        }
        let mut pending = PendingEvents::default();
        self.delivered.into_iter().for_each(|(id, deliveries)| pending.push(id, deliveries));
        let put = Assignment {
            group: group.into(),
            consumer: consumer.into(),
            seen: now,
            active: self.active,
            pending,
            delivered_at: now,
        };
        edit(self.slot, StreamChange::PutConsumer(Box::new(put)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    fn rig() -> Rig {
        let mut rig = Rig::new();
        (1..=4).for_each(|n| drop(rig.line(&format!("XADD s {n}-0 a {n}"))));
        rig.line("XGROUP CREATE s g 0");
        rig
    }

    #[test]
    fn an_entry_is_delivered_once_and_pending_until_it_is_acknowledged() {
        let mut rig = rig();
        assert!(rig.line("XREADGROUP GROUP g one COUNT 3 STREAMS s >").ends_with("$3 3-0 *2 $1 a $1 3"));
        assert!(rig.line("XREADGROUP GROUP g two STREAMS s >").contains("*1 *2 $3 4-0"));
        assert_eq!(rig.line("XREADGROUP GROUP g two STREAMS s >"), "*-1");
        assert_eq!(rig.line("XPENDING s g"), "*4 :4 $3 1-0 $3 4-0 *2 *2 $3 one $1 3 *2 $3 two $1 1");
        rig.now += 50;
        assert!(rig.line("XREADGROUP GROUP g one COUNT 1 STREAMS s 1").contains("*1 *2 $3 2-0"));
        assert_eq!(rig.line("XPENDING s g - + 2"), "*2 *4 $3 1-0 $3 one :50 :1 *4 $3 2-0 $3 one :0 :2");
        assert_eq!(rig.line("XACK s g 1-0 1-0 2-0 9-0"), ":2");
        assert_eq!(rig.line("XGROUP DELCONSUMER s g one"), ":1");
        assert_eq!(rig.line("XPENDING s g"), "*4 :1 $3 4-0 $3 4-0 *1 *2 $3 two $1 1");
        rig.line("XDEL s 4-0");
        assert_eq!(rig.line("XREADGROUP GROUP g two STREAMS s 0"), "*1 *2 $1 s *1 *2 $3 4-0 *-1");
    }

    #[test]
    fn what_needs_no_acknowledgement_is_not_pending() {
        let mut rig = rig();
        rig.line("XREADGROUP GROUP g one NOACK COUNT 2 STREAMS s >");
        assert!(rig.line("XPENDING s g").starts_with("*4 :0 "));
        assert!(rig.line("XINFO GROUPS s").contains("last-delivered-id $3 2-0 $12 entries-read :2 $3 lag :2"));
        assert!(rig.line("XINFO CONSUMERS s g").ends_with("$8 inactive :-1"));
    }

    #[test]
    fn names_that_look_like_options_lead_nobody_to_another_key() {
        let mut rig = rig();
        let reply = rig.line("XREADGROUP NOACK GROUP g STREAMS COUNT 1 STREAMS s >");
        assert_eq!(reply, "*1 *2 $1 s *1 *2 $3 1-0 *2 $1 a $1 1");
        assert!(rig.line("XINFO GROUPS s").contains("last-delivered-id $3 1-0"));
    }

    #[test]
    fn a_stream_that_is_named_twice_is_read_on() {
        let mut rig = rig();
        let reply = rig.line("XREADGROUP GROUP g one COUNT 2 STREAMS s s > >");
        assert!(reply.starts_with("*2 ") && reply.ends_with("$3 4-0 *2 $1 a $1 4"), "{reply}");
        let reply = rig.line("XREADGROUP GROUP g one COUNT 3 STREAMS s s 0 0");
        assert!(reply.starts_with("*2 ") && rig.line("XPENDING s g - + 1").ends_with(":3"), "{reply}");
    }

    #[test]
    fn lag_is_told_where_it_can_be_known() {
        let mut rig = rig();
        let lag = |rig: &mut Rig| {
            let reply = rig.line("XINFO GROUPS s");
            reply[reply.rfind("entries-read ").unwrap() + 13..].to_owned()
        };
        assert_eq!(lag(&mut rig), "$-1 $3 lag :4");
        rig.line("XREADGROUP GROUP g one COUNT 1 STREAMS s >");
        assert_eq!(lag(&mut rig), ":1 $3 lag :3");
        rig.line("XDEL s 3-0");
        assert_eq!(lag(&mut rig), ":1 $3 lag $-1");
        rig.line("XREADGROUP GROUP g one STREAMS s >");
        assert_eq!(lag(&mut rig), ":4 $3 lag :0");
        rig.line("XGROUP SETID s g 0 ENTRIESREAD 9");
        rig.line("XTRIM s MAXLEN 1");
        assert_eq!(lag(&mut rig), ":4 $3 lag :1");
    }

    #[test]
    fn groups_are_made_only_where_they_may_be() {
        let mut rig = rig();
        assert!(rig.line("XGROUP CREATE none g 0").starts_with("-ERR The XGROUP subcommand requires the key to exist"));
        assert_eq!(rig.line("XGROUP CREATE none g $ MKSTREAM"), "+OK");
        assert_eq!((rig.line("XLEN none"), rig.line("EXISTS none")), (":0".into(), ":1".into()));
        assert_eq!(rig.line("XGROUP CREATE s g 0"), "-BUSYGROUP Consumer Group name already exists");
        assert_eq!(rig.line("XGROUP CREATECONSUMER s g c"), ":1");
        assert_eq!(rig.line("XGROUP CREATECONSUMER s g c"), ":0");
        assert!(rig.line("XGROUP SETID s none 0").starts_with("-NOGROUP No such consumer group 'none' for key name 's'"));
        assert_eq!(rig.line("XGROUP DESTROY s g"), ":1");
        assert_eq!(rig.line("XGROUP DESTROY s g"), ":0");
        let gone = rig.line("XREADGROUP GROUP g c STREAMS s >");
        assert_eq!(gone, "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    }

    #[test]
    fn acknowledged_entries_are_deleted_unless_others_need_them() {
        let mut rig = rig();
        rig.line("XGROUP CREATE s h 0");
        rig.line("XREADGROUP GROUP g c STREAMS s >");
        rig.line("XREADGROUP GROUP h c COUNT 2 STREAMS s >");
        assert_eq!(rig.line("XACKDEL s g ACKED IDS 3 1-0 1-0 3-0"), "*3 :2 :-1 :2");
        assert_eq!(rig.line("XACKDEL s h ACKED IDS 1 1-0"), "*1 :1");
        assert_eq!(rig.line("XACKDEL s g DELREF IDS 1 2-0"), "*1 :1");
        assert!(rig.line("XPENDING s h").starts_with("*4 :0 "));
        assert_eq!(rig.line("XACKDEL s g IDS 1 4-0"), "*1 :1");
        assert_eq!(rig.line("XRANGE s - +"), "*1 *2 $3 3-0 *2 $1 a $1 3");
    }
}
