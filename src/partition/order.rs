//! Orders to a core from outside the cores, and reports from cores to those who make checkpoints. Both are sent without
//! waiting: nobody waits for a core, and no core waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::capture::Slice;
use crate::ids::{Caller, Lsn, PartitionId};
use crate::storage::Transfer;

/// Bytes of slices that may wait to be written to disk, over all cores; beyond it, cores pause their captures.
const MOST_WAITING: usize = 8 << 20;

/// An order to a core from outside the cores.
#[derive(Debug)]
pub enum Order {
    /// Put a barrier of a partition into the log; if it is for a checkpoint, those of all partitions that are bound to
    /// it.
    Barrier {
        /// The partition, which must be the core's.
        partition: PartitionId,
        /// Whether the checkpoint node is to write snapshots at the barriers.
        checkpoint: bool,
    },
    /// Take snapshots of this partition, and of all that are bound to it, on the core itself.
    Capture(PartitionId),
    /// Refuse writes that need space, because the log has reached its maximum length (`true`), or accept them again
    /// (`false`).
    LogUsedUp(bool),
    /// Answer a client that asked for a save: its data is in snapshots, or why it is not.
    Saved(Caller, Result<(), String>),
    /// Take no more requests, have the pending ones answered, close the log and end.
    Shutdown,
}

/// A barrier that was appended to the log.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// The partition whose digests the barrier bears.
    pub partition: PartitionId,
    /// Lsn of the barrier in the stream of the partition's core.
    pub lsn: Lsn,
    /// What the barrier is for.
    pub purpose: Purpose,
    /// Digests of the partition's slots at the barrier.
    pub digests: Vec<u64>,
    /// The last transfers from the partition to others, as far as these may lack it. Empty for a comparison.
    pub transfers: Vec<Transfer>,
}

/// What a barrier was put into the log for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The checkpoint node compares digests.
    Comparison,
    /// The checkpoint node writes a snapshot.
    NodeSnapshot,
    /// The core takes a snapshot.
    OwnSnapshot,
}

impl Purpose {
    /// The purpose of a barrier that is put into the log for the node, for a checkpoint or only for a comparison.
    pub const fn for_node(checkpoint: bool) -> Self {
        if checkpoint { Self::NodeSnapshot } else { Self::Comparison }
    }
}

/// The sending side of a core's reports. Cheap to clone; each core has one.
#[derive(Clone)]
pub struct Reporter {
    barriers: Sender<Barrier>,
    slices: Sender<Slice>,
    waiting: Arc<AtomicUsize>,
}

/// The receiving side of the reports of all cores.
pub struct Reports {
    /// Barriers, each as soon as it is appended.
    pub barriers: Receiver<Barrier>,
    /// Slices of snapshots that cores take themselves.
    pub slices: Slices,
}

/// Queue of slices on their way to the thread that writes them.
pub struct Slices {
    receiver: Receiver<Slice>,
    waiting: Arc<AtomicUsize>,
}

/// Creates the channel for reports from all cores of a server.
pub fn reports() -> (Reporter, Reports) {
    let ((barriers, placed), (slices, taken)) = (channel(), channel());
    let waiting = Arc::new(AtomicUsize::new(0));
    let reporter = Reporter { barriers, slices, waiting: Arc::clone(&waiting) };
    (reporter, Reports { barriers: placed, slices: Slices { receiver: taken, waiting } })
}

impl Reporter {
    /// Reports that a barrier was appended to the log.
    pub fn barrier(&self, barrier: Barrier) {
        // The receiver is gone only while the process is ending.
        let _ = self.barriers.send(barrier);
    }

    /// Reports a slice of a snapshot, or that none can be taken.
    pub fn slice(&self, slice: Slice) {
        self.waiting.fetch_add(slice.bytes.len(), Ordering::Relaxed);
        // The receiver is gone only while the process is ending.
        let _ = self.slices.send(slice);
    }

    /// Whether another slice may be captured now, because the disk keeps up.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < MOST_WAITING
    }
}

impl Slices {
    /// Waits up to `timeout` for a slice and passes it to `write`; the slice counts as waiting until `write` has
    /// returned.
    pub fn next(&self, timeout: Duration, write: impl FnOnce(Slice)) {
        match self.receiver.recv_timeout(timeout) {
            Ok(slice) => {
                let bytes = slice.bytes.len();
                write(slice);
                self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // All cores are gone: the process is ending.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(timeout),
        }
    }
}
