//! Commands on parts of strings: APPEND, SETRANGE, GETRANGE, STRLEN.

use std::borrow::Cow;

use super::parse::integer_argument;
use super::registry::row::{LOOKED_AT, PUT, PUT_FAST, READ_FAST, READ_FROM, key, string};
use super::registry::{Flags, KeyFlags, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::Change;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    string("append", |p, _| p.append(), 3, "key value", PUT_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::INSERT))])
        .about("2.0.0", "O(1), mostly", "Adds to the end of a string and tells its length"),
    string("getrange", |p, _| p.getrange(), 4, "key start end", Flags::READONLY).keys(READ_FROM).about(
        "2.4.0",
        "O(N), N being the bytes returned",
        "Tells a part of a string",
    ),
    string("setrange", |p, _| p.setrange(), 4, "key offset value", PUT)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::UPDATE))])
        .about("2.2.0", "O(N), N being the bytes given", "Overwrites a part of a string"),
    string("strlen", |p, _| p.strlen(), 2, "key", READ_FAST).keys(LOOKED_AT).about(
        "2.2.0",
        "O(1)",
        "Tells the length of a string",
    ),
    string("substr", |p, _| p.getrange(), 4, "key start end", Flags::READONLY)
        .keys(READ_FROM)
        .deprecated("2.0.0", "`GETRANGE`")
        .about("1.0.0", "O(N), N being the bytes returned", "Tells a part of a string"),
];

impl<'a> Plan<'_, 'a, '_> {
    /// STRLEN key
    pub(super) fn strlen(&mut self) -> Planned {
        let value = self.first_string()?;
        self.reply.count(value.map_or(0, |(bytes, _)| bytes.len()));
        Ok(())
    }

    /// APPEND key value
    pub(super) fn append(&mut self) -> Planned {
        let more = self.args.at(2);
        let Some((value, _)) = self.first_string()? else {
            self.put_first(more, None);
            self.reply.count(more.len());
            return Ok(());
        };
        self.check_length(value.len() as u64, more.len())?;
        self.write_first(value.len() as u64, more);
        self.reply.count(value.len() + more.len());
        Ok(())
    }

    /// SETRANGE key offset value
    pub(super) fn setrange(&mut self) -> Planned {
        let offset = integer_argument(self.args.at(2))?;
        let offset = u64::try_from(offset).map_err(|_| Refused::Because("ERR offset is out of range"))?;
        let bytes = self.args.at(3);
        let old_len = self.first_string()?.map_or(0, |(value, _)| value.len() as u64);
        if bytes.is_empty() {
            self.reply.int(old_len as i64);
            return Ok(());
        }
        self.check_length(offset, bytes.len())?;
        self.write_first(offset, bytes);
        self.reply.int(old_len.max(offset + bytes.len() as u64) as i64);
        Ok(())
    }

    /// GETRANGE key start end, SUBSTR key start end
    pub(super) fn getrange(&mut self) -> Planned {
        let (start, end) = (integer_argument(self.args.at(2))?, integer_argument(self.args.at(3))?);
        let value = self.first_string()?.map_or(&[][..], |(value, _)| value);
        self.reply.bulk(part(value, start, end));
        Ok(())
    }

    /// Refuses if the resulting string would be too long.
    fn check_length(&self, offset: u64, more: usize) -> Planned {
        if offset.checked_add(more as u64).is_some_and(|len| len <= self.context.max_string) {
            Ok(())
        } else {
            Err(Refused::Because("ERR string exceeds maximum allowed size (proto-max-bulk-len)"))
        }
    }

    fn write_first(&mut self, offset: u64, bytes: &'a [u8]) {
        if !bytes.is_empty() {
            self.edit_first(Change::WriteString { offset, bytes: Cow::Borrowed(bytes) });
        }
    }
}

/// Bytes `start` to `end` of a value, both inclusive; negative indexes count from the end.
fn part(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let (start, end) = (place(start), place(end).min(len - 1));
    if start > end { &[] } else { &value[start as usize..=end as usize] }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_are_cut_as_in_redis() {
        let value = b"This is a string";
        assert_eq!(part(value, 0, 3), b"This");
        assert_eq!(part(value, -3, -1), b"ing");
        assert_eq!(part(value, 0, -1), value);
        assert_eq!(part(value, 10, 100), b"string");
        assert_eq!(part(value, 5, 3), b"");
        assert_eq!(part(value, -1, -5), b"");
        assert_eq!(part(value, -100, -100), b"T");
        assert_eq!(part(value, i64::MIN, i64::MAX), value);
        assert_eq!(part(value, i64::MAX, i64::MIN), b"");
        assert_eq!(part(b"", 0, -1), b"");
    }
}
