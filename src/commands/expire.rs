//! Commands on the expiry of keys: EXPIRE, TTL, PERSIST and variants.

use super::parse::integer_argument;
use super::registry::Spec;
use super::registry::row::{CHANGED, KEYSPACE, READ_FAST, READ_FROM, VARIES, WRITE_FAST, generic_key};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Change, Removal};
use crate::time::UnixMillis;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    generic_key("expire", |p, _| p.expire_in(1000, "expire"), -3, "key seconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.0.0", "O(1)", "Lets a key expire in so many seconds"),
    generic_key("expireat", |p, _| p.expire_at(1000, "expireat"), -3, "key unix-time-seconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.2.0", "O(1)", "Lets a key expire at a time, in seconds"),
    generic_key("expiretime", |p, _| p.tell_expiry(Tell::AtSeconds), 2, "key")
        .keys(READ_FROM)
        .flags(READ_FAST, KEYSPACE)
        .about("7.0.0", "O(1)", "Tells the time at which a key expires, in seconds"),
    generic_key("persist", |p, _| p.persist(), 2, "key").keys(CHANGED).flags(WRITE_FAST, KEYSPACE).about(
        "2.2.0",
        "O(1)",
        "Keeps a key from expiring",
    ),
    generic_key("pexpire", |p, _| p.expire_in(1, "pexpire"), -3, "key milliseconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("2.6.0", "O(1)", "Lets a key expire in so many milliseconds"),
    generic_key("pexpireat", |p, _| p.expire_at(1, "pexpireat"), -3, "key unix-time-milliseconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("2.6.0", "O(1)", "Lets a key expire at a time, in milliseconds"),
    generic_key("pexpiretime", |p, _| p.tell_expiry(Tell::AtMillis), 2, "key")
        .keys(READ_FROM)
        .flags(READ_FAST, KEYSPACE)
        .about("7.0.0", "O(1)", "Tells the time at which a key expires, in milliseconds"),
    generic_key("pttl", |p, _| p.tell_expiry(Tell::LeftMillis), 2, "key")
        .keys(READ_FROM)
        .flags(READ_FAST, KEYSPACE)
        .tips(VARIES)
        .about("2.6.0", "O(1)", "Tells how many milliseconds a key has left"),
    generic_key("ttl", |p, _| p.tell_expiry(Tell::LeftSeconds), 2, "key")
        .keys(READ_FROM)
        .flags(READ_FAST, KEYSPACE)
        .tips(VARIES)
        .about("1.0.0", "O(1)", "Tells how many seconds a key has left"),
];

/// Form in which TTL and its variants report the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    LeftSeconds,
    LeftMillis,
    AtSeconds,
    AtMillis,
}

/// Conditions (NX, XX, GT, LT) under which EXPIRE and its variants take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    /// The condition that a word is, if it is one.
    pub(super) fn one(word: &[u8]) -> Option<Self> {
        Self::parse(std::iter::once(word)).ok()
    }

    fn parse<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Self, ConditionError<'a>> {
        let mut some = Self::default();
        for word in words {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            match () {
                () if is(b"NX") => some.nx = true,
                () if is(b"XX") => some.xx = true,
                () if is(b"GT") => some.gt = true,
                () if is(b"LT") => some.lt = true,
                () => return Err(ConditionError::Unsupported(word)),
            }
        }
        if some.nx && (some.xx || some.gt || some.lt) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(ConditionError::Refused(Refused::Because(text)));
        }
        if some.gt && some.lt {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(ConditionError::Refused(Refused::Because(text)));
        }
        Ok(some)
    }

    /// Whether the conditions hold for a key whose expiry is to change from `old` to `new` (which may be negative). A
    /// key without expiry counts as expiring later than any other.
    pub(super) fn hold(self, old: Option<UnixMillis>, new: i64) -> bool {
        let old = old.map(|at| i64::try_from(at.get()).unwrap_or(i64::MAX));
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

enum ConditionError<'a> {
    Refused(Refused),
    Unsupported(&'a [u8]),
}

impl Plan<'_, '_, '_> {
    /// EXPIRE key seconds [NX|XX|GT|LT], PEXPIRE
    pub(super) fn expire_in(&mut self, unit: i64, name: &'static str) -> Planned {
        self.expire(unit, self.context.now.get() as i64, name)
    }

    /// EXPIREAT key seconds [NX|XX|GT|LT], PEXPIREAT
    pub(super) fn expire_at(&mut self, unit: i64, name: &'static str) -> Planned {
        self.expire(unit, 0, name)
    }

    /// Sets the first key's expiry to `base` plus the second argument, in units of `unit` milliseconds.
    fn expire(&mut self, unit: i64, base: i64, name: &'static str) -> Planned {
        let conditions = match Conditions::parse(self.args.from(3)) {
            Ok(conditions) => conditions,
            Err(ConditionError::Refused(refused)) => return Err(refused),
            Err(ConditionError::Unsupported(word)) => {
                let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
                self.reply.error_bytes(&[b"ERR Unsupported option ", word].concat());
                return Ok(());
            }
        };
        let number = integer_argument(self.args.at(2))?;
        let at = number.checked_mul(unit).and_then(|millis| millis.checked_add(base));
        let at = at.ok_or(Refused::ExpireTime(name))?;
        let old = self.first();
        let done = old.is_some_and(|old| conditions.hold(old.expire_at, at));
        if done {
            let now = self.context.now.get() as i64;
            self.edit_first(if at <= now {
                Change::Delete(Removal::Deleted)
            } else {
                Change::SetExpiry(Some(UnixMillis::new(at.unsigned_abs())))
            });
        }
        self.reply.int(done.into());
        Ok(())
    }

    /// TTL key, PTTL key, EXPIRETIME key, PEXPIRETIME key
    pub(super) fn tell_expiry(&mut self, tell: Tell) -> Planned {
        let entry = self.peek(self.context.db, self.slot(), self.args.at(1));
        let to_seconds = |millis: u64| (millis + 500) / 1000;
        let number = match entry.map(|entry| entry.expire_at) {
            None => -2,
            Some(None) => -1,
            Some(Some(at)) => {
                let left = at.get().saturating_sub(self.context.now.get());
                let told = match tell {
                    Tell::LeftSeconds => to_seconds(left),
                    Tell::LeftMillis => left,
                    Tell::AtSeconds => to_seconds(at.get()),
                    Tell::AtMillis => at.get(),
                };
                i64::try_from(told).unwrap_or(i64::MAX)
            }
        };
        self.reply.int(number);
        Ok(())
    }

    /// PERSIST key
    pub(super) fn persist(&mut self) -> Planned {
        let expires = self.first().is_some_and(|entry| entry.expire_at.is_some());
        if expires {
            self.edit_first(Change::SetExpiry(None));
        }
        self.reply.int(expires.into());
        Ok(())
    }
}
