//! Commands on whole strings: SET, GET and related ones.

use std::borrow::Cow;

use super::options::{Condition, Expiry, Of, Options, Term};
use super::parse::integer;
use super::registry::row::{
    INSERTED, OVERWRITTEN, PUT, PUT_FAST, READ_AND_CHANGED, READ_FAST, READ_FROM, key, run, string, strings,
};
use super::registry::{Begin, Find, Flags, Gather, KeyFlags, KeySpec, Route, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::slot::slot_of;
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
    strings(
        "msetex",
        |p, _| p.msetex(),
        -4,
        "numkeys <key value> ... [NX | XX] \
         [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        PUT,
    )
    .route(Route::OneCore)
    .keys(&[KeySpec {
        begin: Begin::Index(1),
        find: Find::Count { at: 0, first: 1, step: 2 },
        flags: KeyFlags::OW.and(KeyFlags::UPDATE),
    }])
    .about(
        "8.4.0",
        "O(N), N being the number of keys",
        "Sets the strings of several keys, with one expiry for all",
    ),
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
        "key value [NX | XX | IFEQ comparison-value | IFNE comparison-value | IFDEQ comparison-digest | \
         IFDNE comparison-digest] [GET] \
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

    /// SET key value [NX | XX | IFEQ value | IFNE value | IFDEQ digest | IFDNE digest] [GET]
    /// [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
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
        let options = Options::parse(self.args.from(3), Of::Set)?;
        let mut expire_at = options.expiry.resolve(self.context.now, "set")?;
        let old = self.first();
        let compares = matches!(options.condition, Condition::Compared(_));
        let old_string = match old {
            Some(Entry { value: Value::String(bytes), .. }) => Some(bytes),
            Some(_) if options.get || compares => return Err(Refused::WrongType),
            _ => None,
        };
        let holds = match options.condition {
            Condition::Always => true,
            Condition::Missing => old.is_none(),
            Condition::Present => old.is_some(),
            Condition::Compared(comparison) => comparison.holds(old_string)?,
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
        let options = Options::parse(self.args.from(2), Of::GetEx)?;
        let Some((value, old)) = self.first_string()? else {
            self.reply.null();
            return Ok(());
        };
        let new = match options.expiry {
            Expiry::Unsaid | Expiry::Keep => old,
            expiry => expiry.resolve(self.context.now, "getex")?,
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

    /// MSETEX numkeys key value ... [NX | XX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
    pub(super) fn msetex(&mut self) -> Planned {
        let count = integer(self.args.at(1)).filter(|count| (1..=i32::MAX.into()).contains(count));
        let count = count.ok_or(Refused::Because("ERR invalid numkeys value"))? as usize;
        let end = 2 + 2 * count;
        if end > self.args.len() {
            return Err(Refused::Because("ERR wrong number of key-value pairs"));
        }
        let options = Options::parse(self.args.from(end), Of::MsetEx)?;
        let expire_at = options.expiry.resolve(self.context.now, "msetex")?;
        let args = self.args;
        let pairs = (2..end).step_by(2).map(|at| (slot_of(args.at(at)), args.at(at), args.at(at + 1)));
        let held: Vec<_> = pairs.clone().map(|(slot, key, _)| self.find(slot, key)).collect();
        let holds = match options.condition {
            Condition::Missing => held.iter().all(Option::is_none),
            Condition::Present => held.iter().all(Option::is_some),
            Condition::Always | Condition::Compared(_) => true,
        };
        if holds {
            for ((slot, key, value), old) in pairs.zip(held) {
                let kept = old.and_then(|entry| entry.expire_at);
                let expire_at = if options.expiry == Expiry::Keep { kept } else { expire_at };
                self.edit(self.context.db, slot, key, Change::PutString { value: Cow::Borrowed(value), expire_at });
            }
        }
        self.reply.int(holds.into());
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
    fn several_keys_get_one_expiry_or_none_is_set() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("MSETEX 2 {t}a 1 {t}b 2 EX 10"), ":1");
        assert_eq!(rig.line("MSETEX 2 {t}c 1 {t}b 2 NX"), ":0");
        assert_eq!(rig.line("MSETEX 2 {t}c 1 {t}b 2 xx"), ":0");
        assert!(rig.edits.is_empty());
        assert_eq!(rig.line("MSETEX 2 {t}c 3 {t}b 4 KEEPTTL"), ":1");
        assert_eq!(rig.line("PTTL {t}b"), ":10000");
        assert_eq!(rig.line("PTTL {t}c"), ":-1");
        assert_eq!(rig.line("MSETEX 1 {t}b 5 PX 70 XX"), ":1");
        assert_eq!(rig.line("PTTL {t}b"), ":70");
        assert_eq!(rig.line("MGET {t}a {t}b {t}c"), "*3 $1 1 $1 5 $1 3");
        for (request, reply) in [
            ("MSETEX key1 v", "-ERR wrong number of arguments for 'msetex' command"),
            ("MSETEX key1 v EX 10", "-ERR invalid numkeys value"),
            ("MSETEX 0 a 1", "-ERR invalid numkeys value"),
            ("MSETEX 2147483648 a 1", "-ERR invalid numkeys value"),
            ("MSETEX 2147483647 a 1", "-ERR wrong number of key-value pairs"),
            ("MSETEX 2 a 1 b", "-ERR wrong number of key-value pairs"),
            ("MSETEX 1 a 1 nonsense", "-ERR syntax error"),
            ("MSETEX 1 a 1 GET", "-ERR syntax error"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 10 PX 5000", "-ERR syntax error"),
            ("MSETEX 1 a 1 KEEPTTL EX 10", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
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
