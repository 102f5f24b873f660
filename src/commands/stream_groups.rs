//! Commands on consumer groups: XGROUP, XACK, XACKDEL.

use std::borrow::Cow;
use std::collections::HashSet;

use super::parse::integer_argument;
use super::registry::row::{ANY_TIME, CHANGED, PUT, WRITE_FAST, key, stream};
use super::registry::{Categories, Flags, Group as Topic, KeyFlags, KeySpec, Spec};
use super::stream_ids::{bound, exact};
use super::stream_trims::{References, is_referenced};
use super::streams::{exact_ids, ids_option};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Assignment, Change, EventIds, StreamChange};
use crate::encoding::resp::Reply;
use crate::ids::Slot;
use crate::store::{Group, StreamRef};

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
];

const XGROUP: &[Spec] = &[
    stream(
        "xgroup|create",
        |p, _| p.xgroup_create(),
        -5,
        "key group <id|$> [MKSTREAM] [ENTRIESREAD entries-read]",
        PUT,
    )
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

    /// Parses the options of XGROUP CREATE and SETID: MKSTREAM, and the number of entries read. `None` if they are
    /// wrong; then an error has been replied.
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
        let group = self.group_of_first(2)?;
        let (references, texts) = ids_option(self.args, 3)?;
        let Some((stream, group)) = group else {
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
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn groups_are_made_only_where_they_may_be() {
        let mut rig = Rig::with_group();
        assert!(rig.line("XGROUP CREATE none g 0").starts_with("-ERR The XGROUP subcommand requires the key to exist"));
        assert_eq!(rig.line("XGROUP CREATE none g $ MKSTREAM"), "+OK");
        assert_eq!((rig.line("XLEN none"), rig.line("EXISTS none")), (":0".into(), ":1".into()));
        assert_eq!(rig.line("XGROUP CREATE s g 0"), "-BUSYGROUP Consumer Group name already exists");
        assert_eq!(rig.line("XGROUP CREATECONSUMER s g c"), ":1");
        assert_eq!(rig.line("XGROUP CREATECONSUMER s g c"), ":0");
        assert!(
            rig.line("XGROUP SETID s none 0").starts_with("-NOGROUP No such consumer group 'none' for key name 's'")
        );
        assert_eq!(rig.line("XGROUP DESTROY s g"), ":1");
        assert_eq!(rig.line("XGROUP DESTROY s g"), ":0");
        let gone = rig.line("XREADGROUP GROUP g c STREAMS s >");
        assert_eq!(gone, "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    }

    #[test]
    fn acknowledged_entries_are_deleted_unless_others_need_them() {
        let mut rig = Rig::with_group();
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
