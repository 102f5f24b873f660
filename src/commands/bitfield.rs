//! BITFIELD and BITFIELD_RO: integers of any width at any position in a string.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::bits::BAD_OFFSET;
use super::parse::{integer, integer_argument};
use super::registry::row::{PUT, READ_FAST, READ_FROM, bitmap, key};
use super::registry::{KeyFlags, Spec};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::Change;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    bitmap(
        "bitfield",
        |p, s| p.bitfield(s),
        -2,
        "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
         <SET encoding offset value | INCRBY encoding offset increment>> ...]",
        PUT,
    )
    .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE))])
    .about("3.2.0", "O(N), N being the number of operations", "Reads and changes integers within a string"),
    bitmap("bitfield_ro", |p, _| p.bitfield_ro(), -2, "key [GET encoding offset ...]", READ_FAST)
        .keys(READ_FROM)
        .about("6.0.0", "O(N), N being the number of operations", "Reads integers within a string"),
];

/// Position and type of an integer within a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    signed: bool,
    /// Width in bits: up to 64 if signed, up to 63 if not.
    width: u32,
    /// Position of the first bit.
    offset: u64,
}

/// What is done if a number does not fit its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Overflow {
    /// The lowest bits of the number are kept.
    #[default]
    Wrap,
    /// The nearest number that fits is taken.
    Saturate,
    /// Nothing is changed.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// One operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    field: Field,
    action: Action,
    overflow: Overflow,
}

impl Field {
    /// Parses a type such as `i16` or `u8`.
    fn parse_type(text: &[u8]) -> Result<(bool, u32), Refused> {
        let (signed, digits) = match text {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => (false, &[][..]),
        };
        let widest = if signed { 64 } else { 63 };
        let width = integer(digits).filter(|width| (1..=widest).contains(width));
        let text = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        width.map(|width| (signed, width as u32)).ok_or(Refused::Because(text))
    }

    /// Smallest and largest number that fits.
    const fn bounds(self) -> (i128, i128) {
        let values = 1i128 << self.width;
        if self.signed { (-values / 2, values / 2 - 1) } else { (0, values - 1) }
    }

    /// The number that these bits mean.
    const fn number(self, bits: u64) -> i64 {
        let unused = 64 - self.width;
        if self.signed { (bits << unused).cast_signed() >> unused } else { bits.cast_signed() }
    }

    /// The number that is stored instead of `wanted`; `None` if none is.
    fn fit(self, wanted: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = self.bounds();
        let fits = (least..=most).contains(&wanted);
        match overflow {
            Overflow::Wrap => Some(self.number(wanted as u64 & (u64::MAX >> (64 - self.width)))),
            Overflow::Saturate => Some(wanted.clamp(least, most) as i64),
            Overflow::Fail => fits.then_some(wanted as i64),
        }
    }

    /// End of the bytes that have the field's bits.
    const fn end(self) -> u64 {
        (self.offset + self.width as u64).div_ceil(8)
    }
}

/// A string with changes that are not applied yet, by words of eight bytes.
struct Draft<'s> {
    held: &'s [u8],
    changed: BTreeMap<u64, u64>,
}

impl Draft<'_> {
    const WORD: usize = 8;

    /// The word with this index, as it is with the changes.
    fn word(&self, index: u64) -> u64 {
        self.changed.get(&index).copied().unwrap_or_else(|| {
            let rest = self.held.get(index as usize * Self::WORD..).unwrap_or_default();
            let mut bytes = [0; Self::WORD];
            let len = rest.len().min(Self::WORD);
            bytes[..len].copy_from_slice(&rest[..len]);
            u64::from_be_bytes(bytes)
        })
    }

    /// The two words that have a field's bits, as one number, and how far the field is from its lowest bit.
    fn around(&self, field: Field) -> (u64, u128, u32) {
        let (index, skipped) = (field.offset / 64, (field.offset % 64) as u32);
        let words = u128::from(self.word(index)) << 64 | u128::from(self.word(index + 1));
        (index, words, 128 - skipped - field.width)
    }

    fn get(&self, field: Field) -> i64 {
        let (_, words, shift) = self.around(field);
        field.number((words >> shift) as u64 & (u64::MAX >> (64 - field.width)))
    }

    fn set(&mut self, field: Field, number: i64) {
        let (index, words, shift) = self.around(field);
        let mask = u128::from(u64::MAX >> (64 - field.width)) << shift;
        let changed = words & !mask | u128::from(number.cast_unsigned()) << shift & mask;
        for (index, old, new) in
            [(index, (words >> 64) as u64, (changed >> 64) as u64), (index + 1, words as u64, changed as u64)]
        {
            if old != new {
                self.changed.insert(index, new);
            }
        }
    }

    /// Executes a change. Returns the number that is replied, `None` if nothing is changed because of an overflow.
    fn change(&mut self, operation: Operation) -> Option<i64> {
        let Operation { field, action, overflow } = operation;
        let old = self.get(field);
        let wanted = match action {
            Action::Get => return Some(old),
            Action::Set(number) if field.signed => number.into(),
            // A negative number is a large one where there are no negative ones.
            Action::Set(number) => number.cast_unsigned().into(),
            Action::Add(number) => i128::from(old) + i128::from(number),
        };
        let new = field.fit(wanted, overflow)?;
        self.set(field, new);
        Some(if let Action::Set(_) = action { old } else { new })
    }

    /// Appends the bytes that make the changes to a string that is to have `len` bytes. Returns where each run of them
    /// belongs in the string and where it is in `out`.
    fn write(self, len: usize, out: &mut Vec<u8>) -> Vec<(usize, Range<usize>)> {
        let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
        for (index, word) in self.changed {
            let start = index as usize * Self::WORD;
            let bytes = word.to_be_bytes();
            let at = out.len();
            out.extend_from_slice(&bytes[..Self::WORD.min(len.saturating_sub(start))]);
            match runs.last_mut() {
                Some((first, run)) if *first + run.len() == start => run.end = out.len(),
                _ => runs.push((start, at..out.len())),
            }
        }
        let reached = runs.last().map_or(0, |(start, run)| start + run.len()).max(self.held.len());
        if reached < len {
            out.push(0);
            runs.push((len - 1, out.len() - 1..out.len()));
        }
        runs
    }
}

