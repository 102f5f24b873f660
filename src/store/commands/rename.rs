//! A value under another key or in another database: RENAME, RENAMENX, COPY, MOVE.
//!
//! Edits are absolute state, so that each of these logs the whole value once.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::parse::{db_of, int32_argument};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::slot::slot_of;
use crate::store::{Entry, Value};

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
        self.edit_first(Change::Delete(Removal::Deleted));
        self.edit(self.context.db, to_slot, to, scratch.copy_of(&entry));
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
                self.edit(to_db, to_slot, to, scratch.copy_of(&entry));
                true
            }
            _ => false,
        };
        self.reply.int(copied.into());
        Ok(())
    }

    /// MOVE key db
    pub(super) fn move_key(&mut self, scratch: &'a mut Scratch) -> Planned {
        let to_db = db_of(int32_argument(self.args.at(2))?)?;
        if to_db == self.context.db {
            return Err(SAME);
        }
        let (slot, key) = (self.slot(), self.args.at(1));
        let moved = match self.first() {
            Some(entry) if self.peek(to_db, slot, key).is_none() => {
                self.edit_first(Change::Delete(Removal::Deleted));
                self.edit(to_db, slot, key, scratch.copy_of(&entry));
                true
            }
            _ => false,
        };
        self.reply.int(moved.into());
        Ok(())
    }
}

impl Scratch {
    /// The change that makes another key the same as this one.
    fn copy_of(&mut self, entry: &Entry<'_>) -> Change<'_> {
        self.clear();
        let expire_at = entry.expire_at;
        match entry.value {
            Value::String(bytes) => {
                self.bytes.extend_from_slice(bytes);
                Change::PutString { value: Cow::Borrowed(&self.bytes), expire_at }
            }
            Value::Hash(hash) => {
                let _: ControlFlow<()> = hash.for_each(|name, value| {
                    self.fields.push(name, value);
                    ControlFlow::Continue(())
                });
                Change::PutHash { fields: self.fields.fields(), expire_at }
            }
        }
    }
}
