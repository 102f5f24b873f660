//! Commands that move or copy a value to another key or database: RENAME, RENAMENX, COPY, MOVE.
//!
//! MOVE, RENAME and RENAMENX hand the value over: one small edit says so, and nothing is copied. COPY logs the whole
//! value as it is.
//!
//! A value that goes to another partition binds the snapshots of the two together: of the new key's, one from before
//! the edit would not do with one of the old key's from after it, for the value would be in neither
//! (`partition::transfers`). So a value that is small enough to be logged in no time is logged, and binds nothing; and
//! so is any value that would bind too many partitions together.

use std::borrow::Cow;

use super::parse::{db_of, int32_argument};
use super::registry::row::{KEYSPACE, RENAMED_FROM, WRITE_FAST, generic, generic_key, key};
use super::registry::{Flags, KeyFlags, Route, Spec};
use super::{MAX_CONTENT, Plan, Planned, Refused, Scratch, take_room};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::slot::slot_of;
use crate::store::{Entry, Value};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    generic("copy", |p, s| p.copy(s), -3, "source destination [DB destination-db] [REPLACE]")
        .route(Route::OneCore)
        .keys(&[key(1, KeyFlags::RO.and(KeyFlags::ACCESS)), key(2, KeyFlags::OW.and(KeyFlags::UPDATE))])
        .flags(Flags::WRITE.and(Flags::DENYOOM), KEYSPACE)
        .about("6.2.0", "O(N), N being the size of the value", "Copies a key's value and expiry to another key"),
    generic_key("move", |p, _| p.move_key(), 3, "key db")
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))])
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.0.0", "O(1)", "Moves a key to another database"),
    generic("rename", |p, s| p.rename(s, true), 3, "key newkey")
        .route(Route::OneCore)
        .keys(&[RENAMED_FROM, key(2, KeyFlags::OW.and(KeyFlags::UPDATE))])
        .flags(Flags::WRITE, KEYSPACE)
        .about("1.0.0", RENAME_TIME, "Gives a key another name, replacing what bore it"),
    generic("renamenx", |p, s| p.rename(s, false), 3, "key newkey")
        .route(Route::OneCore)
        .keys(&[RENAMED_FROM, key(2, KeyFlags::OW.and(KeyFlags::INSERT))])
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.0.0", RENAME_TIME, "Gives a key another name, unless something bears it"),
];

const RENAME_TIME: &str = "O(1)";
/// Values that take at most so much memory are logged as they are when they go to another slot: that takes less than
/// 0.1 ms. Small in tests, so that their values are large enough.
const SMALL: usize = if cfg!(test) { 160 } else { 64 << 10 };
const SAME: Refused = Refused::Because("ERR source and destination objects are the same");

impl<'a> Plan<'_, 'a, '_> {
    /// RENAME key newkey, RENAMENX key newkey
    pub(super) fn rename(&mut self, scratch: &'a mut Scratch, replace: bool) -> Planned {
        let (from, to) = (self.args.at(1), self.args.at(2));
        let entry = self.first().ok_or(Refused::Because("ERR no such key"))?;
        if from == to {
            if replace {
                self.reply.ok()
            } else {
                self.reply.int(0)
            }
            return Ok(());
        }
        let to_slot = slot_of(to);
        if !replace && self.find(to_slot, to).is_some() {
            self.reply.int(0);
            return Ok(());
        }
        let (db, slot) = (self.context.db, self.slot());
        let memory = || self.store.memory_of(db, slot, from).unwrap_or_default();
        if to_slot == slot || memory() > SMALL {
            self.edit_first(Change::Move { to_db: self.context.db, to_key: Cow::Borrowed(to) });
        } else {
            let copy = scratch.copy_of(&entry)?;
            self.edit_first(Change::Delete(Removal::Deleted));
            self.edit(self.context.db, to_slot, to, copy);
        }
        if replace {
            self.reply.ok()
        } else {
            self.reply.int(1)
        }
        Ok(())
    }

    /// COPY source destination [DB destination-db] [REPLACE]
    pub(super) fn copy(&mut self, scratch: &'a mut Scratch) -> Planned {
        let (mut to_db, mut replace) = (self.context.db, false);
        let mut words = self.args.from(3);
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"REPLACE") {
                replace = true;
            } else if word.eq_ignore_ascii_case(b"DB") {
                to_db = db_of(int32_argument(words.next().ok_or(Refused::Syntax)?)?)?;
            } else {
                return Err(Refused::Syntax);
            }
        }
        let (from, to) = (self.args.at(1), self.args.at(2));
        if from == to && to_db == self.context.db {
            return Err(SAME);
        }
        let to_slot = slot_of(to);
        let copied = match self.first() {
            Some(entry) if self.peek(to_db, to_slot, to).is_none() || replace => {
                self.edit(to_db, to_slot, to, scratch.copy_of(&entry)?);
                true
            }
            _ => false,
        };
        self.reply.int(copied.into());
        Ok(())
    }

    /// MOVE key db
    pub(super) fn move_key(&mut self) -> Planned {
        let to_db = db_of(int32_argument(self.args.at(2))?)?;
        if to_db == self.context.db {
            return Err(SAME);
        }
        let (slot, key) = (self.slot(), self.args.at(1));
        let moves = self.first().is_some() && self.peek(to_db, slot, key).is_none();
        if moves {
            self.edit_first(Change::Move { to_db, to_key: Cow::Borrowed(key) });
        }
        self.reply.int(moves.into());
        Ok(())
    }
}

const TOO_LARGE: Refused = Refused::Because("ERR the value is too large to be copied");

