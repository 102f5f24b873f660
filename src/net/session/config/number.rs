//! Numbers as values of settings, and why a value is refused.

use std::borrow::Cow;

use crate::commands::parse;

/// Why a value is refused for a setting.
pub(super) type Why = Cow<'static, str>;

/// Parses a number from `least` to `most`.
pub(super) fn integer(value: &[u8], least: i64, most: i64) -> Result<i64, Why> {
    let number = parse::integer(value).ok_or("argument couldn't be parsed into an integer")?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("argument must be between {least} and {most} inclusive").into())
    }
}
