//! The partitions of one core with their log: the data that units ([`Group`]) read and change.

use std::sync::Arc;

use super::capture::{Capture, Slice};
use super::group::Group;
use super::memory::{MemoryBound, MemoryShare};
use super::order::Barrier;
use crate::commands::registry::Flags;
use crate::commands::{OUT_OF_MEMORY, Scratch, Spec};
use crate::config::{Durability, Packing};
use crate::encoding::edit::{Change, Edit, EncodedEdits, Removal};
use crate::ids::{CoreId, Lsn, PartitionId, Placement};
use crate::storage::{DirectDisk, Disk, Log, PartitionMarks, Space, StreamMarks};
use crate::store::Store;
use crate::time::UnixMillis;

/// How much of what has been deleted is freed before a write is refused because memory is used up, in buckets of up to
/// seven records: some tens of microseconds.
const BUCKETS_PER_REFUSAL: usize = 64;

/// The partitions of one core with their log.
pub struct Shard<D: Disk = DirectDisk> {
    core: CoreId,
    pub(super) placement: Placement,
    pub(super) store: Store,
    pub(super) log: Log<D>,
    stream: Arc<StreamMarks>,
    /// Of all partitions of the server; this core writes those of its own.
    pub(super) partitions: Arc<[PartitionMarks]>,
    pub(super) durability: Durability,
    /// By slot: its last edit in this epoch.
    pub(super) last_edits: Vec<Lsn>,
    /// The memory that the data takes, as far as the other cores know of it.
    pub(super) memory: MemoryShare,
    /// The log has reached `log.max_bytes`.
    log_used_up: bool,
    /// The snapshot that this core takes at present.
    pub(super) capture: Option<Capture>,
    /// Keys removed because their time had come, not yet taken.
    pub(super) expired: u64,
    /// See [`Self::contradiction`].
    pub(super) contradiction: Option<String>,
    /// The edits of the unit under way, as the log takes them.
    pub(super) encoded: EncodedEdits,
    pub(super) scratch: Scratch,
}

impl<D: Disk> Shard<D> {
    /// The partitions of `core`, recovered into `store`, with a new log.
    pub fn new(
        core: CoreId,
        placement: Placement,
        store: Store,
        log: Log<D>,
        partitions: Arc<[PartitionMarks]>,
        durability: Durability,
        memory: Arc<MemoryBound>,
    ) -> Self {
        let mut memory = MemoryShare::new(memory);
        memory.tell(store.used_memory());
        let stream = Arc::clone(log.marks());
        log.set_eager(durability != Durability::Async);
        Self {
            core,
            placement,
            store,
            log,
            stream,
            partitions,
            durability,
            last_edits: vec![Lsn(0); usize::from(crate::ids::SLOTS)],
            memory,
            log_used_up: false,
            capture: None,
            expired: 0,
            contradiction: None,
            encoded: EncodedEdits::new(),
            scratch: Scratch::default(),
        }
    }

    /// The core.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// The data, to be read.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The log.
    pub const fn log(&self) -> &Log<D> {
        &self.log
    }

