//! How a value is kept: OBJECT and MEMORY USAGE.

use super::parse::{integer, integer_argument};
use super::{Plan, Planned, Refused};
use crate::store::{Entry, Value};

/// Longest string that Redis keeps in one piece with its header, in bytes; clients know the name.
const EMBEDDED: usize = 44;

impl<'p> Plan<'p, '_, '_> {
    /// The content of the key after the subcommand; looking at it is no use of it.
    fn subject(&mut self) -> Option<Entry<'p>> {
        self.peek(self.context.db, self.slot(), self.args.at(2))
    }

    /// OBJECT ENCODING key
    pub(super) fn object_encoding(&mut self) -> Planned {
        let encoding = self.subject().map(|entry| match entry.value {
            Value::String(bytes) if integer(bytes).is_some() => "int",
            Value::String(bytes) if bytes.len() <= EMBEDDED => "embstr",
            Value::String(_) => "raw",
            Value::Hash(hash) if hash.is_packed() => "listpack",
            Value::Hash(_) => "hashtable",
        });
        self.reply.bulk_or_null(encoding.map(str::as_bytes));
        Ok(())
    }

    /// OBJECT FREQ key
    pub(super) fn object_freq(&mut self) -> Planned {
        if self.subject().is_some() {
            return Err(Refused::Because(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        self.reply.null();
        Ok(())
    }

    /// OBJECT IDLETIME key
    pub(super) fn object_idletime(&mut self) -> Planned {
        match self.subject() {
            None => self.reply.null(),
            Some(_) => {
                let used = self.store.last_use(self.context.db, self.slot(), self.args.at(2));
                let now = self.context.coarse_now();
                // 0: not used since it was recovered. A clock that was set back makes no key older than it is.
                let used = used.filter(|used| *used != 0).unwrap_or(now);
                let idle = now.wrapping_sub(used).cast_signed().max(0);
                self.reply.int(idle.into());
            }
        }
        Ok(())
    }

    /// OBJECT REFCOUNT key
    pub(super) fn object_refcount(&mut self) -> Planned {
        match self.subject() {
            None => self.reply.null(),
            Some(_) => self.reply.int(1),
        }
        Ok(())
    }

    /// MEMORY USAGE key [SAMPLES count]
    pub(super) fn memory_usage(&mut self) -> Planned {
        let mut words = self.args.from(3);
        while let Some(word) = words.next() {
            if !word.eq_ignore_ascii_case(b"SAMPLES") {
                return Err(Refused::Syntax);
            }
            // The count is checked and then not needed: nothing is estimated here.
            if integer_argument(words.next().ok_or(Refused::Syntax)?)? < 0 {
                return Err(Refused::Syntax);
            }
        }
        match self.subject() {
            None => self.reply.null(),
            Some(_) => {
                let bytes = self.store.memory_of(self.context.db, self.slot(), self.args.at(2));
                self.reply.count(bytes.unwrap_or(0));
            }
        }
        Ok(())
    }
}
