//! Commands on whole strings: SET, GET and related ones.

use std::borrow::Cow;

use super::parse::integer_argument;
use super::registry::row::{
    INSERTED, OVERWRITTEN, PUT, PUT_FAST, READ_AND_CHANGED, READ_FAST, READ_FROM, key, run, string, strings,
};
use super::registry::{Flags, Gather, KeyFlags, Route, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Change, Removal};
use crate::store::{Entry, Value};
use crate::time::UnixMillis;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    string("get", |p, _| p.get(), 2, "key", READ_FAST).keys(READ_FROM).about("1.0.0", "O(1)", "Tells a key's string"),
    string("getdel", |p, _| p.getdel(), 2, "key", Flags::WRITE.and(Flags::FAST))
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))])
        .about("6.2.0", "O(1)", "Tells a key's string and deletes the key"),
    string(
        "getex",
        |p, _| p.getex(),
        -2,
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        Flags::WRITE.and(Flags::FAST),
    )
    .keys(READ_AND_CHANGED)
    .about("6.2.0", "O(1)", "Tells a key's string and changes when the key expires"),
    string("getset", |p, _| p.getset(), 3, "key value", PUT_FAST)
        .keys(READ_AND_CHANGED)
        .deprecated("6.2.0", "`SET` with the `GET` option")
        .about("1.0.0", "O(1)", "Replaces a key's string and tells the old one"),
    strings("mget", |p, _| p.mget(), -2, "key ...", READ_FAST)
        .route(Route::Scatter(Gather::ByKey))
        .keys(&[run(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .tips(&["request_policy:multi_shard"])
        .about("1.0.0", "O(N), N being the number of keys", "Tells the strings of several keys"),
    strings("mset", |p, _| p.mset(), -3, "<key value> ...", PUT)
        .route(Route::Scatter(Gather::Ok))
        .keys(&[run(1, -1, 2, KeyFlags::OW.and(KeyFlags::UPDATE))])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .about("1.0.1", "O(N), N being the number of keys", "Sets the strings of several keys"),
    strings("msetnx", |p, _| p.msetnx(), -3, "<key value> ...", PUT)
        .route(Route::OneCore)
        .keys(&[run(1, -1, 2, KeyFlags::OW.and(KeyFlags::INSERT))])
        .about("1.0.1", "O(N), N being the number of keys", "Sets the strings of several keys, if none of them exists"),
    string("psetex", |p, _| p.setex(1, "psetex"), 4, "key milliseconds value", PUT)
        .keys(OVERWRITTEN)
        .deprecated("2.6.12", "`SET` with the `PX` option")
        .about("2.6.0", "O(1)", "Sets a key's string and lets the key expire in so many milliseconds"),
    string(
        "set",
        |p, _| p.set(),
        -3,
        "key value [NX | XX | IFEQ comparison-value] [GET] \
         [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        PUT,
    )
    .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE))])
    .about("1.0.0", "O(1)", "Sets a key's string, on conditions if need be"),
    string("setex", |p, _| p.setex(1000, "setex"), 4, "key seconds value", PUT)
        .keys(OVERWRITTEN)
        .deprecated("2.6.12", "`SET` with the `EX` option")
        .about("2.0.0", "O(1)", "Sets a key's string and lets the key expire in so many seconds"),
    string("setnx", |p, _| p.setnx(), 3, "key value", PUT_FAST)
        .keys(INSERTED)
        .deprecated("2.6.12", "`SET` with the `NX` option")
        .about("1.0.0", "O(1)", "Sets a key's string, if the key does not exist"),
];

/// Expiry that a command's options ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expiry<'a> {
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
struct Term<'a> {
    text: &'a [u8],
    /// Unit of the time, in milliseconds.
    unit: i64,
    /// Whether the time is relative to now.
    relative: bool,
}

impl Term<'_> {
    /// The absolute time; the error names the command `name`.
    fn resolve(self, now: UnixMillis, name: &'static str) -> Result<UnixMillis, Refused> {
        let number = integer_argument(self.text)?;
        let base = if self.relative { now.get() as i64 } else { 0 };
        let millis = number.checked_mul(self.unit).filter(|_| number > 0).and_then(|millis| millis.checked_add(base));
        Ok(UnixMillis::new(millis.ok_or(Refused::ExpireTime(name))?.unsigned_abs()))
    }
}

/// Options of SET and GETEX.
#[derive(Debug, Default)]
struct Options<'a> {
    nx: bool,
    xx: bool,
    ifeq: Option<&'a [u8]>,
    get: bool,
    expiry: Expiry<'a>,
}