    /// When writes are acknowledged.
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Changes when writes are acknowledged; holds for replies from now on.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
        self.log.set_eager(durability != Durability::Async);
    }

    /// Changes how large packed values may grow; applies to values that are written from now on.
    pub const fn set_packing(&mut self, packing: Packing) {
        self.store.set_packing(packing);
    }

    /// Whether writes are refused because the log is as long as it may get; what frees memory is not.
    pub const fn set_log_used_up(&mut self, used_up: bool) {
        self.log_used_up = used_up;
    }

    /// Edits up to here are as safe as the durability asks for.
    #[inline]
    pub fn safe(&self) -> Lsn {
        match self.durability {
            Durability::Async => Lsn(u64::MAX),
            Durability::Sync => self.log.durable(),
            Durability::Mirrored => self.stream.mirrored(),
        }
    }

    /// Whether a write has to wait until the disk has caught up. One that would wait in vain (the disk is full, or has
    /// failed) is to be executed all the same: it is refused.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.log.is_full() && self.log.space() == Space::Enough && self.log.is_poisoned().is_none()
    }

    /// Begins a unit: what it runs is applied at once, and logged as one group when it commits.
    #[inline]
    pub fn begin(&mut self) -> Group<'_, D> {
        Group::new(self)
    }

    /// Why this core must end without acknowledging anything more: an edit did not fit the data, so that either is
    /// wrong.
    pub fn contradiction(&self) -> Option<&str> {
        self.contradiction.as_deref()
    }

    /// Logs the removal of keys whose time has come, looking at no more than `budget` of them.
    /// Returns whether a whole round over the data was completed.
    pub fn expire(&mut self, now: UnixMillis, budget: usize) -> bool {
        self.memory.tell(self.store.used_memory());
        if self.log.is_poisoned().is_some() || self.log.is_full() {
            return true;
        }
        let mut due = Vec::new();
        let complete = self.store.expired(now, budget, |db, slot, key| due.push((db, slot, key.to_vec())));
        // Some of what was deleted before may have been freed.
        self.memory.note(self.store.used_memory());
        for (db, slot, key) in due {
            let change = Change::Delete(Removal::Expired);
            let mut removal = self.begin();
            removal.apply(&Edit::Key { db, slot, key: key.into(), change });
            removal.commit();
        }
        complete
    }

    /// Keys removed because their time had come, since this was last asked.
    pub const fn take_expired(&mut self) -> u64 {
        std::mem::replace(&mut self.expired, 0)
    }

    /// Puts a barrier into the log; `None` if nothing can be logged any more.
    pub fn barrier(&mut self, partition: PartitionId, checkpoint: bool) -> Option<Barrier> {
        if self.log.is_poisoned().is_some() {
            return None;
        }
        let digests = self.store.digests(partition);
        self.encoded.clear();
        self.encoded.push(partition, &Edit::Barrier { partition, checkpoint, digests: (&digests).into() });
        let lsn = self.log.append(&self.encoded);
        // The node sees only what is on disk, and somebody may be waiting for the checkpoint.
        self.log.commit_now();
        Some(Barrier { partition, lsn, checkpoint, digests })
    }

    /// Begins to take a snapshot of a partition, behind a barrier. `None` if one is being taken, or nothing can be
    /// logged any more.
    pub fn begin_capture(&mut self, partition: PartitionId) -> Option<Barrier> {
        if self.capture.is_some() {
            return None;
        }
        let barrier = self.barrier(partition, false)?;
        self.capture = Some(Capture::new(self.placement.partitions(), partition, barrier.lsn));
        Some(barrier)
    }

    /// Whether a snapshot is being taken.
    pub const fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }

    /// Goes on taking the snapshot for as long as `go_on` says so, which is asked every few KiB. `None` if none is
    /// being taken.
    pub fn capture(&mut self, go_on: impl FnMut() -> bool) -> Option<Slice> {
        let capture = self.capture.as_mut()?;
        if self.log.is_poisoned().is_some() {
            capture.abandon("the log has failed");
        }
        let slice = capture.slice(&self.store, self.log.appended(), go_on);
        if slice.end.is_some() {
            self.capture = None;
            // Only once the edits that it holds are on disk is the snapshot of use.
            self.log.commit_now();
        }
        Some(slice)
    }

    /// Why a write cannot be taken now.
    pub(super) fn refusal(&mut self, spec: &Spec) -> Option<String> {
        if let Some(why) = self.log.is_poisoned() {
            return Some(format!("MISCONF the log cannot be written, so writes are refused: {why}"));
        }
        let frees = !spec.flags.contains(Flags::DENYOOM);
        match self.log.space() {
            Space::Enough => {}
            Space::Reserve if frees && !self.log.is_full() => {}
            _ => return Some("MISCONF the disk is full, so writes are refused until there is space".into()),
        }
        if self.log_used_up && !frees {
            return Some(
                "MISCONF the log has reached log.max_bytes, so writes are refused until checkpoints have shortened it"
                    .into(),
            );
        }
        (!frees && self.memory.is_used_up() && !self.find_room()).then(|| OUT_OF_MEMORY.into())
    }

    /// With all memory in use: frees some of what was deleted and not freed yet. Returns whether there is room then.
    #[cold]
    fn find_room(&mut self) -> bool {
        self.store.free(BUCKETS_PER_REFUSAL);
        self.memory.tell(self.store.used_memory());
        !self.memory.is_used_up()
    }
}
