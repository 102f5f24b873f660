//! Numbers as values of settings, and why a value is refused.

use std::borrow::Cow;

use crate::commands::parse;

/// Why a value is refused for a setting.
pub(super) type Why = Cow<'static, str>;

/// Parses a number from `least` to `most`.
pub(super) fn integer(value: &[u8], least: i64, most: i64) -> Result<i64, Why> {
    within(parse::integer(value).ok_or("argument couldn't be parsed into an integer")?, least, most)
}

/// Passes a number on that is from `least` to `most`.
pub(super) fn within(number: i64, least: i64, most: i64) -> Result<i64, Why> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("argument must be between {least} and {most} inclusive").into())
    }
}

/// Bytes with Redis's units: `k` is a thousand, `kb` is 1024. 0 is no bound, and so is no number, as in Redis.
pub(super) fn memory(value: &[u8]) -> Result<Option<u64>, Why> {
    const UNITS: [(&[u8], u64); 8] = [
        (b"", 1),
        (b"b", 1),
        (b"k", 1000),
        (b"kb", 1 << 10),
        (b"m", 1_000_000),
        (b"mb", 1 << 20),
        (b"g", 1_000_000_000),
        (b"gb", 1 << 30),
    ];
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = value.split_at(digits);
    let number = if digits == 0 { Some(0) } else { std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()) };
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let bytes = number.zip(factor).and_then(|(number, factor): (u64, u64)| number.checked_mul(factor));
    bytes.map(|bytes| (bytes > 0).then_some(bytes)).ok_or_else(|| "argument must be a memory value".into())
}
