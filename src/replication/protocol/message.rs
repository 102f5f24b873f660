//! The messages, as values. [`super::codec`] turns them into bytes and back.

use std::borrow::Cow;

use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Position, Slot};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Says hello and shows that the node lives; the session ends with it.
    Control,
    /// Carries the log of one stream of one epoch.
    Stream,
    /// Carries snapshots to the master.
    Upload,
    /// Carries snapshots from the master.
    Download,
}

/// The first message on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol that the node speaks, [`super::VERSION`].
    pub protocol: u32,
    /// What the connection is for.
    pub role: Role,
    /// A number that the node process chose at random when it started.
    pub node: u64,
    /// The session that the connection belongs to; 0 in a control hello.
    pub session: u64,
}

/// One stream of one epoch, as far as the master keeps its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// The oldest edit still in the log.
    pub first: Lsn,
    /// The newest edit of an ended epoch; of the present one the newest durable edit.
    pub last: Lsn,
    /// Checkpoint barriers before this edit are no longer waited for.
    pub wanted_from: Lsn,
}

/// What the master has installed of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// No edit of the partition after this is missing from the log.
    pub floor: Position,
    /// The newest snapshot, [`Position::START`] if there is none.
    pub newest: Position,
}

/// What the master answers to the hello of a control connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Names the session in the hellos of its further connections.
    pub session: u64,
    /// Id of the data directory.
    pub directory: [u8; 16],
    /// The present epoch.
    pub epoch: Epoch,
    /// The epochs whose log is kept, oldest first, each with its streams by core; the present one is the last.
    pub epochs: Vec<(Epoch, Vec<StreamInfo>)>,
    /// By partition; their number is the number of partitions.
    pub kept: Vec<Kept>,
}

/// Why the master says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The ends speak different versions of the protocol, or out of turn.
    Protocol,
    /// The password is wrong or missing.
    Password,
    /// Another node is connected.
    Busy,
    /// The session or the epoch is over.
    Stale,
    /// What was asked for is not here (any more).
    Unknown,
    /// Nobody waits for this snapshot.
    Unwanted,
    /// The snapshot's bytes or digests are wrong.
    Damaged,
    /// The master could not write it down.
    Disk,
}

/// A snapshot that the node has written and would upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The partition.
    pub partition: PartitionId,
    /// The barrier at which it was taken.
    pub position: Position,
    /// Length of the file.
    pub bytes: u64,
    /// CRC32 of the file.
    pub crc32: u32,
}

/// A message; [`super`] says who sends which when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Opens every connection.
    Hello(Hello),
    /// What the node is to prove with the password: 32 random bytes.
    Challenge(Cow<'a, [u8]>),
    /// The proof; empty if the node knows no password.
    Proof(Cow<'a, [u8]>),
    /// Opens a session.
    Welcome(Welcome),
    /// No.
    Refusal {
        /// Why, for the program.
        reason: Reason,
        /// Why, for people.
        text: Cow<'a, str>,
    },
    /// Asks for the frames of a stream.
    Follow {
        /// The life of the master.
        epoch: Epoch,
        /// The core.
        core: CoreId,
        /// The first edit that is wanted.
        from: Lsn,
    },
    /// Every edit up to this one is in the node's memory.
    Applied(Lsn),
    /// The node compared digests at a barrier.
    Compared {
        /// The barrier's partition.
        partition: PartitionId,
        /// The barrier.
        position: Position,
        /// The slots that differ.
        differing: Vec<Slot>,
    },
    /// That was the last edit of an ended epoch.
    End(Lsn),
    /// A snapshot to upload.
    Offer(Offer),
    /// The upload goes on from this offset.
    Resume(u64),
    /// A piece of a snapshot file.
    Chunk {
        /// Where in the file.
        offset: u64,
        /// The piece.
        bytes: Cow<'a, [u8]>,
    },
    /// The uploaded snapshot is installed.
    Installed,
    /// No snapshot will come for this barrier.
    Declined {
        /// The barrier's partition.
        partition: PartitionId,
        /// The barrier.
        position: Position,
        /// Why.
        text: Cow<'a, str>,
    },
    /// Asks for the newest snapshot of a partition.
    Fetch(PartitionId),
    /// That snapshot's chunks follow.
    Lend {
        /// Its position.
        position: Position,
        /// Length of the file.
        bytes: u64,
        /// CRC32 of the file.
        crc32: u32,
    },
    /// Still here.
    Ping,
}

/// What came in on a connection.
#[derive(Debug)]
pub enum Received<'a> {
    /// A message that is no refusal.
    Message(Message<'a>),
    /// A run of log bytes, possibly empty.
    Log(&'a [u8]),
}
