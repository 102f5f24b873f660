//! Options of commands that write strings: when the key is to expire, and on what condition it is written.

use super::Refused;
use super::conditions::Comparison;
use super::parse::integer_argument;
use crate::time::UnixMillis;

/// Expiry that a command's options ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// No option about the expiry.
    #[default]
    Unsaid,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Never,
    /// `EX`, `PX`, `EXAT`, `PXAT`.
    Given(Term<'a>),
}

/// An expiry time as given in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term<'a> {
    pub text: &'a [u8],
    /// Unit of the time, in milliseconds.
    pub unit: i64,
    /// Whether the time is relative to now.
    pub relative: bool,
}

impl Term<'_> {
    /// The absolute time; the error names the command `name`.
    pub(super) fn resolve(self, now: UnixMillis, name: &'static str) -> Result<UnixMillis, Refused> {
        let number = integer_argument(self.text)?;
        let base = if self.relative { now.get() as i64 } else { 0 };
        let millis = number.checked_mul(self.unit).filter(|_| number > 0).and_then(|millis| millis.checked_add(base));
        Ok(UnixMillis::new(millis.ok_or(Refused::ExpireTime(name))?.unsigned_abs()))
    }
}

impl<'a> Expiry<'a> {
    /// The absolute time that is given, if one is; the error names the command `name`.
    pub(super) fn resolve(self, now: UnixMillis, name: &'static str) -> Result<Option<UnixMillis>, Refused> {
        match self {
            Self::Given(term) => term.resolve(now, name).map(Some),
            Self::Unsaid | Self::Keep | Self::Never => Ok(None),
        }
    }

    /// Parses `EX 10` and its variants, after `self`. The same option may be given twice; the last one counts.
    pub(super) fn then(self, name: &[u8], text: Option<&'a [u8]>) -> Result<Self, Refused> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let (unit, relative) = match () {
            () if is(b"EX") => (1000, true),
            () if is(b"PX") => (1, true),
            () if is(b"EXAT") => (1000, false),
            () if is(b"PXAT") => (1, false),
            () => return Err(Refused::Syntax),
        };
        let fits = match self {
            Self::Unsaid => true,
            Self::Given(before) => (before.unit, before.relative) == (unit, relative),
            Self::Keep | Self::Never => false,
        };
        let text = text.filter(|_| fits).ok_or(Refused::Syntax)?;
        Ok(Self::Given(Term { text, unit, relative }))
    }
}

/// Condition on which a key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// No option about a condition.
    #[default]
    Always,
    /// `NX`: the key does not exist.
    Missing,
    /// `XX`: the key exists.
    Present,
    /// `IFEQ`, `IFNE`, `IFDEQ`, `IFDNE`.
    Compared(Comparison<'a>),
}

/// The command that options belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Set,
    GetEx,
    MsetEx,
}

/// Options of SET, GETEX and MSETEX.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    pub condition: Condition<'a>,
    /// Whether the old value is replied.
    pub get: bool,
    pub expiry: Expiry<'a>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(mut words: impl Iterator<Item = &'a [u8]>, of: Of) -> Result<Self, Refused> {
        let mut options = Self::default();
        let writes = of != Of::GetEx;
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let Self { condition, expiry, .. } = options;
            if writes && is(b"NX") && matches!(condition, Condition::Always | Condition::Missing) {
                options.condition = Condition::Missing;
            } else if writes && is(b"XX") && matches!(condition, Condition::Always | Condition::Present) {
                options.condition = Condition::Present;
            } else if of == Of::Set
                && condition == Condition::Always
                && let Some(compare) = Comparison::named(word)
            {
                options.condition = Condition::Compared(compare(words.next().ok_or(Refused::Syntax)?));
            } else if of == Of::Set && is(b"GET") {
                options.get = true;
            } else if writes && is(b"KEEPTTL") && matches!(expiry, Expiry::Unsaid | Expiry::Keep) {
                options.expiry = Expiry::Keep;
            } else if of == Of::GetEx && is(b"PERSIST") && matches!(expiry, Expiry::Unsaid | Expiry::Never) {
                options.expiry = Expiry::Never;
            } else {
                options.expiry = expiry.then(word, words.next())?;
            }
        }
        Ok(options)
    }
}
