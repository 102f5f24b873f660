//! Writes captured states to snapshot files and uploads them, below the configured rate.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;

use super::capture::Capture;
use super::outbox::{Item, Ready};
use super::own::io_error;
use super::session::Session;
use crate::checkpoint::link::{LinkError, Receiver, Sender};
use crate::checkpoint::protocol::{CHUNK, HEARTBEAT, Message, Offer, Reason, Role};
use crate::storage::{Installed, StorageError};

/// Threads that do so at a time: while one waits for the disk, here or there, others go on.
pub(super) const THREADS: usize = 3;

/// Uploads what comes into the outbox until the session ends.
pub(super) fn run(session: &Session<'_>) -> Result<(), LinkError> {
    let (mut sender, mut receiver) = session.connect(Role::Upload)?;
    let outbox = &session.node.outbox;
    while !session.is_over() {
        let ready = match outbox.take(HEARTBEAT) {
            None => continue,
            Some(Item::Ready(ready)) => ready,
            Some(Item::Capture(capture)) => match write(session, &capture) {
                Ok(ready) => ready,
                Err(e) => {
                    let Capture { partition, position, .. } = capture;
                    tracing::error!(%partition, %position, "cannot write a snapshot: {e}");
                    sender.send(&Message::Declined { partition, position, text: e.to_string().into() })?;
                    continue;
                }
            },
        };
        match upload(session, ready, &mut sender, &mut receiver) {
            Ok(()) => {}
            Err(LinkError::Refused { reason, text }) => refused(session, ready, reason, &text),
            Err(e) => {
                outbox.put_back(ready);
                return Err(e);
            }
        }
    }
    Ok(())
}

fn write(session: &Session<'_>, capture: &Capture) -> Result<Ready, StorageError> {
    let own = &session.node.own;
    let file =
        capture.write(&own.temporary(capture.partition, capture.position)?, session.subject(capture.partition))?;
    own.keep(capture.partition, capture.position)?;
    Ok(Ready { partition: capture.partition, file })
}

/// Offers a snapshot and sends of it what the master asks for.
fn upload(session: &Session<'_>, ready: Ready, sender: &mut Sender, receiver: &mut Receiver) -> Result<(), LinkError> {
    let Ready { partition, file: Installed { position, bytes, crc: crc32, .. } } = ready;
    let path = session.node.own.snapshot(partition, position);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) => {
            // It is written anew at the next barrier.
            tracing::warn!("{}", io_error(&path, "cannot read a snapshot", e));
            return Ok(());
        }
    };
    sender.send(&Message::Offer(Offer { partition, position, bytes, crc32 }))?;
    let mut chunk = Vec::new();
    loop {
        let offset = match receiver.message()? {
            Message::Installed => return Ok(()),
            Message::Resume(offset) if offset < bytes => offset,
            _ => return Err(LinkError::OutOfTurn),
        };
        chunk.resize(usize::try_from(bytes - offset).unwrap_or(CHUNK).min(CHUNK), 0);
        file.read_exact_at(&mut chunk, offset)?;
        thread::sleep(session.node.delay(chunk.len()));
        sender.send(&Message::Chunk { offset, bytes: (&chunk[..]).into() })?;
    }
}

fn refused(session: &Session<'_>, ready: Ready, reason: Reason, text: &str) {
    let Ready { partition, file: Installed { position, .. } } = ready;
    if reason == Reason::Damaged {
        // What the master cannot read is no state to begin from either.
        session.node.own.remove(partition, position);
        tracing::error!(%partition, %position, "the master refused a snapshot: {text}");
    } else {
        tracing::info!(%partition, %position, "the master did not take a snapshot: {text}");
    }
}
