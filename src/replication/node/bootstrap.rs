//! Gives each partition a state from which the log can be followed: the state in memory, the node's own snapshot, the
//! master's snapshot, or an empty one.

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use super::directory::{NodeDir, io_error};
use super::error::SessionError;
use super::mirror::{Part, Trust};
use super::outbox::Ready;
use super::session::{Session, in_parts, joined};
use crate::ids::{PartitionId, Position};
use crate::partition::LoadError;
use crate::replication::link::{LinkError, Receiver, Sender};
use crate::replication::protocol::{Message, Role};
use crate::storage::Files;
use crate::storage::files::{Access, PlainFile};
use crate::storage::snapshot::{SnapshotReader, Subject, Summary};

/// Makes the mirror ready for the session: puts each partition into a state from which the log can be followed.
pub(crate) fn prepare(session: &Session<'_>, mirror: &mut Part) -> Result<(), SessionError> {
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
        if begin_anew(session, mirror, partition) {
            let (sender, receiver) = match &mut connection {
                Some(connection) => connection,
                none => none.insert(session.connect(Role::Download)?),
            };
            download(session, mirror, partition, sender, receiver)?;
            downloaded += 1;
        }
    }
    if downloaded > 0 {
        tracing::info!(partitions = downloaded, "snapshots of the master loaded");
    }
    Ok(())
}

/// Whether the master's newest snapshot of a partition must be downloaded, because the session cannot go on from the
/// state in memory. If the master has none, empties the partition instead.
pub(crate) fn begin_anew<F: Files>(session: &Session<'_, F>, mirror: &mut Part, partition: PartitionId) -> bool {
    if is_good(session, mirror, partition) {
        return false;
    }
    let lacks = session.newest(partition) > Position::START;
    // A partition that needs a snapshot keeps its state until the download is complete: this may be the best copy left.
    if !lacks {
        // Without a snapshot, the master's log is whole, and the partition begins empty.
        mirror.replica.reset(partition);
        mirror.trust(partition).renewed();
    }
    lacks
}

/// Whether the session can go on from the partition's state in memory.
fn is_good<F: Files>(session: &Session<'_, F>, part: &mut Part, partition: PartitionId) -> bool {
    let position = part.position(partition);
    let nothing_yet = position == Position::START && session.newest(partition) > Position::START;
    *part.trust(partition) != Trust::Suspect && !nothing_yet && session.goes_on(partition, position)
}

/// Loads the newest own snapshot from which the session can go on, unless the state in memory is good and not empty.
/// Returns whether it loaded one.
pub(crate) fn load_own<F: Files>(session: &Session<'_, F>, part: &mut Part, partition: PartitionId) -> bool {
    let has_better = is_good(session, part, partition) && part.position(partition) > Position::START;
    // A suspect partition is loaded from the master's snapshot: the node's own may be wrong, too.
    if has_better || *part.trust(partition) == Trust::Suspect {
        return false;
    }
    let own = &session.node.own;
    for position in own.snapshots(partition).into_iter().filter(|p| session.goes_on(partition, *p)) {
        match load(own, position, session.subject(partition), part) {
            Ok(Summary { installed: file, .. }) => {
                if position > session.newest(partition) && position.epoch == session.epoch() {
                    session.node.outbox.ready(Ready { partition, file });
                }
                return true;
            }
            Err(e) => {
                tracing::warn!(%partition, %position, "an own snapshot cannot be used and is removed: {e}");
                part.replica.reset(partition);
                own.remove(partition, position);
            }
        }
    }
    false
}

/// Loads a snapshot file in place of the partition's state, and returns what it holds. After an error the partition's
/// state is undefined, and the caller must reset it.
fn load<F: Files>(
    own: &NodeDir<F>,
    position: Position,
    subject: Subject,
    part: &mut Part,
) -> Result<Summary, LoadError> {
    let path = own.snapshot(subject.partition, position);
    part.replica.load(SnapshotReader::open_in(own.files(), &path, subject)?)
}

/// Downloads the master's newest snapshot of a partition, keeps it as the node's own, and loads it.
fn download(
    session: &Session<'_>,
    mirror: &mut Part,
    partition: PartitionId,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), SessionError> {
    sender.send(&Message::Fetch(partition))?;
    let own = &session.node.own;
    let mut download = Download::begin(own, partition, receiver.message()?)?;
    while !download.is_complete() {
        download.on(receiver.message()?)?;
    }
    download.keep(own, session.subject(partition), mirror)
}

/// A snapshot that is being downloaded from the master.
pub(crate) struct Download<F: Files> {
    partition: PartitionId,
    position: Position,
    bytes: u64,
    crc32: u32,
    path: PathBuf,
    file: F::File,
    have: u64,
    crc: crc32fast::Hasher,
}

