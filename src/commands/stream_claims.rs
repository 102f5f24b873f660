//! Commands on what is pending in a consumer group: XPENDING, XCLAIM, XAUTOCLAIM.

use std::collections::BTreeMap;

use super::parse::{integer, integer_argument};
use super::registry::row::{CHANGED, READ, READ_FROM, VARIES, WRITE_FAST, key, stream};
use super::registry::{KeyFlags, Spec};
use super::stream_groups::reply_no_group;
use super::stream_ids::{end, exact, start};
use super::stream_reads::write_event;
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Assignment, Change, EventIds, PendingEvents, StreamChange};
use crate::encoding::event::EventId;
use crate::encoding::resp::Reply;
use crate::store::{EventRef, Group, Pending, StreamRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    stream(
        "xautoclaim",
        |p, _| p.xautoclaim(),
        -6,
        "key group consumer min-idle-time start-id [COUNT count] [JUSTID]",
        WRITE_FAST,
    )
    .keys(&[key(1, KeyFlags::RW.and(KeyFlags::DELETE))])
    .tips(VARIES)
    .about(
        "6.2.0",
        "O(COUNT log N), N being the number of pending entries",
        "Gives a consumer what others have left",
    ),
    stream(
        "xclaim",
        |p, _| p.xclaim(),
        -6,
        "key group consumer min-idle-time id ... [IDLE milliseconds] [TIME unix-time-milliseconds] [RETRYCOUNT count] \
         [FORCE] [JUSTID] [LASTID last-id]",
        WRITE_FAST,
    )
    .keys(CHANGED)
    .tips(VARIES)
    .about(
        "5.0.0",
        "O(log N) for each entry, N being the number of pending entries",
        "Gives a consumer entries that are pending with others",
    ),
    stream(
        "xpending",
        |p, _| p.xpending(),
        -3,
        "key group [[IDLE min-idle-time] start-id end-id count [consumer]]",
        READ,
    )
    .keys(READ_FROM)
    .tips(VARIES)
    .about(
        "5.0.0",
        "O(N), N being the number of entries returned or looked at",
        "Tells what is pending in a group",
    ),
];

/// An entry that a claim is about.
struct Claimed {
    delivered_at: u64,
    deliveries: u64,
}

/// What a claim changes: entries that are pending with the claimer now, and those that are gone (`None`).
#[derive(Default)]
struct Claims(BTreeMap<EventId, Option<Claimed>>);

impl Claims {
    /// Pending entry as it is now: when it was delivered, and how often.
    fn pending(&self, group: &Group, id: EventId) -> Option<(u64, u64)> {
        match self.0.get(&id) {
            Some(claimed) => claimed.as_ref().map(|claimed| (claimed.delivered_at, claimed.deliveries)),
            None => group.pending(id).map(|pending| (pending.delivered_at, pending.deliveries)),
        }
    }
}

/// Options of XCLAIM.
#[derive(Default)]
struct Options {
    delivered_at: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    only_ids: bool,
    last_delivered: EventId,
}

impl Options {
    /// Parses options from argument `at` on. `None` if there is an unknown one; then an error has been replied.
    fn parse(plan: &mut Plan<'_, '_, '_>, at: usize) -> Result<Option<Self>, Refused> {
        let mut options = Self::default();
        let mut words = plan.args.from(at);
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let number = |text: &[u8], refusal| integer(text).ok_or(Refused::Because(refusal));
            if is(b"FORCE") {
                options.force = true;
            } else if is(b"JUSTID") {
                options.only_ids = true;
            } else if is(b"IDLE") && words.len() > 0 {
                let idle = number(words.next().unwrap_or_default(), "ERR Invalid IDLE option argument for XCLAIM")?;
                options.delivered_at = Some(plan.context.now.get().cast_signed().wrapping_sub(idle));
            } else if is(b"TIME") && words.len() > 0 {
                let time = number(words.next().unwrap_or_default(), "ERR Invalid TIME option argument for XCLAIM")?;
                options.delivered_at = Some(time);
            } else if is(b"RETRYCOUNT") && words.len() > 0 {
                let text = words.next().unwrap_or_default();
                let count = number(text, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                options.deliveries = u64::try_from(count).ok();
            } else if is(b"LASTID") && words.len() > 0 {
                options.last_delivered = exact(words.next().unwrap_or_default(), 0)?;
            } else {
                let shown = &word[..memchr::memchr(0, word).unwrap_or(word.len())];
                plan.reply.error_bytes(&[b"ERR Unrecognized XCLAIM option '", shown, b"'"].concat());
                return Ok(None);
            }
        }
        Ok(Some(options))
    }
}

