//! INCREX: adds to a number within bounds, and sets when it expires.

use std::cmp::Ordering;

use super::numbers::number_of;
use super::options::Expiry;
use super::parse::integer;
use super::registry::Spec;
use super::registry::row::{PUT_FAST, READ_AND_CHANGED, string};
use super::{Plan, Planned, Refused, Scratch, Text};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::resp::float::Float;
use crate::time::UnixMillis;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[string(
    "increx",
    |p, s| p.increx(s),
    -2,
    "key [BYFLOAT increment | BYINT increment] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE] [EX seconds | \
     PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] [ENX]",
    PUT_FAST,
)
.keys(READ_AND_CHANGED)
.about("8.8.0", "O(1)", "Adds so much to a number, within bounds, and lets the key expire")];

/// Arguments of INCREX, not yet read as numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Asked<'a> {
    /// The increment, and whether it may have a fraction.
    by: Option<(&'a [u8], bool)>,
    least: Option<&'a [u8]>,
    most: Option<&'a [u8]>,
    saturate: bool,
    expiry: Expiry<'a>,
    /// Whether an expiry that the key has stays.
    only_new_expiry: bool,
}

impl<'a> Asked<'a> {
    /// Parses options, each of which may be given once.
    fn parse(mut words: impl Iterator<Item = &'a [u8]>) -> Result<Self, Refused> {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let mut value = || words.next().ok_or(Refused::Syntax);
            if asked.by.is_none() && (is(b"BYINT") || is(b"BYFLOAT")) {
                asked.by = Some((value()?, is(b"BYFLOAT")));
            } else if asked.least.is_none() && is(b"LBOUND") {
                asked.least = Some(value()?);
            } else if asked.most.is_none() && is(b"UBOUND") {
                asked.most = Some(value()?);
            } else if !asked.saturate && is(b"SATURATE") {
                asked.saturate = true;
            } else if !asked.only_new_expiry && is(b"ENX") {
                asked.only_new_expiry = true;
            } else if asked.expiry != Expiry::Unsaid {
                return Err(Refused::Syntax);
            } else if is(b"PERSIST") {
                asked.expiry = Expiry::Never;
            } else {
                asked.expiry = asked.expiry.then(word, words.next())?;
            }
        }
        match asked.expiry {
            Expiry::Never if asked.only_new_expiry => Err(Refused::Syntax),
            Expiry::Unsaid if asked.only_new_expiry => Err(Refused::Because("ERR ENX flag requires an expiration")),
            _ => Ok(asked),
        }
    }
}

/// What a number becomes.
enum Sum<N> {
    /// The number is within its bounds, or is brought there: the number, and by how much it differs from the old one.
    Within(N, N),
    /// The number would be out of bounds, and stays as it is.
    Beyond,
}

/// A kind of number that INCREX counts in.
trait Number: Copy + PartialOrd {
    /// Smallest and largest number of the kind.
    const LIMITS: (Self, Self);

    /// The exact sum, if it is one of the kind; else whether it is too small or too large.
    fn sum(self, other: Self) -> Result<Self, Ordering>;
    /// How much more this is than `other`.
    fn minus(self, other: Self) -> Self;

    /// Adds within bounds.
    fn add(self, by: Self, (least, most): (Self, Self), saturate: bool) -> Sum<Self> {
        let (sum, within) = match self.sum(by) {
            Ok(sum) if sum < least => (least, false),
            Ok(sum) if sum > most => (most, false),
            Ok(sum) => (sum, true),
            Err(Ordering::Less) => (least, false),
            Err(_) => (most, false),
        };
        if within {
            Sum::Within(sum, by)
        } else if saturate {
            Sum::Within(sum, sum.minus(self))
        } else {
            Sum::Beyond
        }
    }
}

impl Number for i64 {
    const LIMITS: (Self, Self) = (Self::MIN, Self::MAX);

    fn sum(self, other: Self) -> Result<Self, Ordering> {
        self.checked_add(other).ok_or_else(|| other.cmp(&0))
    }

