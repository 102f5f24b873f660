//! Whole databases, as far as this store has them: DBSIZE, FLUSHALL, FLUSHDB, SWAPDB, RANDOMKEY.

use super::hash_reads::Random;
use super::parse::{db_of, integer};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::Edit;
use crate::ids::{Db, PartitionId};

/// How often RANDOMKEY draws again when a key's time has come.
const DRAWS: usize = 100;

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
            self.edits.extend(self.context.owned.clone().map(|p| Edit::Flush { partition: PartitionId(p), db }));
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
            self.edits.extend(self.context.owned.clone().map(|p| Edit::SwapDb { partition: PartitionId(p), a, b }));
        }
        self.reply.ok();
        Ok(())
    }

    /// RANDOMKEY
    pub(super) fn randomkey(&mut self) -> Planned {
        let mut random = Random(self.context.random);
        for draw in 1..=DRAWS {
            let Some((slot, key)) = self.store.random_key(self.context.db, || random.next()) else { break };
            let live = self.store.get(self.context.db, slot, key).is_some_and(|entry| !self.is_over(&entry));
            if live || draw == DRAWS {
                self.reply.bulk(key);
                return Ok(());
            }
        }
        self.reply.null();
        Ok(())
    }
}
