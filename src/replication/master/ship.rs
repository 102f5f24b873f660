//! What of a stream is shipped to the node next, and what the node's answers mean. Waits for edits only as long as it
//! is told to.

use crate::replication::link::LinkError;
use crate::replication::protocol::Message;
use std::time::Duration;

use super::side::MasterSide;
use crate::ids::{Lsn, PartitionId, Position, Slot, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::log::tail::TailError;
use crate::storage::{Files, StorageError, StreamReader, TailReader};

/// Frames are collected up to this many bytes before they are sent, if more are there already.
const BATCH: usize = 256 << 10;

/// Why a stream is not shipped any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoanError {
    #[error("no such stream is kept")]
    Unknown,
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Shipped<'a> {
    /// Log bytes; none if there was nothing within the time.
    Run(&'a [u8]),
    /// That was the last edit of an ended epoch.
    End(Lsn),
}

/// A stream that is being shipped.
pub(crate) struct Shipment<F: Files> {
    source: Source<F>,
    batch: Vec<u8>,
}

enum Source<F: Files> {
    /// Durable frames as they come.
    Present(TailReader<F>),
    /// A stream of an ended epoch, to its last edit.
    Ended(StreamReader, Lsn),
}

impl<F: Files> Shipment<F> {
    /// Lends `stream` from the frame that holds `from` on.
    pub(crate) fn open(shared: &MasterSide<F>, stream: StreamId, from: Lsn) -> Result<Self, LoanError> {
        let dir = &shared.dir;
        let source = if stream.epoch == shared.epoch {
            let marks = shared.streams.get(usize::from(stream.core.0)).ok_or(LoanError::Unknown)?.clone();
            let (files, path) = (dir.files().clone(), dir.path().to_owned());
            Source::Present(TailReader::open(files, path, dir.id(), stream, from, marks)?)
        } else {
            let spec = dir.stream(stream).ok_or(LoanError::Unknown)?;
            let last = spec.last.ok_or(LoanError::Unknown)?;
            if from < spec.first {
                return Err(TailError::Dropped(spec.first).into());
            }
            Source::Ended(StreamReader::open_in(dir.files(), &spec, from)?, last)
        };
        Ok(Self { source, batch: Vec::new() })
    }

    /// What comes next; waits for it at most `patience`.
    pub(crate) fn next(&mut self, patience: Duration) -> Result<Shipped<'_>, LoanError> {
        self.batch.clear();
        // One long frame must not keep its memory for the life of the stream.
        self.batch.shrink_to(4 * BATCH);
        while self.batch.len() < BATCH {
            let frame = match &mut self.source {
                Source::Present(tail) => tail.next(if self.batch.is_empty() { patience } else { Duration::ZERO })?,
                Source::Ended(reader, _) => reader.next()?,
            };
            match frame {
                Some(frame) => self.batch.extend_from_slice(frame.bytes),
                None => break,
            }
        }
        match &self.source {
            Source::Ended(_, last) if self.batch.is_empty() => Ok(Shipped::End(*last)),
            _ => Ok(Shipped::Run(&self.batch)),
        }
    }
}

/// Takes in what the node says of `stream`.
pub(crate) fn acknowledge<F: Files>(
    shared: &MasterSide<F>,
    stream: StreamId,
    message: Message<'_>,
) -> Result<(), LinkError> {
    match message {
        Message::Applied(lsn) => {
            let marks = shared.streams.get(usize::from(stream.core.0)).filter(|_| stream.epoch == shared.epoch);
            let Some(marks) = marks else { return Ok(()) };
            if lsn > marks.durable() {
                // It has what nobody sent: it must not be believed.
                return Err(LinkError::OutOfTurn);
            }
            let lsn = if is_planted(Bug::MirroredWhenDurable) { marks.durable() } else { lsn };
            shared.mirrored(stream.core, lsn);
            Ok(())
        }
        Message::Compared { partition, position, differing } => {
            compared(shared, partition, position, &differing);
            Ok(())
        }
        _ => Err(LinkError::OutOfTurn),
    }
}

fn compared<F: Files>(shared: &MasterSide<F>, partition: PartitionId, position: Position, differing: &[Slot]) {
    let differs = !differing.is_empty();
    let now = shared.clock.now();
    let mut state = shared.state();
    state.catch_up(now);
    let news = state.policy.compared(partition, position, differs, now);
    state.note_differing(partition, differing);
    state.counters.compared += 1;
    state.counters.differed += u64::from(differs);
    drop(state);
    if differs {
        let slots: Vec<u16> = differing.iter().take(8).map(|s| s.0).collect();
        tracing::error!(
            %partition, %position, slots = differing.len(), first = ?slots,
            "master and checkpoint node DIFFER; no log is dropped until they agree again"
        );
    } else if news {
        tracing::warn!(%partition, %position, "master and checkpoint node agree again");
    }
}
