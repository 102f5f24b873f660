//! Commands that change one list: LPUSH, LPOP, LSET and related ones.

use std::borrow::Cow;

use super::list_reads::{place, span};
use super::parse::{integer_argument, positive_argument, symmetric_argument};
use super::registry::row::{CHANGED, PUT, PUT_FAST, WRITE_FAST, key, list};
use super::registry::{Flags, KeyFlags, KeySpec, Spec};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, End, Ranges, Removal};
use crate::ids::Slot;
use crate::store::ListRef;

/// Argument 1 is a list that elements are added to.
const ADDED_TO: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::INSERT))];
/// Argument 1 is a list that elements are removed from and returned.
pub(super) const TAKEN_FROM: KeySpec = key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE));
/// Argument 1 is a list that elements are removed from.
const REMOVED_FROM: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::DELETE))];

const PER_ELEMENT: &str = "O(N), N being the number of elements given";
const PER_RETURNED: &str = "O(N), N being the number of elements returned";

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    list("linsert", |p, _| p.linsert(), 5, "key <BEFORE|AFTER> pivot element", PUT).keys(ADDED_TO).about(
        "2.2.0",
        "O(N), N being the number of elements before the pivot",
        "Adds an element before or after another one",
    ),
    list("lpop", |p, _| p.pop(End::Left, "lpop"), -2, "key [count]", WRITE_FAST).keys(&[TAKEN_FROM]).about(
        "1.0.0",
        PER_RETURNED,
        "Takes elements from the left end",
    ),
    list("lpush", |p, s| p.push(s, End::Left), -3, "key element ...", PUT_FAST).keys(ADDED_TO).about(
        "1.0.0",
        PER_ELEMENT,
        "Puts elements at the left end",
    ),
    list("lpushx", |p, s| p.push_existing(s, End::Left), -3, "key element ...", PUT_FAST).keys(ADDED_TO).about(
        "2.2.0",
        PER_ELEMENT,
        "Puts elements at the left end, if the key exists",
    ),
    list("lrem", |p, _| p.lrem(), 4, "key count element", Flags::WRITE).keys(REMOVED_FROM).about(
        "1.0.0",
        "O(N), N being the number of elements",
        "Removes elements that equal the given one",
    ),
    list("lset", |p, _| p.lset(), 4, "key index element", PUT).keys(CHANGED).about(
        "1.0.0",
        "O(log N), N being the number of elements",
        "Replaces an element",
    ),
    list("ltrim", |p, _| p.ltrim(), 4, "key start stop", Flags::WRITE).keys(REMOVED_FROM).about(
        "1.0.0",
        "O(1), mostly; the elements are freed afterwards",
        "Removes all elements outside of a range",
    ),
    list("rpop", |p, _| p.pop(End::Right, "rpop"), -2, "key [count]", WRITE_FAST).keys(&[TAKEN_FROM]).about(
        "1.0.0",
        PER_RETURNED,
        "Takes elements from the right end",
    ),
    list("rpush", |p, s| p.push(s, End::Right), -3, "key element ...", PUT_FAST).keys(ADDED_TO).about(
        "1.0.0",
        PER_ELEMENT,
        "Puts elements at the right end",
    ),
    list("rpushx", |p, s| p.push_existing(s, End::Right), -3, "key element ...", PUT_FAST).keys(ADDED_TO).about(
        "2.2.0",
        PER_ELEMENT,
        "Puts elements at the right end, if the key exists",
    ),
];

impl<'a> Plan<'_, 'a, '_> {
    /// LPUSH key element ..., RPUSH key element ...
    #[inline]
    pub(super) fn push(&mut self, scratch: &'a mut Scratch, end: End) -> Planned {
        let len = self.first_list()?.map_or(0, ListRef::len);
        scratch.clear();
        self.args.from(2).for_each(|element| scratch.elements.push(element));
        self.reply.count(len + self.args.len() - 2);
        self.edit_first(Change::PushElements { end, elements: scratch.elements.elements() });
        Ok(())
    }

    /// LPUSHX key element ..., RPUSHX key element ...
    pub(super) fn push_existing(&mut self, scratch: &'a mut Scratch, end: End) -> Planned {
        if self.first_list()?.is_none() {
            self.reply.int(0);
            return Ok(());
        }
        self.push(scratch, end)
    }

