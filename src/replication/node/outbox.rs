//! The queue of what waits for upload: captured states to be written, and written snapshots. It outlives sessions.
//!
//! There is at most one entry per partition, the newest. Entries are taken in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::capture::Capture;
use crate::ids::{PartitionId, Position};
use crate::storage::Installed;

/// A snapshot file of the node, whole and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The snapshot's partition.
    pub partition: PartitionId,
    /// Position, length and checksums of the file.
    pub file: Installed,
}

/// An entry of the outbox.
pub enum Item {
    /// A captured state to be written.
    Capture(Capture),
    /// A snapshot to be uploaded.
    Ready(Ready),
}

impl Item {
    fn of(&self) -> (PartitionId, Position) {
        match self {
            Self::Capture(capture) => (capture.partition, capture.position),
            Self::Ready(ready) => (ready.partition, ready.file.position),
        }
    }
}

/// The queue, shared by the threads that follow streams and those that upload.
#[derive(Default)]
pub struct Outbox {
    items: Mutex<VecDeque<Item>>,
    bell: Condvar,
}

impl Outbox {
    /// Adds a captured state.
    pub fn capture(&self, capture: Capture) {
        self.put(Item::Capture(capture));
    }

    /// Adds a snapshot in the node's directory that the master does not have.
    pub fn ready(&self, ready: Ready) {
        self.put(Item::Ready(ready));
    }

    fn put(&self, item: Item) {
        let (partition, position) = item.of();
        let mut items = self.lock();
        if items.iter().any(|i| i.of().0 == partition && i.of().1 >= position) {
            return;
        }
        items.retain(|i| i.of().0 != partition);
        items.push_back(item);
        drop(items);
        self.bell.notify_all();
    }

    /// Puts a snapshot whose upload broke off back in front of all entries, unless there is a newer entry of its
    /// partition.
    pub fn put_back(&self, ready: Ready) {
        let mut items = self.lock();
        if !items.iter().any(|i| i.of().0 == ready.partition) {
            items.push_front(Item::Ready(ready));
        }
    }

    /// Takes the first entry; waits for one until `timeout` is over or [`Self::ring`] is called.
    pub fn take(&self, timeout: Duration) -> Option<Item> {
        let mut items = self.lock();
        if items.is_empty() {
            items = self.bell.wait_timeout(items, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        items.pop_front()
    }

    /// Wakes the threads that wait in [`Self::take`], so that they return.
    pub fn ring(&self) {
        // Under the lock, so that no thread is missed between its look at the queue and its wait.
        let _items = self.lock();
        self.bell.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Lsn};

    fn ready(partition: u16, lsn: u64) -> Ready {
        let position = Position::new(Epoch(1), Lsn(lsn));
        Ready { partition: PartitionId(partition), file: Installed { position, bytes: 1, crc: 2, digest: 3 } }
    }

    fn taken(outbox: &Outbox) -> Vec<(u16, u64)> {
        let items = std::iter::from_fn(|| outbox.take(Duration::ZERO));
        items.map(|i| (i.of().0.0, i.of().1.lsn.0)).collect()
    }

    #[test]
    fn only_the_newest_of_a_partition_waits() {
        let outbox = Outbox::default();
        [ready(1, 5), ready(2, 6), ready(1, 7), ready(2, 4)].into_iter().for_each(|r| outbox.ready(r));
        assert_eq!(taken(&outbox), [(2, 6), (1, 7)]);
    }

    #[test]
    fn what_was_cut_comes_first_unless_it_is_outdated() {
        let outbox = Outbox::default();
        outbox.ready(ready(1, 5));
        outbox.put_back(ready(2, 3));
        outbox.put_back(ready(1, 4));
        assert_eq!(taken(&outbox), [(2, 3), (1, 5)]);
    }
}