impl<'p> Plan<'p, '_, '_> {
    /// Group of the first key that argument 2 names. `None` if there is none; then an error has been replied.
    fn claimed_group(&mut self) -> Result<Option<(StreamRef<'p>, &'p Group)>, Refused> {
        let found = self.group_of_first(2)?;
        if found.is_none() {
            let (key, group) = (self.args.at(1), self.args.at(2));
            reply_no_group(self.reply, [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"]);
        }
        Ok(found)
    }

    /// XCLAIM key group consumer min-idle-time id ... [options]
    pub(super) fn xclaim(&mut self) -> Planned {
        let Some((stream, group)) = self.claimed_group()? else { return Ok(()) };
        let least_idle = least_idle(self.args.at(4), "ERR Invalid min-idle-time argument for XCLAIM")?;
        let ids: Vec<EventId> = self.args.from(5).map_while(|text| exact(text, 0).ok()).collect();
        let Some(options) = Options::parse(self, 5 + ids.len())? else { return Ok(()) };
        let now = self.context.now.get();
        let delivered_at = options.delivered_at.and_then(|time| u64::try_from(time).ok());
        let delivered_at = delivered_at.filter(|time| *time <= now).unwrap_or(now);
        let (mut claims, mut any) = (Claims::default(), false);
        let begin = self.reply.written();
        let max_reply = self.context.max_reply;
        self.reply.array_of(|reply| {
            let mut claimed = 0;
            for id in ids {
                let pending = claims.pending(group, id);
                let Some(event) = stream.get(id) else {
                    if pending.is_some() {
                        claims.0.insert(id, None);
                    }
                    continue;
                };
                let is_idle = |(at, _): (u64, u64)| idle_for(now, at) >= least_idle;
                if !pending.map_or(options.force, |pending| least_idle == 0 || is_idle(pending)) {
                    continue;
                }
                // What FORCE makes pending counts as delivered once before.
                let deliveries = pending.map_or(1, |(_, deliveries)| deliveries);
                let deliveries = match options.deliveries {
                    Some(given) => given,
                    None => deliveries.wrapping_add(u64::from(!options.only_ids)),
                };
                claims.0.insert(id, Some(Claimed { delivered_at, deliveries }));
                any = true;
                write_claimed(event, options.only_ids, reply);
                claimed += 1;
                if reply.written() - begin > max_reply {
                    break;
                }
            }
            claimed
        });
        self.bound_reply(begin)?;
        let last_delivered = Some(options.last_delivered).filter(|last| *last > group.last_delivered);
        self.claim(group, claims, last_delivered, any, delivered_at);
        Ok(())
    }

    /// Plans what a claim for the consumer in argument 3 changes.
    fn claim(&mut self, group: &Group, claims: Claims, last_delivered: Option<EventId>, any: bool, delivered_at: u64) {
        let (name, consumer) = (self.args.at(2), self.args.at(3));
        if let Some(last_delivered) = last_delivered {
            let change = StreamChange::PutGroup { group: name.into(), last_delivered, read: group.read };
            self.edit_first(Change::Stream(change));
        }
        let gone = claims.0.iter().filter(|(id, claimed)| claimed.is_none() && group.pending(**id).is_some());
        let ids: EventIds<'static> = gone.map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            self.edit_first(Change::Stream(StreamChange::RemovePending { group: name.into(), ids }));
        }
        let mut pending = PendingEvents::default();
        for (id, claimed) in claims.0 {
            claimed.into_iter().for_each(|claimed| pending.push(id, claimed.deliveries));
        }
        let now = self.context.now.get();
        let active = group.consumer_named(consumer).and_then(|consumer| consumer.active);
        let put = Assignment {
            group: name.into(),
            consumer: consumer.into(),
            seen: now,
            active: if any { Some(now) } else { active },
            pending,
            delivered_at,
        };
        self.edit_first(Change::Stream(StreamChange::PutConsumer(Box::new(put))));
    }

    /// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
    pub(super) fn xautoclaim(&mut self) -> Planned {
        /// Number of pending entries looked at for each entry wanted.
        const ATTEMPTS: usize = 10;
        const MOST: i64 = i64::MAX / 16;
        let least_idle = least_idle(self.args.at(4), "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
        let from = start(self.args.at(5))?;
        let (mut count, mut only_ids) = (100, false);
        let mut words = self.args.from(6);
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"COUNT") && words.len() > 0 {
                let number = words.next().and_then(integer).filter(|count| (1..=MOST).contains(count));
                count = number.ok_or(Refused::Because("ERR COUNT must be > 0"))? as usize;
            } else if word.eq_ignore_ascii_case(b"JUSTID") {
                only_ids = true;
            } else {
                return Err(Refused::Syntax);
            }
        }
        let Some((stream, group)) = self.claimed_group()? else { return Ok(()) };
        let now = self.context.now.get();
        let (mut claims, mut gone, mut any) = (Claims::default(), Vec::new(), false);
        let mut attempts = count.saturating_mul(ATTEMPTS);
        let mut pending = group.pending_from(from);
        let mut found = Vec::new();
        let mut elements = Reply::new(&mut found, self.reply.protocol());
        let mut claimed = 0;
        while attempts > 0 && claimed + gone.len() < count {
            attempts -= 1;
            let Some(Pending { id, delivered_at, deliveries, .. }) = pending.next().copied() else { break };
            let Some(event) = stream.get(id) else {
                claims.0.insert(id, None);
                gone.push(id);
                continue;
            };
            if least_idle > 0 && idle_for(now, delivered_at) < least_idle {
                continue;
            }
            let deliveries = deliveries.wrapping_add(u64::from(!only_ids));
            claims.0.insert(id, Some(Claimed { delivered_at: now, deliveries }));
            any = true;
            claimed += 1;
            write_claimed(event, only_ids, &mut elements);
        }
        let next = pending.next().map(|pending| pending.id).unwrap_or_default();
        self.reply.array(3);
        self.reply.bulk(next.text().as_bytes());
        self.reply.array(claimed);
        self.reply.raw(&found);
        self.reply.array(gone.len());
        gone.iter().for_each(|id| self.reply.bulk(id.text().as_bytes()));
        self.claim(group, claims, None, any, now);
        Ok(())
    }

