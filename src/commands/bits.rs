//! Commands on the bits of a string: GETBIT, SETBIT, BITCOUNT, BITPOS. Bit 0 is the highest bit of the first byte.

use std::borrow::Cow;

use super::parse::{integer, integer_argument};
use super::registry::Spec;
use super::registry::row::{PUT, READ, READ_AND_CHANGED, READ_FAST, READ_FROM, bitmap};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::Change;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    bitmap("bitcount", |p, _| p.bitcount(), -2, "key [start end [BYTE|BIT]]", READ).keys(READ_FROM).about(
        "2.6.0",
        "O(N), N being the bytes looked at",
        "Counts the bits that are set in a string",
    ),
    bitmap("bitpos", |p, _| p.bitpos(), -3, "key bit [start [end [BYTE|BIT]]]", READ).keys(READ_FROM).about(
        "2.8.7",
        "O(N), N being the bytes looked at",
        "Finds the first bit that is set, or clear",
    ),
    bitmap("getbit", |p, _| p.getbit(), 3, "key offset", READ_FAST).keys(READ_FROM).about(
        "2.2.0",
        "O(1)",
        "Tells a bit of a string",
    ),
    bitmap("setbit", |p, s| p.setbit(s), 4, "key offset value", PUT).keys(READ_AND_CHANGED).about(
        "2.2.0",
        "O(1)",
        "Sets or clears a bit of a string and tells what it was",
    ),
];

pub(super) const BAD_OFFSET: Refused = Refused::Because("ERR bit offset is not an integer or out of range");

impl<'a> Plan<'_, 'a, '_> {
    /// GETBIT key offset
    pub(super) fn getbit(&mut self) -> Planned {
        let offset = self.bit_offset(integer(self.args.at(2)), 1)?;
        let (index, mask) = place(offset);
        let byte = self.first_string()?.and_then(|(value, _)| value.get(index)).copied().unwrap_or(0);
        self.reply.int((byte & mask != 0).into());
        Ok(())
    }

    /// SETBIT key offset value
    pub(super) fn setbit(&mut self, scratch: &'a mut Scratch) -> Planned {
        let offset = self.bit_offset(integer(self.args.at(2)), 1)?;
        let on = match integer(self.args.at(3)) {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(Refused::Because("ERR bit is not an integer or out of range")),
        };
        let (index, mask) = place(offset);
        let held = self.first_string()?.and_then(|(value, _)| value.get(index).copied());
        let old = held.unwrap_or(0);
        let new = if on { old | mask } else { old & !mask };
        if held != Some(new) {
            scratch.clear();
            scratch.bytes.push(new);
            self.edit_first(Change::WriteString { offset: index as u64, bytes: Cow::Borrowed(&scratch.bytes) });
        }
        self.reply.int((old & mask != 0).into());
        Ok(())
    }

    /// BITCOUNT key [start end [BYTE | BIT]]
    pub(super) fn bitcount(&mut self) -> Planned {
        let range = match self.args.len() {
            2 => Range::ALL,
            4 | 5 => Range {
                start: integer_argument(self.args.at(2))?,
                end: Some(integer_argument(self.args.at(3))?),
                in_bits: self.counts_bits(4)?,
            },
            _ => return Err(Refused::Syntax),
        };
        let value = self.first_string()?.map_or(&[][..], |(value, _)| value);
        let is_backward = range.start < 0 && range.end.is_some_and(|end| end < 0 && range.start > end);
        let bits = range.of(value.len()).filter(|_| !is_backward);
        self.reply.int(bits.map_or(0, |(first, last)| count(value, first, last)) as i64);
        Ok(())
    }

