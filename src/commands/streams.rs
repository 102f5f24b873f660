//! Commands that change the entries of streams: XADD, XDEL, XDELEX, XTRIM, XSETID; and XLEN.

use std::collections::HashSet;

use super::parse::{integer, integer_argument};
use super::registry::row::{CHANGED, LOOKED_AT, PUT_FAST, READ_FAST, VARIES, WRITE_FAST, key, stream};
use super::registry::{Flags, KeyFlags, KeySpec, Spec};
use super::stream_ids::{Wanted, exact};
use super::stream_trims::{Added, Options, References, is_referenced};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, EventIds, StreamChange};
use crate::encoding::event::{EventId, Events, write_event};
use crate::encoding::resp::Args;
use crate::store::{Numbers, StreamRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    stream(
        "xadd",
        |p, s| p.xadd(s),
        -5,
        "key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [<MAXLEN|MINID> [=|~] threshold [LIMIT count]] <*|id> <field value> ...",
        PUT_FAST,
    )
    .keys(CHANGED)
    .tips(VARIES)
    .about("5.0.0", "O(1); when trimming O(N), N being the number of entries removed", "Adds an entry to a stream"),
    stream("xdel", |p, _| p.xdel(), -3, "key id ...", WRITE_FAST).keys(DELETED_FROM).about(
        "5.0.0",
        "O(1) for each entry",
        "Removes entries and counts those that there were",
    ),
    stream("xdelex", |p, _| p.xdelex(), -5, "key [KEEPREF|DELREF|ACKED] <IDS numids id ...>", WRITE_FAST)
        .keys(DELETED_FROM)
        .about("8.2.0", "O(1) for each entry and group", "Removes entries, with regard to groups that refer to them"),
    stream("xlen", |p, _| p.xlen(), 2, "key", READ_FAST).keys(LOOKED_AT).about("5.0.0", "O(1)", "Counts the entries"),
    stream(
        "xsetid",
        |p, _| p.xsetid(),
        -3,
        "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        PUT_FAST,
    )
    .keys(CHANGED)
    .about("5.0.0", "O(1)", "Sets the last id of a stream, and what it tells of entries that are gone"),
    stream(
        "xtrim",
        |p, _| p.xtrim(),
        -4,
        "key <MAXLEN|MINID> [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]",
        Flags::WRITE,
    )
    .keys(DELETED_FROM)
    .tips(VARIES)
    .about("5.0.0", "O(N), N being the number of entries removed", "Removes the oldest entries of a stream"),
];

const DELETED_FROM: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::DELETE))];

