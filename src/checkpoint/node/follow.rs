//! Follows one stream of one epoch: applies its edits to the partitions that lived in it, compares digests at barriers, captures
//! state where a checkpoint is asked for, and acknowledges.

use super::assembler::{Assembler, StreamError};
use super::capture::Capture;
use super::mirror::Part;
use super::plan::Leg;
use super::session::Session;
use crate::checkpoint::link::{LinkError, Received, Sender};
use crate::checkpoint::protocol::{Message, Role};
use crate::encoding::frame::{Frame, StreamId};
use crate::ids::{Lsn, PartitionId, Position};
use crate::partition::replica::{Reached, ReplayError};

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
    #[error("stream {stream} after edit {after}: {why}")]
    Contradiction {
        /// The stream.
        stream: StreamId,
        /// The last edit of the frame before.
        after: Lsn,
        /// What is wrong.
        why: ReplayError,
    },
    /// The state differs from the master's. The partition begins anew at the next attempt.
    #[error("partition {partition} differs from the master's at {position} and begins anew")]
    Differs {
        /// The partition.
        partition: PartitionId,
        /// The barrier.
        position: Position,
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

/// Follows `leg` to its end (that of an ended epoch) or until the session ends. `part` are the partitions that lived in it.
pub(super) fn follow(session: &Session<'_>, leg: &Leg, part: &mut Part) -> Result<(), FollowError> {
    let stream = StreamId::new(leg.epoch, leg.core);
    let mut follower = Follower { session, leg, stream, part, applied: Lsn(leg.from.0.saturating_sub(1)) };
    let ended = follower.run();
    let reached = Position::new(leg.epoch, follower.applied);
    follower.part.advance(reached);
    ended
}

struct Follower<'a> {
    session: &'a Session<'a>,
    leg: &'a Leg,
    stream: StreamId,
    part: &'a mut Part,
    /// Every edit up to here is in the part.
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
        let (is_present, wanted_from) = (self.leg.last.is_none(), self.leg.wanted_from);
        let outbox = &self.session.node.outbox;
        let mut barriers = Vec::new();
        let applied = self.part.replica.apply(frame, |replica, reached| {
            let Reached { partition, position, checkpoint, ref differing } = reached;
            // Only now is the state that of the barrier: the next edit changes it.
            if checkpoint && is_present && position.lsn >= wanted_from && differing.is_empty() {
                outbox.capture(Capture::of(replica, partition, position));
            }
            barriers.push(reached);
        });
        if let Err(why) = applied {
            // Edits come in order: the partition that got furthest is the one with the edit that does not fit.
            let furthest = self.part.partitions().max_by_key(|p| self.part.position(*p));
            if let Some(partition) = furthest {
                self.part.trust(partition).contradicted();
            }
            return Err(FollowError::Contradiction { stream: self.stream, after: self.applied, why });
        }
        self.applied = self.applied.max(frame.header.last());
        let mut differs = None;
        for reached in barriers {
            let (partition, position) = (reached.partition, reached.position);
            if self.compared(reached, sender)? {
                differs = Some(FollowError::Differs { partition, position });
            }
        }
        differs.map_or(Ok(()), Err)
    }

    /// Tells the master what a comparison gave. Returns whether the partition is to begin anew.
    fn compared(&mut self, reached: Reached, sender: &mut Sender) -> Result<bool, FollowError> {
        let Reached { partition, position, differing, .. } = reached;
        let trust = self.part.trust(partition);
        let begin_anew = if differing.is_empty() {
            trust.agreed();
            false
        } else {
            tracing::error!(%partition, %position, slots = differing.len(), "this node's data DIFFERS from the master's");
            trust.contradicted()
        };
        sender.send(&Message::Compared { partition, position, differing })?;
        Ok(begin_anew)
    }
}
