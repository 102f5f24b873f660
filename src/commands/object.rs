//! Commands on how a value is stored: OBJECT, MEMORY USAGE.

use super::parse::{integer, integer_argument};
use super::registry::row::{KEYSPACE, READ, SUBJECT, VARIES, generic_key, key, server};
use super::registry::{Categories, Flags, Group, KeyFlags, Route, Spec};
use super::{Plan, Planned, Refused};
use crate::store::{Entry, SetForm, Value};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[Spec::new(Group::Generic, "object", -2, "")
    .flags(Flags::NONE, Categories::NONE)
    .about("2.2.3", "Depends on the subcommand", "Tells how a key's value is kept")
    .subcommands(OBJECT)];

const OBJECT: &[Spec] = &[
    generic_key("object|encoding", |p, _| p.object_encoding(), 3, "key")
        .keys(SUBJECT)
        .flags(READ, KEYSPACE)
        .tips(VARIES)
        .about("2.2.3", "O(1)", "Tells how a value is laid out in memory"),
    generic_key("object|freq", |p, _| p.object_freq(), 3, "key")
        .keys(SUBJECT)
        .flags(READ, KEYSPACE)
        .tips(VARIES)
        .about("4.0.0", "O(1)", "Tells how often a key is used, where that is counted"),
    Spec::new(Group::Generic, "object|help", 2, "").flags(Flags::LOADING.and(Flags::STALE), KEYSPACE).about(
        "6.2.0",
        "O(1)",
        "Lists the subcommands of OBJECT",
    ),
    generic_key("object|idletime", |p, _| p.object_idletime(), 3, "key")
        .keys(SUBJECT)
        .flags(READ, KEYSPACE)
        .tips(VARIES)
        .about("2.2.3", "O(1)", "Tells how many seconds ago a key was last used"),
    generic_key("object|refcount", |p, _| p.object_refcount(), 3, "key")
        .keys(SUBJECT)
        .flags(READ, KEYSPACE)
        .tips(VARIES)
        .about("2.2.3", "O(1)", "Tells how many references to a value there are: 1"),
];

/// MEMORY USAGE, the part of MEMORY that looks at a key (`net::session::memory` has the others).
pub const MEMORY_USAGE: Spec = server("memory|usage", |p, _| p.memory_usage(), -3, "key [SAMPLES count]")
    .route(Route::Key)
    .keys(&[key(2, KeyFlags::RO)])
    .flags(Flags::READONLY, Categories::NONE)
    .about("4.0.0", "O(1)", "Tells how many bytes of memory a key takes");

/// Longest string that Redis stores as `embstr`, in bytes. Clients know the encoding's name.
const EMBEDDED: usize = 44;

impl Value<'_> {
    /// Name of the form in which the value is kept, as OBJECT ENCODING replies it.
    pub(super) fn encoding(self) -> &'static str {
        match self {
            Value::String(bytes) if integer(bytes).is_some() => "int",
            Value::String(bytes) if bytes.len() <= EMBEDDED => "embstr",
            Value::String(_) => "raw",
            Value::Hash(hash) if hash.is_packed() => {
                if hash.expires() {
                    "listpackex"
                } else {
                    "listpack"
                }
            }
            Value::Hash(_) => "hashtable",
            Value::Set(set) => match set.form() {
                SetForm::Integers => "intset",
                SetForm::Packed => "listpack",
                SetForm::Table => "hashtable",
            },
            Value::SortedSet(sorted_set) if sorted_set.is_packed() => "listpack",
            Value::SortedSet(_) => "skiplist",
            Value::List(list) if list.is_packed() => "listpack",
            Value::List(_) => "quicklist",
            Value::Stream(_) => "stream",
        }
    }
}

impl<'p> Plan<'p, '_, '_> {
    /// Looks up the key after the subcommand, without updating its time of last use.
    pub(super) fn subject(&mut self) -> Option<Entry<'p>> {
        self.peek(self.context.db, self.slot(), self.args.at(2))
    }

    /// OBJECT ENCODING key
    pub(super) fn object_encoding(&mut self) -> Planned {
        let encoding = self.subject().map(|entry| entry.value.encoding());
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
                let idle = self.idle_seconds(self.args.at(2));
                self.reply.int(idle.into());
            }
        }
        Ok(())
    }

    /// Seconds since a key of the command's slot was last used.
    pub(super) fn idle_seconds(&self, key: &[u8]) -> i32 {
        let used = self.store.last_use(self.context.db, self.slot(), key);
        let now = self.context.coarse_now();
        // 0 means not used since recovery. If the clock was set back, the key does not count as older than it is.
        let used = used.filter(|used| *used != 0).unwrap_or(now);
        now.wrapping_sub(used).cast_signed().max(0)
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
            // The count is validated and then ignored: memory is measured here, not sampled.
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
