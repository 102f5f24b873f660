//! Lends a stream's log to the node, byte for byte, and hears how far the node has come.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::shared::Shared;
use crate::checkpoint::link::{LinkError, Links, Receiver, Sender};
use crate::checkpoint::protocol::{HEARTBEAT, Message, Reason};
use crate::encoding::frame::StreamId;
use crate::ids::{Lsn, PartitionId, Position, Slot};
use crate::storage::log::tail::TailError;
use crate::storage::{StorageError, StreamReader, TailReader};

/// Frames are collected up to this many bytes before they are sent, if more are there already.
const BATCH: usize = 256 << 10;

/// Why a stream is not lent any further.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Serves a stream connection.
pub(super) fn serve(
    shared: &Arc<Shared>,
    mut sender: Sender,
    mut receiver: Receiver,
    links: &Arc<Links>,
) -> Result<(), LinkError> {
    let Message::Follow { epoch, core, from } = receiver.message()? else { return Err(LinkError::OutOfTurn) };
    let stream = StreamId::new(epoch, core);
    let listener = {
        let (shared, links) = (shared.clone(), links.clone());
        let listen = move || {
            let ended = hear(&shared, stream, &mut receiver);
            let was_over = links.are_shut();
            // The feeding half has no one to feed any more. Only ended streams end without the session.
            if stream.epoch == shared.epoch {
                links.shut();
            }
            if let Err(e) = ended
                && !matches!(e, LinkError::Closed)
                && !was_over
                && !shared.is_stopping()
            {
                tracing::info!(%stream, "checkpoint node: {e}");
            }
        };
        thread::Builder::new().name("ckpt-ack".to_owned()).spawn(listen)?
    };
    let fed = if epoch == shared.epoch {
        feed_present(shared, stream, from, &mut sender, links)
    } else {
        feed_ended(shared, stream, from, &mut sender, links)
    };
    let ended = match fed {
        Ok(()) => Ok(()),
        Err(FeedError::Link(e)) => Err(e),
        Err(FeedError::Tail(e @ TailError::Dropped(_))) => {
            sender.refuse(Reason::Unknown, &e.to_string());
            Ok(())
        }
        Err(e) => {
            tracing::error!(%stream, "cannot lend the log to the checkpoint node: {e}");
            sender.refuse(Reason::Disk, &e.to_string());
            Ok(())
        }
    };
    drop(sender);
    drop(listener.join());
    ended
}

/// The present stream: durable frames as they come.
fn feed_present(
    shared: &Shared,
    stream: StreamId,
    from: Lsn,
    sender: &mut Sender,
    links: &Links,
) -> Result<(), FeedError> {
    let Some(marks) = shared.streams.get(usize::from(stream.core.0)) else {
        sender.refuse(Reason::Unknown, "no such core");
        return Ok(());
    };
    let (path, id) = (shared.dir.path().to_owned(), shared.dir.id());
    let mut tail = TailReader::open(path, id, stream, from, marks.clone())?;
    let mut batch = Vec::new();
    while !shared.is_stopping() && !links.are_shut() {
        let patience = if batch.is_empty() { HEARTBEAT } else { Duration::ZERO };
        match tail.next(patience)? {
            Some(frame) => {
                batch.extend_from_slice(frame.bytes);
                if batch.len() < BATCH {
                    continue;
                }
            }
            // A closed log rings no more: what is left is to show that this end lives.
            None if batch.is_empty() && marks.has_ended() => thread::sleep(HEARTBEAT / 4),
            None => {}
        }
        sender.send_log(&batch)?;
        batch.clear();
        // One long frame must not keep its memory for the life of the stream.
        batch.shrink_to(4 * BATCH);
    }
    Ok(())
}

/// A stream of an ended epoch, to its end. The node closes the connection when it has applied it.
fn feed_ended(
    shared: &Shared,
    stream: StreamId,
    from: Lsn,
    sender: &mut Sender,
    links: &Links,
) -> Result<(), FeedError> {
    let Some((spec, last)) = shared.dir.stream(stream).and_then(|spec| Some((spec.clone(), spec.last?))) else {
        sender.refuse(Reason::Unknown, "no such stream is kept");
        return Ok(());
    };
    if from < spec.first {
        return Err(TailError::Dropped(spec.first).into());
    }
    let mut reader = StreamReader::open(&spec, from)?;
    let mut batch = Vec::new();
    while let Some(frame) = reader.next()? {
        batch.extend_from_slice(frame.bytes);
        if batch.len() >= BATCH {
            sender.send_log(&batch)?;
            batch.clear();
            if links.are_shut() {
                return Ok(());
            }
        }
    }
    sender.send_log(&batch)?;
    Ok(sender.send(&Message::End(last))?)
}

/// Hears acknowledgements and comparisons until the connection ends.
fn hear(shared: &Shared, stream: StreamId, receiver: &mut Receiver) -> Result<(), LinkError> {
    let marks = shared.streams.get(usize::from(stream.core.0)).filter(|_| stream.epoch == shared.epoch);
    loop {
        match receiver.message()? {
            Message::Applied(lsn) => {
                let Some(marks) = marks else { continue };
                if lsn > marks.durable() {
                    // It has what nobody sent: it must not be believed.
                    return Err(LinkError::OutOfTurn);
                }
                marks.set_mirrored(lsn);
            }
            Message::Compared { partition, position, differing } => compared(shared, partition, position, &differing),
            _ => return Err(LinkError::OutOfTurn),
        }
    }
}

fn compared(shared: &Shared, partition: PartitionId, position: Position, differing: &[Slot]) {
    let differs = !differing.is_empty();
    let now = shared.clock.now();
    let mut state = shared.state();
    state.catch_up(now);
    let news = state.policy.compared(partition, position, differs, now);
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
