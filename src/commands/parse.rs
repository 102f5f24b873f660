//! Parses numbers in arguments and values, as strictly as Redis does.

use super::refused::Refused;
use crate::encoding::resp::double;
use crate::ids::Db;

pub use crate::encoding::integer::parse as integer;

/// Parses an integer argument.
pub fn integer_argument(bytes: &[u8]) -> Result<i64, Refused> {
    integer(bytes).ok_or(Refused::NotInteger)
}

/// Parses a 32-bit integer argument.
pub fn int32_argument(bytes: &[u8]) -> Result<i32, Refused> {
    i32::try_from(integer_argument(bytes)?)
        .map_err(|_| Refused::Because("ERR value is out of range, value must between -2147483648 and 2147483647"))
}

/// Parses an integer argument whose negative is one, too.
pub(super) fn symmetric_argument(bytes: &[u8]) -> Result<i64, Refused> {
    const TEXT: &str = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    integer_argument(bytes).and_then(|number| if number == i64::MIN { Err(Refused::Because(TEXT)) } else { Ok(number) })
}

/// Parses an integer argument that must not be negative; anything else is refused with `text`.
pub(super) fn unsigned_argument(bytes: &[u8], text: &'static str) -> Result<u64, Refused> {
    integer(bytes).and_then(|number| u64::try_from(number).ok()).ok_or(Refused::Because(text))
}

/// Parses an integer argument that must be greater than 0; anything else is refused with `text`.
pub(super) fn positive_argument(bytes: &[u8], text: &'static str) -> Result<usize, Refused> {
    let number = integer(bytes).and_then(|number| usize::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or(Refused::Because(text))
}

/// Parses a score.
#[inline]
pub fn score_argument(bytes: &[u8]) -> Result<f64, Refused> {
    double::parse(bytes).ok_or(Refused::NotFloat)
}

/// Parses an end of a range of scores, as generously as Redis does: nothing is 0, and what is too large is infinite.
pub fn score_bound(bytes: &[u8]) -> Option<f64> {
    if bytes.is_empty() {
        return Some(0.0);
    }
    str::from_utf8(bytes).ok()?.parse::<f64>().ok().filter(|score| !score.is_nan())
}

/// Parses a database number.
///
/// # Errors
///
/// If it is not an integer, or no such database exists.
pub fn database(bytes: &[u8]) -> Result<Db, Refused> {
    db_of(int32_argument(bytes)?)
}

/// The database with this number.
pub(super) fn db_of(number: i32) -> Result<Db, Refused> {
    u64::try_from(number).ok().and_then(Db::new).ok_or(Refused::Because("ERR DB index is out of range"))
}

/// Parses a scan cursor: any number of 64 bits without a sign, or with one that makes no difference.
pub fn cursor(bytes: &[u8]) -> Option<u64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    (!negative || number == 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_redis_does() {
        assert_eq!(cursor(b"+05"), Some(5));
        assert_eq!(cursor(b"-0"), Some(0));
        assert_eq!(cursor(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(cursor(b"18446744073709551616"), None);
        for refused in [&b""[..], b"x", b"-", b"-1", b"5 "] {
            assert_eq!(cursor(refused), None);
        }
    }
}
