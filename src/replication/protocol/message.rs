//! The messages as values. [`super::codec`] encodes and decodes them.

use std::borrow::Cow;

use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Position, Slot};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens the session and carries the heartbeats; the session ends with this connection.
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
    /// Random number that the node process drew when it started.
    pub node: u64,
    /// The session that the connection belongs to; 0 in a control hello.
    pub session: u64,
}

/// One stream of one epoch, as far as the master keeps its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// The oldest edit still in the log.
    pub first: Lsn,
    /// The last edit of the stream if its epoch has ended; the newest durable edit in the present epoch.
    pub last: Lsn,
    /// The first edit at which a checkpoint barrier may be awaited: the master wants no snapshot at an earlier one.
    pub wanted_from: Lsn,
}

/// What the master has installed of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The log holds every edit of the partition after this position.
    pub floor: Position,
    /// Position of the newest snapshot; [`Position::START`] if there is none.
    pub newest: Position,
}

/// What the master answers to the hello of a control connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Id of the session, which the hellos of its further connections carry.
    pub session: u64,
    /// Id of the data directory.
    pub directory: [u8; 16],
    /// The present epoch.
    pub epoch: Epoch,
    /// The epochs whose log is kept, oldest first, each with its streams by core. The last one is the present epoch.
    pub epochs: Vec<(Epoch, Vec<StreamInfo>)>,
    /// What is installed, by partition; the length is the number of partitions.
    pub kept: Vec<Kept>,
}

/// Why the master refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The ends speak different versions of the protocol.
    Protocol,
    /// The password is wrong or missing.
    Password,
    /// Another node is connected, or another connection still uploads the same partition's snapshot.
    Busy,
    /// The session or the epoch is over.
    Stale,
    /// The stream, the log or the snapshot that was asked for does not exist, or no longer.
    Unknown,
    /// The policy does not await this snapshot.
    Unwanted,
    /// The snapshot's bytes or digests are wrong.
    Damaged,
    /// The master's disk failed to read or write.
    Disk,
}

/// A snapshot that the node has written and offers to upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The snapshot's partition.
    pub partition: PartitionId,
    /// The barrier at which it was taken.
    pub position: Position,
    /// Length of the file.
    pub bytes: u64,
    /// CRC32 of the file.
    pub crc32: u32,
}

/// A message; [`super`] says who sends which message when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first message on every connection; from the node.
    Hello(Hello),
    /// 32 random bytes, for which the node must compute a [`super::proof`].
    Challenge(Cow<'a, [u8]>),
    /// The proof; empty if the node knows no password.
    Proof(Cow<'a, [u8]>),
    /// Confirms a session, and tells the node what it needs to catch up.
    Welcome(Welcome),
    /// The master refuses what the node asked for.
    Refusal {
        /// Why, for the program.
        reason: Reason,
        /// Why, for people.
        text: Cow<'a, str>,
    },
    /// Asks for the frames of a stream.
    Follow {
        /// The stream's epoch.
        epoch: Epoch,
        /// The stream's core.
        core: CoreId,
        /// The first edit that is wanted.
        from: Lsn,
    },
    /// The node has applied every edit up to this one, in memory.
    Applied(Lsn),
    /// The node compared digests at a barrier.
    Compared {
        /// The barrier's partition.
        partition: PartitionId,
        /// Position of the barrier.
        position: Position,
        /// The slots whose digests differ.
        differing: Vec<Slot>,
    },
    /// An ended epoch's stream ends with this edit, and all of it was sent.
    End(Lsn),
    /// The node offers a snapshot for upload.
    Offer(Offer),
    /// The master wants the next chunk of the snapshot from this offset on.
    Resume(u64),
    /// A piece of a snapshot file.
    Chunk {
        /// Offset in the file.
        offset: u64,
        /// Bytes of the file.
        bytes: Cow<'a, [u8]>,
    },
    /// The uploaded snapshot is installed.
    Installed,
    /// The node cannot deliver a snapshot at this barrier.
    Declined {
        /// The barrier's partition.
        partition: PartitionId,
        /// Position of the barrier.
        position: Position,
        /// Why.
        text: Cow<'a, str>,
    },
    /// Asks for the newest snapshot of a partition.
    Fetch(PartitionId),
    /// The answer to `Fetch`: the chunks of this snapshot follow.
    Lend {
        /// Position of the snapshot.
        position: Position,
        /// Length of the file.
        bytes: u64,
        /// CRC32 of the file.
        crc32: u32,
    },
    /// A heartbeat.
    Ping,
}

/// What was received on a connection: a message or log bytes.
#[derive(Debug)]
pub enum Received<'a> {
    /// A message other than a refusal, which is a `LinkError::Refused`.
    Message(Message<'a>),
    /// A run of log bytes, possibly empty.
    Log(&'a [u8]),
}
