//! XINFO: what streams, groups and consumers tell of themselves.

use super::parse::integer_argument;
use super::registry::row::{ANY_TIME, READ, VARIES, key, stream};
use super::registry::{Categories, Flags, Group as Topic, KeyFlags, KeySpec, Spec};
use super::stream_counts::Extent;
use super::stream_groups::reply_no_group;
use super::stream_reads::{write_event, write_events};
use super::{Plan, Planned, Refused};
use crate::encoding::event::EventId;
use crate::encoding::resp::Reply;
use crate::store::{Consumer, EventRef, Group, Numbers, StreamRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[Spec::new(Topic::Stream, "xinfo", -2, "")
    .flags(Flags::NONE, Categories::NONE)
    .about("5.0.0", "Depends on the subcommand", "Tells about streams, groups and consumers")
    .subcommands(XINFO)];

const XINFO: &[Spec] = &[
    stream("xinfo|consumers", |p, _| p.xinfo_consumers(), 4, "key group", READ).keys(TOLD).tips(VARIES).about(
        "5.0.0",
        "O(N), N being the number of consumers",
        "Tells about the consumers of a group",
    ),
    stream("xinfo|groups", |p, _| p.xinfo_groups(), 3, "key", READ).keys(TOLD).about(
        "5.0.0",
        "O(N), N being the number of groups",
        "Tells about the groups of a stream",
    ),
    Spec::new(Topic::Stream, "xinfo|help", 2, "").flags(ANY_TIME, Categories::STREAM).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of XINFO",
    ),
    stream("xinfo|stream", |p, _| p.xinfo_stream(), -3, "key [FULL [COUNT count]]", READ).keys(TOLD).about(
        "5.0.0",
        "O(1); with FULL, O(N), N being the number of entries, groups, consumers and pending entries returned",
        "Tells about a stream",
    ),
];

const TOLD: &[KeySpec] = &[key(2, KeyFlags::RO.and(KeyFlags::ACCESS))];

/// Number of entries that XINFO STREAM FULL returns if it is not told how many.
const COUNT: i64 = 10;

impl<'p> Plan<'p, '_, '_> {
    /// Stream at the key after the subcommand.
    fn told_stream(&mut self) -> Result<StreamRef<'p>, Refused> {
        self.stream_at(self.slot(), self.args.at(2))?.ok_or(Refused::Because("ERR no such key"))
    }

    /// XINFO CONSUMERS key group
    pub(super) fn xinfo_consumers(&mut self) -> Planned {
        let stream = self.told_stream()?;
        let (key, name) = (self.args.at(2), self.args.at(3));
        let Some(group) = stream.group(name) else {
            let parts = [b"NOGROUP No such consumer group '", name, b"' for key name '", key, b"'"];
            reply_no_group(self.reply, parts);
            return Ok(());
        };
        let now = self.context.now.get().cast_signed();
        self.reply.array(group.consumer_count());
        for consumer in group.consumers() {
            self.reply.map(4);
            field(self.reply, "name").bulk(&consumer.name);
            field(self.reply, "pending").count(consumer.pending_count());
            field(self.reply, "idle").int(now.wrapping_sub(consumer.seen.cast_signed()).max(0));
            let inactive = consumer.active.map_or(-1, |active| now.wrapping_sub(active.cast_signed()));
            field(self.reply, "inactive").int(inactive);
        }
        Ok(())
    }

    /// XINFO GROUPS key
    pub(super) fn xinfo_groups(&mut self) -> Planned {
        let stream = self.told_stream()?;
        let extent = Extent::of(stream);
        self.reply.array(stream.group_count());
        for group in stream.groups() {
            self.reply.map(6);
            field(self.reply, "name").bulk(&group.name);
            field(self.reply, "consumers").count(group.consumer_count());
            field(self.reply, "pending").count(group.pending_count());
            write_position(self.reply, group, &extent);
        }
        Ok(())
    }

    /// XINFO STREAM key [FULL [COUNT count]]
    pub(super) fn xinfo_stream(&mut self) -> Planned {
        let stream = self.told_stream()?;
        let is = |at: usize, word: &[u8]| self.args.get(at).is_some_and(|own| own.eq_ignore_ascii_case(word));
        let count = match self.args.len() {
            3 => None,
            4 if is(3, b"FULL") => Some(COUNT),
            6 if is(3, b"FULL") && is(4, b"COUNT") => Some(integer_argument(self.args.at(5))?),
            _ => {
                self.reply_subcommand("XINFO");
                return Ok(());
            }
        };
        let Numbers { last, greatest_deleted, added } = stream.numbers();
        let extent = Extent::of(stream);
        let reply = &mut *self.reply;
        reply.map(if count.is_some() { 9 } else { 10 });
        field(reply, "length").count(stream.len());
        field(reply, "radix-tree-keys").count(stream.block_count());
        field(reply, "radix-tree-nodes").count(stream.block_count() + stream.page_count());
        field(reply, "last-generated-id").bulk(last.text().as_bytes());
        field(reply, "max-deleted-entry-id").bulk(greatest_deleted.text().as_bytes());
        field(reply, "entries-added").int(added.cast_signed());
        field(reply, "recorded-first-entry-id").bulk(extent.first.text().as_bytes());
        let Some(count) = count else {
            field(reply, "groups").count(stream.group_count());
            write_end(field(reply, "first-entry"), stream.first());
            write_end(field(reply, "last-entry"), stream.last());
            return Ok(());
        };
        let count = match count {
            ..0 => COUNT as usize,
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let (first, last) = (EventId::ZERO, EventId::MAX);
        field(reply, "entries").array_of(|reply| write_events(stream, first, last, count, false, reply));
        field(reply, "groups").array(stream.group_count());
        stream.groups().for_each(|group| write_group(reply, group, &extent, count));
        Ok(())
    }
}

