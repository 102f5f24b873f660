//! What a worker does by the clock, and at the end.

use std::sync::atomic::Ordering;

use super::connection::{Closing, Hold};
use super::shared::Order;
use super::worker::Worker;
use crate::ids::Db;

/// Keys that one slice of expiry looks at: well below a millisecond.
const EXPIRY_SLICE: usize = 500;

impl Worker {
    /// What comes round ten times a second. Returns whether it is done; otherwise there is more, after other tasks had their turn.
    pub(super) fn tick(&mut self) -> bool {
        self.begin_turn();
        // The disk may be full since they began to wait; they are then refused.
        self.take_in();
        let complete = self.shard.expire(self.wall, EXPIRY_SLICE);
        if complete {
            self.look_after_clients();
            self.publish();
        }
        complete
    }

    /// Publishes this core's counts.
    pub(super) fn publish(&mut self) {
        self.stats.expired += self.shard.take_expired();
        let store = self.shard.store();
        for db in Db::all() {
            self.stats.keys[usize::from(db.0)] = store.len(db) as u64;
            self.stats.expiring[usize::from(db.0)] = store.expiring(db) as u64;
        }
        let log = self.shard.log();
        self.stats.data_bytes = store.used_memory() as u64;
        self.stats.unfreed = store.unfreed() as u64;
        self.stats.appended = log.appended();
        self.stats.durable = log.durable();
        self.stats.mirrored = log.marks().mirrored();
        self.stats.unflushed_bytes = log.unflushed_bytes();
        self.stats.log = log.stats();
        self.stats.poisoned = log.is_poisoned().map(|why| why.to_string());
        self.stats.peak_data_bytes = self.stats.peak_data_bytes.max(self.stats.data_bytes);
        self.stats.sample_rates(self.now);
        self.stats.connections = self.connections.len() as u64;
        self.stats.blocked = self.connections.iter().filter(|(_, c)| matches!(c.hold, Hold::Blocked(_))).count() as u64;
        self.stats.output_bytes = self.connections.iter().map(|(_, c)| c.output_bytes() as u64).sum();
        self.stats.input_bytes = self.connections.iter().map(|(_, c)| c.input.len() as u64).sum();
        self.stats.client_bytes = self.connections.iter().map(|(_, c)| c.memory() as u64).sum();
        self.shared.publish(self.core(), &self.stats);
    }

    /// Goes by settings that were changed, and takes orders.
    pub(super) fn orders(&mut self) -> Vec<Order> {
        let version = self.shared.settings_version();
        if version != self.settings_version {
            self.settings_version = version;
            self.settings = self.shared.settings();
            self.shard.set_durability(self.settings.durability);
            if self.settings.password.is_none() {
                self.connections.iter_mut().for_each(|(_, c)| c.session.admit());
            }
            // What waited for more than is now asked for need not wait.
            self.release_gated();
        }
        self.shared.inboxes[usize::from(self.core().0)].take()
    }

    /// Whether the checkpoint node's position has moved since this was last asked, and somebody waits for it.
    pub(super) fn take_mirror_progress(&mut self) -> bool {
        if self.held.is_empty() && self.lists.gated.is_empty() {
            return false;
        }
        let mirrored = self.shard.log().marks().mirrored();
        std::mem::replace(&mut self.mirrored, mirrored) != mirrored
    }

    /// Whether nothing has come from other cores and nothing is left to be sent to them.
    pub(super) fn is_idle(&self) -> bool {
        self.endpoint.is_idle() && !self.has_unsent()
    }

    /// The server ends: no more requests are taken, and clients go when they have their replies.
    pub(super) fn let_all_go(&mut self) {
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token as u32).collect();
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(token as usize) {
                connection.close(Closing::AfterReplies);
            }
            self.touch(token);
        }
        self.shard.log().commit_now();
    }

    /// Whether the clients of all cores are gone, so that no core waits for another's answer any more.
    pub(super) fn has_drained(&mut self) -> bool {
        if !self.drained && self.connections.is_empty() {
            self.drained = true;
            self.shared.drained.fetch_add(1, Ordering::AcqRel);
        }
        self.shared.drained.load(Ordering::Acquire) == u32::from(self.placement.cores())
    }
}
