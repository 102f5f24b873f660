//! Follows one stream of one epoch: applies its edits to the partitions that its core owned, compares digests at
//! barriers, captures a partition's state at checkpoint barriers, and acknowledges.

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
use crate::storage::{Files, Transfer};

/// Why a stream cannot be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The connection failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The received bytes do not continue the stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// An edit contradicts the state that it is applied to. The partition is begun anew in the next session.
    #[error("stream {stream} after edit {after}: {why}")]
    Contradiction {
        /// The stream.
        stream: StreamId,
        /// The last edit before the frame that holds the bad edit.
        after: Lsn,
        /// How the edit contradicts the state.
        why: ReplayError,
    },
    /// A partition's state differs from the master's. The partition is begun anew in the next session.
    #[error("partition {partition} differs from the master's at {position} and begins anew")]
    Differs {
        /// The partition that differs.
        partition: PartitionId,
        /// The barrier at which the partition differs.
        position: Position,
    },
    /// The stream of an ended epoch ended before its last edit, or the present epoch's stream ended.
    #[error("stream {stream} ended at {found} instead of {wanted}")]
    Short {
        /// The stream.
        stream: StreamId,
        /// The last edit that was received.
        found: Lsn,
        /// The last edit of the stream.
        wanted: Lsn,
    },
}

/// Follows the stream `leg` to its end, if its epoch has ended, or until the session ends. `part` holds the partitions
/// that the stream's core owned.
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
        // Answers are sent even if a later frame failed.
        for answer in &answers {
            sender.send(answer)?;
        }
        if step? == StreamState::Ended {
            return Ok(());
        }
    }
}

/// Whether there is more of a stream to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamState {
    GoesOn,
    /// The epoch has ended, and all of its stream is applied.
    Ended,
}

/// The state of following one stream: takes in what is received, and returns what is to be sent. No sockets.
pub(crate) struct Follower {
    leg: Leg,
    stream: StreamId,
    assembler: Assembler,
    /// The last edit that is applied, with all before it.
    applied: Lsn,
}

impl Follower {
    /// A follower of `leg` that has applied nothing yet.
    pub(crate) fn new(id: DirectoryId, leg: &Leg) -> Self {
        let stream = StreamId::new(leg.epoch, leg.core);
        let assembler = Assembler::new(id, stream, leg.from);
        Self { leg: *leg, stream, assembler, applied: Lsn(leg.from.0.saturating_sub(1)) }
    }

    /// The messages that are sent first.
    pub(crate) fn hello(&self) -> [Message<'static>; 2] {
        let Leg { epoch, core, from, .. } = self.leg;
        [Message::Follow { epoch, core, from }, Message::Applied(self.applied)]
    }

    /// Takes in a received run or message, and applies whole frames to `part`. Adds to `answers` what is to be sent,
    /// even if this fails.
    pub(crate) fn on(
        &mut self,
        received: Received<'_>,
        part: &mut Part,
        outbox: &Outbox,
        answers: &mut Vec<Message<'static>>,
    ) -> Result<StreamState, FollowError> {
        // An empty run is a heartbeat, which is always answered.
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
        Ok(StreamState::GoesOn)
    }

    /// Advances all partitions, also those without an edit in the stream, to the last edit that was applied. If the
    /// master could not ship the rest of the stream, because it is damaged or gone, marks the partitions of which the
    /// master has a later snapshot, so that they begin anew with that in the next session.
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

    /// Decides what it means that the master has shipped the stream to its end, `last`.
    fn end(&self, last: Lsn) -> Result<StreamState, FollowError> {
        if self.leg.last == Some(last) && self.applied >= last {
            return Ok(StreamState::Ended);
        }
        let wanted = self.leg.last.unwrap_or(last);
        Err(FollowError::Short { stream: self.stream, found: self.applied, wanted })
    }
}

/// Applies a frame of `leg`, compares digests at its barriers, and captures state at checkpoint barriers.
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
        // The state must be captured here: the next edit changes it.
        let wanted = checkpoint && leg.last.is_none() && position.lsn >= leg.wanted_from && differing.is_empty();
        // A partition loaded from a core's own snapshot has slots newer than this barrier, until the stream has reached
        // them.
        if wanted && replica.is_even(partition) && !is_planted(Bug::CapturedLate) {
            outbox.capture(Capture::of(replica, partition, position));
        }
        barriers.push(reached);
    });
    if let Err(why) = applied {
        match why {
            ReplayError::Contradiction { partition, .. } => _ = part.trust(partition).contradicted(),
            // The master's newest snapshots belong together.
            ReplayError::Lost(Transfer { from, to, .. }) => {
                [from, to].into_iter().for_each(|partition| part.trust(partition).stranded());
            }
            // Bytes that are no edit at all say nothing against any partition.
            _ => {}
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

/// Notes the result of a comparison and tells the master. Returns whether the partition is to begin anew.
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
    /// Every partition has one slot.
    const PARTITIONS: u16 = 16_384;

    /// A follower of the only stream of epoch 2, with its partitions and its outbox.
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

        fn hear(&mut self, received: Received<'_>) -> (Result<StreamState, FollowError>, Vec<Message<'static>>) {
            let mut answers = Vec::new();
            let step = self.follower.on(received, &mut self.part, &self.outbox, &mut answers);
            (step, answers)
        }

        /// Partition and lsn of each capture in the outbox.
        fn captured(&self) -> Vec<(u16, u64)> {
            let items = std::iter::from_fn(|| self.outbox.take(Duration::ZERO));
            let of = |item| match item {
                Item::Capture(capture) => (capture.partition.0, capture.position.lsn.0),
                Item::Ready(_) => panic!("nothing is written yet"),
            };
            items.map(of).collect()
        }
    }

    /// Encodes a frame of `edits`, the first of which has the lsn `first`.
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
            assert_eq!(matches!(ended, Ok(StreamState::Ended)), is_end, "{known} {applied} {said}: {ended:?}");
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
        // A partition that is ahead of the stream, as one that was loaded from a later snapshot is, is not to blame.
        contradicted.part.replica.set_position(PartitionId(3), Position::new(Epoch(2), Lsn(50)));
        let key = Change::SetExpiry(None);
        let missing = Edit::Key { db: Db(0), slot: Slot(2), key: b"missing".into(), change: key };
        let (step, _) = contradicted.hear(Received::Log(&frame(3, &[put(1), missing])));
        assert!(matches!(step, Err(FollowError::Contradiction { after: Lsn(2), .. })), "{step:?}");
        let trusted = [0, 1, 2, 3].map(|partition| *contradicted.part.trust(PartitionId(partition)));
        assert_eq!(trusted, [Trust::Good, Trust::Good, Trust::Suspect, Trust::Good]);
    }
}