/// Appends the name of a field; its value must follow.
fn field<'r, 'b>(reply: &'r mut Reply<'b>, name: &str) -> &'r mut Reply<'b> {
    reply.bulk(name.as_bytes());
    reply
}

fn write_end(reply: &mut Reply<'_>, event: Option<EventRef<'_>>) {
    match event {
        Some(event) => write_event(event, reply),
        None => reply.null(),
    }
}

/// Appends the fields that tell how far a group has read.
fn write_position(reply: &mut Reply<'_>, group: &Group, extent: &Extent) {
    field(reply, "last-delivered-id").bulk(group.last_delivered.text().as_bytes());
    write_count(field(reply, "entries-read"), group.read.map(u64::cast_signed));
    write_count(field(reply, "lag"), extent.lag(group));
}

fn write_count(reply: &mut Reply<'_>, count: Option<i64>) {
    match count {
        Some(count) => reply.int(count),
        None => reply.null(),
    }
}

/// Appends all about a group, with at most `count` pending entries of the group and of each consumer.
fn write_group(reply: &mut Reply<'_>, group: &Group, extent: &Extent, count: usize) {
    reply.map(7);
    field(reply, "name").bulk(&group.name);
    write_position(reply, group, extent);
    field(reply, "pel-count").count(group.pending_count());
    field(reply, "pending").array(group.pending_count().min(count));
    for pending in group.pending_from(EventId::ZERO).take(count) {
        reply.array(4);
        reply.bulk(pending.id.text().as_bytes());
        reply.bulk(group.owner(pending));
        reply.int(pending.delivered_at.cast_signed());
        reply.int(pending.deliveries.cast_signed());
    }
    field(reply, "consumers").array(group.consumer_count());
    group.consumers().for_each(|consumer| write_consumer(reply, group, consumer, count));
}

fn write_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    field(reply, "name").bulk(&consumer.name);
    field(reply, "seen-time").int(consumer.seen.cast_signed());
    field(reply, "active-time").int(consumer.active.map_or(-1, u64::cast_signed));
    field(reply, "pel-count").count(consumer.pending_count());
    field(reply, "pending").array_of(|reply| {
        let own = consumer.pending_from(EventId::ZERO).take(count).filter_map(|id| group.pending(id));
        own.map(|pending| {
            reply.array(3);
            reply.bulk(pending.id.text().as_bytes());
            reply.int(pending.delivered_at.cast_signed());
            reply.int(pending.deliveries.cast_signed());
        })
        .count()
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn a_stream_tells_all_about_itself() {
        let mut rig = Rig::new();
        rig.now = 1000;
        rig.line("XADD s 1-0 a 1");
        rig.line("XADD s 2-0 a 2");
        rig.line("XGROUP CREATE s g 0");
        rig.line("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        rig.now = 1070;
        rig.line("XREADGROUP GROUP g c STREAMS s 5");
        let head = "$6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :1 $17 last-generated-id $3 2-0 \
                    $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-0";
        let first = "*2 $3 1-0 *2 $1 a $1 1";
        let last = "*2 $3 2-0 *2 $1 a $1 2";
        let short = format!("*20 {head} $6 groups :1 $11 first-entry {first} $10 last-entry {last}");
        assert_eq!(rig.line("XINFO STREAM s"), short);
        let group = "$4 name $1 g $17 last-delivered-id $3 1-0 $12 entries-read :1 $3 lag :1 $9 pel-count :1 $7 pending \
                     *1 *4 $3 1-0 $1 c :1000 :1 $9 consumers *1 *10 $4 name $1 c $9 seen-time :1070 $11 active-time :1000 \
                     $9 pel-count :1 $7 pending *1 *3 $3 1-0 :1000 :1";
        let full = format!("*18 {head} $7 entries *1 {first} $6 groups *1 *14 {group}");
        assert_eq!(rig.line("XINFO STREAM s FULL COUNT 1"), full);
        let consumers = "*1 *8 $4 name $1 c $7 pending :1 $4 idle :0 $8 inactive :70";
        assert_eq!(rig.line("XINFO CONSUMERS s g"), consumers);
        assert_eq!(rig.line("XINFO STREAM none"), "-ERR no such key");
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'stream'. Try XINFO HELP.";
        assert_eq!(rig.line("XINFO stream s FULL COUNT"), wrong);
    }
}