    /// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
    pub(super) fn xpending(&mut self) -> Planned {
        let len = self.args.len();
        if len == 3 {
            if let Some((_, group)) = self.claimed_group()? {
                self.pending_summary(group);
            }
            return Ok(());
        }
        if !(6..=9).contains(&len) {
            return Err(Refused::Syntax);
        }
        let (mut at, mut least_idle) = (3, 0);
        if self.args.at(3).eq_ignore_ascii_case(b"IDLE") {
            least_idle = integer_argument(self.args.at(4))?;
            if len < 8 {
                return Err(Refused::Syntax);
            }
            at = 5;
        }
        let count = usize::try_from(integer_argument(self.args.at(at + 2))?).unwrap_or(0);
        let (from, to) = (start(self.args.at(at))?, end(self.args.at(at + 1))?);
        let Some((_, group)) = self.claimed_group()? else { return Ok(()) };
        let now = self.context.now.get();
        let is_wanted = |pending: &&Pending| pending.id <= to;
        let is_idle = |pending: &&Pending| least_idle == 0 || idle_for(now, pending.delivered_at) >= least_idle;
        let write = |pending: &Pending, reply: &mut Reply<'_>| {
            reply.array(4);
            reply.bulk(pending.id.text().as_bytes());
            reply.bulk(group.owner(pending));
            reply.int(idle_for(now, pending.delivered_at).max(0));
            reply.int(pending.deliveries.cast_signed());
        };
        let consumer = self.args.get(at + 3);
        self.reply.array_of(|reply| match consumer.map(|name| group.consumer_named(name)) {
            None => {
                let all = group.pending_from(from).take_while(is_wanted).filter(is_idle).take(count);
                all.map(|pending| write(pending, reply)).count()
            }
            Some(None) => 0,
            Some(Some(consumer)) => {
                let own = consumer.pending_from(from).filter_map(|id| group.pending(id));
                let own = own.take_while(is_wanted).filter(is_idle).take(count);
                own.map(|pending| write(pending, reply)).count()
            }
        });
        Ok(())
    }

    /// Replies how much is pending in a group, and with whom.
    fn pending_summary(&mut self, group: &Group) {
        self.reply.array(4);
        self.reply.count(group.pending_count());
        let ends = group.pending_from(EventId::ZERO).next().zip(group.last_pending());
        let Some((first, last)) = ends else {
            self.reply.null();
            self.reply.null();
            return self.reply.null_array();
        };
        self.reply.bulk(first.id.text().as_bytes());
        self.reply.bulk(last.id.text().as_bytes());
        self.reply.array_of(|reply| {
            let busy = group.consumers().filter(|consumer| consumer.pending_count() > 0);
            busy.map(|consumer| {
                reply.array(2);
                reply.bulk(&consumer.name);
                reply.bulk(itoa::Buffer::new().format(consumer.pending_count()).as_bytes());
            })
            .count()
        });
    }
}

