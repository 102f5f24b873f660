//! Partitions rebuilt from a log: what recovery fills and what the checkpoint node keeps up to date.
//!
//! Always, for each partition: the store holds exactly the effect of the partition's edits up to its position; a slot
//! that is *ahead* (its snapshot was written slot by slot) holds them up to the slot's own position. An edit at or
//! below the position is skipped, so replaying twice, or from further back than needed, does no harm.
//!
//! An edit that moves a value to another slot has two halves, and each slot is given the half that it does not hold:
//!
//! | the slot that the value leaves | the slot that it comes to | then |
//! |---|---|---|
//! | holds the edit | holds it | nothing |
//! | lacks it | lacks it | the value moves |
//! | lacks it | holds it | the value is deleted where it was |
//! | holds it | lacks it | the value is nowhere: the two states do not belong together ([`ReplayError::Lost`]) |

use std::collections::BTreeMap;
use std::ops::Range;

use super::ahead::Ahead;
use crate::encoding::edit::{Change, Edit, EditError, Removal};
use crate::encoding::frame::Frame;
use crate::ids::{PartitionId, Partitions, Position, Slot};
use crate::planted::{Bug, is_planted};
use crate::storage::Transfer;
use crate::store::{ApplyError, Store};

/// A contiguous range of partitions with their positions.
pub struct Replica {
    store: Store,
    partitions: Partitions,
    owned: Range<u16>,
    /// The position of each partition, from `owned.start` on.
    places: Vec<Place>,
    /// The positions of slots, for partitions that have slots ahead of them.
    ahead: BTreeMap<PartitionId, Ahead>,
    /// The last transfer between each two partitions that was met in the log, whether it was new or not.
    transfers: BTreeMap<(PartitionId, PartitionId), Position>,
}

/// How far a partition's edits have been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The store holds all edits up to here, and later ones only in slots that are ahead.
    pub position: Position,
    /// The last edit applied since the snapshot; [`Position::START`] if there was none. After it, up to `position`, the
    /// partition has only barriers.
    pub last_edit: Position,
}

/// A barrier that was reached during replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The partition that the barrier belongs to.
    pub partition: PartitionId,
    /// The position of the barrier.
    pub position: Position,
    /// Whether the checkpoint node is to write a snapshot at the barrier.
    pub checkpoint: bool,
    /// Slots whose digest differs from the one in the barrier.
    pub differing: Vec<Slot>,
}

/// Why an edit could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Bytes that are not an edit, in a frame whose checksum is right.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// An edit that contradicts the data of its partition.
    #[error("{error}")]
    Contradiction {
        /// The partition that the edit belongs to.
        partition: PartitionId,
        /// How the edit contradicts the data.
        error: ApplyError,
    },
    /// A value that moves to another partition, whose state is from before that, while the state of the partition that
    /// it leaves is from after it: the value is nowhere.
    #[error("the value that moved from partition {} to {} at {} is in neither of the two", .0.from, .0.to, .0.position)]
    Lost(Transfer),
    /// A value that moves between this replica and another one.
    #[error("a value moved from partition {} to {} at {}, but one of them is elsewhere", .0.from, .0.to, .0.position)]
    Elsewhere(Transfer),
    /// An edit of a partition that does not exist.
    #[error("an edit of partition {0}, which does not exist")]
    Partition(PartitionId),
}

impl Replica {
    /// Creates the partitions in `owned`, empty and before their first edit.
    pub fn new(partitions: Partitions, owned: Range<u16>) -> Self {
        let places = vec![Place::default(); owned.len()];
        Self {
            store: Store::new(partitions, owned.clone()),
            partitions,
            owned,
            places,
            ahead: BTreeMap::new(),
            transfers: BTreeMap::new(),
        }
    }

    /// The range of partition numbers that this replica holds.
    pub fn owned(&self) -> Range<u16> {
        self.owned.clone()
    }

    /// How the slots are divided into partitions.
    pub const fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// The data.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Mutable access to the data, to fill it from a snapshot.
    pub(super) const fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Consumes the replica and returns its data.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// How far a partition is applied; `None` if this replica does not hold it.
    pub fn place(&self, partition: PartitionId) -> Option<Place> {
        self.index(partition).map(|i| self.places[i])
    }

    /// Notes that a snapshot of a partition, made at `position`, was loaded.
    pub fn set_position(&mut self, partition: PartitionId, position: Position) {
        self.set_positions(partition, position, Vec::new());
    }

    /// Notes that a snapshot of a partition was loaded, made at `position`. Its slots, in order, are at `slots` where
    /// that is later.
    pub(super) fn set_positions(&mut self, partition: PartitionId, position: Position, slots: Vec<Position>) {
        if let Some(i) = self.index(partition) {
            self.places[i] = Place { position, last_edit: Position::START };
            self.ahead.remove(&partition);
            let ahead = Ahead::new(slots);
            if ahead.matters(position) {
                self.ahead.insert(partition, ahead);
            }
        }
    }

