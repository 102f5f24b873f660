//! Partitions as a log tells of them: what recovery fills and what the checkpoint node keeps.
//!
//! Always, for each partition: the store holds exactly the effect of its edits up to its position. An edit at or below the position is
//! skipped, so replaying twice, or from further back than needed, does no harm.

use std::ops::Range;

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
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Edits up to here are in the store.
    pub position: Position,
    /// The last edit applied since the snapshot; [`Position::START`] if there was none. What comes between it and the position are
    /// barriers.
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
        Self { store: Store::new(partitions, owned.clone()), partitions, owned, places }
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

    /// The data, to be filled from a snapshot; [`Self::set_position`] then says where that was.
    pub const fn store_mut(&mut self) -> &mut Store {
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
        if let Some(i) = self.index(partition) {
            self.places[i] = Place { position, last_edit: Position::START };
        }
    }

    /// Empties a partition and puts it before its first edit.
    pub fn reset(&mut self, partition: PartitionId) {
        if let Some(i) = self.index(partition) {
            self.store.clear_partition(partition);
            self.places[i] = Place::default();
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
            if let Edit::Barrier { checkpoint, digests, .. } = edit {
                let differing = self.differing(partition, &digests);
                reached(self, Reached { partition, position, checkpoint, differing });
            } else {
                self.store.apply(&edit)?;
                self.places[index].last_edit = position;
                applied += 1;
            }
        }
        Ok(applied)
    }

    /// Takes the partitions in `range`, which ends where these end, out into a replica of their own.
    pub fn split_off(&mut self, range: Range<u16>) -> Self {
        let at = usize::from(range.start - self.owned.start);
        let places = self.places.split_off(at);
        self.owned.end = range.start;
        Self { store: self.store.split_off(range.clone()), partitions: self.partitions, owned: range, places }
    }

    /// Takes in a replica whose partitions follow these.
    pub fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.owned.end, other.owned.start);
        self.owned.end = other.owned.end;
        self.places.extend(other.places);
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

    fn differing(&self, partition: PartitionId, digests: &[u64]) -> Vec<Slot> {
        let own = self.store.digests(partition);
        let slots = self.partitions.slots(partition);
        slots
            .zip(own)
            .enumerate()
            .filter(|(i, (_, own))| digests.get(*i) != Some(own))
            .map(|(_, (s, _))| Slot(s))
            .collect()
    }

    fn index(&self, partition: PartitionId) -> Option<usize> {
        self.owned.contains(&partition.0).then(|| usize::from(partition.0 - self.owned.start))
    }
}