/// Maximum size of the names and values of an entry, in bytes, as in Redis.
const MOST_CONTENT: usize = 1 << 30;

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// XADD key [NOMKSTREAM] [options of a trim] <* | id> field value ...
    pub(super) fn xadd(&mut self, scratch: &'a mut Scratch) -> Planned {
        let (options, at) = Options::parse(self, true)?;
        let fields = self.args.len().saturating_sub(at + 1);
        let Some(id) = options.id.filter(|_| fields >= 2 && fields.is_multiple_of(2)) else {
            return Err(Refused::Arity("xadd"));
        };
        if id == Wanted::Exactly(EventId::ZERO) {
            return Err(Refused::Because("ERR The ID specified in XADD must be greater than 0-0"));
        }
        let stream = self.first_stream()?;
        if stream.is_none() && options.only_existing {
            self.reply.null();
            return Ok(());
        }
        let Numbers { last, added, .. } = stream.map(StreamRef::numbers).unwrap_or_default();
        let id = next_id(id, last, self.context.now.get())?;
        let words = self.args.from(at + 1);
        let content: usize = words.map(<[u8]>::len).sum();
        if content > MOST_CONTENT {
            return Err(Refused::Because("ERR Elements are too large to be stored"));
        }
        self.reply.bulk(id.text().as_bytes());
        scratch.clear();
        write_event(&mut scratch.bytes, id, fields / 2, pairs(self.args, at + 1));
        let events = Events::trusted(&scratch.bytes);
        self.edit_first(Change::Stream(StreamChange::AddEvents { events, added: added + 1 }));
        if let Some(trim) = options.trim {
            let begins_block = stream.is_none_or(|stream| stream.begins_block(content, self.store.packing()));
            self.edits_of_first(trim.of(stream, Some(Added { id, begins_block })).change);
        }
        Ok(())
    }

    /// XLEN key
    pub(super) fn xlen(&mut self) -> Planned {
        let stream = self.first_stream()?;
        self.reply.count(stream.map_or(0, StreamRef::len));
        Ok(())
    }

    /// XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]
    pub(super) fn xtrim(&mut self) -> Planned {
        let (options, _) = Options::parse(self, false)?;
        let (stream, trim) = (self.first_stream()?, options.trim.ok_or(Refused::Syntax)?);
        let trimmed = trim.of(stream, None);
        self.reply.int(trimmed.count as i64);
        self.edits_of_first(trimmed.change);
        Ok(())
    }

    /// Plans the change of the first key, if there is one.
    fn edits_of_first(&mut self, change: Option<Change<'static>>) {
        change.into_iter().for_each(|change| self.edit_first(change));
    }

    /// XDEL key id ...
    pub(super) fn xdel(&mut self) -> Planned {
        let Some(stream) = self.first_stream()? else {
            self.reply.int(0);
            return Ok(());
        };
        let ids = exact_ids(self.args.from(2))?;
        let mut seen = HashSet::new();
        let deleted = ids.into_iter().filter(|id| stream.get(*id).is_some() && seen.insert(*id));
        let deleted: EventIds<'static> = deleted.collect();
        self.reply.count(deleted.len());
        self.remove(stream, deleted, false);
        Ok(())
    }

    /// XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id ...
    pub(super) fn xdelex(&mut self) -> Planned {
        let stream = self.first_stream()?;
        let (references, texts) = ids_option(self.args, 2)?;
        let Some(stream) = stream else {
            self.reply.array(texts.len());
            texts.for_each(|_| self.reply.int(-1));
            return Ok(());
        };
        let ids = exact_ids(texts)?;
        self.reply.array(ids.len());
        let (mut deleted, mut seen) = (EventIds::default(), HashSet::new());
        for id in ids {
            let answer = match stream.get(id).is_some() && !seen.contains(&id) {
                _ if references == References::Acked && is_referenced(stream, None, id) => 2,
                true => 1,
                false => -1,
            };
            let is_pending = || stream.groups().any(|group| group.pending(id).is_some());
            if answer == 1 || references == References::Delete && is_pending() {
                deleted.push(id);
                seen.insert(id);
            }
            self.reply.int(answer);
        }
        self.remove(stream, deleted, references == References::Delete);
        Ok(())
    }

    /// Plans to remove entries of the first key's stream.
    pub(super) fn remove(&mut self, stream: StreamRef<'_>, ids: EventIds<'static>, pending_too: bool) {
        if ids.is_empty() {
            return;
        }
        let greatest = ids.iter().filter(|id| stream.get(*id).is_some()).max().unwrap_or_default();
        let greatest_deleted = greatest.max(stream.numbers().greatest_deleted);
        self.edit_first(Change::Stream(StreamChange::RemoveEvents { ids, greatest_deleted, pending_too }));
    }

    /// XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]
    pub(super) fn xsetid(&mut self) -> Planned {
        let last = exact(self.args.at(2), 0)?;
        let (mut added, mut greatest_deleted) = (None, EventId::ZERO);
        let mut words = self.args.from(3);
        while let Some(word) = words.next() {
            let value = words.next();
            match value {
                Some(value) if word.eq_ignore_ascii_case(b"ENTRIESADDED") => {
                    let number = integer_argument(value)?;
                    let number = u64::try_from(number);
                    added = Some(number.map_err(|_| Refused::Because("ERR entries_added must be positive"))?);
                }
                Some(value) if word.eq_ignore_ascii_case(b"MAXDELETEDID") => {
                    greatest_deleted = exact(value, 0)?;
                    if last < greatest_deleted {
                        return Err(Refused::Because(
                            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                        ));
                    }
                }
                _ => return Err(Refused::Syntax),
            }
        }
        let stream = self.first_stream()?.ok_or(Refused::Because("ERR no such key"))?;
        let old = stream.numbers();
        if last < old.greatest_deleted {
            return Err(Refused::Because(
                "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
            ));
        }
        if stream.last().is_some_and(|event| last < event.id) {
            return Err(Refused::Because("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            return Err(Refused::Because(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
        let greatest_deleted = if greatest_deleted == EventId::ZERO { old.greatest_deleted } else { greatest_deleted };
        let added = added.unwrap_or(old.added);
        self.edit_first(Change::Stream(StreamChange::SetStreamIds { last, greatest_deleted, added }));
        self.reply.ok();
        Ok(())
    }
}

/// Id that an entry gets in a stream whose greatest id is `last`.
fn next_id(wanted: Wanted, last: EventId, now: u64) -> Result<EventId, Refused> {
    let not_newer =
        Refused::Because("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    let Some(next) = last.next() else {
        return Err(Refused::Because("ERR The stream has exhausted the last possible ID, unable to add more items"));
    };
    let id = match wanted {
        Wanted::Auto if now > last.ms => EventId::new(now, 0),
        Wanted::Auto => next,
        // At time 0 the first number is 1, for no entry has the id 0-0.
        Wanted::At(ms) if ms == last.ms => last.seq.checked_add(1).map(|seq| EventId::new(ms, seq)).ok_or(not_newer)?,
        Wanted::At(ms) => EventId::new(ms, 0),
        Wanted::Exactly(id) => id,
    };
    if id > last { Ok(id) } else { Err(not_newer) }
}

/// Names and values from argument `at` on.
fn pairs<'a>(args: Args<'a>, at: usize) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut words = args.from(at);
    std::iter::from_fn(move || words.next().zip(words.next()))
}

