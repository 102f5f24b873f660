//! Floating-point numbers for `INCRBYFLOAT`: a 64-bit significand (the `long double` of x86-64 Linux), so that 0.1 +
//! 0.2 is 0.3, printed with at most 17 decimals and no exponent. Each operation is computed exactly and then rounded
//! once, half to even.

mod decimal;

use std::cmp::Ordering;

/// A finite number `mantissa × 2^exponent`, or an infinity. Normal numbers have the highest bit of the mantissa set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// Exponent of the smallest (denormal) numbers.
const LOWEST: i32 = -16_445;
/// Exponent of the largest numbers.
const HIGHEST: i32 = 16_320;
/// Exponent value that marks an infinity.
const INFINITE: i32 = i32::MAX;
/// Maximum number of decimals printed.
const DECIMALS: usize = 17;
const SCALE: u128 = 10u128.pow(DECIMALS as u32);
/// Maximum length of a number's text, in bytes.
const LONGEST: usize = 5 * 1024;

impl Float {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, mantissa: 0, exponent: LOWEST };
    /// The largest finite number.
    pub const MAX: Self = Self { negative: false, mantissa: u64::MAX, exponent: HIGHEST };
    /// The smallest finite number.
    pub const MIN: Self = Self { negative: true, ..Self::MAX };

    /// Parses all of `text` as C's `strtold` does: decimal or hexadecimal, with or without exponent, or `inf`. `None`
    /// for anything else, and for numbers that overflow or underflow.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= LONGEST {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, mantissa: 0, exponent: INFINITE });
        }
        let number = match text {
            [b'0', b'x' | b'X', digits @ ..] => Self::parse_digits(digits, 16, b'p'),
            digits => Self::parse_digits(digits, 10, b'e'),
        }?;
        Some(Self { negative, ..number })
    }

    /// Whether the number is infinite.
    pub const fn is_infinite(self) -> bool {
        self.exponent == INFINITE
    }

    /// The nearest 64-bit number; `None` if that is infinite or, but for zero itself, zero.
    pub fn to_f64(self) -> Option<f64> {
        if self.mantissa == 0 {
            return Some(if self.exponent == INFINITE { f64::INFINITY } else { 0.0 });
        }
        // In two steps, since 2^exponent alone may be too small where the product is not.
        let half = self.exponent / 2;
        let number = self.mantissa as f64 * 2f64.powi(half) * 2f64.powi(self.exponent - half);
        (number != 0.0 && number.is_finite()).then_some(if self.negative { -number } else { number })
    }

    /// Parses digits with at most one point, and an optional exponent after `mark`.
    fn parse_digits(text: &[u8], base: u32, mark: u8) -> Option<Self> {
        let is_digit = |b: &u8| char::from(*b).is_digit(base);
        let whole_len = text.iter().take_while(|b| is_digit(b)).count();
        let (whole, rest) = text.split_at(whole_len);
        let (fraction, rest) = match rest {
            [b'.', after @ ..] => after.split_at(after.iter().take_while(|b| is_digit(b)).count()),
            rest => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [letter, exponent @ ..] if letter.eq_ignore_ascii_case(&mark) => parse_exponent(exponent)?,
            _ => return None,
        };
        let digits = || whole.iter().chain(fraction).map(|b| char::from(*b).to_digit(base).unwrap_or(0));
        if digits().all(|digit| digit == 0) {
            return Some(Self::ZERO);
        }
        let decimals = fraction.len() as i64;
        let number = if base == 16 {
            let exponent = exponent.saturating_sub(4 * decimals);
            hexadecimal(digits(), exponent)
        } else {
            decimal::from_digits(digits(), exponent.saturating_sub(decimals))?
        };
        (number.mantissa != 0 && number.exponent != INFINITE).then_some(number)
    }

    /// The number with the other sign.
    pub const fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    /// The sum; `None` if it is not finite.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.exponent == INFINITE || other.exponent == INFINITE {
            return None;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { other } else { self });
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 63 bits below the higher number: any bits cut off beneath only decide between equal halves.
        let exponent = high.exponent - 63;
        let high_bits = u128::from(high.mantissa) << 63;
        let shift = low.exponent - exponent;
        let low_bits = if shift >= 0 {
            u128::from(low.mantissa) << shift
        } else {
            shift_right_sticky(u128::from(low.mantissa), shift.unsigned_abs())
        };
        let (negative, bits) = if high.negative == low.negative {
            (high.negative, high_bits + low_bits)
        } else if high_bits >= low_bits {
            (high.negative, high_bits - low_bits)
        } else {
            (low.negative, low_bits - high_bits)
        };
        let sum = Self { negative: negative && bits != 0, ..Self::round(bits, exponent) };
        (sum.exponent != INFINITE).then_some(sum)
    }

    /// Rounds `bits × 2^exponent` to the nearest positive number, half to even. The lowest bit of `bits` may be a
    /// sticky bit.
    fn round(bits: u128, exponent: i32) -> Self {
        if bits == 0 {
            return Self::ZERO;
        }
        let length = (u128::BITS - bits.leading_zeros()) as i32;
        let target = (exponent + length - 64).max(LOWEST);
        let shift = target - exponent;
        let (mantissa, exponent) = if shift <= 0 {
            ((bits << -shift) as u64, target)
        } else {
            let rounded = round_shifted(bits, shift.unsigned_abs());
            u64::try_from(rounded).map_or((1 << 63, target + 1), |mantissa| (mantissa, target))
        };
        if exponent > HIGHEST {
            return Self { negative: false, mantissa: 0, exponent: INFINITE };
        }
        Self { negative: false, mantissa, exponent }
    }

    /// Appends the number in decimal: at most 17 decimals, no trailing zeros, no exponent. The number must be finite.
    pub fn format(self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        if self.exponent >= 0 && self.exponent != INFINITE {
            decimal::write_shifted(self.mantissa, self.exponent.unsigned_abs(), out);
            return;
        }
        let scaled = round_shifted(u128::from(self.mantissa) * SCALE, self.exponent.unsigned_abs());
        out.extend_from_slice(itoa::Buffer::new().format(scaled / SCALE).as_bytes());
        let mut fraction = scaled % SCALE;
        if fraction > 0 {
            out.push(b'.');
            let mut digits = [b'0'; DECIMALS];
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            let used = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            out.extend_from_slice(&digits[..used]);
        }
        if out[start..] == *b"-0" {
            out.truncate(start);
            out.push(b'0');
        }
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let size = |number: &Self| (number.exponent, number.mantissa);
        let is_zero = |number: &Self| number.mantissa == 0 && !number.is_infinite();
        Some(match (self.negative && !is_zero(self), other.negative && !is_zero(other)) {
            (false, false) => size(self).cmp(&size(other)),
            (true, true) => size(other).cmp(&size(self)),
            (own, others) => others.cmp(&own),
        })
    }
}