    /// BITPOS key bit [start [end [BYTE | BIT]]]
    pub(super) fn bitpos(&mut self) -> Planned {
        let bit = match integer_argument(self.args.at(2))? {
            0 => false,
            1 => true,
            _ => return Err(Refused::Because("ERR The bit argument must be 1 or 0.")),
        };
        if self.args.len() > 6 {
            return Err(Refused::Syntax);
        }
        let start = self.args.get(3).map_or(Ok(0), integer_argument)?;
        let in_bits = self.counts_bits(5)?;
        let end = self.args.get(4).map(integer_argument).transpose()?;
        let Some((value, _)) = self.first_string()? else {
            // A missing key is as good as an infinite number of zeros.
            self.reply.int(if bit { -1 } else { 0 });
            return Ok(());
        };
        let found = Range { start, end, in_bits }.of(value.len()).and_then(|(first, last)| {
            let found = find(value, first, last, bit);
            // Without an end, the zeros behind the string count, too.
            found.or_else(|| (!bit && end.is_none()).then_some(value.len() as u64 * 8))
        });
        self.reply.int(found.map_or(-1, |position| position as i64));
        Ok(())
    }

    /// Position of a bit: `number` times `width`, if the string may be that long.
    pub(super) fn bit_offset(&self, number: Option<i64>, width: u32) -> Result<u64, Refused> {
        let offset = number.and_then(|number| u64::try_from(number).ok()?.checked_mul(width.into()));
        offset.filter(|offset| offset / 8 < self.context.max_string).ok_or(BAD_OFFSET)
    }

    /// Whether the argument at `index` says that a range counts bits; without it a range counts bytes.
    fn counts_bits(&self, index: usize) -> Result<bool, Refused> {
        match self.args.get(index) {
            None => Ok(false),
            Some(unit) if unit.eq_ignore_ascii_case(b"BYTE") => Ok(false),
            Some(unit) if unit.eq_ignore_ascii_case(b"BIT") => Ok(true),
            Some(_) => Err(Refused::Syntax),
        }
    }
}

/// Index of the byte that has a bit, and the bit's mask in it.
const fn place(offset: u64) -> (usize, u8) {
    ((offset / 8) as usize, 0x80 >> (offset % 8))
}

/// Part of a string as given in a request; negative positions count from the end.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: i64,
    /// Last position; `None` means the last of the string.
    end: Option<i64>,
    /// Whether positions count bits instead of bytes.
    in_bits: bool,
}

impl Range {
    const ALL: Self = Self { start: 0, end: None, in_bits: false };

    /// First and last bit of the range in a string of `len` bytes; `None` if the range is empty.
    fn of(self, len: usize) -> Option<(u64, u64)> {
        let each = if self.in_bits { 1 } else { 8 };
        let total = len as i64 * 8 / each;
        let place = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
        let (start, end) = (place(self.start), self.end.map_or(total, place).min(total - 1));
        (start <= end).then(|| ((start * each) as u64, (end * each + each - 1) as u64))
    }
}

/// Number of set bits among bits `first` to `last`, which are in `value`.
fn count(value: &[u8], first: u64, last: u64) -> u64 {
    let ((from, mask), (to, _)) = (place(first), place(last));
    let before = value[from] & !(mask | (mask - 1));
    let after = value[to] & ((0x80u8 >> (last % 8)) - 1);
    ones(&value[from..=to]) - u64::from(before.count_ones() + after.count_ones())
}

/// Number of set bits.
fn ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    words.sum::<u64>() + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The first of bits `first` to `last`, which are in `value`, that is `bit`.
fn find(value: &[u8], first: u64, last: u64, bit: bool) -> Option<u64> {
    // A byte that does not have the bit sought.
    let without = if bit { 0x00 } else { 0xff };
    let ((from, mask), (to, _)) = (place(first), place(last));
    let at = |index: usize, byte: u8| index as u64 * 8 + u64::from((byte ^ without).leading_zeros());
    let own = mask | (mask - 1);
    let head = value[from] & own | without & !own;
    let position = if head != without {
        at(from, head)
    } else {
        let index = from + 1 + first_other(&value[from + 1..=to], without)?;
        at(index, value[index])
    };
    (position <= last).then_some(position)
}

