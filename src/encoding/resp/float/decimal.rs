//! Exact conversion between decimal digits and [`Float`], with integers of as many 32-bit limbs as needed.

use super::Float;

/// Largest power of ten that fits into a limb, with its exponent.
const TENS: (u32, u32) = (1_000_000_000, 9);
const FIVES: (u32, u32) = (1_220_703_125, 13);
/// Decimal exponents beyond which a number overflows or underflows whatever its digits are.
const FARTHEST: i64 = 5_000;

/// A non-negative integer of any size, lowest limb first, without leading zero limbs.
#[derive(Default)]
struct Whole(Vec<u32>);

impl Whole {
    /// Sets `self` to `self × factor + more`.
    fn multiply_add(&mut self, factor: u32, more: u32) {
        let mut carry = u64::from(more);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Sets `self` to `self / divisor`; returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0u64;
        for limb in self.0.iter_mut().rev() {
            remainder = remainder << 32 | u64::from(*limb);
            *limb = (remainder / u64::from(divisor)) as u32;
            remainder %= u64::from(divisor);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        remainder as u32
    }

    /// Sets `self` to `self × 2^(32 × limbs)`.
    fn shift_up(&mut self, limbs: usize) {
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    /// The [`Float`] nearest to `self × 2^exponent`, where `sticky` means a fraction more.
    fn round(&self, exponent: i32, sticky: bool) -> Float {
        let kept = self.0.len().min(4);
        let (below, top) = self.0.split_at(self.0.len() - kept);
        let bits = top.iter().rev().fold(0u128, |bits, limb| bits << 32 | u128::from(*limb));
        let sticky = sticky || below.iter().any(|limb| *limb != 0);
        Float::round(bits | u128::from(sticky), exponent + 32 * below.len() as i32)
    }
}

/// The number `digits × 10^exponent`; `None` on overflow or underflow. At least one digit must not be 0.
pub(super) fn from_digits(digits: impl Iterator<Item = u32>, exponent: i64) -> Option<Float> {
    let mut whole = Whole::default();
    let (mut chunk, mut factor, mut count) = (0, 1, 0i64);
    for digit in digits.skip_while(|digit| *digit == 0) {
        (chunk, factor, count) = (chunk * 10 + digit, factor * 10, count + 1);
        if factor == TENS.0 {
            whole.multiply_add(factor, chunk);
            (chunk, factor) = (0, 1);
        }
    }
    whole.multiply_add(factor, chunk);
    let magnitude = exponent.saturating_add(count);
    if !(-FARTHEST..=FARTHEST).contains(&magnitude) {
        return None;
    }
    // A power of ten is a power of five times a power of two; the latter goes to the binary exponent.
    let binary = i32::try_from(exponent).ok()?;
    let (mut left, sticky) = (binary.unsigned_abs(), &mut false);
    if binary >= 0 {
        while left > 0 {
            let step = left.min(FIVES.1);
            whole.multiply_add(5u32.pow(step), 0);
            left -= step;
        }
        return Some(whole.round(binary, false));
    }
    // Enough limbs for a quotient of four limbs: 5^n has fewer than 7n/3 bits.
    let limbs = (left as usize * 7 / 3).div_ceil(32) + 4;
    whole.shift_up(limbs);
    while left > 0 {
        let step = left.min(FIVES.1);
        *sticky |= whole.divide(5u32.pow(step)) != 0;
        left -= step;
    }
    Some(whole.round(binary - 32 * limbs as i32, *sticky))
}

/// Appends the decimal digits of `mantissa × 2^shift`.
pub(super) fn write_shifted(mantissa: u64, shift: u32, out: &mut Vec<u8>) {
    let mut whole = Whole(vec![mantissa as u32, (mantissa >> 32) as u32]);
    whole.multiply_add(1 << (shift % 32), 0);
    whole.shift_up((shift / 32) as usize);
    let start = out.len();
    while !whole.0.is_empty() {
        let mut rest = whole.divide(TENS.0);
        for _ in 0..TENS.1 {
            out.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
    }
    while out.len() > start + 1 && out.last() == Some(&b'0') {
        out.pop();
    }
    if out.len() == start {
        out.push(b'0');
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_survive_a_round_trip() {
        for text in ["1", "123456789012345678", "18446744073709551616", "340282366920938463463374607431768211456"] {
            let mut out = Vec::new();
            from_digits(text.bytes().map(|b| u32::from(b - b'0')), 0).unwrap().format(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
