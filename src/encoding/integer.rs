//! Integers as clients write them: the one decimal form that stands for each.

/// Parses an integer: digits without leading zeros, with an optional minus. Rejects anything else, such as ` 1`, `+1`,
/// `01` or `-0`, so that the digits of the result are always the text that was read.
#[inline]
pub fn parse(bytes: &[u8]) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_strictly() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 999_999_999_999_999_999] {
            assert_eq!(parse(number.to_string().as_bytes()), Some(number));
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
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