/// Index of the first byte that is not `byte`.
fn first_other(bytes: &[u8], byte: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let equal = words.iter().take_while(|word| **word == [byte; 8]).count() * 8;
    bytes[equal..].iter().position(|other| *other != byte).map(|index| equal + index)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    #[test]
    fn what_is_counted_and_found_is_what_single_bits_say() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let fill = random.choice([0, 0xff, 0x5a]).unwrap_or(0);
            let mut value = vec![fill; random.usize(1..60)];
            for _ in 0..random.usize(..3) {
                let at = random.usize(..value.len());
                value[at] = random.u8(..);
            }
            let bits: Vec<bool> = (0..value.len() as u64 * 8).map(|n| value[place(n).0] & place(n).1 != 0).collect();
            let first = random.usize(..bits.len());
            let last = random.usize(first..bits.len());
            let ones = bits[first..=last].iter().filter(|bit| **bit).count() as u64;
            assert_eq!(count(&value, first as u64, last as u64), ones, "seed {seed}: {value:?} {first} {last}");
            for bit in [false, true] {
                let found = bits[first..=last].iter().position(|other| *other == bit).map(|n| (first + n) as u64);
                assert_eq!(
                    find(&value, first as u64, last as u64, bit),
                    found,
                    "seed {seed}: {value:?} {first} {last}"
                );
            }
        }
    }

    #[test]
    fn ranges_are_cut_as_in_redis() {
        let mut rig = Rig::new();
        rig.line("SET k foobar");
        for (request, reply) in [
            ("BITCOUNT k", ":26"),
            ("BITCOUNT k 0 0", ":4"),
            ("BITCOUNT k 1 1 BYTE", ":6"),
            ("BITCOUNT k 5 30 bit", ":17"),
            ("BITCOUNT k -2 -5", ":0"),
            ("BITCOUNT k -100 -90", ":4"),
            ("BITCOUNT k 0", "-ERR syntax error"),
            ("BITCOUNT k 0 1 WORD", "-ERR syntax error"),
            ("BITCOUNT k 0 x", "-ERR value is not an integer or out of range"),
            ("BITCOUNT none 0 -1", ":0"),
            ("BITPOS k 1 2 -1 BIT", ":2"),
            ("BITPOS none 0", ":0"),
            ("BITPOS none 1 5 6", ":-1"),
            ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
            ("BITPOS k 1 7", ":-1"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        rig.run(&[b"SET", b"full", b"\xff\xff\xff"]);
        assert_eq!(rig.line("BITPOS full 0"), ":24");
        assert_eq!(rig.line("BITPOS full 0 1"), ":24");
        assert_eq!(rig.line("BITPOS full 0 0 -1"), ":-1");
        rig.line("SET empty ");
        assert_eq!(rig.line("BITPOS empty 0"), ":-1");
        rig.line("HSET h f v");
        for request in ["GETBIT h 1", "SETBIT h 1 1", "BITCOUNT h", "BITPOS h 1"] {
            assert!(rig.line(request).starts_with("-WRONGTYPE"), "{request}");
        }
    }

    #[test]
    fn a_bit_of_a_long_string_is_a_small_edit() {
        let mut rig = Rig::new();
        rig.max_string = 1 << 20;
        assert_eq!(rig.line("SETBIT k 8388607 1"), ":0");
        assert_eq!(
            rig.edits,
            ["Key { db: Db(0), slot: Slot(7629), key: [107], change: \
            WriteString { offset: 1048575, bytes: [1] } }"]
        );
        assert_eq!(rig.line("STRLEN k"), ":1048576");
        assert_eq!(rig.line("SETBIT k 8388607 1"), ":1");
        assert!(rig.edits.is_empty(), "{:?}", rig.edits);
        assert_eq!(rig.line("SETBIT k 0 0"), ":0");
        assert!(rig.edits.is_empty(), "{:?}", rig.edits);
        // A bit that is clear already lets a string grow nevertheless.
        assert_eq!(rig.line("SETBIT grown 100 0"), ":0");
        assert_eq!(rig.line("STRLEN grown"), ":13");
        let refused = "-ERR bit offset is not an integer or out of range";
        for offset in ["8388608", "-1", "x", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(rig.line(&format!("SETBIT k {offset} 1")), refused);
            assert_eq!(rig.line(&format!("GETBIT k {offset}")), refused);
        }
        assert_eq!(rig.line("SETBIT k 1 2"), "-ERR bit is not an integer or out of range");
    }
}