impl<'a> Options<'a> {
    /// Parses options; `of_set` tells whether they are those of SET or of GETEX.
    fn parse(mut words: impl ExactSizeIterator<Item = &'a [u8]>, of_set: bool) -> Result<Self, Refused> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if of_set && is(b"NX") && !options.xx && options.ifeq.is_none() {
                options.nx = true;
            } else if of_set && is(b"XX") && !options.nx && options.ifeq.is_none() {
                options.xx = true;
            } else if of_set && is(b"IFEQ") && !options.nx && !options.xx && options.ifeq.is_none() {
                options.ifeq = Some(words.next().ok_or(Refused::Syntax)?);
            } else if of_set && is(b"GET") {
                options.get = true;
            } else if of_set && is(b"KEEPTTL") && matches!(options.expiry, Expiry::Unsaid | Expiry::Keep) {
                options.expiry = Expiry::Keep;
            } else if !of_set && is(b"PERSIST") && matches!(options.expiry, Expiry::Unsaid | Expiry::Never) {
                options.expiry = Expiry::Never;
            } else {
                options.expiry = options.term(word, words.next())?;
            }
        }
        Ok(options)
    }

    /// Parses `EX 10` and its variants. The same option may be given twice; the last one counts.
    fn term(&self, name: &[u8], text: Option<&'a [u8]>) -> Result<Expiry<'a>, Refused> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let (unit, relative) = match () {
            () if is(b"EX") => (1000, true),
            () if is(b"PX") => (1, true),
            () if is(b"EXAT") => (1000, false),
            () if is(b"PXAT") => (1, false),
            () => return Err(Refused::Syntax),
        };
        let fits = match self.expiry {
            Expiry::Unsaid => true,
            Expiry::Given(before) => (before.unit, before.relative) == (unit, relative),
            Expiry::Keep | Expiry::Never => false,
        };
        let text = text.filter(|_| fits).ok_or(Refused::Syntax)?;
        Ok(Expiry::Given(Term { text, unit, relative }))
    }
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// GET key
    #[inline]
    pub(super) fn get(&mut self) -> Planned {
        match self.first_string()? {
            Some((value, _)) => self.reply.bulk(value),
            None => self.reply.null(),
        }
        Ok(())
    }

    /// SET key value [NX | XX | IFEQ value] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
    #[inline]
    pub(super) fn set(&mut self) -> Planned {
        if self.args.len() > 3 {
            return self.set_with_options();
        }
        // The result does not depend on what the key held or whether it had expired, so the store is not read.
        self.put_first(self.args.at(2), None);
        self.reply.ok();
        Ok(())
    }

    fn set_with_options(&mut self) -> Planned {
        let options = Options::parse(self.args.from(3), true)?;
        let mut expire_at = match options.expiry {
            Expiry::Given(term) => Some(term.resolve(self.context.now, "set")?),
            _ => None,
        };
        let old = self.first();
        let old_string = match old {
            Some(Entry { value: Value::String(bytes), .. }) => Some(bytes),
            Some(_) if options.get || options.ifeq.is_some() => return Err(Refused::WrongType),
            _ => None,
        };
        let holds = match options.ifeq {
            Some(wanted) => old_string == Some(wanted),
            None => !(options.nx && old.is_some() || options.xx && old.is_none()),
        };
        if options.get {
            self.reply.bulk_or_null(old_string);
        } else if holds {
            self.reply.ok();
        } else {
            self.reply.null();
        }
        if holds {
            if options.expiry == Expiry::Keep {
                expire_at = old.and_then(|entry| entry.expire_at);
            }
            self.put_first(self.args.at(2), expire_at);
        }
        Ok(())
    }

    /// SETNX key value
    pub(super) fn setnx(&mut self) -> Planned {
        let free = self.first().is_none();
        if free {
            self.put_first(self.args.at(2), None);
        }
        self.reply.int(free.into());
        Ok(())
    }

    /// SETEX key seconds value, PSETEX key milliseconds value
    pub(super) fn setex(&mut self, unit: i64, name: &'static str) -> Planned {
        let term = Term { text: self.args.at(2), unit, relative: true };
        let expire_at = term.resolve(self.context.now, name)?;
        self.put_first(self.args.at(3), Some(expire_at));
        self.reply.ok();
        Ok(())
    }

    /// GETSET key value
    pub(super) fn getset(&mut self) -> Planned {
        let old = self.first_string()?;
        self.reply.bulk_or_null(old.map(|(value, _)| value));
        self.put_first(self.args.at(2), None);
        Ok(())
    }

    /// GETDEL key
    pub(super) fn getdel(&mut self) -> Planned {
        let old = self.first_string()?;
        self.reply.bulk_or_null(old.map(|(value, _)| value));
        if old.is_some() {
            self.edit_first(Change::Delete(Removal::Deleted));
        }
        Ok(())
    }

    /// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
    pub(super) fn getex(&mut self) -> Planned {
        let options = Options::parse(self.args.from(2), false)?;
        let Some((value, old)) = self.first_string()? else {
            self.reply.null();
            return Ok(());
        };
        let new = match options.expiry {
            Expiry::Given(term) => Some(term.resolve(self.context.now, "getex")?),
            Expiry::Never => None,
            Expiry::Unsaid | Expiry::Keep => old,
        };
        self.reply.bulk(value);
        if new.is_some_and(|at| at <= self.context.now) && new != old {
            self.edit_first(Change::Delete(Removal::Deleted));
        } else if new != old {
            self.edit_first(Change::SetExpiry(new));
        }
        Ok(())
    }

    /// MGET key ...
    pub(super) fn mget(&mut self) -> Planned {
        let start = self.reply.written();
        self.reply.array(self.args.len() - 1);
        for (slot, key) in self.slots(1) {
            match self.find(slot, key) {
                Some(Entry { value: Value::String(bytes), .. }) => self.reply.bulk(bytes),
                _ => self.reply.null(),
            }
            self.bound_reply(start)?;
        }
        Ok(())
    }

    /// MSET key value ...
    pub(super) fn mset(&mut self) -> Planned {
        if self.args.len().is_multiple_of(2) {
            return Err(Refused::Arity("mset"));
        }
        self.put_pairs();
        self.reply.ok();
        Ok(())
    }

    /// MSETNX key value ...
    pub(super) fn msetnx(&mut self) -> Planned {
        if self.args.len().is_multiple_of(2) {
            return Err(Refused::Arity("msetnx"));
        }
        let free = self.slots(2).all(|(slot, key)| self.find(slot, key).is_none());
        if free {
            self.put_pairs();
        }
        self.reply.int(free.into());
        Ok(())
    }

    fn put_pairs(&mut self) {
        for (index, (slot, key)) in self.slots(2).enumerate() {
            let value = Cow::Borrowed(self.args.at(2 * index + 2));
            self.edit(self.context.db, slot, key, Change::PutString { value, expire_at: None });
        }
    }

    /// Plans to put a string into the first key.
    #[inline]
    pub(super) fn put_first(&mut self, value: &'a [u8], expire_at: Option<UnixMillis>) {
        self.edit_first(Change::PutString { value: Cow::Borrowed(value), expire_at });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn ifeq_sets_only_over_the_value_that_it_names() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("SET k new IFEQ old"), "$-1");
        rig.line("SET k old PX 5000");
        assert_eq!(rig.line("SET k new IFEQ other"), "$-1");
        assert_eq!(rig.line("SET k new IFEQ other GET"), "$3 old");
        assert_eq!(rig.line("SET k new IFEQ old KEEPTTL"), "+OK");
        assert_eq!(rig.line("PTTL k"), ":5000");
        assert_eq!(rig.line("SET k newer ifeq new get"), "$3 new");
        assert_eq!(rig.line("GET k"), "$5 newer");
        assert_eq!(rig.line("SET k v IFEQ newer NX"), "-ERR syntax error");
        assert_eq!(rig.line("SET k v IFEQ"), "-ERR syntax error");
        rig.line("HSET h f v");
        assert!(rig.line("SET h v IFEQ v").starts_with("-WRONGTYPE"));
    }

    #[test]
    fn a_key_whose_time_has_come_is_missing_and_an_edit_says_so_first() {
        let mut rig = Rig::new();
        rig.line("SET k 1 PX 10");
        rig.now += 10;
        assert_eq!(rig.line("GET k"), "$1 1");
        rig.now += 1;
        assert_eq!(rig.line("INCR k"), ":1");
        assert_eq!(rig.edits.len(), 2);
        assert!(rig.edits[0].contains("Expired") && rig.edits[1].contains("PutString"), "{:?}", rig.edits);
        rig.line("PEXPIRE k 1");
        rig.now += 2;
        assert_eq!(rig.line("GET k"), "$-1");
        assert_eq!(rig.store.len(rig.db), 0);
    }

    #[test]
    fn what_changes_nothing_makes_no_edits() {
        let mut rig = Rig::new();
        rig.line("SET k v");
        for request in [
            "GET k",
            "SETNX k w",
            "SET k w NX",
            "GETEX k",
            "GETEX k PERSIST",
            "APPEND k ",
            "MSETNX j 1 k 2",
            "SET j v XX",
        ] {
            rig.line(request);
            assert!(rig.edits.is_empty(), "{request}: {:?}", rig.edits);
        }
    }
}
