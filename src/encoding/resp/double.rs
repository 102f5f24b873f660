//! Scores of sorted sets as text: 64-bit floating-point numbers, parsed and printed as Redis does.

use super::float::Float;

/// Exponent (of the digit before the last) from which integers are printed with an exponent, beyond their digits.
const PLAIN_ZEROS: i32 = 7;
/// Integers up to this magnitude are printed with all their digits.
const EXACT: f64 = (i64::MAX / 2) as f64;
/// Least power of ten of the last digit with which a fraction is always printed without an exponent.
const PLAIN_DECIMALS: i32 = -7;
/// Least power of ten of the first digit with which it is, however many digits follow.
const PLAIN_FRACTION: u32 = 4;

/// Parses all of `text`: decimal with or without exponent, hexadecimal, or `inf`. `None` for anything else, for numbers
/// that overflow, and for those other than 0 that underflow to it. Negative zero becomes zero.
pub fn parse(text: &[u8]) -> Option<f64> {
    let text = str::from_utf8(text).ok()?;
    let digits = text.trim_start_matches(['+', '-']);
    if digits.starts_with("0x") || digits.starts_with("0X") {
        return Float::parse(text.as_bytes())?.to_f64();
    }
    let number = text.parse::<f64>().ok().filter(|number| !number.is_nan())?;
    if number.is_infinite() && !digits.starts_with(['i', 'I']) {
        return None;
    }
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    if number == 0.0 && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        return None;
    }
    // Which of both zeros it was would be lost in a packed sorted set.
    Some(number + 0.0)
}

/// Appends a number: as few digits as tell it from all others, and an exponent where that makes it much shorter.
pub fn format(number: f64, out: &mut Vec<u8>) {
    if number.is_infinite() {
        return out.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" });
    }
    if number.abs() <= EXACT && number as i64 as f64 == number {
        return out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    }
    // `d.ddde±x`, with the fewest digits that give the same number back.
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let first: i32 = exponent.parse().unwrap_or(0);
    let count = digits.len() as i32;
    // Power of ten of the last digit.
    let last = first - count + 1;
    if number < 0.0 {
        out.push(b'-');
    }
    if last >= 0 && first < count + PLAIN_ZEROS {
        out.extend_from_slice(&digits);
        out.extend(std::iter::repeat_n(b'0', last.unsigned_abs() as usize));
    } else if last < 0 && (last > PLAIN_DECIMALS || first.unsigned_abs() < PLAIN_FRACTION) {
        match usize::try_from(first) {
            Ok(first) => {
                out.extend_from_slice(&digits[..=first]);
                out.push(b'.');
                out.extend_from_slice(&digits[first + 1..]);
            }
            Err(_) => {
                out.extend_from_slice(b"0.");
                out.extend(std::iter::repeat_n(b'0', first.unsigned_abs() as usize - 1));
                out.extend_from_slice(&digits);
            }
        }
    } else {
        out.push(digits[0]);
        if let more @ [_, ..] = &digits[1..] {
            out.push(b'.');
            out.extend_from_slice(more);
        }
        out.extend_from_slice(if first < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(itoa::Buffer::new().format(first.unsigned_abs()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: f64) -> String {
        let mut out = Vec::new();
        format(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_printed_as_redis_8_prints_them() {
        for (from, printed) in [
            ("0x10", "16"),
            ("0x1.8p3", "12"),
            ("-0x1p-1", "-0.5"),
            ("5e-324", "5e-324"),
            ("1e-310", "1e-310"),
            ("+inf", "inf"),
            ("-Infinity", "-inf"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0", "0"),
            ("1e20", "1e+20"),
            ("-1e22", "-1e+22"),
            ("123456789012345678", "123456789012345680"),
            ("4611686018427387904", "4611686018427387904"),
            ("9223372036854775807", "9223372036854776000"),
            ("4.7e18", "4.7e+18"),
            ("12345678901234567890", "12345678901234567000"),
            ("0.1", "0.1"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("0.00001234", "1.234e-5"),
            ("1.5e-5", "0.000015"),
            ("-123456.789", "-123456.789"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("1234567e-10", "1.234567e-4"),
            ("0.001234567", "0.001234567"),
        ] {
            assert_eq!(text(parse(from.as_bytes()).unwrap()), printed, "{from}");
        }
        assert!(parse(b"-0").unwrap().is_sign_positive());
    }

    #[test]
    fn what_is_no_score_is_none() {
        for text in
            ["1e400", "-1e400", "1e-400", " 1", "1 ", "nan", "-nan", "infinit", "", ".", "1e", "--5", "0x", "1_0"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"0x1p1024"), None);
    }

    #[test]
    fn what_is_printed_is_the_same_number() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let number = f64::from_bits(random.u64(..));
            if !number.is_nan() {
                assert_eq!(parse(text(number).as_bytes()), Some(number + 0.0), "{number:e}");
            }
        }
    }
}
