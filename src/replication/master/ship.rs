//! Reads the frames of a stream that are shipped to the node next, and takes the node's answers in. Waits for edits no
//! longer than the caller says.

use crate::replication::link::LinkError;
use crate::replication::protocol::Message;
use std::time::Duration;

use super::side::MasterSide;
use crate::ids::{Lsn, PartitionId, Position, Slot, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::log::tail::TailError;
use crate::storage::{Files, StorageError, StreamReader, TailReader};

/// Frames that are available at once are sent together, until they have at least this many bytes.
const BATCH: usize = 256 << 10;

/// Why a stream cannot be shipped, or no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShipError {
    #[error("no such stream is kept")]
    Unknown,
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What is sent to the node next.
#[derive(Debug)]
pub(crate) enum Shipped<'a> {
    /// Log bytes; empty if no frame became available in time.
    Run(&'a [u8]),
    /// The stream of an ended epoch was shipped to its end, this edit.
    End(Lsn),
}

/// A stream that is being shipped to the node.
pub(crate) struct Shipment<F: Files> {
    source: Source<F>,
    batch: Vec<u8>,
}

enum Source<F: Files> {
    /// The present epoch's stream: frames as they become durable.
    Present(TailReader<F>),
    /// A stream of an ended epoch, up to its last edit.
    Ended(StreamReader, Lsn),
}

impl<F: Files> Shipment<F> {
    /// Opens `stream` for shipping, from the frame that holds edit `from` on.
    pub(crate) fn open(shared: &MasterSide<F>, stream: StreamId, from: Lsn) -> Result<Self, ShipError> {
        let dir = &shared.dir;
        let source = if stream.epoch == shared.epoch {
            let marks = shared.streams.get(usize::from(stream.core.0)).ok_or(ShipError::Unknown)?.clone();
            let (files, path) = (dir.files().clone(), dir.path().to_owned());
            Source::Present(TailReader::open(files, path, dir.id(), stream, from, marks)?)
        } else {
            let spec = dir.stream(stream).ok_or(ShipError::Unknown)?;
            let last = spec.last.ok_or(ShipError::Unknown)?;
            if from < spec.first {
                return Err(TailError::Dropped(spec.first).into());
            }
            Source::Ended(StreamReader::open_in(dir.files(), &spec, from)?, last)
        };
        Ok(Self { source, batch: Vec::new() })
    }

    /// Reads what to send next; waits for a frame at most `patience`.
    pub(crate) fn next(&mut self, patience: Duration) -> Result<Shipped<'_>, ShipError> {
        self.batch.clear();
        // Gives back the memory of an unusually long frame.
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

/// Takes a message of the node about `stream` in: an acknowledgement or a comparison of digests.
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
                // The node claims edits that were never sent to it.
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
