//! Ids of stream entries in arguments: parsing them as Redis does.

use super::Refused;
use crate::encoding::event::EventId;

pub(super) const INVALID: Refused = Refused::Because("ERR Invalid stream ID specified as stream command argument");

/// Longest text of an id, in bytes.
const LONGEST: usize = 127;

/// Id that XADD is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `*`: the time now, or what follows the greatest id.
    Auto,
    /// `ms-*`: the next number at this time.
    At(u64),
    /// `ms-seq` or `ms`.
    Exactly(EventId),
}

/// Parses an id as XADD takes it.
pub(super) fn wanted(text: &[u8]) -> Result<Wanted, Refused> {
    if text == b"*" {
        return Ok(Wanted::Auto);
    }
    match text.strip_suffix(b"-*") {
        Some(ms) if text.len() <= LONGEST && !ms.contains(&b'-') => number(ms).map(Wanted::At).ok_or(INVALID),
        _ => exact(text, 0).map(Wanted::Exactly),
    }
}

/// Parses `ms-seq` or `ms`, which stands for `ms-seq` with `seq` as given.
pub(super) fn exact(text: &[u8], seq: u64) -> Result<EventId, Refused> {
    if text.len() > LONGEST {
        return Err(INVALID);
    }
    // C's strings end at a zero byte.
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let (ms, seq) = match memchr::memchr(b'-', text) {
        Some(dash) => (number(&text[..dash]), number(&text[dash + 1..])),
        None => (number(text), Some(seq)),
    };
    ms.zip(seq).map(|(ms, seq)| EventId::new(ms, seq)).ok_or(INVALID)
}

/// Parses an id as [`exact`], or `-` and `+` for the smallest and the greatest.
pub(super) fn bound(text: &[u8], seq: u64) -> Result<EventId, Refused> {
    match text {
        b"-" => Ok(EventId::ZERO),
        b"+" => Ok(EventId::MAX),
        _ => exact(text, seq),
    }
}

/// Parses the start of an interval; `(` excludes the id behind it.
pub(super) fn start(text: &[u8]) -> Result<EventId, Refused> {
    match text {
        [b'(', text @ ..] if !text.is_empty() => {
            exact(text, 0)?.next().ok_or(Refused::Because("ERR invalid start ID for the interval"))
        }
        _ => bound(text, 0),
    }
}

/// Parses the end of an interval; `(` excludes the id behind it.
pub(super) fn end(text: &[u8]) -> Result<EventId, Refused> {
    match text {
        [b'(', text @ ..] if !text.is_empty() => {
            exact(text, u64::MAX)?.previous().ok_or(Refused::Because("ERR invalid end ID for the interval"))
        }
        _ => bound(text, u64::MAX),
    }
}

/// Parses one of the numbers of an id as C's `strtoull` does where Redis lets it: with white space, a plus and zeros
/// before it.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii_start();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_does() {
        let id = |ms, seq| Ok(EventId::new(ms, seq));
        assert_eq!(exact(b"5", 7), id(5, 7));
        assert_eq!(exact(b"5-6", 7), id(5, 6));
        assert_eq!(exact(b"+05- 06", 7), id(5, 6));
        assert_eq!(exact(b"18446744073709551615-18446744073709551615", 0), Ok(EventId::MAX));
        for text in [&b""[..], b"-", b"+", b"5-", b"-5", b"5-6-7", b"x", b"5-*", b"18446744073709551616", b"1e3"] {
            assert_eq!(exact(text, 0), Err(INVALID), "{}", text.escape_ascii());
        }
        assert_eq!(exact(&[b'0'; 128], 0), Err(INVALID));
        assert_eq!(wanted(b"*"), Ok(Wanted::Auto));
        assert_eq!(wanted(b"5-*"), Ok(Wanted::At(5)));
        assert_eq!(wanted(b"5-6"), Ok(Wanted::Exactly(EventId::new(5, 6))));
        assert_eq!(wanted(b"-*"), Err(INVALID));
    }

    #[test]
    fn intervals_may_exclude_their_ends() {
        let id = |ms, seq| Ok(EventId::new(ms, seq));
        assert_eq!((start(b"-"), end(b"+")), (Ok(EventId::ZERO), Ok(EventId::MAX)));
        assert_eq!((start(b"5"), end(b"5")), (id(5, 0), id(5, u64::MAX)));
        assert_eq!((start(b"(5"), end(b"(5")), (id(5, 1), id(5, u64::MAX - 1)));
        assert_eq!((start(b"(5-18446744073709551615"), end(b"(5-0")), (id(6, 0), id(4, u64::MAX)));
        assert!(start(b"(18446744073709551615-18446744073709551615").is_err() && end(b"(0-0").is_err());
        assert_eq!((start(b"("), start(b"(-")), (Err(INVALID), Err(INVALID)));
    }
}
