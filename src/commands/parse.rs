//! Parses numbers in arguments and values, as strictly as Redis does.

use super::refused::Refused;
use crate::ids::Db;

/// Parses an integer: digits without leading zeros, with an optional minus. Rejects anything else, such as ` 1`, `+1`,
/// `01` or `-0`.
#[inline]
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut number = 0u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Up to 19 digits fit.
        number = number * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

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
pub(super) fn positive_argument(bytes: &[u8], text: &'static str) -> Result<u64, Refused> {
    integer(bytes).and_then(|number| u64::try_from(number).ok()).ok_or(Refused::Because(text))
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

/// Parses a scan cursor as C's `strtoul` does, so that the empty string and negative numbers are cursors, too.
pub fn cursor(bytes: &[u8]) -> Option<u64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return bytes.is_empty().then_some(0);
    }
    let number = digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_strictly() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 999_999_999_999_999_999] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        let not: [&[u8]; 13] = [
            b"",
            b"-",
            b"-0",
            b"+1",
            b"01",
            b" 1",
            b"1 ",
            b"1a",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"99999999999999999999",
            b"18446744073709551617",
            b"\xff",
        ];
        for text in not {
            assert_eq!(integer(text), None, "{text:?}");
        }
    }

    #[test]
    fn cursors_are_read_as_redis_does() {
        assert_eq!(cursor(b""), Some(0));
        assert_eq!(cursor(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(cursor(b"18446744073709551616"), None);
        assert_eq!(cursor(b"x"), None);
        assert_eq!(cursor(b"-"), None);
    }
}