/// Appends a claimed entry, or its id alone.
fn write_claimed(event: EventRef<'_>, only_id: bool, reply: &mut Reply<'_>) {
    if only_id { reply.bulk(event.id.text().as_bytes()) } else { write_event(event, reply) }
}

/// Parses the time for which an entry must have been idle; negative ones mean none.
fn least_idle(text: &[u8], refusal: &'static str) -> Result<i64, Refused> {
    integer(text).map(|idle| idle.max(0)).ok_or(Refused::Because(refusal))
}

/// Milliseconds since an entry was delivered.
const fn idle_for(now: u64, delivered_at: u64) -> i64 {
    now.cast_signed().wrapping_sub(delivered_at.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    fn rig() -> Rig {
        let mut rig = Rig::with_group();
        rig.line("XREADGROUP GROUP g old COUNT 3 STREAMS s >");
        rig.now += 1000;
        rig
    }

    #[test]
    fn only_what_has_been_idle_is_claimed() {
        let mut rig = rig();
        assert_eq!(rig.line("XCLAIM s g new 1001 1-0"), "*0");
        assert_eq!(rig.line("XCLAIM s g new 1000 1-0 4-0"), "*1 *2 $3 1-0 *2 $1 a $1 1");
        assert_eq!(rig.line("XCLAIM s g new 1 1-0"), "*0");
        assert_eq!(rig.line("XPENDING s g - + 1"), "*1 *4 $3 1-0 $3 new :0 :2");
        assert_eq!(rig.line("XCLAIM s g new 0 2-0 JUSTID IDLE 70 RETRYCOUNT 9"), "*1 $3 2-0");
        assert_eq!(rig.line("XPENDING s g 2 2 1"), "*1 *4 $3 2-0 $3 new :70 :9");
        assert_eq!(rig.line("XPENDING s g - + 9 old"), "*1 *4 $3 3-0 $3 old :1000 :1");
        assert_eq!(rig.line("XPENDING s g IDLE 100 - + 9"), "*1 *4 $3 3-0 $3 old :1000 :1");
    }

    #[test]
    fn force_makes_pending_what_is_not() {
        let mut rig = rig();
        assert_eq!(rig.line("XCLAIM s g new 500 4-0 9-0 FORCE JUSTID LASTID 4-0"), "*1 $3 4-0");
        assert_eq!(rig.line("XPENDING s g 4 4 1"), "*1 *4 $3 4-0 $3 new :0 :1");
        assert!(rig.line("XINFO GROUPS s").contains("last-delivered-id $3 4-0"));
        assert_eq!(rig.line("XCLAIM s g new 0 1-0 MORE"), "-ERR Unrecognized XCLAIM option 'MORE'");
    }

    #[test]
    fn a_claim_of_what_is_deleted_removes_it() {
        let mut rig = rig();
        rig.line("XDEL s 1-0 2-0");
        assert_eq!(rig.line("XCLAIM s g new 0 1-0"), "*0");
        assert!(rig.line("XPENDING s g").starts_with("*4 :2 $3 2-0"));
        assert_eq!(rig.line("XAUTOCLAIM s g new 0 -"), "*3 $3 0-0 *1 *2 $3 3-0 *2 $1 a $1 3 *1 $3 2-0");
        assert!(rig.line("XPENDING s g").starts_with("*4 :1 $3 3-0"));
    }

    #[test]
    fn a_walk_of_claims_goes_on_where_it_was() {
        let mut rig = rig();
        assert_eq!(rig.line("XAUTOCLAIM s g new 1000 - COUNT 2 JUSTID"), "*3 $3 3-0 *2 $3 1-0 $3 2-0 *0");
        assert_eq!(rig.line("XAUTOCLAIM s g new 1000 3-0 COUNT 2 JUSTID"), "*3 $3 0-0 *1 $3 3-0 *0");
        assert_eq!(rig.line("XAUTOCLAIM s g new 1000 - COUNT 2 JUSTID"), "*3 $3 0-0 *0 *0");
        assert_eq!(rig.line("XAUTOCLAIM s g new 0 - COUNT 0"), "-ERR COUNT must be > 0");
    }
}
