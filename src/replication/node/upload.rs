//! Writes captured states to snapshot files and uploads them, below the configured rate.

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

/// Threads that do so at a time: while one waits for the disk, here or there, others go on.
pub(crate) const THREADS: usize = 3;

/// How long the master is left to finish with a connection that is over.
const BUSY: Duration = Duration::from_millis(20);

/// Uploads what comes into the outbox until the session ends.
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

/// Writes a captured state as an own snapshot.
///
/// # Errors
/// If that cannot be done: what the master is to be told.
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

/// Offers a snapshot and sends of it what the master asks for.
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

/// Waits for `time`, and shows meanwhile that this end lives.
fn pause(mut time: Duration, sender: &mut Sender) -> Result<(), LinkError> {
    while time > HEARTBEAT {
        thread::sleep(HEARTBEAT);
        sender.send(&Message::Ping)?;
        time -= HEARTBEAT;
    }
    thread::sleep(time);
    Ok(())
}

/// A snapshot on its way to the master.
pub(crate) struct Upload<F: Files> {
    file: F::File,
    bytes: u64,
    chunk: Vec<u8>,
}

impl<F: Files> Upload<F> {
    /// Begins with an offer. `None` if the snapshot is outdated: a newer one of its partition has replaced it, and goes
    /// to the master in place of it.
    ///
    /// # Errors
    /// If the snapshot cannot be read, or is gone: what the master is to be told, so that it does not wait for it.
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

    /// Takes in what the master says; the answer, or `None` when it is done.
    ///
    /// # Errors
    /// If it makes no sense, or the file cannot be read.
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

/// The master did not take a snapshot.
pub(crate) fn refused<F: Files>(own: &NodeDir<F>, ready: Ready, reason: Reason, text: &str) {
    let Ready { partition, file: Installed { position, .. } } = ready;
    if reason == Reason::Damaged {
        // What the master cannot read is no state to begin from either.
        own.remove(partition, position);
        tracing::error!(%partition, %position, "the master refused a snapshot: {text}");
    } else {
        tracing::info!(%partition, %position, "the master did not take a snapshot: {text}");
    }
}