    /// Moves a partition's position forward to `position`; no edit of the partition lies between.
    pub fn advance(&mut self, partition: PartitionId, position: Position) {
        if let Some(i) = self.index(partition) {
            let place = &mut self.places[i];
            place.position = place.position.max(position);
            let reached = place.position;
            self.ahead.retain(|p, ahead| *p != partition || ahead.matters(reached));
        }
    }

    /// Partitions with slots ahead of them, each with the position of its newest slot.
    pub fn ahead(&self) -> impl Iterator<Item = (PartitionId, Position)> {
        self.ahead.iter().map(|(partition, ahead)| (*partition, ahead.newest()))
    }

    /// Position of a slot: its partition's, or its own if it is ahead.
    pub fn slot_position(&self, slot: Slot) -> Position {
        let partition = self.partitions.of(slot);
        let position = self.place(partition).map(|place| place.position).unwrap_or_default();
        let first = self.partitions.slots(partition).start;
        let own = self.ahead.get(&partition).and_then(|ahead| ahead.position(usize::from(slot.0 - first)));
        own.map_or(position, |own| own.max(position))
    }

    /// Whether no slot of a partition is ahead of it, so that its state is that of one moment.
    pub fn is_even(&self, partition: PartitionId) -> bool {
        !self.ahead.contains_key(&partition)
    }

    /// Empties a partition and sets its position before its first edit.
    pub fn reset(&mut self, partition: PartitionId) {
        if let Some(i) = self.index(partition) {
            self.store.clear_partition(partition);
            self.places[i] = Place::default();
            self.ahead.remove(&partition);
        }
    }

    /// Applies the edits of a frame that are new; calls `reached` at each barrier. Returns the number of edits applied.
    ///
    /// # Errors
    /// If an edit cannot be decoded or contradicts the data; the edits before it are applied.
    pub fn apply(&mut self, frame: &Frame<'_>, mut reached: impl FnMut(&Self, Reached)) -> Result<u64, ReplayError> {
        let mut applied = 0;
        for item in frame.edits() {
            let (lsn, bytes) = item?;
            let position = Position::new(frame.header.stream.epoch, lsn);
            let edit = Edit::decode(bytes)?;
            let partition = self.partition_of(&edit)?;
            if let Some(to) = edit.moves_to() {
                applied += u64::from(self.apply_move(&edit, partition, to, position)?);
                continue;
            }
            let is_new = |place: Position| {
                if is_planted(Bug::EpochIgnored) { place.lsn < position.lsn } else { place < position }
            };
            let Some(index) = self.index(partition).filter(|i| is_new(self.places[*i].position)) else { continue };
            self.places[index].position = position;
            if let Edit::Barrier { checkpoint, digests, .. } = edit {
                self.forget_ahead(partition, position);
                // Nobody waits for a replica, and it looks for nothing that has expired.
                self.store.free_all();
                self.store.free_unused();
                let differing = self.differing(partition, position, &digests);
                reached(self, Reached { partition, position, checkpoint, differing });
                continue;
            }
            let is_applied = self
                .apply_edit(partition, position, &edit)
                .map_err(|error| ReplayError::Contradiction { partition, error })?;
            // Not before: the newest slot may hold this very edit, and some edits must not be applied twice.
            self.forget_ahead(partition, position);
            if is_applied {
                self.places[index].last_edit = position;
                applied += 1;
            }
        }
        Ok(applied)
    }

    /// Applies an edit that moves a value from a slot of `partition` to the slot `to`, to those of the two slots that
    /// do not already hold it. Returns whether there were any.
    fn apply_move(
        &mut self,
        edit: &Edit<'_>,
        partition: PartitionId,
        to: Slot,
        position: Position,
    ) -> Result<bool, ReplayError> {
        let Edit::Key { db, slot, key, .. } = edit else { return Ok(false) };
        let to_partition = self.partitions.of(to);
        let transfer = Transfer { from: partition, to: to_partition, position };
        let contradiction = |error| ReplayError::Contradiction { partition, error };
        let lacks = [self.lacks(*slot, position), self.lacks(to, position)];
        match lacks.into() {
            (None, None) => return Ok(false),
            (Some(true), None) | (None, Some(true)) => return Err(ReplayError::Elsewhere(transfer)),
            (Some(false), Some(true)) => return Err(ReplayError::Lost(transfer)),
            (Some(true), Some(true)) => self.store.apply(edit).map_err(contradiction)?,
            (Some(true), Some(false)) => {
                let change = Change::Delete(Removal::Deleted);
                let leave = Edit::Key { db: *db, slot: *slot, key: (&**key).into(), change };
                self.store.apply(&leave).map_err(contradiction)?;
            }
            (Some(false), _) | (_, Some(false)) => {}
        }
        if partition != to_partition {
            self.transfers.insert((partition, to_partition), position);
        }
        for (partition, lacked) in [partition, to_partition].into_iter().zip(lacks) {
            let Some(index) = self.index(partition) else { continue };
            let place = &mut self.places[index];
            place.position = place.position.max(position);
            if lacked == Some(true) {
                place.last_edit = position;
            }
            let reached = place.position;
            self.forget_ahead(partition, reached);
        }
        Ok(lacks.contains(&Some(true)))
    }