impl Scratch {
    /// The change that gives another key the same content.
    ///
    /// # Errors
    ///
    /// If the value is too large for one edit. No single request can create such a value, but several can.
    pub(crate) fn copy_of(&mut self, entry: &Entry<'_>) -> Result<Change<'_>, Refused> {
        self.clear();
        let (expire_at, mut room) = (entry.expire_at, MAX_CONTENT);
        let copied = match entry.value {
            Value::String(bytes) => {
                self.bytes.extend_from_slice(bytes);
                return Ok(Change::PutString { value: Cow::Borrowed(&self.bytes), expire_at });
            }
            Value::Stream(stream) if stream.payload_bytes() > MAX_CONTENT => return Err(TOO_LARGE),
            Value::Stream(stream) => {
                stream.write_payload(&mut self.bytes);
                return Ok(Change::PutStream { stream: Cow::Borrowed(&self.bytes), expire_at });
            }
            Value::Hash(hash) if hash.expires() => hash.for_each_field(|name, value, at| {
                self.expiring.push(name, value, at);
                take_room(&mut room, name.len() + value.len() + size_of::<u64>())
            }),
            Value::Hash(hash) => hash.for_each_field(|name, value, _| {
                self.fields.push(name, value);
                take_room(&mut room, name.len() + value.len())
            }),
            Value::Set(set) => set.for_each(|member| {
                member.with(|member| {
                    self.elements.push(member);
                    take_room(&mut room, member.len())
                })
            }),
            Value::SortedSet(sorted_set) => sorted_set.for_each(|member, score| {
                self.scored.push(member, score);
                take_room(&mut room, member.len() + size_of_val(&score))
            }),
            Value::List(list) => list.iter().try_for_each(|element| {
                self.elements.push(element);
                take_room(&mut room, element.len())
            }),
        };
        if copied.is_break() {
            return Err(TOO_LARGE);
        }
        Ok(match entry.value {
            Value::Hash(hash) if hash.expires() => {
                Change::PutExpiringHash { fields: self.expiring.fields(), expire_at }
            }
            Value::Set(_) => Change::PutSet { members: self.elements.elements(), expire_at },
            Value::SortedSet(_) => Change::PutSortedSet { members: self.scored.members(), expire_at },
            Value::List(_) => Change::PutList { elements: self.elements.elements(), expire_at },
            _ => Change::PutHash { fields: self.fields.fields(), expire_at },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn a_value_keeps_its_expiry_wherever_it_goes() {
        let mut rig = Rig::new();
        rig.line("HSET h a 1 b 2");
        rig.line("PEXPIRE h 5000");
        assert_eq!(rig.line("COPY h c"), ":1");
        assert_eq!(rig.line("RENAME h r"), "+OK");
        assert_eq!(rig.line("MOVE r 3"), ":1");
        assert_eq!(rig.line("EXISTS h r c"), ":1");
        assert_eq!(rig.line("PTTL c"), ":5000");
        rig.db.0 = 3;
        assert_eq!(rig.line("PTTL r"), ":5000");
        assert_eq!(rig.line("HGET r b"), "$1 2");
        assert_eq!(rig.line("HLEN r"), ":2");
    }

    #[test]
    fn sets_of_every_form_are_copied_moved_and_renamed() {
        let mut rig = Rig::new();
        rig.line("SADD i 3 1 -2");
        rig.line("SADD p 3 one");
        for n in 0..300 {
            rig.line(&format!("SADD t member{n}"));
        }
        for (key, encoding, size) in [("i", "intset", 3), ("p", "listpack", 2), ("t", "hashtable", 300)] {
            assert_eq!(rig.line(&format!("COPY {key} c REPLACE")), ":1");
            assert_eq!(rig.line(&format!("SDIFF c {key}")), "*0");
            assert_eq!(rig.line(&format!("RENAME {key} r")), "+OK");
            assert_eq!(rig.line("SINTERCARD 2 r c"), format!(":{size}"));
            assert!(rig.line("OBJECT ENCODING r").ends_with(encoding));
        }
    }

    #[test]
    fn a_large_value_is_handed_over_with_one_small_edit() {
        let mut rig = Rig::new();
        for n in 0..300 {
            rig.line(&format!("SADD {{t}}a member{n}"));
        }
        rig.line("SET {t}b replaced");
        for request in ["RENAME {t}a {t}b", "RENAMENX {t}b {t}c", "MOVE {t}c 3"] {
            rig.line(request);
            assert!(rig.edits.len() == 1 && rig.edits[0].contains("Move"), "{request}: {:?}", rig.edits);
            assert_eq!(rig.line("EXISTS {t}a"), ":0");
        }
        rig.db.0 = 3;
        assert_eq!(rig.line("SCARD {t}c"), ":300");
        rig.line("RENAME {t}c {other}");
        assert!(rig.edits.len() == 1 && rig.edits[0].contains("Move"), "{:?}", rig.edits);
        assert_eq!(rig.line("SCARD {other}"), ":300");
        rig.line("SADD {t}d member");
        assert_eq!(rig.line("RENAME {t}d {other}"), "+OK");
        assert!(rig.edits.len() == 2 && rig.edits[1].contains("PutSet"), "small ones bind nothing: {:?}", rig.edits);
        assert_eq!(rig.line("SCARD {other}"), ":1");
    }

    #[test]
    fn what_is_overwritten_may_have_had_its_time() {
        let mut rig = Rig::new();
        rig.line("SET a 1");
        rig.line("SET b 2 PX 1");
        rig.now += 2;
        assert_eq!(rig.line("RENAMENX a b"), ":1");
        assert_eq!(rig.line("GET b"), "$1 1");
        rig.line("SET c 3 PX 1");
        rig.now += 2;
        assert_eq!(rig.line("COPY b c"), ":1");
        assert_eq!(rig.line("MGET b c"), "*2 $1 1 $1 1");
    }
}
