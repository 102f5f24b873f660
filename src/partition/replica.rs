//! Partitions as a log tells of them: what recovery fills and what the checkpoint node keeps.
//!
//! Always, for each partition: the store holds exactly the effect of its edits up to its position, and of a slot that
//! is *ahead* of it (its snapshot was written slot by slot) up to the slot's own. An edit at or below the position is
//! skipped, so replaying twice, or from further back than needed, does no harm.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ahead::Ahead;
use crate::encoding::edit::{Edit, EditError};
use crate::encoding::frame::Frame;
use crate::ids::{PartitionId, Partitions, Position, Slot};
use crate::planted::{Bug, is_planted};
use crate::store::{ApplyError, Store};

/// A contiguous range of partitions with their positions.
pub struct Replica {
    store: Store,
    partitions: Partitions,
    owned: Range<u16>,
    /// By partition, from `owned.start` on.
    places: Vec<Place>,
    /// Of partitions that have slots ahead of them.
    ahead: BTreeMap<PartitionId, Ahead>,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Edits up to here are in the store, and nothing later but in slots that are ahead.
    pub position: Position,
    /// The last edit applied since the snapshot; [`Position::START`] if there was none. What comes between it and the
    /// position are barriers.
    pub last_edit: Position,
}

/// A barrier that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whose.
    pub partition: PartitionId,
    /// Where.
    pub position: Position,
    /// Whether a snapshot is wanted here.
    pub checkpoint: bool,
    /// Slots whose digest here is not the barrier's.
    pub differing: Vec<Slot>,
}

/// Edits that do not fit.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Bytes that are not an edit, in a frame whose checksum is right.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// An edit of a key that contradicts the data.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// An edit of a partition that does not exist.
    #[error("an edit of partition {0}, which does not exist")]
    Partition(PartitionId),
}

impl Replica {
    /// Empty partitions before their first edit.
    pub fn new(partitions: Partitions, owned: Range<u16>) -> Self {
        let places = vec![Place::default(); owned.len()];
        Self { store: Store::new(partitions, owned.clone()), partitions, owned, places, ahead: BTreeMap::new() }
    }

    /// The partitions, as numbers.
    pub fn owned(&self) -> Range<u16> {
        self.owned.clone()
    }

    /// How the slots are cut.
    pub const fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// The data.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The data, to be filled from a snapshot.
    pub(super) const fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Gives the data away.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// Where a partition stands; `None` if it is not one of these.
    pub fn place(&self, partition: PartitionId) -> Option<Place> {
        self.index(partition).map(|i| self.places[i])
    }

    /// A snapshot of a partition was loaded that was made at `position`.
    pub fn set_position(&mut self, partition: PartitionId, position: Position) {
        self.set_positions(partition, position, Vec::new());
    }

    /// A snapshot of a partition was loaded that was made at `position`, its slots, in order, at `slots` or wherever it
    /// is later.
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

    /// No edit of a partition lies between where it is and `position`.
    pub fn advance(&mut self, partition: PartitionId, position: Position) {
        if let Some(i) = self.index(partition) {
            let place = &mut self.places[i];
            place.position = place.position.max(position);
            let reached = place.position;
            self.ahead.retain(|p, ahead| *p != partition || ahead.matters(reached));
        }
    }

    /// Partitions with slots that are ahead of them, and how far the newest slot is.
    pub fn ahead(&self) -> impl Iterator<Item = (PartitionId, Position)> {
        self.ahead.iter().map(|(partition, ahead)| (*partition, ahead.newest()))
    }

    /// Where a slot stands: with its partition, or ahead of it.
    pub fn slot_position(&self, slot: Slot) -> Position {
        let partition = self.partitions.of(slot);
        let position = self.place(partition).map(|place| place.position).unwrap_or_default();
        let first = self.partitions.slots(partition).start;
        let own = self.ahead.get(&partition).and_then(|ahead| ahead.position(usize::from(slot.0 - first)));
        own.map_or(position, |own| own.max(position))
    }

    /// Whether all slots of a partition are where it is, so that its state is that of one moment.
    pub fn is_even(&self, partition: PartitionId) -> bool {
        !self.ahead.contains_key(&partition)
    }

    /// Empties a partition and puts it before its first edit.
    pub fn reset(&mut self, partition: PartitionId) {
        if let Some(i) = self.index(partition) {
            self.store.clear_partition(partition);
            self.places[i] = Place::default();
            self.ahead.remove(&partition);
        }
    }

    /// Applies what is new in a frame; calls `reached` at each barrier. Returns the number of edits applied.
    ///
    /// # Errors
    /// If an edit does not fit; those before it are applied.
    pub fn apply(&mut self, frame: &Frame<'_>, mut reached: impl FnMut(&Self, Reached)) -> Result<u64, ReplayError> {
        let mut applied = 0;
        for item in frame.edits() {
            let (lsn, bytes) = item?;
            let position = Position::new(frame.header.stream.epoch, lsn);
            let edit = Edit::decode(bytes)?;
            let partition = self.partition_of(&edit)?;
            let is_new = |place: Position| {
                if is_planted(Bug::EpochIgnored) { place.lsn < position.lsn } else { place < position }
            };
            let Some(index) = self.index(partition).filter(|i| is_new(self.places[*i].position)) else { continue };
            self.places[index].position = position;
            if self.ahead.get(&partition).is_some_and(|ahead| !ahead.matters(position)) {
                self.ahead.remove(&partition);
            }
            if let Edit::Barrier { checkpoint, digests, .. } = edit {
                let differing = self.differing(partition, position, &digests);
                reached(self, Reached { partition, position, checkpoint, differing });
            } else if self.apply_edit(partition, position, &edit)? {
                self.places[index].last_edit = position;
                applied += 1;
            }
        }
        Ok(applied)
    }

    /// Applies an edit where it is new; whether it was anywhere.
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

    /// Takes the partitions in `range`, which ends where these end, out into a replica of their own.
    pub fn split_off(&mut self, range: Range<u16>) -> Self {
        let at = usize::from(range.start - self.owned.start);
        let places = self.places.split_off(at);
        self.owned.end = range.start;
        let ahead = self.ahead.split_off(&PartitionId(range.start));
        Self { store: self.store.split_off(range.clone()), partitions: self.partitions, owned: range, places, ahead }
    }

    /// Takes in a replica whose partitions follow these.
    pub fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.owned.end, other.owned.start);
        self.owned.end = other.owned.end;
        self.places.extend(other.places);
        self.ahead.extend(other.ahead);
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

    /// Slots whose digest is not the one in `digests`, of a barrier at `position`. What is beyond the barrier cannot be
    /// compared.
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
