//! Follows one stream of one epoch: applies its edits to the partitions that lived in it, compares digests at barriers, captures
//! state where a checkpoint is asked for, and acknowledges.

use super::assembler::{Assembler, StreamError};
use super::plan::Leg;
use super::replica::{Replica, ReplicaError};
use super::session::Session;
use crate::checkpoint::link::{LinkError, Received, Sender};
use crate::checkpoint::protocol::{Message, Role};
use crate::encoding::edit::Edit;
use crate::encoding::frame::{Frame, StreamId};
use crate::ids::{Lsn, PartitionId, Partitions, Position};

/// Why a stream is not followed any further.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What came over it.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// An edit that contradicts the state that it is applied to. The partition begins anew at the next attempt.
    #[error("partition {partition} at {position}: {why}")]
    Contradiction {
        /// The partition.
        partition: PartitionId,
        /// The edit.
        position: Position,
        /// What is wrong.
        why: ReplicaError,
    },
    /// The state differs from the master's. The partition begins anew at the next attempt.
    #[error("partition {partition} differs from the master's at {position} and begins anew")]
    Differs {
        /// The partition.
        partition: PartitionId,
        /// The barrier.
        position: Position,
    },
    /// An edit of a partition that did not live in the stream, or a frame that is none inside.
    #[error("stream {stream}: edit {lsn} has no place here")]
    Misplaced {
        /// The stream.
        stream: StreamId,
        /// The edit.
        lsn: Lsn,
    },
    /// An ended stream ended too early.
    #[error("stream {stream} ended at {found} instead of {wanted}")]
    Short {
        /// The stream.
        stream: StreamId,
        /// The last edit that came.
        found: Lsn,
        /// The last edit that there is.
        wanted: Lsn,
    },
}

/// Follows `leg` to its end (that of an ended epoch) or until the session ends. `replicas` are the leg's partitions.
pub(super) fn follow(session: &Session<'_>, leg: &Leg, replicas: &mut [Replica]) -> Result<(), FollowError> {
    let stream = StreamId::new(leg.epoch, leg.core);
    let mut follower = Follower { session, leg, stream, replicas, applied: Lsn(leg.from.0.saturating_sub(1)) };
    let ended = follower.run();
    // Edits that the stream had for others are behind each partition's position, too.
    let reached = Position::new(leg.epoch, follower.applied);
    follower.replicas.iter_mut().for_each(|r| r.advance(reached));
    ended
}

struct Follower<'a> {
    session: &'a Session<'a>,
    leg: &'a Leg,
    stream: StreamId,
    replicas: &'a mut [Replica],
    /// Every edit up to here is in the replicas.
    applied: Lsn,
}

impl Follower<'_> {
    fn run(&mut self) -> Result<(), FollowError> {
        let (mut sender, mut receiver) = self.session.connect(Role::Stream)?;
        let Leg { epoch, core, from, .. } = *self.leg;
        sender.send(&Message::Follow { epoch, core, from })?;
        sender.send(&Message::Applied(self.applied))?;
        let mut assembler = Assembler::new(self.session.id(), self.stream, from);
        loop {
            match receiver.next()? {
                Received::Log(run) => assembler.push(run),
                Received::Message(Message::End(last)) => return self.end(last),
                Received::Message(_) => return Err(LinkError::OutOfTurn.into()),
            }
            let before = self.applied;
            while let Some(frame) = assembler.next()? {
                self.apply(&frame, &mut sender)?;
            }
            if self.applied > before {
                sender.send(&Message::Applied(self.applied))?;
            }
        }
    }

    fn end(&self, last: Lsn) -> Result<(), FollowError> {
        if self.leg.last == Some(last) && self.applied >= last {
            return Ok(());
        }
        let wanted = self.leg.last.unwrap_or(last);
        Err(FollowError::Short { stream: self.stream, found: self.applied, wanted })
    }

    fn apply(&mut self, frame: &Frame<'_>, sender: &mut Sender) -> Result<(), FollowError> {
        let partitions = self.session.partitions();
        let mut next = frame.header.first;
        for edit in frame.edits() {
            let misplaced = || FollowError::Misplaced { stream: self.stream, lsn: next };
            let (lsn, bytes) = edit.map_err(|_| misplaced())?;
            let edit = Edit::decode(bytes).map_err(|_| misplaced())?;
            let position = Position::new(self.leg.epoch, lsn);
            let first = self.replicas.first().map_or(0, |r| r.partition.0);
            let index = partition_of(partitions, &edit).0.checked_sub(first).map(usize::from);
            let Some(replica) = index.and_then(|i| self.replicas.get_mut(i)) else { return Err(misplaced()) };
            match replica.apply(&edit, position) {
                Ok(None) => {}
                Ok(Some(reached)) => {
                    let partition = replica.partition;
                    let wanted = reached.checkpoint && self.leg.last.is_none() && lsn >= self.leg.wanted_from;
                    if !reached.differing.is_empty() {
                        self.differs(partition, position, reached.differing, sender)?;
                        continue;
                    }
                    if wanted {
                        self.session.node.outbox.capture(replica.capture());
                    }
                    sender.send(&Message::Compared { partition, position, differing: Vec::new() })?;
                }
                Err(why) => {
                    replica.suspect();
                    return Err(FollowError::Contradiction { partition: replica.partition, position, why });
                }
            }
            next = lsn.next();
        }
        self.applied = self.applied.max(frame.header.last());
        Ok(())
    }

    fn differs(
        &mut self,
        partition: PartitionId,
        position: Position,
        differing: Vec<crate::ids::Slot>,
        sender: &mut Sender,
    ) -> Result<(), FollowError> {
        tracing::error!(%partition, %position, slots = differing.len(), "this node's data DIFFERS from the master's");
        sender.send(&Message::Compared { partition, position, differing })?;
        let replica = self.replicas.iter_mut().find(|r| r.partition == partition);
        if replica.is_some_and(Replica::suspect) {
            return Err(FollowError::Differs { partition, position });
        }
        Ok(())
    }
}

fn partition_of(partitions: Partitions, edit: &Edit<'_>) -> PartitionId {
    match edit {
        Edit::Key { slot, .. } => partitions.of(*slot),
        Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => *partition,
    }
}
