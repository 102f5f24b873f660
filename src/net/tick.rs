//! What a worker does by the clock, and at the end.

use std::sync::atomic::Ordering;

use super::connection::{Closing, Hold};
use super::shared::Order;
use super::worker::Worker;
use crate::ids::Db;

/// Keys that one slice of expiry looks at: well below a millisecond.
const EXPIRY_SLICE: usize = 500;

impl Worker {
    /// A turn's part of the work that comes ten times a second. Returns whether that is done; otherwise the next turn goes on with it.
    pub(super) fn tick(&mut self) -> bool {
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
        self.stats.synced = log.synced();
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

    /// Whether the checkpoint node's position has moved since it was last taken, and somebody waits for it.
    fn has_mirror_progress(&self) -> bool {
        let somebody_waits = !self.held.is_empty() || !self.lists.gated.is_empty();
        somebody_waits && self.shard.log().marks().mirrored() != self.mirrored
    }

    /// Takes the checkpoint node's position. Returns [`Self::has_mirror_progress`].
    pub(super) fn take_mirror_progress(&mut self) -> bool {
        let has_moved = self.has_mirror_progress();
        if has_moved {
            self.mirrored = self.shard.log().marks().mirrored();
        }
        has_moved
    }

    /// Whether a turn would find nothing to do here: no message, order or changed setting, no progress of the checkpoint node,
    /// nothing to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.endpoint.is_idle()
            && !self.has_unsent()
            && self.lists.dirty.is_empty()
            && self.shared.inboxes[usize::from(self.core().0)].is_empty()
            && self.settings_version == self.shared.settings_version()
            && !self.has_mirror_progress()
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
