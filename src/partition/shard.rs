//! The partitions of one core, live: a command becomes edits, the edits are applied and logged.

use crate::commands::registry::{Flags, Route};
use crate::commands::{Context, OUT_OF_MEMORY, Scratch, Spec, plan};
use std::sync::Arc;

use super::capture::{Capture, Slice};
use super::memory::{MemoryBound, MemoryShare};
use crate::config::Durability;
use crate::encoding::edit::{Change, Edit, EncodedEdits, Removal};
use crate::encoding::resp::{Args, Reply};
use crate::ids::{CoreId, Lsn, PartitionId, Placement, Slot};
use crate::planted::{Bug, is_planted};
use crate::storage::{DirectDisk, Disk, Log, PartitionMarks, Space, StreamMarks};
use crate::store::Store;
use crate::time::UnixMillis;

/// How much of what has been deleted is freed before a write is refused because memory is used up, in buckets of up to seven records: some
/// tens of microseconds.
const BUCKETS_PER_REFUSAL: usize = 64;

/// The partitions of one core with their log.
pub struct Shard<D: Disk = DirectDisk> {
    core: CoreId,
    placement: Placement,
    store: Store,
    log: Log<D>,
    stream: Arc<StreamMarks>,
    /// Of all partitions of the server; this core writes those of its own.
    partitions: Arc<[PartitionMarks]>,
    durability: Durability,
    /// By slot: its last edit in this epoch.
    last_edits: Vec<Lsn>,
    /// The memory that the data takes, as far as the other cores know of it.
    memory: MemoryShare,
    /// The log has reached `log.max_bytes`.
    log_used_up: bool,
    /// The snapshot that this core takes at present.
    capture: Option<Capture>,
    /// Keys removed because their time had come, not yet taken.
    expired: u64,
    encoded: EncodedEdits,
    scratch: Scratch,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// The reply may be shown once this core's edits are safe up to here.
    pub gate: Lsn,
    /// The last edit of the command, or 0.
    pub wrote: Lsn,
}

/// A barrier that stands in the log.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Whose.
    pub partition: PartitionId,
    /// Where.
    pub lsn: Lsn,
    /// Whether a snapshot is wanted there.
    pub checkpoint: bool,
    /// Digests of the partition's slots there.
    pub digests: Vec<u64>,
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

    /// Whether a write has to wait until the disk has caught up. One that would wait in vain (the disk is full, or has failed) is to be
    /// executed all the same: it is refused.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.log.is_full() && self.log.space() == Space::Enough && self.log.is_poisoned().is_none()
    }

    /// Executes a command whose keys are all this core's.
    pub fn execute(&mut self, spec: &Spec, context: &Context, args: Args<'_>, reply: &mut Reply<'_>) -> Executed {
        if spec.is_write()
            && let Some(refusal) = self.refusal(spec)
        {
            reply.error(&refusal);
            return Executed::default();
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let edits = plan(spec, &self.store, context, args, &mut scratch, reply);
        let executed = if edits.is_empty() || self.log.is_poisoned().is_some() {
            Executed { gate: self.read_gate(spec, context, args), wrote: Lsn(0) }
        } else {
            self.store.set_clock(context.coarse_now());
            let wrote = self.commit(&edits);
            Executed { gate: self.gate(wrote), wrote }
        };
        drop(edits);
        self.scratch = scratch;
        executed
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
            self.commit(&[Edit::Key { db, slot, key: key.into(), change }]);
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

    /// Begins to take a snapshot of a partition, behind a barrier. `None` if one is being taken, or nothing can be logged any more.
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

    /// Goes on taking the snapshot for as long as `go_on` says so, which is asked every few KiB. `None` if none is being taken.
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
    fn refusal(&mut self, spec: &Spec) -> Option<String> {
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

    /// Applies a group of edits and logs it; returns the last lsn.
    fn commit(&mut self, edits: &[Edit<'_>]) -> Lsn {
        self.encoded.clear();
        let mut notes = smallvec::SmallVec::<[(PartitionId, usize); 4]>::new();
        for edit in edits {
            let before = self.encoded.as_bytes().len();
            let partition = self.partition_of(edit);
            if let Some(capture) = &mut self.capture {
                capture.before(&self.store, partition, edit);
            }
            if let Err(error) = self.store.apply(edit) {
                // Our own bug: a plan has made an edit that does not fit what it read. The edit is neither applied nor logged.
                tracing::error!(%error, "an edit was dropped");
                debug_assert!(false, "{error}");
                continue;
            }
            self.encoded.push(partition, edit);
            notes.push((partition, self.encoded.as_bytes().len() - before));
            if is_planted(Bug::GroupSplit) && notes.len() < edits.len() {
                self.log.append(&self.encoded);
                self.encoded.clear();
            }
        }
        self.memory.note(self.store.used_memory());
        if notes.is_empty() {
            return self.log.appended();
        }
        let last = self.log.append(&self.encoded);
        let first = last.0 + 1 - notes.len() as u64;
        for (lsn, (partition, bytes)) in (first..).map(Lsn).zip(&notes) {
            self.partitions[usize::from(partition.0)].note(lsn, *bytes as u64);
        }
        self.note_slots(edits, last);
        last
    }

    fn note_slots(&mut self, edits: &[Edit<'_>], last: Lsn) {
        for edit in edits {
            match edit {
                Edit::Key { slot, change, .. } => {
                    self.last_edits[usize::from(slot.0)] = last;
                    self.expired += u64::from(matches!(change, Change::Delete(Removal::Expired)));
                }
                Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } => {
                    let slots = self.placement.partitions().slots(*partition);
                    self.last_edits[usize::from(slots.start)..usize::from(slots.end)].fill(last);
                }
                Edit::Barrier { .. } => {}
            }
        }
    }

    const fn partition_of(&self, edit: &Edit<'_>) -> PartitionId {
        match edit {
            Edit::Key { slot, .. } => self.placement.partitions().of(*slot),
            Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => {
                *partition
            }
        }
    }

    /// What must be safe before a reply may be shown that tells of the edit at `lsn`.
    fn gate(&self, lsn: Lsn) -> Lsn {
        if self.durability == Durability::Async { Lsn(0) } else { lsn }
    }

    /// What must be safe before the reply of a command may be shown that has changed nothing: the last edits of what it looked at.
    fn read_gate(&self, spec: &Spec, context: &Context, args: Args<'_>) -> Lsn {
        if self.durability == Durability::Async || is_planted(Bug::ReadNotGated) {
            return Lsn(0);
        }
        let last_edit = |slot: Slot| self.last_edits[usize::from(slot.0)];
        match spec.route {
            Route::Key => last_edit(context.slot),
            _ if spec.keys.is_empty() => self.log.appended(),
            _ => spec.keys_of(args).map(|key| last_edit(crate::encoding::slot::slot_of(key))).max().unwrap_or_default(),
        }
    }
}