impl<'a> Plan<'_, 'a, '_> {
    /// BITFIELD key [GET encoding offset | [OVERFLOW WRAP | SAT | FAIL] SET encoding offset value | INCRBY …] ...
    pub(super) fn bitfield(&mut self, scratch: &'a mut Scratch) -> Planned {
        let operations = self.operations()?;
        let changes = operations.iter().filter(|operation| operation.action != Action::Get);
        let end = changes.map(|operation| operation.field.end()).max();
        let value = self.first_string()?;
        let mut draft = Draft { held: value.map_or(&[], |(value, _)| value), changed: BTreeMap::new() };
        self.reply.array(operations.len());
        for operation in operations {
            match draft.change(operation) {
                Some(number) => self.reply.int(number),
                None => self.reply.null(),
            }
        }
        let Some(end) = end else { return Ok(()) };
        scratch.clear();
        let len = draft.held.len().max(end as usize);
        let runs = draft.write(len, &mut scratch.bytes);
        let bytes: &'a [u8] = &scratch.bytes;
        for (start, run) in runs {
            self.edit_first(Change::WriteString { offset: start as u64, bytes: Cow::Borrowed(&bytes[run]) });
        }
        Ok(())
    }

    /// BITFIELD_RO key [GET encoding offset ...]
    pub(super) fn bitfield_ro(&mut self) -> Planned {
        let operations = self.operations()?;
        if operations.iter().any(|operation| operation.action != Action::Get) {
            return Err(Refused::Because("ERR BITFIELD_RO only supports the GET subcommand"));
        }
        let value = self.first_string()?;
        let draft = Draft { held: value.map_or(&[], |(value, _)| value), changed: BTreeMap::new() };
        self.reply.array(operations.len());
        operations.iter().for_each(|operation| self.reply.int(draft.get(operation.field)));
        Ok(())
    }

