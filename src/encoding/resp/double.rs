//! 64-bit floating-point numbers as text, parsed as Redis does.

use super::float::Float;

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
    // Adding 0 makes -0 the 0 that it equals.
    Some(number + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_redis_takes() {
        for (text, number) in [
            ("12", 12.0),
            ("0x1.8p3", 12.0),
            ("-0x1p-1", -0.5),
            ("5e-324", 5e-324),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            (".5", 0.5),
            ("5.", 5.0),
            ("-0", 0.0),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text}");
        }
        assert!(parse(b"-0").unwrap().is_sign_positive());
        for text in ["1e400", "-1e400", "1e-400", "0x1p1024", " 1", "1 ", "nan", "", ".", "1e", "--5", "0x", "1_0"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
