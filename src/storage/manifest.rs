//! What a data directory holds, as a value. Changes are pure; `directory` makes them durable.
//!
//! Always: only the newest epoch may be open, so every stream of an older one has its `last`; `first ≤ last + 1`;
//! a partition's newer generation is at a later position than its older one; both are below what their streams reach.

use crate::encoding::frame::{DirectoryId, StreamId};
use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Partitions, Placement, Position};

/// What a data directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Tells this data directory from every other.
    pub id: DirectoryId,
    /// How the slots are cut.
    pub partitions: Partitions,
    /// Lives of the master of which some log is kept, oldest first; the newest one always stays.
    pub epochs: Vec<EpochRecord>,
    /// The installed snapshots, per partition.
    pub snapshots: Vec<Generations>,
}

/// One life of the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// Its streams, one per core.
    pub streams: Vec<StreamRecord>,
}

/// One stream of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// The first edit that is still needed: segments wholly below may be gone.
    pub first: Lsn,
    /// The last edit, once recovery has decided that; `None` while the epoch is open.
    pub last: Option<Lsn>,
}

impl StreamRecord {
    /// Whether no edit of the stream is needed any more.
    pub fn is_dropped(&self) -> bool {
        self.last.is_some_and(|last| self.first > last)
    }
}

/// Up to two snapshots of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// The newest installed.
    pub newest: Option<Installed>,
    /// The one before it, kept with the log that follows it in case the newest proves bad.
    pub older: Option<Installed>,
}

/// A snapshot file that was verified whole before it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Where in the log the partition was.
    pub position: Position,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// CRC32 of the whole file.
    pub crc: u32,
    /// Digest of the partition: the wrapping sum of its slots'.
    pub digest: u64,
}

impl Manifest {
    /// That of a new data directory.
    pub fn new(id: DirectoryId, partitions: Partitions) -> Self {
        let snapshots = vec![Generations::default(); usize::from(partitions.count())];
        Self { id, partitions, epochs: Vec::new(), snapshots }
    }

    /// The newest epoch.
    pub fn newest_epoch(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// The newest epoch, if its streams' ends are not decided.
    pub fn open_epoch(&self) -> Option<&EpochRecord> {
        self.newest_epoch().filter(|e| e.streams.iter().any(|s| s.last.is_none()))
    }

    /// The record of a stream.
    pub fn stream(&self, stream: StreamId) -> Option<StreamRecord> {
        let epoch = self.epochs.iter().find(|e| e.epoch == stream.epoch)?;
        epoch.streams.get(usize::from(stream.core.0)).copied()
    }

    /// The streams of which some edit may be needed, in the order in which a partition must be given their edits.
    pub fn kept_streams(&self) -> impl Iterator<Item = (StreamId, StreamRecord)> {
        self.epochs.iter().flat_map(|e| {
            let records = (0u16..).zip(&e.streams);
            records
                .map(|(core, record)| (StreamId::new(e.epoch, CoreId(core)), *record))
                .filter(|(_, r)| !r.is_dropped())
        })
    }

    /// Which core held which partition in an epoch.
    pub fn placement(&self, epoch: Epoch) -> Option<Placement> {
        let record = self.epochs.iter().find(|e| e.epoch == epoch)?;
        Placement::new(self.partitions, u16::try_from(record.streams.len()).ok()?)
    }

    /// The installed snapshots of a partition.
    pub fn generations(&self, partition: PartitionId) -> Generations {
        self.snapshots.get(usize::from(partition.0)).copied().unwrap_or_default()
    }
}
