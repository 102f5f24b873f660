//! Follows one stream of one epoch: applies its edits to the partitions that lived in it, compares digests at barriers,
//! captures state where a checkpoint is asked for, and acknowledges.

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

/// Follows `leg` to its end (that of an ended epoch) or until the session ends. `part` are the partitions that lived in
/// it.
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

    /// The partitions are as far as the stream was followed, also those that had no edit in it. If the master could not
    /// lend the rest, because it is damaged or gone, those of which it has a later snapshot begin anew with that at the
    /// next attempt.
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Duration;

    use super::super::mirror::Trust;
    use super::super::outbox::Item;
    use super::*;
    use crate::encoding::edit::{Change, Edit, EncodedEdits};
    use crate::encoding::frame::{FRAME_HEADER, FrameHeader};
    use crate::ids::{CoreId, Db, Epoch, Partitions, Placement, Slot};

    const ID: DirectoryId = DirectoryId([7; 16]);
    /// One slot each.
    const PARTITIONS: u16 = 16_384;

    /// What a follower of the only stream of epoch 2 has and does.
    struct Following {
        follower: Follower,
        part: Part,
        outbox: Outbox,
    }

    impl Following {
        fn new(last: Option<u64>, wanted_from: u64) -> Self {
            let partitions = Partitions::new(PARTITIONS).unwrap();
            let placement = Placement::new(partitions, 1).unwrap();
            let (last, wanted_from) = (last.map(Lsn), Lsn(wanted_from));
            let leg = Leg { epoch: Epoch(2), placement, core: CoreId(0), from: Lsn(1), last, wanted_from };
            let (follower, part) = (Follower::new(ID, &leg), Part::empty(partitions, 0..4));
            Self { follower, part, outbox: Outbox::default() }
        }

        fn hear(&mut self, received: Received<'_>) -> (Result<Step, FollowError>, Vec<Message<'static>>) {
            let mut answers = Vec::new();
            let step = self.follower.on(received, &mut self.part, &self.outbox, &mut answers);
            (step, answers)
        }

        /// Partitions and positions of what waits to be uploaded.
        fn captured(&self) -> Vec<(u16, u64)> {
            let items = std::iter::from_fn(|| self.outbox.take(Duration::ZERO));
            let of = |item| match item {
                Item::Capture(capture) => (capture.partition.0, capture.position.lsn.0),
                Item::Ready(_) => panic!("nothing is written yet"),
            };
            items.map(of).collect()
        }
    }

    /// A frame of `edits`, the first of which is edit `first`.
    fn frame(first: u64, edits: &[Edit<'_>]) -> Vec<u8> {
        let mut encoded = EncodedEdits::new();
        for edit in edits {
            let partition = match edit {
                Edit::Key { slot, .. } => PartitionId(slot.0),
                Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => {
                    *partition
                }
            };
            encoded.push(partition, edit);
        }
        let (body_len, count) = (encoded.as_bytes().len() as u32, edits.len() as u32);
        let (stream, segment, before) = (StreamId::new(Epoch(2), CoreId(0)), Lsn(1), Lsn(first - 1));
        let (first, synced, durable) = (Lsn(first), before, before);
        let header = FrameHeader { body_len, count, stream, seal: false, segment, first, synced, durable };
        let mut bytes = vec![0; header.padded_len()];
        bytes[FRAME_HEADER..header.len()].copy_from_slice(encoded.as_bytes());
        header.write(ID, &mut bytes);
        bytes.truncate(header.len());
        bytes
    }

    fn put(partition: u16) -> Edit<'static> {
        let change = Change::PutString { value: b"value".into(), expire_at: None };
        Edit::Key { db: Db(0), slot: Slot(partition), key: b"key".into(), change }
    }

    fn barrier(partition: u16, checkpoint: bool, digest: u64) -> Edit<'static> {
        Edit::Barrier { partition: PartitionId(partition), checkpoint, digests: Cow::Owned(vec![digest]) }
    }

    #[test]
    fn what_is_applied_is_acknowledged_once_and_again_when_the_master_asks() {
        let mut following = Following::new(None, 1);
        let first = frame(1, &[put(0), put(1)]);
        let whole = frame(3, &[put(2)]);
        assert_eq!(following.hear(Received::Log(&first)).1, [Message::Applied(Lsn(2))]);
        assert_eq!(following.hear(Received::Log(&first)).1, [], "it has it");
        assert_eq!(following.hear(Received::Log(&whole[..20])).1, [], "it is not whole yet");
        assert_eq!(following.hear(Received::Log(&whole[20..])).1, [Message::Applied(Lsn(3))]);
        assert_eq!(following.hear(Received::Log(&[])).1, [Message::Applied(Lsn(3))]);
    }

    #[test]
    fn a_stream_has_ended_when_all_up_to_its_last_edit_is_applied() {
        for (known, applied, said, is_end) in
            [(3, 3, 3, true), (3, 2, 3, false), (3, 3, 4, false), (4, 3, 3, false), (0, 0, 0, true)]
        {
            let mut following = Following::new(Some(known), 1);
            if applied > 0 {
                let edits: Vec<_> = (0..applied).map(|n| put(n as u16 % 4)).collect();
                following.hear(Received::Log(&frame(1, &edits))).0.unwrap();
            }
            let ended = following.hear(Received::Message(Message::End(Lsn(said)))).0;
            assert_eq!(matches!(ended, Ok(Step::Ended)), is_end, "{known} {applied} {said}: {ended:?}");
            if let Err(FollowError::Short { found, wanted, .. }) = ended {
                assert_eq!((found, wanted), (Lsn(applied), Lsn(known)));
            }
        }
        let (unknown, _) = Following::new(None, 1).hear(Received::Message(Message::End(Lsn(0))));
        assert!(matches!(unknown, Err(FollowError::Short { .. })), "the present epoch does not end");
    }

    #[test]
    fn state_is_captured_at_a_barrier_that_is_still_waited_for_if_it_agrees() {
        let digest = {
            let mut following = Following::new(None, 1);
            following.hear(Received::Log(&frame(1, &[put(1)]))).0.unwrap();
            following.part.replica.store().digests(PartitionId(1))[0]
        };
        for (last, wanted_from, checkpoint, digest, is_captured) in [
            (None, 2, true, digest, true),
            (None, 3, true, digest, false),
            (None, 2, false, digest, false),
            (None, 2, true, !digest, false),
            (Some(9), 2, true, digest, false),
        ] {
            let mut following = Following::new(last, wanted_from);
            let (_, answers) = following.hear(Received::Log(&frame(1, &[put(1), barrier(1, checkpoint, digest)])));
            let expected: &[_] = if is_captured { &[(1, 2)] } else { &[] };
            assert_eq!(following.captured(), expected, "{last:?} {wanted_from} {checkpoint}");
            assert!(matches!(&answers[..], [Message::Compared { partition: PartitionId(1), .. }, ..]), "{answers:?}");
        }
    }

    #[test]
    fn a_partition_that_differs_or_is_contradicted_begins_anew_and_the_stream_ends() {
        let mut differs = Following::new(None, 1);
        let (step, answers) =
            differs.hear(Received::Log(&frame(1, &[put(1), barrier(1, true, 1), barrier(2, true, 0)])));
        let Err(FollowError::Differs { partition, position }) = step else { panic!("{step:?}") };
        assert_eq!((partition, position), (PartitionId(1), Position::new(Epoch(2), Lsn(2))));
        assert_eq!(answers.len(), 2, "both comparisons are told: {answers:?}");
        let trusted = [1, 2].map(|partition| *differs.part.trust(PartitionId(partition)));
        assert_eq!(trusted, [Trust::Suspect, Trust::Good]);

        let mut contradicted = Following::new(None, 1);
        contradicted.hear(Received::Log(&frame(1, &[put(0), put(3)]))).0.unwrap();
        let key = Change::SetExpiry(None);
        let missing = Edit::Key { db: Db(0), slot: Slot(2), key: b"missing".into(), change: key };
        let (step, _) = contradicted.hear(Received::Log(&frame(3, &[put(1), missing])));
        assert!(matches!(step, Err(FollowError::Contradiction { after: Lsn(2), .. })), "{step:?}");
        let trusted = [0, 1, 2, 3].map(|partition| *contradicted.part.trust(PartitionId(partition)));
        assert_eq!(trusted, [Trust::Good, Trust::Good, Trust::Suspect, Trust::Good]);
    }
}
