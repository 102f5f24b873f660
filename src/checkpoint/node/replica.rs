//! One partition as the node holds it: its state and where in the log that is.
//!
//! Always: the state is that after every edit of the partition at or before `position`, and after none behind it.

use crate::encoding::edit::{Edit, EditError};
use crate::ids::{PartitionId, Partitions, Position, Slot};
use crate::storage::snapshot::{SectionHeader, SnapshotWriter, Subject};
use crate::storage::{Installed, StorageError};
use crate::store::{ApplyError, Store};

/// A partition's copy.
pub struct Replica {
    /// The partition.
    pub partition: PartitionId,
    partitions: Partitions,
    store: Store,
    position: Position,
    trust: Trust,
}

/// What is known of a state beside its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Nothing speaks against it.
    Good,
    /// It differed from the master's, or an edit contradicted it: it is to be made anew.
    Suspect,
    /// It was made anew, and no barrier was reached since. If it differs then, the cause is not here, and it stays as it is.
    Renewed,
}

/// Why an edit cannot be applied. The state is then not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// It is no edit.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// It contradicts the state.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// A barrier that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The node is asked for a snapshot here.
    pub checkpoint: bool,
    /// Slots whose digests differ from the master's.
    pub differing: Vec<Slot>,
}

impl Replica {
    /// An empty partition, before every edit.
    pub fn empty(partitions: Partitions, partition: PartitionId) -> Self {
        let store = Store::new(partitions, partition.0..partition.0 + 1);
        Self { partition, partitions, store, position: Position::START, trust: Trust::Good }
    }

    /// A partition with the state of a snapshot at `position`.
    pub fn of(partitions: Partitions, partition: PartitionId, store: Store, position: Position) -> Self {
        Self { partition, partitions, store, position, trust: Trust::Good }
    }

    /// Where in the log the state is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the state is to be made anew.
    pub fn is_suspect(&self) -> bool {
        self.trust == Trust::Suspect
    }

    /// The state contradicts the master's. Returns whether it is to be made anew: once, but not again and again.
    pub fn suspect(&mut self) -> bool {
        if self.trust == Trust::Good {
            self.trust = Trust::Suspect;
        }
        self.is_suspect()
    }

    /// Takes the state of `other`, which comes from elsewhere.
    pub fn replace(&mut self, other: Self) {
        let trust = if self.is_suspect() { Trust::Renewed } else { other.trust };
        *self = Self { trust, ..other };
    }

    /// No edit of the partition lies between its position and `position`: the stream was followed up to there.
    pub fn advance(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    /// Applies the edit at `position`, unless it is in the state already. At a barrier, compares digests.
    ///
    /// # Errors
    /// If the edit contradicts the state.
    pub fn apply(&mut self, edit: &Edit<'_>, position: Position) -> Result<Option<Reached>, ReplicaError> {
        if position <= self.position {
            return Ok(None);
        }
        self.store.apply(edit)?;
        self.position = position;
        let Edit::Barrier { checkpoint, digests, .. } = edit else { return Ok(None) };
        let own = self.store.digests(self.partition);
        let slots = self.partitions.slots(self.partition).map(Slot);
        // A barrier with too few digests says nothing good about the slots that it leaves out.
        let theirs = digests.iter().copied().map(Some).chain(std::iter::repeat(None));
        let differing = slots.zip(own.into_iter().zip(theirs));
        let differing: Vec<_> =
            differing.filter(|(_, (own, theirs))| Some(*own) != *theirs).map(|(slot, _)| slot).collect();
        if differing.is_empty() {
            self.trust = Trust::Good;
        }
        Ok(Some(Reached { checkpoint: *checkpoint, differing }))
    }

    /// The state as it is now, to be written to a file by another thread.
    pub fn capture(&self) -> Capture {
        let mut bytes = Vec::new();
        let mut sections = Vec::new();
        for slot in self.partitions.slots(self.partition).map(Slot) {
            let start = bytes.len();
            let entries = self.store.write_section(slot, &mut bytes);
            if entries > 0 {
                let length = (bytes.len() - start) as u64;
                let digest = self.store.digest(slot).0;
                sections.push(SectionHeader { slot, position: self.position, entries, bytes: length, digest });
            }
        }
        Capture { partition: self.partition, position: self.position, sections, bytes }
    }
}

/// A partition's state at a barrier, encoded as a snapshot holds it.
pub struct Capture {
    /// The partition.
    pub partition: PartitionId,
    /// The barrier.
    pub position: Position,
    sections: Vec<SectionHeader>,
    /// The sections' entries, one after the other.
    bytes: Vec<u8>,
}

impl Capture {
    /// Writes the snapshot file and syncs it.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn write(&self, file: &std::path::Path, subject: Subject) -> Result<Installed, StorageError> {
        let mut writer = SnapshotWriter::create(file, subject, self.position)?;
        let mut rest = &self.bytes[..];
        for section in &self.sections {
            let (entries, after) = rest.split_at(section.bytes as usize);
            writer.section(*section, entries)?;
            rest = after;
        }
        Ok(writer.finish()?.installed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::edit::Change;
    use crate::encoding::slot::slot_of;
    use crate::ids::{Db, Epoch, Lsn};

    fn at(lsn: u64) -> Position {
        Position::new(Epoch(1), Lsn(lsn))
    }

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Edit<'a> {
        let change = Change::PutString { value: value.into(), expire_at: None };
        Edit::Key { db: Db(0), slot: slot_of(key), key: key.into(), change }
    }

    #[test]
    fn edits_at_or_before_the_position_are_in_the_state_already() {
        let one = Partitions::new(1).unwrap();
        let mut replica = Replica::empty(one, PartitionId(0));
        replica.apply(&put(b"k", b"new"), at(5)).unwrap();
        let digests = replica.store.digests(PartitionId(0));
        replica.apply(&put(b"k", b"old"), at(4)).unwrap();
        assert_eq!((replica.store.digests(PartitionId(0)), replica.position()), (digests, at(5)));
    }

    #[test]
    fn a_suspect_is_made_anew_once_and_again_only_after_it_agreed() {
        let one = Partitions::new(1).unwrap();
        let mut replica = Replica::empty(one, PartitionId(0));
        assert!(replica.suspect());
        replica.replace(Replica::empty(one, PartitionId(0)));
        assert!(!replica.is_suspect());
        assert!(!replica.suspect(), "the cause is not here");
        let digests = replica.store.digests(PartitionId(0)).into();
        replica.apply(&Edit::Barrier { partition: PartitionId(0), checkpoint: false, digests }, at(1)).unwrap();
        assert!(replica.suspect());
    }

    #[test]
    fn barriers_name_the_slots_that_differ() {
        let one = Partitions::new(1).unwrap();
        let mut replica = Replica::empty(one, PartitionId(0));
        replica.apply(&put(b"k", b"value"), at(1)).unwrap();
        let barrier = |digests: &[u64]| Edit::Barrier {
            partition: PartitionId(0),
            checkpoint: true,
            digests: digests.to_vec().into(),
        };
        let mut digests = replica.store.digests(PartitionId(0));
        let reached = replica.apply(&barrier(&digests), at(2)).unwrap().unwrap();
        assert_eq!(reached, Reached { checkpoint: true, differing: Vec::new() });
        digests[77] ^= 1;
        let last = digests.pop();
        let reached = replica.apply(&barrier(&digests), at(3)).unwrap().unwrap();
        assert!(last.is_some());
        assert_eq!(reached.differing, [Slot(77), Slot(crate::ids::SLOTS - 1)]);
    }
}
