//! Writes captured states to snapshot files and uploads them, at the configured rate at most.

use std::thread;
use std::time::Duration;

use super::capture::Capture;
use super::directory::{NodeDir, io_error};
use super::outbox::{Item, Ready};
use super::session::Session;
use crate::replication::link::{LinkError, Receiver, Sender};
use crate::replication::protocol::{CHUNK, HEARTBEAT, Message, Offer, Reason, Role};
use crate::storage::files::{Access, PlainFile};
use crate::storage::snapshot::Subject;
use crate::storage::{Files, Installed, StorageError};

/// Number of threads that write and upload: while one waits for this disk or the master's, others go on.
pub(crate) const THREADS: usize = 3;

/// Pause after the master refused a snapshot as busy: it is still processing the bytes of an ended connection.
const BUSY: Duration = Duration::from_millis(20);

/// Takes entries from the outbox, writes and uploads them, until the session ends.
pub(crate) fn run(session: &Session<'_>) -> Result<(), LinkError> {
    let (mut sender, mut receiver) = session.connect(Role::Upload)?;
    let (outbox, own) = (&session.node.outbox, &session.node.own);
    while !session.is_over() {
        let ready = match outbox.take(HEARTBEAT) {
            None => {
                sender.send(&Message::Ping)?;
                continue;
            }
            Some(Item::Ready(ready)) => ready,
            Some(Item::Capture(capture)) => match write(own, session.subject(capture.partition), &capture) {
                Ok(ready) => ready,
                Err(declined) => {
                    sender.send(&declined)?;
                    continue;
                }
            },
        };
        match upload(session, ready, &mut sender, &mut receiver) {
            Ok(()) => {}
            Err(LinkError::Refused { reason: Reason::Busy, .. }) => {
                outbox.put_back(ready);
                thread::sleep(BUSY);
            }
            Err(LinkError::Refused { reason, text }) => refused(own, ready, reason, &text),
            Err(e) => {
                outbox.put_back(ready);
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Writes a captured state as the node's own snapshot.
///
/// # Errors
/// If the disk fails or is full; the error is the message to send to the master.
pub(crate) fn write<F: Files>(
    own: &NodeDir<F>,
    subject: Subject,
    capture: &Capture,
) -> Result<Ready, Message<'static>> {
    let Capture { partition, position, .. } = *capture;
    let write = || -> Result<Installed, StorageError> {
        let file = capture.write(own.files(), &own.temporary(partition, position)?, subject)?;
        own.keep(partition, position)?;
        Ok(file)
    };
    write().map(|file| Ready { partition, file }).map_err(|e| {
        tracing::error!(%partition, %position, "cannot write a snapshot: {e}");
        Message::Declined { partition, position, text: e.to_string().into() }
    })
}

/// Offers a snapshot, and sends the chunks that the master asks for until it is installed.
fn upload(session: &Session<'_>, ready: Ready, sender: &mut Sender, receiver: &mut Receiver) -> Result<(), LinkError> {
    let (mut upload, offer) = match Upload::begin(&session.node.own, ready) {
        Ok(Some(begun)) => begun,
        Ok(None) => return Ok(()),
        Err(declined) => return sender.send(&declined),
    };
    sender.send(&offer)?;
    while let Some(chunk) = upload.on(receiver.message()?)? {
        if let Message::Chunk { bytes, .. } = &chunk {
            pause(session.node.delay(bytes.len()), sender)?;
        }
        sender.send(&chunk)?;
    }
    Ok(())
}

/// Waits for `time`, and sends heartbeats meanwhile.
fn pause(mut time: Duration, sender: &mut Sender) -> Result<(), LinkError> {
    while time > HEARTBEAT {
        thread::sleep(HEARTBEAT);
        sender.send(&Message::Ping)?;
        time -= HEARTBEAT;
    }
    thread::sleep(time);
    Ok(())
}

/// A snapshot that is being uploaded to the master.
pub(crate) struct Upload<F: Files> {
    file: F::File,
    bytes: u64,
    chunk: Vec<u8>,
}

impl<F: Files> Upload<F> {
    /// Opens the snapshot and returns the offer to send. `None` if a newer snapshot of its partition has replaced it;
    /// that one is uploaded instead.
    ///
    /// # Errors
    /// If the snapshot cannot be read, or is gone; the error is the message to send, so that the master does not wait
    /// for the snapshot.
    pub(crate) fn begin(own: &NodeDir<F>, ready: Ready) -> Result<Option<(Self, Message<'static>)>, Message<'static>> {
        let Ready { partition, file: Installed { position, bytes, crc: crc32, .. } } = ready;
        let path = own.snapshot(partition, position);
        match own.files().open(&path, Access::Read) {
            Ok(file) => {
                let offer = Message::Offer(Offer { partition, position, bytes, crc32 });
                Ok(Some((Self { file, bytes, chunk: Vec::new() }, offer)))
            }
            Err(_) if own.snapshots(partition).first().is_some_and(|newest| *newest > position) => Ok(None),
            Err(e) => {
                let text = io_error(&path, "cannot read a snapshot", e).to_string();
                tracing::error!("{text}");
                Err(Message::Declined { partition, position, text: text.into() })
            }
        }
    }

    /// Takes in the master's answer. Returns the chunk to send, or `None` if the snapshot is installed.
    ///
    /// # Errors
    /// If the message is not allowed here, or the file cannot be read.
    pub(crate) fn on(&mut self, message: Message<'_>) -> Result<Option<Message<'_>>, LinkError> {
        let offset = match message {
            Message::Installed => return Ok(None),
            Message::Resume(offset) if offset < self.bytes => offset,
            _ => return Err(LinkError::OutOfTurn),
        };
        self.chunk.resize(usize::try_from(self.bytes - offset).unwrap_or(CHUNK).min(CHUNK), 0);
        if self.file.read_at(offset, &mut self.chunk)? < self.chunk.len() {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(Some(Message::Chunk { offset, bytes: (&self.chunk[..]).into() }))
    }
}

/// Handles the master's refusal of a snapshot; removes the snapshot if the master found it damaged.
pub(crate) fn refused<F: Files>(own: &NodeDir<F>, ready: Ready, reason: Reason, text: &str) {
    let Ready { partition, file: Installed { position, .. } } = ready;
    if reason == Reason::Damaged {
        // A damaged snapshot must not become a state to go on from.
        own.remove(partition, position);
        tracing::error!(%partition, %position, "the master refused a snapshot: {text}");
    } else {
        tracing::info!(%partition, %position, "the master did not take a snapshot: {text}");
    }
}
