//! Commands on keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE.

use super::registry::row::{
    KEYSPACE, LOOKED_AT, MANY_LOOKED_AT, MANY_REMOVED, READ_FAST, SUM_OF_KEYS, WRITE_FAST, generic, generic_key,
};
use super::registry::{Flags, Gather, Route, Spec};
use super::seen::Seen;
use super::{Plan, Planned};
use crate::encoding::edit::{Change, Removal};
use crate::store::Value;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    generic("del", |p, _| p.del(), -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_REMOVED)
        .flags(Flags::WRITE, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about("1.0.0", "O(N), N being the number of keys and of their fields", "Deletes keys"),
    generic("exists", |p, _| p.exists(), -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_LOOKED_AT)
        .flags(READ_FAST, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about("1.0.0", "O(N), N being the number of keys", "Counts those of the keys that exist"),
    generic("touch", |p, _| p.touch_keys(), -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_LOOKED_AT)
        .flags(READ_FAST, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about(
            "3.2.1",
            "O(N), N being the number of keys",
            "Notes that keys were used just now and counts those that exist",
        ),
    generic_key("type", |p, _| p.type_of(), 2, "key").keys(LOOKED_AT).flags(READ_FAST, KEYSPACE).about(
        "1.0.0",
        "O(1)",
        "Tells the type of a key's value",
    ),
    generic("unlink", |p, _| p.del(), -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_REMOVED)
        .flags(WRITE_FAST, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about("4.0.0", "O(N), N being the number of keys and of their fields", "Deletes keys"),
];

impl Value<'_> {
    /// Name of the value's type, as TYPE replies it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
            Self::List(_) => "list",
            Self::Stream(_) => "stream",
        }
    }
}

impl Plan<'_, '_, '_> {
    /// DEL key ..., UNLINK key ...
    pub(super) fn del(&mut self) -> Planned {
        let mut deleted = 0;
        let mut seen = Seen::default();
        let several = self.args.len() > 2;
        for (slot, key) in self.slots(1) {
            if several && !seen.is_new(key, self.context.random) {
                continue;
            }
            if self.peek(self.context.db, slot, key).is_some() {
                self.edit(self.context.db, slot, key, Change::Delete(Removal::Deleted));
                deleted += 1;
            }
        }
        self.reply.int(deleted);
        Ok(())
    }

    /// EXISTS key ...
    pub(super) fn exists(&mut self) -> Planned {
        let keys = self.slots(1);
        let found = keys.filter(|(slot, key)| self.peek(self.context.db, *slot, key).is_some()).count();
        self.reply.count(found);
        Ok(())
    }

    /// TOUCH key ...
    pub(super) fn touch_keys(&mut self) -> Planned {
        let found = self.slots(1).filter(|(slot, key)| self.find(*slot, key).is_some()).count();
        self.reply.count(found);
        Ok(())
    }

    /// TYPE key
    pub(super) fn type_of(&mut self) -> Planned {
        let entry = self.peek(self.context.db, self.slot(), self.args.at(1));
        self.reply.simple(entry.map_or("none", |entry| entry.value.type_name()));
        Ok(())
    }
}
