//! A shard: the partitions of one core with their log. Units ([`Group`]) read and change its data.

use std::sync::Arc;

use super::capture::{Capture, Slice};
use super::group::Group;
use super::memory::{MemoryBound, MemoryShare};
use super::order::{Barrier, Purpose};
use super::transfers::{Transfers, many_bound, most_bound};
use crate::commands::registry::Flags;
use crate::commands::{OUT_OF_MEMORY, Scratch, Spec};
use crate::config::{Durability, Packing};
use crate::encoding::edit::{Edit, EncodedEdits};
use crate::ids::{CoreId, Lsn, PartitionId, Placement, Position, Slot};
use crate::storage::{DirectDisk, Disk, Log, PartitionMarks, Space, StreamMarks, Transfer};
use crate::store::Store;
use crate::time::UnixMillis;

/// How much deleted data is freed before a write is refused for lack of memory, in hash table buckets of up to seven
/// records; takes some tens of microseconds.
const BUCKETS_PER_REFUSAL: usize = 64;

/// Numbers of what expiry has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Keys.
    pub keys: u64,
    /// Fields of hashes.
    pub fields: u64,
}

/// A shard: the partitions of one core with their log.
pub struct Shard<D: Disk = DirectDisk> {
    core: CoreId,
    pub(super) placement: Placement,
    pub(super) store: Store,
    pub(super) log: Log<D>,
    stream: Arc<StreamMarks>,
    /// Marks of all partitions of the server; this core writes those of its own.
    pub(super) partitions: Arc<[PartitionMarks]>,
    pub(super) durability: Durability,
    /// Lsn of each slot's last edit in this epoch.
    pub(super) last_edits: Vec<Lsn>,
    /// This core's share of the memory bound.
    pub(super) memory: MemoryShare,
    /// Whether the log has reached `log.max_bytes`.
    log_used_up: bool,
    /// The values that have moved between this core's partitions.
    pub(super) transfers: Transfers,
    /// The snapshots that this core is taking, if any.
    pub(super) capture: Option<Capture>,
    /// What was removed by expiry and not yet taken by [`Self::take_expired`].
    pub(super) expired: Expired,
    /// Why this core must end; see [`Self::contradiction`].
    pub(super) contradiction: Option<String>,
    /// The edits of the unit under way, encoded for the log.
    pub(super) encoded: EncodedEdits,
    pub(super) scratch: Scratch,
}