    fn minus(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl Number for Float {
    const LIMITS: (Self, Self) = (Self::MIN, Self::MAX);

    fn sum(self, other: Self) -> Result<Self, Ordering> {
        self.plus(other).ok_or_else(|| other.partial_cmp(&Self::ZERO).unwrap_or(Ordering::Equal))
    }

    fn minus(self, other: Self) -> Self {
        self.sum(other.negated()).unwrap_or(Self::ZERO)
    }
}

impl<'a> Plan<'_, 'a, '_> {
    /// INCREX key [BYFLOAT increment | BYINT increment] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE]
    /// [EX s | PX ms | EXAT s | PXAT ms | PERSIST] [ENX]
    pub(super) fn increx(&mut self, scratch: &'a mut Scratch) -> Planned {
        let asked = Asked::parse(self.args.from(2))?;
        match asked.by {
            Some((by, true)) => self.increx_float(asked, by, scratch),
            by => self.increx_integer(asked, by.map_or(b"1", |(by, _)| by), scratch),
        }
    }

    fn increx_integer(&mut self, asked: Asked<'a>, by: &[u8], scratch: &'a mut Scratch) -> Planned {
        let number = |text, refusal| integer(text).ok_or(Refused::Because(refusal));
        let by = number(by, "ERR Increment is not an integer or out of range")?;
        let least = asked.least.map(|text| number(text, "ERR LBOUND is not an integer or out of range")).transpose()?;
        let most = asked.most.map(|text| number(text, "ERR UBOUND is not an integer or out of range")).transpose()?;
        let bounds = bounds(least, most)?;
        let expire_at = asked.expiry.resolve(self.context.now, "increx")?;
        let held = self.first_string()?;
        let old = held.map_or(Some(0), |(value, _)| integer(value)).ok_or(Refused::NotInteger)?;
        let (new, change) = match old.add(by, bounds, asked.saturate) {
            Sum::Within(new, change) => {
                self.put_counted(scratch.digits(new), held, asked, expire_at);
                (new, change)
            }
            Sum::Beyond => (old, 0),
        };
        self.reply.array(2);
        self.reply.int(new);
        self.reply.int(change);
        Ok(())
    }

    fn increx_float(&mut self, asked: Asked<'a>, by: &[u8], scratch: &'a mut Scratch) -> Planned {
        let number = |text, refusal| Float::parse(text).ok_or(Refused::Because(refusal));
        let by = number(by, "ERR Increment is not a valid float")?;
        if by.is_infinite() {
            return Err(Refused::Because("ERR BYFLOAT increment cannot be Infinity"));
        }
        let least = asked.least.map(|text| number(text, "ERR LBOUND is not a valid float")).transpose()?;
        let most = asked.most.map(|text| number(text, "ERR UBOUND is not a valid float")).transpose()?;
        let bounds = bounds(least, most)?;
        let expire_at = asked.expiry.resolve(self.context.now, "increx")?;
        let held = self.first_string()?;
        let old = number_of(held)?;
        if old.is_infinite() {
            return Err(Refused::Because("ERR value cannot be Infinity"));
        }
        let (new, change) = match old.add(by, bounds, asked.saturate) {
            Sum::Within(new, change) => {
                self.put_counted(scratch.float(new), held, asked, expire_at);
                (new, change)
            }
            Sum::Beyond => (old, Float::ZERO),
        };
        self.reply.array(2);
        for number in [new, change] {
            let mut digits = Vec::new();
            number.format(&mut digits);
            self.reply.digits(&digits);
        }
        Ok(())
    }

    /// Plans to put the new number into the first key, which holds `held`, and the expiry that was asked for.
    fn put_counted(&mut self, digits: &'a [u8], held: Option<Text<'_>>, asked: Asked<'_>, given: Option<UnixMillis>) {
        let old = held.and_then(|(_, expire_at)| expire_at);
        let expire_at = match asked.expiry {
            Expiry::Given(_) if asked.only_new_expiry && old.is_some() => old,
            Expiry::Given(_) => given,
            Expiry::Never => None,
            Expiry::Unsaid | Expiry::Keep => old,
        };
        if expire_at.is_none_or(|at| at > self.context.now) {
            self.put_first(digits, expire_at);
        } else if held.is_some() {
            self.edit_first(Change::Delete(Removal::Deleted));
        }
    }
}

/// The bounds of a number; a bound that is not given is that of its kind.
fn bounds<N: Number>(least: Option<N>, most: Option<N>) -> Result<(N, N), Refused> {
    let bounds = (least.unwrap_or(N::LIMITS.0), most.unwrap_or(N::LIMITS.1));
    if bounds.0 <= bounds.1 { Ok(bounds) } else { Err(Refused::Because("ERR LBOUND can't be greater than UBOUND")) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    #[test]
    fn a_number_stays_within_its_bounds() {
        let mut rig = Rig::new();
        for (request, reply, held) in [
            ("INCREX k", "*2 :1 :1", "1"),
            ("INCREX k BYINT 5", "*2 :6 :5", "6"),
            ("INCREX k BYINT 5 UBOUND 10", "*2 :6 :0", "6"),
            ("INCREX k BYINT 5 UBOUND 10 SATURATE", "*2 :10 :4", "10"),
            ("INCREX k BYINT -25 LBOUND 0", "*2 :10 :0", "10"),
            ("INCREX k LBOUND 0 BYINT -25 SATURATE", "*2 :0 :-10", "0"),
            ("INCREX k BYINT 50", "*2 :50 :50", "50"),
            // It is out of bounds before: brought back only if it is to be, or gets there by itself.
            ("INCREX k UBOUND 30", "*2 :50 :0", "50"),
            ("INCREX k BYINT 5 UBOUND 30 SATURATE", "*2 :30 :-20", "30"),
            ("INCREX k BYINT 9223372036854775807", "*2 :30 :0", "30"),
            (
                "INCREX k BYINT 9223372036854775807 SATURATE",
                "*2 :9223372036854775807 :9223372036854775777",
                "9223372036854775807",
            ),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
            assert_eq!(rig.line("GET k"), format!("${} {held}", held.len()), "{request}");
        }
        assert_eq!(rig.line("INCREX new BYINT 15 UBOUND 10"), "*2 :0 :0");
        assert_eq!(rig.line("EXISTS new"), ":0");
    }

    #[test]
    fn fractions_are_counted_as_incrbyfloat_counts_them() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("INCREX k BYFLOAT 0.1"), "*2 $3 0.1 $3 0.1");
        assert_eq!(rig.line("INCREX k BYFLOAT 0.2"), "*2 $3 0.3 $3 0.2");
        rig.line("SET k 10");
        assert_eq!(rig.line("INCREX k BYFLOAT 100 UBOUND 42.5 SATURATE"), "*2 $4 42.5 $4 32.5");
        assert_eq!(rig.line("INCREX k BYFLOAT -100 LBOUND -5.5"), "*2 $4 42.5 $1 0");
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("INCREX k BYFLOAT 1"), "*2 ,43.5 ,1");
        rig.line("SET k inf");
        assert_eq!(rig.line("INCREX k BYFLOAT 1"), "-ERR value cannot be Infinity");
        assert_eq!(rig.line("INCREX k BYFLOAT -inf"), "-ERR BYFLOAT increment cannot be Infinity");
        rig.line("SET k 0");
        assert!(rig.line("INCREX k BYFLOAT 1e4932 SATURATE").starts_with("*2 ,1"));
        assert!(rig.line("INCREX k BYFLOAT 1e4932 SATURATE").starts_with("*2 ,11897314953572317650"));
    }

