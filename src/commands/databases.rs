//! Commands on whole databases: DBSIZE, FLUSHALL, FLUSHDB, SWAPDB, RANDOMKEY.

use super::parse::{db_of, integer};
use super::random::Random;
use super::registry::row::{EVERY_CORE, KEYSPACE, READ, generic, server};
use super::registry::{Categories, Flags, Gather, Route, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::Edit;
use crate::ids::{Db, PartitionId, Slot};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    server("dbsize", |p, _| p.dbsize(), 1, "")
        .route(Route::EveryCore(Gather::Sum))
        .flags(Flags::READONLY.and(Flags::FAST), Categories::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .about("1.0.0", "O(1)", "Counts the keys of the database"),
    server("flushall", |p, _| p.flush(Db::all()), -1, "[ASYNC|SYNC]")
        .route(Route::EveryCore(Gather::Ok))
        .flags(Flags::WRITE, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .tips(EVERY_CORE)
        .about("1.0.0", "O(N), N being the number of keys", "Deletes the keys of all databases"),
    server("flushdb", |p, _| p.flush(std::iter::once(p.context.db)), -1, "[ASYNC|SYNC]")
        .route(Route::EveryCore(Gather::Ok))
        .flags(Flags::WRITE, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .tips(EVERY_CORE)
        .about("1.0.0", "O(N), N being the number of keys", "Deletes the keys of the database"),
    server("swapdb", |p, _| p.swapdb(), 3, "index1 index2")
        .route(Route::EveryCore(Gather::Ok))
        .flags(Flags::WRITE.and(Flags::FAST), Categories::KEYSPACE.and(Categories::DANGEROUS))
        .about("4.0.0", "O(N), N being the number of partitions", "Lets two databases change places"),
    generic("randomkey", |p, _| p.randomkey(), 1, "")
        .route(Route::Random)
        .flags(READ, KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .about("1.0.0", "O(1)", "Names a key, chosen at random"),
];

/// Number of random draws by which RANDOMKEY tries to find a key that has not expired.
const DRAWS: usize = 100;
/// Number of keys that RANDOMKEY then examines in order.
const LOOKED_AT: usize = 10_000;

impl Plan<'_, '_, '_> {
    /// DBSIZE
    pub(super) fn dbsize(&mut self) -> Planned {
        self.reply.count(self.store.len(self.context.db));
        Ok(())
    }

    /// FLUSHALL [ASYNC|SYNC], FLUSHDB [ASYNC|SYNC]
    pub(super) fn flush(&mut self, databases: impl Iterator<Item = Db>) -> Planned {
        let mode_is_known = self
            .args
            .get(1)
            .is_none_or(|mode| mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC"));
        if self.args.len() > 2 || !mode_is_known {
            return Err(Refused::Syntax);
        }
        for db in databases.filter(|db| self.store.len(*db) > 0) {
            self.effects
                .edits
                .extend(self.context.owned.clone().map(|p| Edit::Flush { partition: PartitionId(p), db }));
        }
        self.reply.ok();
        Ok(())
    }

    /// SWAPDB index1 index2
    pub(super) fn swapdb(&mut self) -> Planned {
        let number = |text: &[u8], refusal| {
            integer(text).and_then(|number| i32::try_from(number).ok()).ok_or(Refused::Because(refusal))
        };
        let a = number(self.args.at(1), "ERR invalid first DB index")?;
        let b = number(self.args.at(2), "ERR invalid second DB index")?;
        let (a, b) = (db_of(a)?, db_of(b)?);
        if a != b {
            self.effects.edits.extend(self.context.owned.clone().map(|p| Edit::SwapDb {
                partition: PartitionId(p),
                a,
                b,
            }));
        }
        self.reply.ok();
        Ok(())
    }

    /// RANDOMKEY: this core's part of a draw over all cores (see `engine::merge`). The reply has the number of keys,
    /// the number of draws that hit expired keys, and the key drawn (missing if none was found).
    pub(super) fn randomkey(&mut self) -> Planned {
        let (store, db) = (self.store, self.context.db);
        let mut random = Random(self.context.random);
        let mut expired = 0;
        let mut last = Slot(0);
        let mut found = None;
        while expired < DRAWS
            && found.is_none()
            && let Some((slot, key)) = store.random_key(db, || random.next())
        {
            found = store.get(db, slot, key).filter(|entry| !self.is_over(entry)).map(|_| key);
            expired += usize::from(found.is_none());
            last = slot;
        }
        if expired == DRAWS {
            // Nearly all keys have expired and will be deleted in a moment.
            let mut keys = store.keys_from(db, last).take(LOOKED_AT);
            found = keys.find(|(_, entry)| !self.is_over(entry)).map(|(key, _)| key);
        }
        self.reply.array(if found.is_some() { 3 } else { 2 });
        self.reply.count(store.len(db));
        self.reply.count(expired);
        found.into_iter().for_each(|key| self.reply.bulk(key));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    /// Parses a reply: number of keys, number of misses, and the key drawn.
    fn drawn(rig: &mut Rig) -> (u64, u64, Option<String>) {
        let reply = rig.line("RANDOMKEY");
        let words: Vec<&str> = reply.split(' ').collect();
        let number = |word: &str| word[1..].parse().unwrap();
        (number(words[1]), number(words[2]), words.get(4).map(|key| (*key).to_owned()))
    }

    #[test]
    fn a_key_that_has_expired_is_never_drawn() {
        let mut rig = Rig::new();
        (0..300).for_each(|n| drop(rig.line(&format!("SET expired:{n} v PX 1"))));
        rig.now += 2;
        for live in 0..4 {
            for _ in 0..100 {
                let (keys, misses, key) = drawn(&mut rig);
                assert_eq!((keys, key.is_some()), (300 + live, live > 0), "{misses} misses");
                assert!(key.is_none_or(|key| key.starts_with("live")) && (live > 0 || misses == 100));
            }
            rig.line(&format!("SET live:{live} v"));
        }
        rig.line("FLUSHDB");
        assert_eq!(drawn(&mut rig), (0, 0, None));
    }

    #[test]
    fn live_keys_are_drawn_alike() {
        let mut rig = Rig::new();
        (0..20).for_each(|n| drop(rig.line(&format!("SET live:{n} v PX 100000"))));
        (0..20).for_each(|n| drop(rig.line(&format!("SET expired:{n} v PX 1"))));
        rig.now += 2;
        let mut counts = std::collections::HashMap::new();
        for _ in 0..10_000 {
            *counts.entry(drawn(&mut rig).2.unwrap()).or_insert(0) += 1;
        }
        // 500 are expected; ten standard deviations are 220.
        assert!(counts.len() == 20 && counts.values().all(|count| (280..720).contains(count)), "{counts:?}");
    }
}
