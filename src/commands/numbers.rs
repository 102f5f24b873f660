//! Commands on numeric strings: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use super::parse::{integer, integer_argument};
use super::registry::Spec;
use super::registry::row::{PUT_FAST, READ_AND_CHANGED, string};
use super::{Plan, Planned, Refused, Scratch, Text};
use crate::encoding::resp::float::Float;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    string("decr", |p, s| p.incr(s, -1), 2, "key", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Takes one from a number",
    ),
    string("decrby", |p, s| p.decrby(s), 3, "key decrement", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Takes so much from a number",
    ),
    string("incr", |p, s| p.incr(s, 1), 2, "key", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Adds one to a number",
    ),
    string("incrby", |p, s| p.incrby(s), 3, "key increment", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Adds so much to a number",
    ),
    string("incrbyfloat", |p, s| p.incrbyfloat(s), 3, "key increment", PUT_FAST).keys(READ_AND_CHANGED).about(
        "2.6.0",
        "O(1)",
        "Adds so much to a number with a fraction",
    ),
];

pub(super) const OVERFLOW: Refused = Refused::Because("ERR increment or decrement would overflow");
pub(super) const NOT_FINITE: Refused = Refused::Because("ERR increment would produce NaN or Infinity");

impl<'a> Plan<'_, 'a, '_> {
    /// INCRBY key increment
    pub(super) fn incrby(&mut self, scratch: &'a mut Scratch) -> Planned {
        let increment = integer_argument(self.args.at(2))?;
        self.incr(scratch, increment)
    }

    /// DECRBY key decrement
    pub(super) fn decrby(&mut self, scratch: &'a mut Scratch) -> Planned {
        let decrement = integer_argument(self.args.at(2))?;
        let increment = decrement.checked_neg().ok_or(Refused::Because("ERR decrement would overflow"))?;
        self.incr(scratch, increment)
    }

    /// INCR key, DECR key, and the common part of INCRBY and DECRBY.
    #[inline]
    pub(super) fn incr(&mut self, scratch: &'a mut Scratch, increment: i64) -> Planned {
        let (old, expire_at) = match self.first_string()? {
            Some((value, expire_at)) => (integer(value).ok_or(Refused::NotInteger)?, expire_at),
            None => (0, None),
        };
        let number = old.checked_add(increment).ok_or(OVERFLOW)?;
        let digits = scratch.digits(number);
        self.put_first(digits, expire_at);
        self.reply.int(number);
        Ok(())
    }

    /// INCRBYFLOAT key increment
    pub(super) fn incrbyfloat(&mut self, scratch: &'a mut Scratch) -> Planned {
        let old = self.first_string()?;
        let number = number_of(old)?;
        let increment = Float::parse(self.args.at(2)).ok_or(Refused::NotFloat)?;
        let sum = number.plus(increment).ok_or(NOT_FINITE)?;
        let digits = scratch.float(sum);
        self.put_first(digits, old.and_then(|(_, expire_at)| expire_at));
        self.reply.bulk(digits);
        Ok(())
    }
}

/// The number in a string; a missing one counts as zero.
pub(super) fn number_of(held: Option<Text<'_>>) -> Result<Float, Refused> {
    held.map_or(Some(Float::ZERO), |(value, _)| Float::parse(value)).ok_or(Refused::NotFloat)
}

impl Scratch {
    /// Formats an integer in decimal.
    #[inline]
    pub(super) fn digits(&mut self, number: i64) -> &[u8] {
        self.clear();
        self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        &self.bytes
    }

    /// Formats a floating-point number in decimal.
    pub(super) fn float(&mut self, number: Float) -> &[u8] {
        self.clear();
        number.format(&mut self.bytes);
        &self.bytes
    }
}