    /// LPOP key [count], RPOP key [count]
    #[inline]
    pub(super) fn pop(&mut self, end: End, name: &'static str) -> Planned {
        let count = match (self.args.get(2), self.args.len()) {
            (None, _) => None,
            (Some(count), 3) => Some(positive_argument(count, "ERR value is out of range, must be positive")?),
            _ => return Err(Refused::Arity(name)),
        };
        match (self.first_list()?, count) {
            (None, None) => self.reply.null(),
            (None, Some(_)) => self.reply.null_array(),
            (Some(list), None) => {
                self.reply.bulk_or_null(element_at(list, end));
                self.take(self.slot(), self.args.at(1), list, end, 1);
            }
            (Some(list), Some(count)) => self.pop_several(self.slot(), self.args.at(1), list, end, count),
        }
        Ok(())
    }

    /// Replies with up to `count` elements at one end of a list, in the order in which they are taken from it. Plans to
    /// remove them.
    pub(super) fn pop_several(&mut self, slot: Slot, key: &'a [u8], list: ListRef<'_>, end: End, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(list.len());
        self.reply.array(count);
        match end {
            End::Left => list.iter().take(count).for_each(|element| self.reply.bulk(element)),
            End::Right => list.iter().rev().take(count).for_each(|element| self.reply.bulk(element)),
        }
        self.take(slot, key, list, end, count);
    }

    /// Plans to remove `count` elements from one end of a list, which has at least that many.
    pub(super) fn take(&mut self, slot: Slot, key: &'a [u8], list: ListRef<'_>, end: End, count: usize) {
        let change = match count {
            0 => return,
            _ if count == list.len() => Change::Delete(Removal::Deleted),
            _ => Change::PopElements { end, count: count as u64 },
        };
        self.edit(self.context.db, slot, key, change);
    }

    /// LSET key index element
    pub(super) fn lset(&mut self) -> Planned {
        let list = self.first_list()?.ok_or(Refused::Because("ERR no such key"))?;
        let index = place(integer_argument(self.args.at(2))?, list.len());
        let index = index.ok_or(Refused::Because("ERR index out of range"))?;
        self.edit_first(Change::SetElement { index: index as u64, value: Cow::Borrowed(self.args.at(3)) });
        self.reply.ok();
        Ok(())
    }

    /// LINSERT key <BEFORE|AFTER> pivot element
    pub(super) fn linsert(&mut self) -> Planned {
        let behind = match self.args.at(2) {
            word if word.eq_ignore_ascii_case(b"BEFORE") => 0,
            word if word.eq_ignore_ascii_case(b"AFTER") => 1,
            _ => return Err(Refused::Syntax),
        };
        let (pivot, element) = (self.args.at(3), self.args.at(4));
        let Some(list) = self.first_list()? else {
            self.reply.int(0);
            return Ok(());
        };
        match list.iter().position(|element| element == pivot) {
            Some(index) => {
                let index = (index + behind) as u64;
                self.edit_first(Change::InsertElement { index, value: Cow::Borrowed(element) });
                self.reply.count(list.len() + 1);
            }
            None => self.reply.int(-1),
        }
        Ok(())
    }

    /// LREM key count element
    pub(super) fn lrem(&mut self) -> Planned {
        let count = symmetric_argument(self.args.at(2))?;
        let unwanted = self.args.at(3);
        let Some(list) = self.first_list()? else {
            self.reply.int(0);
            return Ok(());
        };
        let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
        let mut found: Vec<u64> = Vec::new();
        if count >= 0 {
            let equal = (0..).zip(list.iter()).filter(|(_, element)| *element == unwanted);
            found.extend(equal.map(|(index, _)| index).take(most));
        } else {
            let equal = (0..list.len() as u64).rev().zip(list.iter().rev()).filter(|(_, element)| *element == unwanted);
            found.extend(equal.map(|(index, _)| index).take(most));
            found.reverse();
        }
        self.reply.count(found.len());
        if found.len() == list.len() {
            self.edit_first(Change::Delete(Removal::Deleted));
        } else if !found.is_empty() {
            let mut ranges = Ranges::default();
            for run in found.chunk_by(|one, next| one + 1 == *next) {
                ranges.push(run[0], run.len() as u64);
            }
            self.edit_first(Change::RemoveElements(ranges));
        }
        Ok(())
    }

    /// LTRIM key start stop
    pub(super) fn ltrim(&mut self) -> Planned {
        let (start, stop) = (integer_argument(self.args.at(2))?, integer_argument(self.args.at(3))?);
        if let Some(list) = self.first_list()? {
            let kept = span(start, stop, list.len());
            if kept.is_empty() {
                self.edit_first(Change::Delete(Removal::Deleted));
            } else {
                for (end, count) in [(End::Left, kept.start), (End::Right, list.len() - kept.end)] {
                    if count > 0 {
                        self.edit_first(Change::PopElements { end, count: count as u64 });
                    }
                }
            }
        }
        self.reply.ok();
        Ok(())
    }
}