impl<F: Files> Download<F> {
    /// Begins a download with `first`, the master's answer to the request.
    pub(crate) fn begin(own: &NodeDir<F>, partition: PartitionId, first: Message<'_>) -> Result<Self, SessionError> {
        let Message::Lend { position, bytes, crc32 } = first else { return Err(LinkError::OutOfTurn.into()) };
        let path = own.temporary(partition, position)?;
        let file = own.files().open(&path, Access::Truncate).map_err(|e| cannot_write(&path, e))?;
        Ok(Self { partition, position, bytes, crc32, path, file, have: 0, crc: crc32fast::Hasher::new() })
    }

    /// Whether all bytes have been received.
    pub(crate) const fn is_complete(&self) -> bool {
        self.have >= self.bytes
    }

    /// Takes in a message, which must be the next chunk.
    pub(crate) fn on(&mut self, message: Message<'_>) -> Result<(), SessionError> {
        let Message::Chunk { offset, bytes } = message else { return Err(LinkError::OutOfTurn.into()) };
        if offset != self.have || bytes.is_empty() || self.have + bytes.len() as u64 > self.bytes {
            return Err(LinkError::OutOfTurn.into());
        }
        self.file.write_at(self.have, &bytes).map_err(|e| cannot_write(&self.path, e))?;
        self.crc.update(&bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Verifies the complete file, keeps it as the node's own snapshot, and loads it.
    pub(crate) fn keep(self, own: &NodeDir<F>, subject: Subject, mirror: &mut Part) -> Result<(), SessionError> {
        let Self { partition, position, path, file, .. } = self;
        if self.crc.finalize() != self.crc32 {
            let _ = own.files().remove(&path);
            let damaged = io::Error::new(io::ErrorKind::InvalidData, "the downloaded snapshot is damaged");
            return Err(cannot_write(&path, damaged));
        }
        file.sync().map_err(|e| cannot_write(&path, e))?;
        own.keep(partition, position)?;
        if let Err(e) = load(own, position, subject, mirror) {
            mirror.replica.reset(partition);
            own.remove(partition, position);
            return Err(cannot_write(&path, io::Error::new(io::ErrorKind::InvalidData, e.to_string())));
        }
        mirror.trust(partition).renewed();
        Ok(())
    }
}

fn cannot_write(path: &Path, e: io::Error) -> SessionError {
    SessionError::Own(io_error(path, "cannot write", e))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::ids::{Epoch, Lsn, Partitions};
    use crate::replication::clock::Clock;
    use crate::replication::node::outbox::Outbox;
    use crate::replication::node::plan::Terms;
    use crate::replication::node::throttle::Throttle;
    use crate::replication::node::{Node, Options, Stop};
    use crate::replication::protocol::{Kept, StreamInfo, Welcome};
    use crate::storage::OsFiles;

    const PARTITION: PartitionId = PartitionId(0);

    fn at(lsn: u64) -> Position {
        Position::new(Epoch(1), Lsn(lsn))
    }

    /// Where a partition at `position` is after [`begin_anew`], and whether it needs a download; the log reaches back
    /// to `floor`, and the master's newest snapshot is at `newest`.
    fn looked_at(position: Position, floor: Position, newest: Position) -> (Position, bool) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            master: String::new(),
            dir: dir.path().to_owned(),
            password: None,
            upload_bytes_per_second: None,
            timeout: std::time::Duration::from_secs(60),
            parent: None,
        };
        let node = Node {
            own: NodeDir::open(OsFiles, dir.path()).unwrap(),
            options,
            outbox: Outbox::default(),
            throttle: Mutex::new(Throttle::new(None)),
            clock: Clock::start(),
            stop: Stop::default(),
            number: 1,
        };
        let streams = vec![StreamInfo { first: Lsn(floor.lsn.0 + 1), last: Lsn(20), wanted_from: Lsn(21) }];
        let (epoch, kept) = (Epoch(1), vec![Kept { floor, newest }]);
        let welcome = Welcome { session: 1, directory: [0; 16], epoch, epochs: vec![(epoch, streams)], kept };
        let session = Session { node: &node, terms: Terms::new(welcome).unwrap(), links: Arc::default() };
        let mut mirror = Part::empty(Partitions::new(1).unwrap(), 0..1);
        mirror.replica.set_position(PARTITION, position);
        let lacks = begin_anew(&session, &mut mirror, PARTITION);
        (mirror.position(PARTITION), lacks)
    }

    #[test]
    fn what_is_in_memory_stays_until_a_snapshot_of_the_master_takes_its_place() {
        assert_eq!(looked_at(at(15), at(10), at(12)), (at(15), false), "the log goes on from there");
        assert_eq!(
            looked_at(at(5), at(10), at(12)),
            (at(5), true),
            "too old, but all that there is until the download"
        );
        assert_eq!(looked_at(at(25), Position::START, Position::START), (Position::START, false), "the log is whole");
    }
}