    #[test]
    fn the_expiry_changes_only_as_asked() {
        let mut rig = Rig::new();
        rig.line("INCREX k EX 10");
        assert_eq!(rig.line("PTTL k"), ":10000");
        rig.line("INCREX k");
        assert_eq!(rig.line("PTTL k"), ":10000");
        rig.line("INCREX k PX 5 ENX");
        assert_eq!(rig.line("PTTL k"), ":10000");
        rig.line("INCREX k EXAT 1 ENX");
        assert_eq!(rig.line("GET k"), "$1 4");
        rig.line("INCREX k BYINT 100 UBOUND 50 PERSIST");
        assert_eq!(rig.line("PTTL k"), ":10000");
        rig.line("INCREX k PERSIST");
        assert_eq!(rig.line("PTTL k"), ":-1");
        rig.line("INCREX k ENX PX 70");
        assert_eq!(rig.line("PTTL k"), ":70");
        assert_eq!(rig.line("INCREX k PXAT 1"), "*2 :7 :1");
        assert_eq!(rig.line("EXISTS k"), ":0");
        assert_eq!(rig.line("INCREX k EXAT 1"), "*2 :1 :1");
        assert!(rig.edits.is_empty(), "{:?}", rig.edits);
    }

    #[test]
    fn errors_are_those_of_redis() {
        let mut rig = Rig::new();
        rig.line("SET text hello");
        rig.line("HSET h f v");
        for (request, reply) in [
            ("INCREX k FOO", "-ERR syntax error"),
            ("INCREX k BYINT", "-ERR syntax error"),
            ("INCREX k BYINT 1 BYFLOAT 1.5", "-ERR syntax error"),
            ("INCREX k LBOUND 0 LBOUND 1", "-ERR syntax error"),
            ("INCREX k SATURATE SATURATE", "-ERR syntax error"),
            ("INCREX k EX 10 EX 10", "-ERR syntax error"),
            ("INCREX k EX 10 PERSIST", "-ERR syntax error"),
            ("INCREX k PERSIST ENX", "-ERR syntax error"),
            ("INCREX k KEEPTTL", "-ERR syntax error"),
            ("INCREX k ENX", "-ERR ENX flag requires an expiration"),
            ("INCREX k BYINT 1.5", "-ERR Increment is not an integer or out of range"),
            ("INCREX k BYFLOAT abc", "-ERR Increment is not a valid float"),
            ("INCREX k LBOUND 1.5", "-ERR LBOUND is not an integer or out of range"),
            ("INCREX k BYFLOAT 1 UBOUND x", "-ERR UBOUND is not a valid float"),
            ("INCREX k LBOUND 10 UBOUND 5", "-ERR LBOUND can't be greater than UBOUND"),
            ("INCREX k BYFLOAT 1 LBOUND 10.5 UBOUND 1.5", "-ERR LBOUND can't be greater than UBOUND"),
            ("INCREX k EX 0", "-ERR invalid expire time in 'increx' command"),
            ("INCREX text", "-ERR value is not an integer or out of range"),
            ("INCREX text BYFLOAT 1", "-ERR value is not a valid float"),
            ("INCREX h", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
            assert!(rig.edits.is_empty(), "{request}");
        }
    }
}
