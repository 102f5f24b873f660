//! Gives each partition a state from which the master's log can go on: the one in memory, the node's own snapshot, the master's, or
//! none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZero;
use std::path::Path;
use std::thread;

use super::mirror::{Part, Trust};
use super::outbox::Ready;
use super::own::io_error;
use super::session::{Session, SessionError, in_parts, joined};
use crate::checkpoint::link::{LinkError, Receiver, Sender};
use crate::checkpoint::protocol::{Message, Role};
use crate::ids::{PartitionId, Position};
use crate::storage::snapshot::{SnapshotReader, Subject};
use crate::storage::{Installed, StorageError};
use crate::store::ApplyError;

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

/// Makes the mirror ready for the session: each partition at a position from which the log goes on.
pub(super) fn prepare(session: &Session<'_>, mirror: &mut Part) -> Result<(), SessionError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(16) as u16;
    let share = mirror.replica.owned().end.div_ceil(threads).max(1);
    let cuts: Vec<u16> = mirror.replica.owned().step_by(usize::from(share)).collect();
    let mut parts = in_parts(mirror, &cuts);
    let loaded: usize = thread::scope(|scope| {
        let load = |part: &mut Part| part.partitions().filter(|p| load_own(session, part, *p)).count();
        let parts: Vec<_> = parts.iter_mut().map(|part| scope.spawn(move || load(part))).collect();
        parts.into_iter().map(joined).sum()
    });
    if let Some(whole) = Part::join(parts) {
        *mirror = whole;
    }
    if loaded > 0 {
        tracing::info!(partitions = loaded, "own snapshots loaded");
    }
    let mut connection = None;
    let mut downloaded = 0;
    for partition in mirror.partitions() {
        if is_good(session, mirror, partition) {
            continue;
        }
        mirror.replica.reset(partition);
        if session.newest(partition) > Position::START {
            let (sender, receiver) = match &mut connection {
                Some(connection) => connection,
                none => none.insert(session.connect(Role::Download)?),
            };
            download(session, mirror, partition, sender, receiver)?;
            downloaded += 1;
        }
        // Otherwise the master has none, its log is whole, and the partition begins empty.
        mirror.trust(partition).renewed();
    }
    if downloaded > 0 {
        tracing::info!(partitions = downloaded, "snapshots of the master loaded");
    }
    Ok(())
}

/// Whether the session can go on from the partition as it is.
fn is_good(session: &Session<'_>, part: &mut Part, partition: PartitionId) -> bool {
    let position = part.position(partition);
    let nothing_yet = position == Position::START && session.newest(partition) > Position::START;
    *part.trust(partition) != Trust::Suspect && !nothing_yet && session.goes_on(partition, position)
}

/// Loads the newest own snapshot from which the session can go on, if memory has nothing better. Returns whether it did.
fn load_own(session: &Session<'_>, part: &mut Part, partition: PartitionId) -> bool {
    let has_better = is_good(session, part, partition) && part.position(partition) > Position::START;
    // Where the state was wrong, the master's snapshot is the better witness.
    if has_better || *part.trust(partition) == Trust::Suspect {
        return false;
    }
    let own = &session.node.own;
    for position in own.snapshots(partition).into_iter().filter(|p| session.goes_on(partition, *p)) {
        match load(&own.snapshot(partition, position), session.subject(partition), part) {
            Ok(file) => {
                if position > session.newest(partition) && position.epoch == session.epoch() {
                    session.node.outbox.ready(Ready { partition, file });
                }
                return true;
            }
            Err(e) => {
                tracing::warn!(%partition, %position, "an own snapshot is of no use and goes: {e}");
                part.replica.reset(partition);
                own.remove(partition, position);
            }
        }
    }
    false
}

/// Loads a snapshot file in place of the partition's state, and returns what the file is. After an error the state is neither.
fn load(path: &Path, subject: Subject, part: &mut Part) -> Result<Installed, LoadError> {
    let mut reader = SnapshotReader::open(path, subject)?;
    let position = reader.position();
    part.replica.reset(subject.partition);
    while let Some(section) = reader.next()? {
        if section.header.position != position {
            return Err(LoadError::Uneven);
        }
        part.replica.store_mut().load_section(section.header.slot, section.header.entries, section.entries)?;
    }
    let summary = reader.summary().ok_or(LoadError::Digests)?;
    if part.replica.store().digests(subject.partition) != summary.digests {
        return Err(LoadError::Digests);
    }
    part.replica.set_position(subject.partition, position);
    Ok(summary.installed)
}

/// Downloads the master's newest snapshot of a partition, keeps it as an own one, and loads it.
fn download(
    session: &Session<'_>,
    mirror: &mut Part,
    partition: PartitionId,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), SessionError> {
    sender.send(&Message::Fetch(partition))?;
    let Message::Lend { position, bytes, crc32 } = receiver.message()? else {
        return Err(LinkError::OutOfTurn.into());
    };
    let own = &session.node.own;
    let temporary = own.temporary(partition, position)?;
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
    match load(&path, session.subject(partition), mirror) {
        Ok(_) => Ok(()),
        Err(e) => {
            mirror.replica.reset(partition);
            own.remove(partition, position);
            Err(disk(io::Error::new(io::ErrorKind::InvalidData, e.to_string())))
        }
    }
}