/// Parses a decimal exponent with its sign. Values far outside the range of numbers saturate.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0i64, |number, digit| (number * 10 + i64::from(digit - b'0')).min(1 << 40));
    Some(if negative { -number } else { number })
}

fn hexadecimal(digits: impl Iterator<Item = u32>, mut exponent: i64) -> Float {
    let mut bits = 0u128;
    for digit in digits {
        if bits >> 120 == 0 {
            bits = bits << 4 | u128::from(digit);
        } else {
            bits |= u128::from(digit != 0);
            exponent += 4;
        }
    }
    Float::round(bits, exponent.clamp(-40_000, 40_000) as i32)
}

/// Shifts `bits` right; the lowest bit of the result is set if any bit that was cut off was.
fn shift_right_sticky(bits: u128, shift: u32) -> u128 {
    if shift >= u128::BITS {
        return u128::from(bits != 0);
    }
    bits >> shift | u128::from(bits & ((1 << shift) - 1) != 0)
}

/// `bits / 2^shift`, rounded half to even.
fn round_shifted(bits: u128, shift: u32) -> u128 {
    if shift == 0 {
        return bits;
    }
    if shift > u128::BITS {
        // Less than one half.
        return 0;
    }
    let (kept, cut) = if shift == u128::BITS { (0, bits) } else { (bits >> shift, bits & ((1 << shift) - 1)) };
    let half = 1 << (shift - 1);
    kept + u128::from(cut > half || cut == half && kept & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let sum = Float::parse(a.as_bytes()).unwrap().plus(Float::parse(b.as_bytes()).unwrap()).unwrap();
        let mut out = Vec::new();
        sum.format(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_ordered_by_their_size() {
        let texts = ["-inf", "-1e4000", "-2", "-1.5", "-1e-4940", "0", "1e-4940", "0.5", "1.5", "2", "1e4000", "inf"];
        let numbers = texts.map(|text| Float::parse(text.as_bytes()).unwrap());
        assert!(numbers.is_sorted_by(|a, b| a < b));
        assert!(numbers[0] < Float::MIN && Float::MIN < numbers[1]);
        assert!(numbers[10] < Float::MAX && Float::MAX < numbers[11]);
        assert_eq!(Float::parse(b"-0").unwrap().partial_cmp(&Float::ZERO), Some(Ordering::Equal));
    }

    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, both) in [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "200", "5200"),
            ("0", "1e-17", "0.00000000000000001"),
            ("0", "1e-18", "0"),
            ("0", "-1e-18", "0"),
            ("3", "-3", "0"),
            ("-1.5", "-1.5", "-3"),
            ("1e19", "1", "10000000000000000001"),
            ("1e20", "1", "100000000000000000000"),
            ("0x1.8p1", "1", "4"),
            ("+.5", "1.", "1.5"),
            ("1e-4950", "0", "0"),
        ] {
            assert_eq!(sum(a, b), both, "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            "-",
            ".",
            "1e",
            "1e+",
            "e1",
            "0x",
            " 1",
            "1 ",
            "nan",
            "1e5000",
            "1e-5000",
            "1.2.3",
            "--1",
            "1\0",
            "infin",
            "0x1p20000",
        ] {
            assert_eq!(Float::parse(text.as_bytes()), None, "{text:?}");
        }
        assert!(Float::parse(b"0e99999999999999999999").is_some());
        assert!(Float::parse(b"-INF").unwrap().plus(Float::ZERO).is_none());
        assert!(Float::parse(b"1e4932").unwrap().plus(Float::parse(b"1e4932").unwrap()).is_none());
    }
}
