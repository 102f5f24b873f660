//! Keys of whatever type: DEL, UNLINK, EXISTS, TOUCH, TYPE.

use super::seen::Seen;
use super::{Plan, Planned};
use crate::encoding::edit::{Change, Removal};
use crate::store::Value;

impl Value<'_> {
    /// The name of the type, as TYPE tells it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Hash(_) => "hash",
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