/// Parses ids.
pub(super) fn exact_ids<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Result<Vec<EventId>, Refused> {
    texts.map(|text| exact(text, 0)).collect()
}

/// Parses `[KEEPREF | DELREF | ACKED] IDS numids id ...` from argument `at` on. Returns the texts of the ids.
pub(super) fn ids_option(
    args: Args<'_>,
    mut at: usize,
) -> Result<(References, impl ExactSizeIterator<Item = &[u8]>), Refused> {
    let (mut references, mut ids) = (None, None);
    while let Some(word) = args.get(at) {
        if let (Some(named), None) = (References::named(word), references) {
            references = Some(named);
        } else if word.eq_ignore_ascii_case(b"IDS") && args.len() > at + 1 {
            let count =
                integer(args.at(at + 1)).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
            let count = count.ok_or(Refused::Because("ERR Number of IDs must be a positive integer"))?;
            if count > args.len() - at - 2 {
                return Err(Refused::Because("ERR The `numids` parameter must match the number of arguments"));
            }
            ids = Some((at + 2, count));
            at += 1 + count;
        } else {
            return Err(Refused::Syntax);
        }
        at += 1;
    }
    let (first, count) = ids.ok_or(Refused::Syntax)?;
    Ok((references.unwrap_or_default(), args.from(first).take(count)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn ids_are_given_by_the_clock_and_never_go_back() {
        let mut rig = Rig::new();
        rig.now = 1000;
        assert_eq!(rig.line("XADD s * a 1"), "$6 1000-0");
        assert_eq!(rig.line("XADD s * a 1"), "$6 1000-1");
        rig.now = 900;
        assert_eq!(rig.line("XADD s * a 1"), "$6 1000-2");
        assert_eq!(rig.line("XADD s 1000-* a 1"), "$6 1000-3");
        assert_eq!(rig.line("XADD s 1001-* a 1"), "$6 1001-0");
        assert_eq!(rig.line("XADD t 0-* a 1"), "$3 0-1");
        assert!(rig.line("XADD s 1001-0 a 1").contains("equal or smaller than the target stream top item"));
        rig.line("XADD s 18446744073709551615-18446744073709551615 a 1");
        assert!(rig.line("XADD s * a 1").contains("exhausted the last possible ID"));
    }

    #[test]
    fn a_stream_that_has_lost_its_entries_is_still_a_key_with_a_history() {
        let mut rig = Rig::new();
        rig.line("XADD s 1-0 a 1");
        rig.line("XADD s 2-0 a 1");
        assert_eq!(rig.line("XDEL s 1-0 1-0 2-0 3-0"), ":2");
        assert_eq!((rig.line("XLEN s"), rig.line("TYPE s")), (":0".into(), "+stream".into()));
        assert!(rig.line("XADD s 2-0 a 1").starts_with("-ERR The ID specified"));
        assert!(rig.line("XINFO STREAM s").contains("max-deleted-entry-id $3 2-0 $13 entries-added :2"));
        assert!(rig.line("XSETID s 1-9").contains("smaller than current max_deleted_entry_id"));
        assert_eq!(rig.line("XSETID s 9-0 ENTRIESADDED 7 MAXDELETEDID 8-0"), "+OK");
        assert!(rig.line("XINFO STREAM s").contains("last-generated-id $3 9-0 $20 max-deleted-entry-id $3 8-0"));
    }

    #[test]
    fn an_edit_says_what_is_gone_and_not_how_it_was_chosen() {
        let mut rig = Rig::new();
        (1..=250).for_each(|n| drop(rig.line(&format!("XADD s {n}-0 a 1"))));
        // Blocks have 100 entries: only the first one can go as a whole.
        assert_eq!(rig.line("XTRIM s MAXLEN ~ 120"), ":100");
        assert_eq!(rig.edits.len(), 1);
        assert!(rig.edits[0].contains("TrimStream { through: EventId { ms: 100, seq: 0 }"), "{:?}", rig.edits);
        assert_eq!(rig.line("XTRIM s MAXLEN ~ 120"), ":0");
        assert!(rig.edits.is_empty());
        assert_eq!(rig.line("XTRIM s MINID ~ 201 LIMIT 99"), ":0");
        assert_eq!(rig.line("XTRIM s MINID ~ 201 LIMIT 100"), ":100");
        assert_eq!(rig.line("XADD s MAXLEN = 10 300-0 a 1"), "$5 300-0");
        assert_eq!(rig.edits.len(), 2);
        assert_eq!((rig.line("XLEN s"), rig.line("XTRIM s MINID 246")), (":10".into(), ":4".into()));
        assert_eq!(rig.line("XADD s MAXLEN 0 301-0 a 1"), "$5 301-0");
        assert_eq!(rig.line("XLEN s"), ":0");
        assert_eq!(rig.line("XADD t MAXLEN ~ 0 1-0 a 1"), "$3 1-0");
        assert_eq!((rig.line("XLEN t"), rig.line("EXISTS t")), (":0".into(), ":1".into()));
    }

    #[test]
    fn entries_that_groups_refer_to_go_stay_or_take_the_references_along() {
        let mut rig = Rig::new();
        (1..=6).for_each(|n| drop(rig.line(&format!("XADD s {n}-0 a 1"))));
        rig.line("XGROUP CREATE s g 0");
        rig.line("XREADGROUP GROUP g c COUNT 5 STREAMS s >");
        rig.line("XACK s g 2-0");
        assert_eq!(rig.line("XDELEX s ACKED IDS 4 1-0 2-0 6-0 9-0"), "*4 :2 :1 :2 :2");
        assert_eq!(rig.line("XDELEX s KEEPREF IDS 2 1-0 1-0"), "*2 :1 :-1");
        assert!(rig.line("XPENDING s g").starts_with("*4 :4 $3 1-0 $3 5-0"));
        // References to what is gone already go as well.
        assert_eq!(rig.line("XDELEX s DELREF IDS 2 1-0 3-0"), "*2 :-1 :1");
        assert!(rig.line("XPENDING s g").starts_with("*4 :2 $3 4-0 $3 5-0"));
        rig.line("XACK s g 5-0");
        assert_eq!(rig.line("XTRIM s MAXLEN 0 ACKED"), ":1");
        assert_eq!(rig.line("XTRIM s MAXLEN 1 DELREF"), ":1");
        assert_eq!(rig.line("XPENDING s g"), "*4 :0 $-1 $-1 *-1");
        assert_eq!(rig.line("XRANGE s - +"), "*1 *2 $3 6-0 *2 $1 a $1 1");
    }
}
