//! What a core is asked from outside of the cores, and what it reports to those who make checkpoints. Both sides send
//! and go on: nobody waits for a core, and no core waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::capture::Slice;
use crate::ids::{Caller, Lsn, PartitionId};

/// Bytes of slices that may wait for the disk, over all cores; beyond it cores pause.
const MOST_WAITING: usize = 8 << 20;

/// What a core is asked.
#[derive(Debug)]
pub enum Order {
    /// To put a barrier of a partition into the log.
    Barrier {
        /// The partition, which must be the core's.
        partition: PartitionId,
        /// The checkpoint node is to write a snapshot there.
        checkpoint: bool,
    },
    /// To take a snapshot of a partition itself.
    Capture(PartitionId),
    /// To refuse writes that need space, since the log is as long as it may be (`true`), or no longer to (`false`).
    LogUsedUp(bool),
    /// To tell a client that what it saved is in snapshots, or why it is not.
    Saved(Caller, Result<(), String>),
    /// To take no more requests, have what was asked answered, close the log and end.
    Shutdown,
}

/// A barrier that stands in the log.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Its partition.
    pub partition: PartitionId,
    /// Its place in the stream of the partition's core.
    pub lsn: Lsn,
    /// Whether the checkpoint node is to write a snapshot there.
    pub checkpoint: bool,
    /// Digests of the partition's slots there.
    pub digests: Vec<u64>,
}

/// Where a core reports. Cheap to clone; each core has one.
#[derive(Clone)]
pub struct Reporter {
    barriers: Sender<Barrier>,
    slices: Sender<Slice>,
    waiting: Arc<AtomicUsize>,
}

/// What the cores report.
pub struct Reports {
    /// Barriers, each as soon as it is appended.
    pub barriers: Receiver<Barrier>,
    /// Slices of snapshots that cores take themselves.
    pub slices: Slices,
}

/// Slices on their way to who writes them.
pub struct Slices {
    receiver: Receiver<Slice>,
    waiting: Arc<AtomicUsize>,
}

/// A way for reports from all cores of a server.
pub fn reports() -> (Reporter, Reports) {
    let ((barriers, placed), (slices, taken)) = (channel(), channel());
    let waiting = Arc::new(AtomicUsize::new(0));
    let reporter = Reporter { barriers, slices, waiting: Arc::clone(&waiting) };
    (reporter, Reports { barriers: placed, slices: Slices { receiver: taken, waiting } })
}

impl Reporter {
    /// A barrier stands in the log.
    pub fn barrier(&self, barrier: Barrier) {
        // Nobody listens only if the process is ending.
        let _ = self.barriers.send(barrier);
    }

    /// A slice of a snapshot is taken, or none can be.
    pub fn slice(&self, slice: Slice) {
        self.waiting.fetch_add(slice.bytes.len(), Ordering::Relaxed);
        // Nobody listens only if the process is ending.
        let _ = self.slices.send(slice);
    }

    /// Whether another slice may be taken now: the disk keeps up.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < MOST_WAITING
    }
}

impl Slices {
    /// Waits for a slice, at most `timeout`, and has `write` take it; only then it no longer counts as waiting.
    pub fn next(&self, timeout: Duration, write: impl FnOnce(Slice)) {
        match self.receiver.recv_timeout(timeout) {
            Ok(slice) => {
                let bytes = slice.bytes.len();
                write(slice);
                self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // No core is left that could take one: the process is ending.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(timeout),
        }
    }
}
