//! Gives each partition a state from which the master's log can go on: the one in memory, the node's own snapshot, the master's, or
//! none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZero;
use std::path::Path;
use std::thread;

use super::outbox::Ready;
use super::own::io_error;
use super::replica::Replica;
use super::session::{Session, SessionError};
use crate::checkpoint::link::{LinkError, Receiver, Sender};
use crate::checkpoint::protocol::{Message, Role};
use crate::ids::{PartitionId, Position};
use crate::storage::snapshot::{SnapshotReader, Subject};
use crate::storage::{Installed, StorageError};
use crate::store::{ApplyError, Store};

/// Why a snapshot is of no use.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("its sections are at different positions")]
    Uneven,
    #[error("its content has other digests than it says")]
    Digests,
}

/// Makes `replicas` ready for the session: one for each partition, each at a position from which the log goes on.
pub(super) fn prepare(session: &Session<'_>, replicas: &mut Vec<Replica>) -> Result<(), SessionError> {
    let partitions = session.partitions();
    if replicas.is_empty() {
        replicas.extend((0..partitions.count()).map(|p| Replica::empty(partitions, PartitionId(p))));
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = replicas.len().div_ceil(threads);
    let loaded: usize = thread::scope(|scope| {
        let load = |part: &mut [Replica]| part.iter_mut().filter_map(|r| load_own(session, r)).count();
        let parts: Vec<_> = replicas.chunks_mut(share).map(|part| scope.spawn(move || load(part))).collect();
        parts.into_iter().map(|part| part.join().unwrap_or(0)).sum()
    });
    if loaded > 0 {
        tracing::info!(partitions = loaded, "own snapshots loaded");
    }
    let mut connection = None;
    let mut downloaded = 0;
    for replica in replicas.iter_mut().filter(|r| !is_good(session, r)) {
        if session.newest(replica.partition) == Position::START {
            // The master has none and its log is whole: begin empty.
            replica.replace(Replica::empty(partitions, replica.partition));
            continue;
        }
        let (sender, receiver) = match &mut connection {
            Some(connection) => connection,
            none => none.insert(session.connect(Role::Download)?),
        };
        replica.replace(download(session, replica.partition, sender, receiver)?);
        downloaded += 1;
    }
    if downloaded > 0 {
        tracing::info!(partitions = downloaded, "the log does not reach back so far: snapshots of the master loaded");
    }
    Ok(())
}

/// Whether the session can go on from the replica as it is.
fn is_good(session: &Session<'_>, replica: &Replica) -> bool {
    let nothing_yet = replica.position() == Position::START && session.newest(replica.partition) > Position::START;
    !replica.is_suspect() && !nothing_yet && session.goes_on(replica.partition, replica.position())
}

/// Loads the newest own snapshot from which the session can go on, if memory has nothing better.
fn load_own(session: &Session<'_>, replica: &mut Replica) -> Option<()> {
    if is_good(session, replica) && replica.position() > Position::START {
        return None;
    }
    let partition = replica.partition;
    // A state that differed from the master's may have been written down before that was seen.
    let suspect = replica.is_suspect();
    let candidates = session.node.own.snapshots(partition).into_iter().filter(|_| !suspect);
    for position in candidates.filter(|p| session.goes_on(partition, *p)) {
        let path = session.node.own.snapshot(partition, position);
        match load(&path, session.subject(partition)) {
            Ok((store, file)) => {
                replica.replace(Replica::of(session.partitions(), partition, store, position));
                if position > session.newest(partition) && position.epoch == session.epoch() {
                    session.node.outbox.ready(Ready { partition, file });
                }
                return Some(());
            }
            Err(e) => {
                tracing::warn!(%partition, %position, "an own snapshot is of no use and goes: {e}");
                session.node.own.remove(partition, position);
            }
        }
    }
    None
}

/// The state in a snapshot file, and what the file is.
fn load(path: &Path, subject: Subject) -> Result<(Store, Installed), LoadError> {
    let mut reader = SnapshotReader::open(path, subject)?;
    let position = reader.position();
    let mut store = Store::new(subject.partitions, subject.partition.0..subject.partition.0 + 1);
    while let Some(section) = reader.next()? {
        if section.header.position != position {
            return Err(LoadError::Uneven);
        }
        store.load_section(section.header.slot, section.header.entries, section.entries)?;
    }
    let summary = reader.summary().ok_or(LoadError::Digests)?;
    if store.digests(subject.partition) != summary.digests {
        return Err(LoadError::Digests);
    }
    Ok((store, summary.installed))
}

/// Downloads the master's newest snapshot of a partition, keeps it as an own one, and loads it.
fn download(
    session: &Session<'_>,
    partition: PartitionId,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<Replica, SessionError> {
    sender.send(&Message::Fetch(partition))?;
    let Message::Lend { position, bytes, crc32 } = receiver.message()? else {
        return Err(LinkError::OutOfTurn.into());
    };
    let own = &session.node.own;
    let temporary = own.temporary(partition)?;
    let disk = |e| SessionError::Own(io_error(&temporary, "cannot write", e));
    let mut file = File::create(&temporary).map_err(disk)?;
    let (mut have, mut crc) = (0, crc32fast::Hasher::new());
    while have < bytes {
        let Message::Chunk { offset, bytes: chunk } = receiver.message()? else {
            return Err(LinkError::OutOfTurn.into());
        };
        if offset != have || chunk.is_empty() || have + chunk.len() as u64 > bytes {
            return Err(LinkError::OutOfTurn.into());
        }
        crc.update(&chunk);
        have += chunk.len() as u64;
        file.write_all(&chunk).map_err(disk)?;
    }
    if crc.finalize() != crc32 {
        let _ = fs::remove_file(&temporary);
        return Err(disk(io::Error::new(io::ErrorKind::InvalidData, "the downloaded snapshot is damaged")));
    }
    file.sync_all().map_err(disk)?;
    let path = own.keep(partition, position)?;
    let (store, _) = load(&path, session.subject(partition)).map_err(|e| {
        own.remove(partition, position);
        disk(io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
    })?;
    Ok(Replica::of(session.partitions(), partition, store, position))
}