impl<D: Disk> Shard<D> {
    /// Creates the shard of `core` from the recovered `store` and a new log.
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
            transfers: Transfers::default(),
            capture: None,
            expired: Expired::default(),
            contradiction: None,
            encoded: EncodedEdits::new(),
            scratch: Scratch::default(),
        }
    }

    /// Takes in the transfers that recovery has found, which still bind partitions together.
    pub fn bind(&mut self, transfers: impl IntoIterator<Item = Transfer>) {
        self.transfers = transfers.into_iter().collect();
    }

    /// The transfers that may still bind partitions together.
    #[cfg(test)]
    pub(crate) fn transfers(&self) -> impl Iterator<Item = Transfer> {
        let partitions = (0..self.placement.partitions().count()).map(PartitionId);
        partitions.flat_map(|partition| self.transfers.of(partition))
    }

    /// The core that owns this shard.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// The data, for reading.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The log.
    pub const fn log(&self) -> &Log<D> {
        &self.log
    }

    /// How safe writes must be before they are acknowledged.
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Changes how safe writes must be before they are acknowledged; applies to replies from now on.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
        self.log.set_eager(durability != Durability::Async);
    }

    /// Changes how large packed values may grow; applies to values that are written from now on.
    pub const fn set_packing(&mut self, packing: Packing) {
        self.store.set_packing(packing);
    }

    /// Sets whether writes are refused because the log has reached `log.max_bytes`. Writes that free memory are still
    /// taken.
    pub const fn set_log_used_up(&mut self, used_up: bool) {
        self.log_used_up = used_up;
    }

    /// Lsn up to which edits are as safe as the durability asks for.
    #[inline]
    pub fn safe(&self) -> Lsn {
        match self.durability {
            Durability::Async => Lsn(u64::MAX),
            Durability::Sync => self.log.durable(),
            Durability::Mirrored => self.stream.mirrored(),
        }
    }

    /// Whether a write has to wait for the disk to catch up. False if waiting would be in vain (the disk is full or the
    /// log is poisoned): the write is then executed at once, which refuses it.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.log.is_full() && self.log.space() == Space::Enough && self.log.is_poisoned().is_none()
    }

    /// Begins a unit: what it runs is applied at once and logged as one group when it commits.
    #[inline]
    pub fn begin(&mut self) -> Group<'_, D> {
        Group::new(self)
    }

    /// Why this core must end without acknowledging anything more: an edit did not fit the data, so one of the two is
    /// wrong. `None` if that has not happened.
    pub fn contradiction(&self) -> Option<&str> {
        self.contradiction.as_deref()
    }

    /// Removes expired keys and fields and logs that, searching about `budget` of them; deleted data that is freed
    /// meanwhile counts against the budget. Returns whether nothing is left to do, or nothing can be removed now.
    pub fn expire(&mut self, now: UnixMillis, budget: usize) -> bool {
        self.memory.tell(self.store.used_memory());
        if self.log.is_poisoned().is_some() || self.log.is_full() {
            return true;
        }
        let mut due = Vec::new();
        let complete = self.store.expired(now, budget, |db, slot, key, change| {
            due.push(Edit::Key { db, slot, key: key.to_vec().into(), change });
        });
        // The sweep may have freed memory of data deleted before.
        self.memory.note(self.store.used_memory());
        for edit in &due {
            let mut removal = self.begin();
            removal.apply(edit);
            removal.commit();
        }
        complete
    }

    /// What was removed by expiry since the last call.
    pub fn take_expired(&mut self) -> Expired {
        std::mem::take(&mut self.expired)
    }

    /// Writes all data as snapshots have it and loads it again, as a restart would. Holds the core until it is done.
    ///
    /// # Errors
    /// Why nothing was loaded again; or, with a [`Self::contradiction`], why the core must end.
    pub fn reload(&mut self) -> Result<(), String> {
        if self.capture.is_some() {
            return Err("a checkpoint of this core's data is under way".into());
        }
        let reloaded = self.store.reload();
        self.memory.tell(self.store.used_memory());
        reloaded.map_err(|error| {
            tracing::error!(%error, "data cannot be loaded as it was written: the server ends");
            self.contradiction.insert(error.to_string()).clone()
        })
    }

    /// Appends a barrier of `partition` to the log and starts a commit; for a checkpoint, appends those of all
    /// partitions that are bound to it. Empty if the log is poisoned.
    pub fn barrier(&mut self, partition: PartitionId, checkpoint: bool) -> Vec<Barrier> {
        let bound = if checkpoint { self.bound_to(&[partition]) } else { vec![partition] };
        self.barriers(&bound, Purpose::for_node(checkpoint))
    }

    fn barriers(&mut self, partitions: &[PartitionId], purpose: Purpose) -> Vec<Barrier> {
        if self.log.is_poisoned().is_some() {
            return Vec::new();
        }
        let checkpoint = purpose == Purpose::NodeSnapshot;
        let mut barriers = Vec::with_capacity(partitions.len());
        for partition in partitions.iter().copied() {
            let digests = self.store.digests(partition);
            self.encoded.clear();
            self.encoded.push(partition, &Edit::Barrier { partition, checkpoint, digests: (&digests).into() });
            let lsn = self.log.append(&self.encoded);
            let compares = purpose == Purpose::Comparison;
            let transfers = if compares { Vec::new() } else { self.transfers.of(partition) };
            barriers.push(Barrier { partition, lsn, purpose, digests, transfers });
        }
        // The node sees only durable frames, and somebody may be waiting for the checkpoint.
        self.log.commit_now();
        barriers
    }

    /// Begins to take snapshots of a partition and of all that are bound to it, after appending barriers. Empty if
    /// other snapshots are being taken, or the log is poisoned.
    pub fn begin_capture(&mut self, partition: PartitionId) -> Vec<Barrier> {
        if self.capture.is_some() {
            return Vec::new();
        }
        let bound = self.bound_to(&[partition]);
        let barriers = self.barriers(&bound, Purpose::OwnSnapshot);
        let captured = barriers.iter().map(|barrier| (barrier.partition, barrier.lsn)).collect();
        let transfers = barriers.iter().flat_map(|barrier| barrier.transfers.iter().copied()).collect();
        self.capture = Capture::new(self.placement.partitions(), captured, transfers);
        barriers
    }

    /// The partitions of this core that are bound to one of `partitions`, and these themselves.
    fn bound_to(&mut self, partitions: &[PartitionId]) -> Vec<PartitionId> {
        self.transfers.forget_past(&self.partitions, self.log.stream().epoch);
        let owned = self.placement.partitions_of(self.core);
        // A partition that another core had been bound to before the number of cores changed may be elsewhere now.
        self.transfers.bound_to(partitions).into_iter().filter(|bound| owned.contains(&bound.0)).collect()
    }

    /// Whether a value may move from one slot to another with a small edit, which binds their partitions together: not
    /// so many as the checkpoint node cannot copy at one moment.
    pub(super) fn may_bind(&mut self, from: Slot, to: Slot) -> bool {
        let partitions = self.placement.partitions();
        let (from, to) = (partitions.of(from), partitions.of(to));
        if from == to {
            return true;
        }
        let bound = self.bound_to(&[from, to]);
        let may = bound.len() <= most_bound(partitions.count());
        if !may {
            self.hurry_to_part(&bound, self.log.appended().max(Lsn(1)));
        }
        may
    }

    /// Asks for the snapshots that part partitions which edits up to `lsn` have bound together, if they are many.
    fn hurry_to_part(&self, bound: &[PartitionId], lsn: Lsn) {
        if bound.len() > many_bound(self.placement.partitions().count()) {
            self.transfers.targets(bound).for_each(|to| self.partitions[usize::from(to.0)].set_crowded(lsn));
        }
    }

    /// Notes that the edit `lsn`, of a unit that ends with `wrote`, has moved a value from partition `from` to the slot
    /// `to`.
    pub(super) fn note_arrival(&mut self, from: PartitionId, to: Slot, lsn: Lsn, wrote: Lsn) {
        self.last_edits[usize::from(to.0)] = wrote;
        let to = self.placement.partitions().of(to);
        if to != from {
            self.partitions[usize::from(to.0)].note(lsn, 0);
            self.transfers.note(Transfer { from, to, position: Position::new(self.log.stream().epoch, lsn) });
            self.hurry_to_part(&self.transfers.bound_to(&[to]), lsn);
        }
    }

    /// Whether a snapshot is being taken.
    pub const fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }

    /// Captures the next slice of a snapshot until `go_on`, asked every few KiB, returns false. `None` if no snapshot
    /// is being taken.
    pub fn capture(&mut self, go_on: impl FnMut() -> bool) -> Option<Slice> {
        let capture = self.capture.as_mut()?;
        if self.log.is_poisoned().is_some() {
            capture.abandon(&mut self.store, "the log has failed");
        }
        let slice = capture.slice(&mut self.store, self.log.appended(), go_on);
        if slice.end.is_some() {
            // The snapshot can be used only once all edits that it holds are durable.
            self.log.commit_now();
        }
        if capture.is_over() {
            self.capture = None;
        }
        Some(slice)
    }

    /// Why a write is refused now; `None` if it may run.
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

    /// With all memory in use: frees some of the data that was deleted but not freed yet. A snapshot that still needs
    /// such data is given up. Returns whether there is room then.
    #[cold]
    fn find_room(&mut self) -> bool {
        if self.frees_enough() {
            return true;
        }
        let Some(capture) = self.capture.as_mut().filter(|capture| capture.owns_values()) else { return false };
        capture.abandon(&mut self.store, "memory was used up while it held values that had been deleted");
        self.frees_enough()
    }

    fn frees_enough(&mut self) -> bool {
        self.store.free(BUCKETS_PER_REFUSAL);
        self.memory.tell(self.store.used_memory());
        !self.memory.is_used_up()
    }
}
