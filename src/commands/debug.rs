//! The part of DEBUG that looks at keys: OBJECT and DIGEST-VALUE.
//!
//! The registry does not have these rows: DEBUG is a command of the session (`net::session::debug`), which is allowed
//! only if the configuration says so and then has these executed where the keys are.

use super::registry::row::{READ, SUBJECT, generic, generic_key, run};
use super::registry::{Categories, Flags, KeyFlags, Route, Spec};
use super::{Plan, Planned, Refused};

/// `DEBUG OBJECT key`
pub static OBJECT: Spec = generic_key("debug|object", |p, _| p.debug_object(), 3, "key")
    .keys(SUBJECT)
    .flags(READ.and(Flags::ADMIN), Categories::NONE)
    .about("1.0.0", "O(N), N being the size of the value", "Tells how a value is kept");

/// `DEBUG DIGEST-VALUE key ...`
pub static DIGEST_VALUE: Spec = generic("debug|digest-value", |p, _| p.debug_digest_value(), -3, "key ...")
    .route(Route::OneCore)
    .keys(&[run(2, -1, 1, KeyFlags::RO)])
    .flags(READ.and(Flags::ADMIN), Categories::NONE)
    .about("5.0.0", "O(N), N being the size of the values", "Tells a digest of each value");

/// A digest as DEBUG replies it: as many hexadecimal digits as Redis's digests have.
pub fn digest_text(digest: u64) -> String {
    format!("{digest:040x}")
}

impl Plan<'_, '_, '_> {
    /// DEBUG OBJECT key
    fn debug_object(&mut self) -> Planned {
        let entry = self.subject().ok_or(Refused::Because("ERR no such key"))?;
        let (db, slot, key) = (self.context.db, self.slot(), self.args.at(2));
        let encoding = entry.value.encoding();
        let length = self.store.entry_len(db, slot, key).unwrap_or(0);
        let used = self.store.last_use(db, slot, key).unwrap_or(0);
        let idle = self.idle_seconds(key);
        self.reply.simple(&format!(
            "Value refcount:1 encoding:{encoding} serializedlength:{length} lru:{used} lru_seconds_idle:{idle}"
        ));
        Ok(())
    }

    /// DEBUG DIGEST-VALUE key ...
    fn debug_digest_value(&mut self) -> Planned {
        let keys = self.args.from(2);
        self.reply.array(keys.len());
        for key in keys {
            let entry = self.peek(self.context.db, super::slot_of(key), key);
            self.reply.simple(&digest_text(entry.map_or(0, |entry| entry.value.digest().0)));
        }
        Ok(())
    }
}