    /// Parses all operations of a request.
    fn operations(&self) -> Result<Vec<Operation>, Refused> {
        let mut words = self.args.from(2);
        let mut operations = Vec::new();
        let mut overflow = Overflow::default();
        while let Some(word) = words.next() {
            let is = |name: &[u8], more: usize| word.eq_ignore_ascii_case(name) && words.len() >= more;
            let (gets, sets) = (is(b"GET", 2), is(b"SET", 3));
            if is(b"OVERFLOW", 1) {
                overflow = match words.next().unwrap_or_default().to_ascii_uppercase().as_slice() {
                    b"WRAP" => Overflow::Wrap,
                    b"SAT" => Overflow::Saturate,
                    b"FAIL" => Overflow::Fail,
                    _ => return Err(Refused::Because("ERR Invalid OVERFLOW type specified")),
                };
                continue;
            }
            if !gets && !sets && !is(b"INCRBY", 3) {
                return Err(Refused::Syntax);
            }
            let (signed, width) = Field::parse_type(words.next().unwrap_or_default())?;
            let offset = match words.next().unwrap_or_default() {
                [b'#', number @ ..] => self.bit_offset(integer(number), width)?,
                number => self.bit_offset(integer(number), 1)?,
            };
            let field = Field { signed, width, offset };
            let action = if gets {
                Action::Get
            } else {
                let number = integer_argument(words.next().unwrap_or_default())?;
                if field.end() > self.context.max_string {
                    return Err(BAD_OFFSET);
                }
                if sets { Action::Set(number) } else { Action::Add(number) }
            };
            operations.push(Operation { field, action, overflow });
        }
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    #[test]
    fn a_draft_reads_what_was_written_into_it() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let len = random.usize(..40);
            let held: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
            let mut bits: Vec<bool> = held.iter().flat_map(|byte| (0..8).map(move |n| byte << n & 0x80 != 0)).collect();
            bits.resize(60 * 8, false);
            let mut draft = Draft { held: &held, changed: BTreeMap::new() };
            let mut len = held.len();
            for _ in 0..random.usize(1..10) {
                let signed = random.bool();
                let width = random.u32(1..if signed { 65 } else { 64 });
                let field = Field { signed, width, offset: random.u64(..300) };
                let number = field.number(random.u64(..) >> (64 - width));
                draft.set(field, number);
                assert_eq!(draft.get(field), number, "seed {seed}");
                for n in 0..width {
                    bits[field.offset as usize + n as usize] = number >> (width - 1 - n) & 1 == 1;
                }
                len = len.max(field.end() as usize);
            }
            let mut out = Vec::new();
            let mut result = held.clone();
            for (start, run) in draft.write(len, &mut out) {
                result.resize(result.len().max(start + run.len()), 0);
                result[start..start + run.len()].copy_from_slice(&out[run]);
            }
            let expected: Vec<u8> =
                bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
            assert_eq!(result, expected[..len], "seed {seed}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_go_the_way_that_was_chosen() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("BITFIELD k SET u8 0 255 GET u8 0 GET i8 0"), "*3 :0 :255 :-1");
        assert_eq!(rig.line("BITFIELD k INCRBY u8 0 10 OVERFLOW SAT INCRBY u8 0 300"), "*2 :9 :255");
        assert_eq!(rig.line("BITFIELD k OVERFLOW FAIL INCRBY u8 0 1 INCRBY u8 8 1"), "*2 $-1 :1");
        assert_eq!(rig.line("BITFIELD k OVERFLOW SAT SET u8 0 -1 SET i8 8 1000 GET i8 8"), "*3 :255 :1 :127");
        // However far below the least number: Redis, whose check overflows there, takes the largest.
        let least = format!("BITFIELD far OVERFLOW SAT SET i63 0 {} GET i63 0", i64::MIN);
        assert_eq!(rig.line(&least), "*2 :0 :-4611686018427387904");
        assert_eq!(
            rig.line("BITFIELD k SET i64 #1 -1 INCRBY i64 #1 -9223372036854775808"),
            "*2 :0 :9223372036854775807"
        );
        assert_eq!(rig.line("BITFIELD_RO k GET u4 #2 GET u63 1000"), "*2 :7 :0");
        for (request, reply) in [
            ("BITFIELD k GET u64 0", "-ERR Invalid bitfield type."),
            ("BITFIELD k GET i65 0", "-ERR Invalid bitfield type."),
            ("BITFIELD k GET x8 0", "-ERR Invalid bitfield type."),
            ("BITFIELD k GET u8 -1", "-ERR bit offset is not"),
            ("BITFIELD k GET u8 #x", "-ERR bit offset is not"),
            ("BITFIELD k SET u8 #536870912 1", "-ERR bit offset is not"),
            ("BITFIELD k SET u8 0 x", "-ERR value is not an integer"),
            ("BITFIELD k OVERFLOW MAYBE", "-ERR Invalid OVERFLOW type"),
            ("BITFIELD k GET u8", "-ERR syntax error"),
            ("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports"),
            ("BITFIELD k", "*0"),
        ] {
            assert!(rig.line(request).starts_with(reply), "{request}: {}", rig.line(request));
            assert!(rig.edits.is_empty(), "{request}");
        }
    }

    #[test]
    fn only_what_changes_is_logged() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("BITFIELD k SET u8 8000000 7 SET u8 0 1"), "*2 :0 :0");
        assert!(rig.edits.len() == 2 && rig.edits.iter().all(|edit| edit.len() < 150), "{:?}", rig.edits);
        assert_eq!(rig.line("STRLEN k"), ":1000001");
        rig.line("BITFIELD k SET u8 0 1 GET u8 3");
        assert!(rig.edits.is_empty(), "{:?}", rig.edits);
        // A change that fails lets the string grow nevertheless, as in Redis.
        assert_eq!(rig.line("BITFIELD new OVERFLOW FAIL INCRBY u1 100 5"), "*1 $-1");
        assert_eq!(rig.line("STRLEN new"), ":13");
    }
}
