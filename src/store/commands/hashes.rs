//! Changes of hashes: HSET and its kin.

use super::numbers::{NOT_FINITE, OVERFLOW};
use super::parse::{integer, integer_argument};
use super::seen::Seen;
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::Change;
use crate::encoding::resp::float::Float;

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

    /// Plans the fields and values from the second argument on; returns how many fields are new.
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
            self.set_field(scratch, field, self.args.at(3));
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
        let old = match self.first_hash()?.and_then(|hash| hash.get(field)) {
            Some(value) => integer(value).ok_or(Refused::Because("ERR hash value is not an integer"))?,
            None => 0,
        };
        let number = old.checked_add(increment).ok_or(OVERFLOW)?;
        let mut digits = itoa::Buffer::new();
        self.set_field(scratch, field, digits.format(number).as_bytes());
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
        let old = match self.first_hash()?.and_then(|hash| hash.get(field)) {
            Some(value) => Float::parse(value).ok_or(Refused::Because("ERR hash value is not a float"))?,
            None => Float::ZERO,
        };
        let sum = old.plus(increment).ok_or(NOT_FINITE)?;
        let mut digits = Vec::new();
        sum.format(&mut digits);
        self.set_field(scratch, field, &digits);
        self.reply.bulk(&digits);
        Ok(())
    }

    /// Plans one field of the first key.
    fn set_field(&mut self, scratch: &'a mut Scratch, field: &[u8], value: &[u8]) {
        scratch.clear();
        scratch.fields.push(field, value);
        self.edit_first(Change::SetFields(scratch.fields.fields()));
    }
}
