//! Commands that read lists: LRANGE, LINDEX, LPOS and related ones.

use std::ops::Range;

use super::parse::{integer_argument, positive_argument, symmetric_argument};
use super::registry::Spec;
use super::registry::row::{LOOKED_AT, READ, READ_FAST, READ_FROM, list};
use super::{Plan, Planned, Refused};
use crate::store::ListRef;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    list("lindex", |p, _| p.lindex(), 3, "key index", READ).keys(READ_FROM).about(
        "1.0.0",
        "O(log N), N being the number of elements",
        "Tells an element",
    ),
    list("llen", |p, _| p.llen(), 2, "key", READ_FAST).keys(LOOKED_AT).about("1.0.0", "O(1)", "Counts the elements"),
    list("lpos", |p, _| p.lpos(), -3, "key element [RANK rank] [COUNT num-matches] [MAXLEN len]", READ)
        .keys(READ_FROM)
        .about("6.0.6", "O(N), N being the number of elements compared", "Tells where elements equal the given one"),
    list("lrange", |p, _| p.lrange(), 4, "key start stop", READ).keys(READ_FROM).about(
        "1.0.0",
        "O(log M + N), M being the number of elements, N of those returned",
        "Tells the elements in a range",
    ),
];

const RANK_ZERO: Refused = Refused::Because(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from \
     the end of the list",
);

impl Plan<'_, '_, '_> {
    /// LLEN key
    pub(super) fn llen(&mut self) -> Planned {
        let list = self.first_list()?;
        self.reply.count(list.map_or(0, ListRef::len));
        Ok(())
    }

    /// LINDEX key index
    pub(super) fn lindex(&mut self) -> Planned {
        let Some(list) = self.first_list()? else {
            self.reply.null();
            return Ok(());
        };
        let index = place(integer_argument(self.args.at(2))?, list.len());
        self.reply.bulk_or_null(index.and_then(|index| list.get(index)));
        Ok(())
    }

    /// LRANGE key start stop
    #[inline]
    pub(super) fn lrange(&mut self) -> Planned {
        let (start, stop) = (integer_argument(self.args.at(2))?, integer_argument(self.args.at(3))?);
        let list = self.first_list()?;
        let wanted = span(start, stop, list.map_or(0, ListRef::len));
        self.reply.array(wanted.len());
        if let Some(list) = list {
            list.iter_from(wanted.start).take(wanted.len()).for_each(|element| self.reply.bulk(element));
        }
        Ok(())
    }

    /// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
    pub(super) fn lpos(&mut self) -> Planned {
        let (mut rank, mut count, mut most) = (1, None, 0);
        let mut words = self.args.from(3);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(Refused::Syntax)?;
            if word.eq_ignore_ascii_case(b"RANK") {
                rank = symmetric_argument(value)?;
                if rank == 0 {
                    return Err(RANK_ZERO);
                }
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                count = Some(positive_argument(value, "ERR COUNT can't be negative")?);
            } else if word.eq_ignore_ascii_case(b"MAXLEN") {
                most = positive_argument(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(Refused::Syntax);
            }
        }
        let number = |of: u64| usize::try_from(of).unwrap_or(usize::MAX);
        let most = if most == 0 { usize::MAX } else { number(most) };
        let skipped = number(rank.unsigned_abs() - 1);
        let wanted = self.args.at(2);
        let list = self.first_list()?;
        let len = list.map_or(0, ListRef::len);
        let mut found = list.into_iter().flat_map(|list| {
            let (left, right) = if rank > 0 { (Some(list.iter()), None) } else { (None, Some(list.iter().rev())) };
            left.into_iter().flatten().chain(right.into_iter().flatten())
        });
        let mut found = found
            .by_ref()
            .take(most)
            .enumerate()
            .filter(|(_, element)| *element == wanted)
            .skip(skipped)
            .map(|(index, _)| if rank > 0 { index } else { len - 1 - index });
        match count {
            None => match found.next() {
                Some(index) => self.reply.count(index),
                None => self.reply.null(),
            },
            Some(count) => {
                let count = if count == 0 { usize::MAX } else { number(count) };
                self.reply.array_of(|reply| found.take(count).map(|index| reply.count(index)).count());
            }
        }
        Ok(())
    }
}

/// Index from the left of an element that may be counted from the right, by a negative number. `None` if a list of
/// `len` elements has no such element.
pub(super) fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// The elements from `start` to `stop`, both inclusive and counted from the right if negative, of a list of `len`.
pub(super) fn span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let start = place(start).max(0);
    let end = place(stop).saturating_add(1).min(len);
    if start < end { start as usize..end as usize } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_list() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (0, 99, 0..5),
            (-99, 1, 0..2),
            (-2, -1, 3..5),
            (1, 1, 1..2),
            (3, 2, 0..0),
            (5, 9, 0..0),
            (0, -6, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(span(start, stop, 5), expected, "{start} {stop}");
        }
    }

    #[test]
    fn places_are_told_as_redis_tells_them() {
        let mut rig = Rig::new();
        rig.line("RPUSH l a b c 1 2 3 c c");
        for (request, reply) in [
            ("LPOS l c", ":2"),
            ("LPOS l none", "$-1"),
            ("LPOS none c", "$-1"),
            ("LPOS none c COUNT 1", "*0"),
            ("LPOS l c RANK 2", ":6"),
            ("LPOS l c RANK 4", "$-1"),
            ("LPOS l c RANK -1", ":7"),
            ("LPOS l c COUNT 2", "*2 :2 :6"),
            ("LPOS l c COUNT 0", "*3 :2 :6 :7"),
            ("LPOS l c COUNT 0 RANK -2", "*2 :6 :2"),
            ("LPOS l c COUNT 0 MAXLEN 7", "*2 :2 :6"),
            ("LPOS l c RANK -1 COUNT 0 MAXLEN 2", "*2 :7 :6"),
            ("LPOS l c MAXLEN 2", "$-1"),
            (
                "LPOS l c RANK 0",
                "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or \
                                use negative to start from the end of the list",
            ),
            ("LPOS l c COUNT -1", "-ERR COUNT can't be negative"),
            ("LPOS l c MAXLEN x", "-ERR MAXLEN can't be negative"),
            ("LPOS l c RANK", "-ERR syntax error"),
            ("LPOS l c PLACE 1", "-ERR syntax error"),
            ("LINDEX l -1", "$1 c"),
            ("LINDEX l 8", "$-1"),
            ("LINDEX none x", "$-1"),
            ("LINDEX l x", "-ERR value is not an integer or out of range"),
            ("LRANGE none x 1", "-ERR value is not an integer or out of range"),
            ("LRANGE none 0 1", "*0"),
            ("LRANGE l -3 6", "*2 $1 3 $1 c"),
            ("LLEN l", ":8"),
            ("LLEN none", ":0"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }
}
