//! Commands that change hashes: HSET and related ones.

use super::numbers::{NOT_FINITE, OVERFLOW};
use super::parse::{integer, integer_argument};
use super::registry::row::{CHANGED, PUT_FAST, READ_AND_CHANGED, hash, key};
use super::registry::{Flags, KeyFlags, Spec};
use super::seen::Seen;
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::Change;
use crate::encoding::resp::float::Float;
use crate::time::UnixMillis;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] =
    &[
        hash("hdel", |p, s| p.hdel(s), -3, "key field ...", Flags::WRITE.and(Flags::FAST))
            .keys(&[key(1, KeyFlags::RW.and(KeyFlags::DELETE))])
            .about(
                "2.0.0",
                "O(N), N being the number of fields given",
                "Removes fields, and the key with the last of them",
            ),
        hash("hincrby", |p, s| p.hincrby(s), 4, "key field increment", PUT_FAST).keys(READ_AND_CHANGED).about(
            "2.0.0",
            "O(1)",
            "Adds so much to the number in a field",
        ),
        hash("hincrbyfloat", |p, s| p.hincrbyfloat(s), 4, "key field increment", PUT_FAST)
            .keys(READ_AND_CHANGED)
            .about("2.6.0", "O(1)", "Adds so much to the number with a fraction in a field"),
        hash("hmset", |p, s| p.hmset(s), -4, "key <field value> ...", PUT_FAST)
            .keys(CHANGED)
            .deprecated("4.0.0", "`HSET` with several fields")
            .about("2.0.0", "O(N), N being the number of fields given", "Sets fields"),
        hash("hset", |p, s| p.hset(s), -4, "key <field value> ...", PUT_FAST).keys(CHANGED).about(
            "2.0.0",
            "O(N), N being the number of fields given",
            "Sets fields and counts the new ones",
        ),
        hash("hsetnx", |p, s| p.hsetnx(s), 4, "key field value", PUT_FAST)
            .keys(&[key(1, KeyFlags::RW.and(KeyFlags::INSERT))])
            .about("2.0.0", "O(1)", "Sets a field, if the hash does not have it"),
    ];

impl<'a> Plan<'_, 'a, '_> {
    /// HSET key field value ...
    #[inline]
    pub(super) fn hset(&mut self, scratch: &'a mut Scratch) -> Planned {
        let new = self.set_fields(scratch, "hset")?;
        self.reply.count(new);
        Ok(())
    }

    /// HMSET key field value ...
    pub(super) fn hmset(&mut self, scratch: &'a mut Scratch) -> Planned {
        self.set_fields(scratch, "hmset")?;
        self.reply.ok();
        Ok(())
    }

    /// Plans to set the fields and values from the second argument on. Returns the number of new fields.
    #[inline]
    fn set_fields(&mut self, scratch: &'a mut Scratch, name: &'static str) -> Result<usize, Refused> {
        if !self.args.len().is_multiple_of(2) {
            return Err(Refused::Arity(name));
        }
        let hash = self.first_hash()?;
        scratch.clear();
        let mut new = 0;
        let mut seen = Seen::default();
        let mut words = self.args.from(2);
        let several = words.len() > 2;
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            let is_new = hash.is_none_or(|hash| hash.get(field).is_none());
            new += usize::from(is_new && (!several || seen.is_new(field, self.context.random)));
            scratch.fields.push(field, value);
        }
        self.edit_first(Change::SetFields(scratch.fields.fields()));
        Ok(new)
    }

    /// HSETNX key field value
    pub(super) fn hsetnx(&mut self, scratch: &'a mut Scratch) -> Planned {
        let field = self.args.at(2);
        let free = self.first_hash()?.is_none_or(|hash| hash.get(field).is_none());
        if free {
            self.set_field(scratch, field, self.args.at(3), None);
        }
        self.reply.int(free.into());
        Ok(())
    }

    /// HDEL key field ...
    pub(super) fn hdel(&mut self, scratch: &'a mut Scratch) -> Planned {
        let hash = self.first_hash()?;
        scratch.clear();
        let mut removed = 0;
        if let Some(hash) = hash {
            let mut seen = Seen::default();
            for field in self.args.from(2) {
                if hash.get(field).is_some() && seen.is_new(field, self.context.random) {
                    scratch.fields.push(field, b"");
                    removed += 1;
                }
            }
        }
        if removed > 0 {
            self.edit_first(Change::RemoveFields(scratch.fields.fields()));
        }
        self.reply.count(removed);
        Ok(())
    }

    /// HINCRBY key field increment
    pub(super) fn hincrby(&mut self, scratch: &'a mut Scratch) -> Planned {
        let (field, increment) = (self.args.at(2), integer_argument(self.args.at(3))?);
        let (old, expire_at) = match self.first_hash()?.and_then(|hash| hash.field(field)) {
            Some((value, at)) => (integer(value).ok_or(Refused::Because("ERR hash value is not an integer"))?, at),
            None => (0, None),
        };
        let number = old.checked_add(increment).ok_or(OVERFLOW)?;
        let mut digits = itoa::Buffer::new();
        self.set_field(scratch, field, digits.format(number).as_bytes(), expire_at);
        self.reply.int(number);
        Ok(())
    }

    /// HINCRBYFLOAT key field increment
    pub(super) fn hincrbyfloat(&mut self, scratch: &'a mut Scratch) -> Planned {
        let field = self.args.at(2);
        let increment = Float::parse(self.args.at(3)).ok_or(Refused::NotFloat)?;
        if increment.is_infinite() {
            return Err(Refused::Because("ERR value is NaN or Infinity"));
        }
        let (old, expire_at) = match self.first_hash()?.and_then(|hash| hash.field(field)) {
            Some((value, at)) => (Float::parse(value).ok_or(Refused::Because("ERR hash value is not a float"))?, at),
            None => (Float::ZERO, None),
        };
        let sum = old.plus(increment).ok_or(NOT_FINITE)?;
        let mut digits = Vec::new();
        sum.format(&mut digits);
        self.set_field(scratch, field, &digits, expire_at);
        self.reply.bulk(&digits);
        Ok(())
    }

    /// Plans to set one field of the first key.
    fn set_field(&mut self, scratch: &'a mut Scratch, field: &[u8], value: &[u8], expire_at: Option<UnixMillis>) {
        scratch.clear();
        self.edit_first(if expire_at.is_some() {
            scratch.expiring.push(field, value, expire_at);
            Change::SetExpiringFields(scratch.expiring.fields())
        } else {
            scratch.fields.push(field, value);
            Change::SetFields(scratch.fields.fields())
        });
    }
}
