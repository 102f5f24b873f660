//! Follows one stream of one epoch: applies its edits to the partitions that lived in it, compares digests at barriers, captures
//! state where a checkpoint is asked for, and acknowledges.

use super::assembler::{Assembler, StreamError};
use super::capture::Capture;
use super::mirror::Part;
use super::outbox::Outbox;
use super::plan::Leg;
use super::session::Session;
use crate::encoding::frame::Frame;
use crate::ids::{DirectoryId, Lsn, PartitionId, Position, StreamId};
use crate::partition::replica::{Reached, ReplayError};
use crate::planted::{Bug, is_planted};
use crate::replication::link::LinkError;
use crate::replication::protocol::{Message, Reason, Received, Role};
use crate::storage::Files;

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
pub(crate) fn follow(session: &Session<'_>, leg: &Leg, part: &mut Part) -> Result<(), FollowError> {
    let mut follower = Follower::new(session.id(), leg);
    let ended = run(session, &mut follower, part);
    follower.finish(session, part, ended.as_ref().err());
    ended
}

fn run(session: &Session<'_>, follower: &mut Follower, part: &mut Part) -> Result<(), FollowError> {
    let (mut sender, mut receiver) = session.connect(Role::Stream)?;
    for message in follower.hello() {
        sender.send(&message)?;
    }
    loop {
        let mut answers = Vec::new();
        let step = follower.on(receiver.next()?, part, &session.node.outbox, &mut answers);
        // Also what was found out before something failed.
        for answer in &answers {
            sender.send(answer)?;
        }
        if step? == Step::Ended {
            return Ok(());
        }
    }
}

/// Whether a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    GoesOn,
    /// All of an ended epoch's stream is applied.
    Ended,
}

/// One stream as it is followed: told what comes in, it says what goes out.
pub(crate) struct Follower {
    leg: Leg,
    stream: StreamId,
    assembler: Assembler,
    /// Every edit up to here is in the part.
    applied: Lsn,
}

impl Follower {
    /// Before the first edit of `leg`.
    pub(crate) fn new(id: DirectoryId, leg: &Leg) -> Self {
        let stream = StreamId::new(leg.epoch, leg.core);
        let assembler = Assembler::new(id, stream, leg.from);
        Self { leg: *leg, stream, assembler, applied: Lsn(leg.from.0.saturating_sub(1)) }
    }

    /// What is said first.
    pub(crate) fn hello(&self) -> [Message<'static>; 2] {
        let Leg { epoch, core, from, .. } = self.leg;
        [Message::Follow { epoch, core, from }, Message::Applied(self.applied)]
    }

    /// Takes in what has come. `answers` are to be sent, also if it fails.
    pub(crate) fn on(
        &mut self,
        received: Received<'_>,
        part: &mut Part,
        outbox: &Outbox,
        answers: &mut Vec<Message<'static>>,
    ) -> Result<Step, FollowError> {
        // The master asks whether this end lives.
        let asks = matches!(received, Received::Log([]));
        match received {
            Received::Log(run) => self.assembler.push(run),
            Received::Message(Message::End(last)) => return self.end(last),
            Received::Message(_) => return Err(LinkError::OutOfTurn.into()),
        }
        let before = self.applied;
        let leg = self.leg;
        while let Some(frame) = self.assembler.next()? {
            apply(&leg, &frame, part, outbox, answers)?;
            self.applied = self.applied.max(frame.header.last());
        }
        if asks || self.applied > before {
            answers.push(Message::Applied(self.applied));
        }
        Ok(Step::GoesOn)
    }

    /// The partitions are as far as the stream was followed, also those that had no edit in it. If the master could not lend the rest,
    /// because it is damaged or gone, those of which it has a later snapshot begin anew with that at the next attempt.
    pub(crate) fn finish<F: Files>(&self, session: &Session<'_, F>, part: &mut Part, ended: Option<&FollowError>) {
        part.advance(Position::new(self.leg.epoch, self.applied));
        let Some(FollowError::Link(LinkError::Refused { reason: Reason::Disk | Reason::Unknown, text })) = ended else {
            return;
        };
        for partition in part.partitions() {
            let (position, newest) = (part.position(partition), session.newest(partition));
            if newest > position {
                tracing::warn!(%partition, %position, %newest, "goes on from the master's snapshot, not from its log: {text}");
                part.trust(partition).stranded();
            }
        }
    }

    fn end(&self, last: Lsn) -> Result<Step, FollowError> {
        if self.leg.last == Some(last) && self.applied >= last {
            return Ok(Step::Ended);
        }
        let wanted = self.leg.last.unwrap_or(last);
        Err(FollowError::Short { stream: self.stream, found: self.applied, wanted })
    }
}

/// Applies a frame of `leg`; compares at barriers, and captures where a checkpoint is asked for.
fn apply(
    leg: &Leg,
    frame: &Frame<'_>,
    part: &mut Part,
    outbox: &Outbox,
    answers: &mut Vec<Message<'static>>,
) -> Result<(), FollowError> {
    let mut barriers = Vec::new();
    let applied = part.replica.apply(frame, |replica, reached| {
        let Reached { partition, position, checkpoint, ref differing } = reached;
        // Only now is the state that of the barrier: the next edit changes it.
        let wanted = checkpoint && leg.last.is_none() && position.lsn >= leg.wanted_from && differing.is_empty();
        // What was downloaded slot by slot has slots from after the barrier for a while.
        if wanted && replica.is_even(partition) && !is_planted(Bug::CapturedLate) {
            outbox.capture(Capture::of(replica, partition, position));
        }
        barriers.push(reached);
    });
    if let Err(why) = applied {
        // Edits come in order: the partition that got furthest is the one with the edit that does not fit.
        let furthest = part.partitions().max_by_key(|p| part.position(*p));
        if let Some(partition) = furthest {
            part.trust(partition).contradicted();
        }
        let (stream, after) = (frame.header.stream, Lsn(frame.header.first.0 - 1));
        return Err(FollowError::Contradiction { stream, after, why });
    }
    let mut differs = None;
    for reached in barriers {
        let (partition, position) = (reached.partition, reached.position);
        if is_planted(Bug::CapturedLate) && reached.checkpoint && leg.last.is_none() {
            outbox.capture(Capture::of(&part.replica, partition, position));
        }
        if compared(reached, part, answers) {
            differs = Some(FollowError::Differs { partition, position });
        }
    }
    differs.map_or(Ok(()), Err)
}

/// Tells the master what a comparison gave. Returns whether the partition is to begin anew.
fn compared(reached: Reached, part: &mut Part, answers: &mut Vec<Message<'static>>) -> bool {
    let Reached { partition, position, differing, .. } = reached;
    let trust = part.trust(partition);
    let begin_anew = if differing.is_empty() {
        trust.agreed();
        false
    } else {
        tracing::error!(%partition, %position, slots = differing.len(), "this node's data DIFFERS from the master's");
        trust.contradicted()
    };
    answers.push(Message::Compared { partition, position, differing });
    begin_anew
}