/// The element at one end of a list.
pub(super) fn element_at(list: ListRef<'_>, end: End) -> Option<&[u8]> {
    match end {
        End::Left => list.get(0),
        End::Right => list.get(list.len() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn elements_come_and_go_at_both_ends() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("RPUSH l a b"), ":2");
        assert_eq!(rig.line("LPUSH l c d"), ":4");
        assert_eq!(rig.line("LRANGE l 0 -1"), "*4 $1 d $1 c $1 a $1 b");
        assert_eq!(rig.line("LPOP l"), "$1 d");
        assert_eq!(rig.line("RPOP l 2"), "*2 $1 b $1 a");
        assert_eq!(rig.line("LPOP l 0"), "*0");
        assert_eq!(rig.line("RPUSHX l x"), ":2");
        assert_eq!(rig.line("LPOP l 9"), "*2 $1 c $1 x");
        assert_eq!(rig.line("EXISTS l"), ":0");
        assert_eq!(rig.line("LPUSHX l x"), ":0");
        assert_eq!((rig.line("LPOP l"), rig.line("LPOP l 1")), ("$-1".into(), "*-1".into()));
        rig.protocol = crate::encoding::resp::Protocol::Resp3;
        assert_eq!((rig.line("LPOP l"), rig.line("RPOP l 0")), ("_".into(), "_".into()));
    }

    #[test]
    fn what_is_asked_wrongly_is_refused_as_redis_does() {
        let mut rig = Rig::new();
        rig.line("RPUSH l a");
        rig.line("SET s 1");
        for (request, reply) in [
            ("LPOP l -1", "-ERR value is out of range, must be positive"),
            ("LPOP none x", "-ERR value is out of range, must be positive"),
            ("RPOP l 1 2", "-ERR wrong number of arguments for 'rpop' command"),
            ("LSET none x y", "-ERR no such key"),
            ("LSET l x y", "-ERR value is not an integer or out of range"),
            ("LSET l 1 y", "-ERR index out of range"),
            ("LSET l -2 y", "-ERR index out of range"),
            ("LINSERT l beside a b", "-ERR syntax error"),
            ("LREM l x a", "-ERR value is not an integer or out of range"),
            (
                "LREM l -9223372036854775808 a",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("LPUSH s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("LTRIM s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("LINSERT none BEFORE a b", ":0"),
            ("LINSERT l BEFORE none b", ":-1"),
            ("LREM none 0 a", ":0"),
            ("LTRIM none 0 1", "+OK"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }

    #[test]
    fn edits_are_as_small_as_the_change() {
        let mut rig = Rig::new();
        rig.line("RPUSH l a b c a b c a b c");
        let mut edits = |request: &str| {
            rig.line(request);
            rig.edits
                .iter()
                .map(|edit| edit.split("change: ").nth(1).unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(edits("LTRIM l 0 -1"), [""; 0]);
        let trimmed = edits("LTRIM l 1 -2");
        assert!(trimmed.len() == 2 && trimmed.iter().all(|edit| edit.starts_with("PopElements")), "{trimmed:?}");
        assert!(edits("LREM l 1 c")[0].starts_with("RemoveElements"));
        assert_eq!(edits("LREM l 1 none"), [""; 0]);
        assert_eq!(edits("LPOP l 0"), [""; 0]);
        assert_eq!(edits("LTRIM l 5 1"), ["Delete(Deleted) }"]);
    }

    #[test]
    fn elements_are_removed_from_the_end_that_the_sign_says() {
        let mut rig = Rig::new();
        for (request, removed, left) in [
            ("LREM l 0 a", ":3", "*2 $1 b $1 b"),
            ("LREM l 2 a", ":2", "*3 $1 b $1 b $1 a"),
            ("LREM l -2 a", ":2", "*3 $1 a $1 b $1 b"),
            ("LREM l 9 b", ":2", "*3 $1 a $1 a $1 a"),
        ] {
            rig.line("DEL l");
            rig.line("RPUSH l a b a b a");
            assert_eq!(rig.line(request), removed, "{request}");
            assert_eq!(rig.line("LRANGE l 0 -1"), left, "{request}");
        }
    }

    #[test]
    fn elements_are_put_beside_the_first_pivot() {
        let mut rig = Rig::new();
        rig.line("RPUSH l a b a");
        assert_eq!(rig.line("LINSERT l after a x"), ":4");
        assert_eq!(rig.line("LINSERT l BEFORE a y"), ":5");
        assert_eq!(rig.line("LINSERT l AFTER b z"), ":6");
        assert_eq!(rig.line("LSET l -1 last"), "+OK");
        assert_eq!(rig.line("LRANGE l 0 -1"), "*6 $1 y $1 a $1 x $1 b $1 z $4 last");
    }
}
