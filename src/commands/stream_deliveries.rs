//! XREADGROUP: entries are delivered to a consumer of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::registry::row::streams;
use super::registry::{Flags, Route, Spec};
use super::stream_counts::Extent;
use super::stream_groups::reply_no_group;
use super::stream_ids::exact;
use super::stream_reads::{Reading, among_streams, begin_stream, begin_streams, first_behind, write_event};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Assignment, PendingEvents, StreamChange};
use crate::encoding::event::EventId;
use crate::encoding::resp::Reply;
use crate::ids::Slot;
use crate::store::{Consumer, Group, StreamRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[streams(
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
)];

impl<'a> Plan<'_, 'a, '_> {
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
    fn edits<'a>(self, group: &'a [u8], consumer: &'a [u8], now: u64, mut edit: impl FnMut(Slot, StreamChange<'a>)) {
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

    #[test]
    fn an_entry_is_delivered_once_and_pending_until_it_is_acknowledged() {
        let mut rig = Rig::with_group();
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
        let mut rig = Rig::with_group();
        rig.line("XREADGROUP GROUP g one NOACK COUNT 2 STREAMS s >");
        assert!(rig.line("XPENDING s g").starts_with("*4 :0 "));
        assert!(rig.line("XINFO GROUPS s").contains("last-delivered-id $3 2-0 $12 entries-read :2 $3 lag :2"));
        assert!(rig.line("XINFO CONSUMERS s g").ends_with("$8 inactive :-1"));
    }

    #[test]
    fn names_that_look_like_options_lead_nobody_to_another_key() {
        let mut rig = Rig::with_group();
        let reply = rig.line("XREADGROUP NOACK GROUP g STREAMS COUNT 1 STREAMS s >");
        assert_eq!(reply, "*1 *2 $1 s *1 *2 $3 1-0 *2 $1 a $1 1");
        assert!(rig.line("XINFO GROUPS s").contains("last-delivered-id $3 1-0"));
    }

    #[test]
    fn a_stream_that_is_named_twice_is_read_on() {
        let mut rig = Rig::with_group();
        let reply = rig.line("XREADGROUP GROUP g one COUNT 2 STREAMS s s > >");
        assert!(reply.starts_with("*2 ") && reply.ends_with("$3 4-0 *2 $1 a $1 4"), "{reply}");
        let reply = rig.line("XREADGROUP GROUP g one COUNT 3 STREAMS s s 0 0");
        assert!(reply.starts_with("*2 ") && rig.line("XPENDING s g - + 1").ends_with(":3"), "{reply}");
    }

    #[test]
    fn lag_is_told_where_it_can_be_known() {
        let mut rig = Rig::with_group();
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
        // What was trimmed before the group could read it counts as read.
        let mut trimmed = Rig::with_group();
        trimmed.line("XREADGROUP GROUP g one COUNT 1 STREAMS s >");
        trimmed.line("XTRIM s MAXLEN 1");
        assert_eq!(lag(&mut trimmed), ":1 $3 lag :1");
        trimmed.line("XREADGROUP GROUP g one STREAMS s >");
        assert_eq!(lag(&mut trimmed), ":4 $3 lag :0");
        rig.line("XGROUP SETID s g 0 ENTRIESREAD 9");
        rig.line("XTRIM s MAXLEN 1");
        assert_eq!(lag(&mut rig), ":4 $3 lag :1");
    }
}