    /// Whether a frame has an edit that moves a value between a slot of this replica and one that it does not have.
    pub(super) fn is_entangled(&self, frame: &Frame<'_>) -> bool {
        let has = |slot| self.index(self.partitions.of(slot)).is_some();
        frame.edits().flatten().filter_map(|(_, bytes)| Edit::decode(bytes).ok()).any(|edit| {
            let Edit::Key { slot, .. } = edit else { return false };
            edit.moves_to().is_some_and(|to| has(slot) != has(to))
        })
    }

    /// Whether a slot does not hold the edit at `position`; `None` if this replica does not have the slot.
    fn lacks(&self, slot: Slot, position: Position) -> Option<bool> {
        self.index(self.partitions.of(slot))?;
        let held = self.slot_position(slot);
        Some(if is_planted(Bug::EpochIgnored) { held.lsn < position.lsn } else { held < position })
    }

    /// The last transfer between each two partitions that was met in the log, whether it was new or not.
    pub fn transfers(&self) -> impl Iterator<Item = Transfer> {
        self.transfers.iter().map(|((from, to), position)| Transfer { from: *from, to: *to, position: *position })
    }

    /// Forgets the slots that were ahead of a partition that has reached `position`, once none of them is.
    fn forget_ahead(&mut self, partition: PartitionId, position: Position) {
        if self.ahead.get(&partition).is_some_and(|ahead| !ahead.matters(position)) {
            self.ahead.remove(&partition);
        }
    }

    /// Applies an edit to the slots that do not already hold it. Returns whether there were any.
    fn apply_edit(&mut self, partition: PartitionId, position: Position, edit: &Edit<'_>) -> Result<bool, ApplyError> {
        let Some(ahead) = self.ahead.get(&partition) else {
            self.store.apply(edit)?;
            return Ok(true);
        };
        let all = self.partitions.slots(partition);
        let concerned = if let Edit::Key { slot, .. } = edit { slot.0..slot.0 + 1 } else { all.clone() };
        let mut applied = false;
        for slot in concerned {
            if !ahead.holds(usize::from(slot - all.start), position) {
                self.store.apply_to_slot(edit, Slot(slot))?;
                applied = true;
            }
        }
        Ok(applied)
    }

    /// Moves the partitions in `range`, which must end where this replica ends, into a new replica.
    pub fn split_off(&mut self, range: Range<u16>) -> Self {
        let at = usize::from(range.start - self.owned.start);
        let places = self.places.split_off(at);
        self.owned.end = range.start;
        let ahead = self.ahead.split_off(&PartitionId(range.start));
        let store = self.store.split_off(range.clone());
        Self { store, partitions: self.partitions, owned: range, places, ahead, transfers: BTreeMap::new() }
    }

    /// Appends a replica whose partitions follow this one's.
    pub fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.owned.end, other.owned.start);
        self.owned.end = other.owned.end;
        self.places.extend(other.places);
        self.ahead.extend(other.ahead);
        self.transfers.extend(other.transfers);
        self.store.merge(other.store);
    }

    fn partition_of(&self, edit: &Edit<'_>) -> Result<PartitionId, ReplayError> {
        let partition = match edit {
            Edit::Key { slot, .. } => self.partitions.of(*slot),
            Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => {
                *partition
            }
        };
        if partition.0 < self.partitions.count() { Ok(partition) } else { Err(ReplayError::Partition(partition)) }
    }

    /// Slots whose digest differs from the one in `digests`, those of a barrier at `position`. Slots beyond the barrier
    /// cannot be compared and are left out.
    fn differing(&self, partition: PartitionId, position: Position, digests: &[u64]) -> Vec<Slot> {
        let own = self.store.digests(partition);
        let ahead = self.ahead.get(&partition);
        let slots = self.partitions.slots(partition).map(Slot).zip(own).enumerate();
        slots
            .filter(|(index, (_, own))| {
                let is_beyond = ahead.is_some_and(|ahead| ahead.is_beyond(*index, position));
                !is_beyond && digests.get(*index) != Some(own)
            })
            .map(|(_, (slot, _))| slot)
            .collect()
    }

    fn index(&self, partition: PartitionId) -> Option<usize> {
        self.owned.contains(&partition.0).then(|| usize::from(partition.0 - self.owned.start))
    }
}
