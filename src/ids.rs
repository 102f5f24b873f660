//! Newtypes for numbers that must not be confused.
//!
//! A key hashes to a [`Slot`]; a fixed range of slots is a partition; a contiguous range of partitions lives on a core.
//! An edit has an [`Lsn`] in the stream of one core in one [`Epoch`]; both together are a [`Position`].

use std::fmt;
use std::ops::Range;

/// Number of slots, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;
/// Number of databases that `SELECT` can name.
pub const DATABASES: u8 = 16;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Position of an edit in its stream: 1, 2, 3 … without gaps. 0 is the position before the first edit.
    Lsn(u64)
}
number! {
    /// One run of the master, numbered. Each start begins a new epoch; 0 is before the first.
    Epoch(u32)
}
number! {
    /// One of the 16,384 hash slots.
    Slot(u16)
}
number! {
    /// One of the data directory's partitions.
    PartitionId(u16)
}
number! {
    /// A core of the master in one epoch, numbered from 0; not a CPU number.
    CoreId(u16)
}
number! {
    /// A database number, 0 to 15.
    Db(u8)
}
number! {
    /// Number of a request on its connection: 0, 1, 2 … in the order of the requests. Replies are matched by it.
    RequestId(u64)
}

/// Destination of a reply: a request of a client. Only the network layer of the client's core interprets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Index of the connection within the network layer of its core; reused after the client has disconnected.
    pub connection: u32,
    /// The client's number, never reused within an epoch.
    pub client: u64,
    /// The request being replied to.
    pub request: RequestId,
}

impl Lsn {
    /// Whether the position is below a limit that no stream ever reaches. Additions to such positions cannot overflow.
    pub const fn is_possible(self) -> bool {
        self.0 < u64::MAX / 2
    }

    /// The next position.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Db {
    /// The database with this number, if it exists.
    pub const fn new(number: u64) -> Option<Self> {
        if number < DATABASES as u64 { Some(Self(number as u8)) } else { None }
    }

    /// Every database.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DATABASES).map(Self)
    }
}

/// Identity of a data directory: sixteen random bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DirectoryId(pub [u8; 16]);

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Identity of a stream: the edits of one core in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Epoch of the stream.
    pub epoch: Epoch,
    /// Core that writes the stream in that epoch.
    pub core: CoreId,
}

impl StreamId {
    /// The stream of `core` in `epoch`.
    pub const fn new(epoch: Epoch, core: CoreId) -> Self {
        Self { epoch, core }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.core)
    }
}

/// Position of a partition's state in the log. In one epoch a partition lives on one core, so the positions of a
/// partition are totally ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Epoch of the edit.
    pub epoch: Epoch,
    /// Position of the edit in the stream of the core that owned the partition in that epoch.
    pub lsn: Lsn,
}

impl Position {
    /// Position before every edit.
    pub const START: Self = Self { epoch: Epoch(0), lsn: Lsn(0) };

    /// The position of `lsn` in `epoch`.
    pub const fn new(epoch: Epoch, lsn: Lsn) -> Self {
        Self { epoch, lsn }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.lsn)
    }
}

/// Number of partitions that the slots are divided into: a power of two, fixed when a data directory is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    bits: u8,
}

impl Partitions {
    /// `count` partitions; `None` unless `count` is a power of two from 1 to 16,384.
    pub const fn new(count: u16) -> Option<Self> {
        if count.is_power_of_two() && count <= SLOTS { Some(Self { bits: count.trailing_zeros() as u8 }) } else { None }
    }

    /// Number of partitions.
    pub const fn count(self) -> u16 {
        1 << self.bits
    }

    /// Number of slots in each partition.
    pub const fn slots_each(self) -> u16 {
        SLOTS >> self.bits
    }

    /// The partition that a slot belongs to.
    #[inline]
    pub const fn of(self, slot: Slot) -> PartitionId {
        PartitionId(slot.0 >> (14 - self.bits))
    }

    /// Range of slots of a partition.
    pub const fn slots(self, partition: PartitionId) -> Range<u16> {
        let each = self.slots_each();
        partition.0 * each..partition.0 * each + each
    }
}

/// Assignment of partitions to cores in one epoch: equal contiguous shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    partitions: Partitions,
    cores: u16,
}

impl Placement {
    /// Distributes `partitions` over `cores`; `None` if there are no cores, or more cores than partitions.
    pub const fn new(partitions: Partitions, cores: u16) -> Option<Self> {
        if cores == 0 || cores > partitions.count() { None } else { Some(Self { partitions, cores }) }
    }

    /// How the slots are divided into partitions.
    pub const fn partitions(self) -> Partitions {
        self.partitions
    }

    /// Number of cores.
    pub const fn cores(self) -> u16 {
        self.cores
    }

    /// The core that owns a partition.
    #[inline]
    pub const fn core_of(self, partition: PartitionId) -> CoreId {
        CoreId((partition.0 as u32 * self.cores as u32 / self.partitions.count() as u32) as u16)
    }

    /// The core that owns a slot.
    #[inline]
    pub const fn core_of_slot(self, slot: Slot) -> CoreId {
        self.core_of(self.partitions.of(slot))
    }

    /// Numbers of the partitions that a core owns.
    pub const fn partitions_of(self, core: CoreId) -> Range<u16> {
        let (count, cores) = (self.partitions.count() as u32, self.cores as u32);
        let first = (core.0 as u32 * count).div_ceil(cores);
        let end = ((core.0 as u32 + 1) * count).div_ceil(cores);
        first as u16..end as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_on_exactly_the_core_that_lists_it() {
        for partitions in (0..=14).map(|bits| Partitions::new(1 << bits).unwrap()) {
            for cores in (1..=partitions.count()).filter(|c| *c <= 70) {
                let placement = Placement::new(partitions, cores).unwrap();
                let mut next = 0;
                for core in 0..cores {
                    let range = placement.partitions_of(CoreId(core));
                    assert_eq!(range.start, next);
                    assert!(!range.is_empty());
                    assert!(range.clone().all(|p| placement.core_of(PartitionId(p)) == CoreId(core)));
                    next = range.end;
                }
                assert_eq!(next, partitions.count());
            }
        }
    }

    #[test]
    fn every_slot_is_in_exactly_the_partition_that_lists_it() {
        let partitions = Partitions::new(256).unwrap();
        assert!((0..SLOTS).all(|s| partitions.slots(partitions.of(Slot(s))).contains(&s)));
        assert!(Partitions::new(0).is_none() && Partitions::new(3).is_none() && Partitions::new(1 << 15).is_none());
    }
}
