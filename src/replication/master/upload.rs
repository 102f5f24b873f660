//! Takes snapshots from the node: each is collected in a file of its own, then verified as a whole and against its
//! barrier, then installed, together with those that it needs (`install`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::claims::Claim;
use super::install;
use super::intake::{ChunkAction, Intake};
use super::policy::Verdict;
use super::side::MasterSide;
use super::waiting::Complete;
use crate::ids::{PartitionId, Position};
use crate::replication::link::{LinkError, Receiver, Sender};
use crate::replication::protocol::{Message, Offer, Reason};
use crate::storage::files::{Access, PlainFile};
use crate::storage::snapshot::{self, Subject};
use crate::storage::{Arrival, Files, Installed, StorageError, Transfer, path};

/// The file is synced after every so many bytes, so that an upload does not end in one long burst of writes beside the
/// log's.
const SYNC_STEP: u64 = 8 << 20;

/// Serves an upload connection until it ends.
pub(crate) fn serve(shared: &MasterSide, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    let mut uploads = Uploads::default();
    loop {
        if let Some(answer) = uploads.on(shared, receiver.message()?)? {
            sender.send(&answer)?;
        }
    }
}

/// The uploads of one connection, one after the other; each message of the node has at most one answer.
pub(crate) struct Uploads<F: Files> {
    /// The upload under way.
    receiving: Option<Receiving<F>>,
}

impl<F: Files> Default for Uploads<F> {
    fn default() -> Self {
        Self { receiving: None }
    }
}

/// A snapshot that is being uploaded.
struct Receiving<F: Files> {
    offer: Offer,
    claim: Claim,
    /// The digests that the snapshot's barrier bears.
    digests: Vec<u64>,
    /// What the snapshot has given away to other partitions.
    transfers: Vec<Transfer>,
    path: PathBuf,
    file: F::File,
    intake: Intake,
    unsynced: u64,
    started: Duration,
}

/// Why an upload is not installed: for the program, and for people.
struct Rejected {
    reason: Reason,
    text: String,
}

impl<F: Files> Uploads<F> {
    /// Takes a message of the node in, and returns the answer to it, if it has one.
    ///
    /// # Errors
    /// If the message is not allowed at this point of the protocol.
    pub(crate) fn on(
        &mut self,
        shared: &MasterSide<F>,
        message: Message<'_>,
    ) -> Result<Option<Message<'static>>, LinkError> {
        match (message, self.receiving.take()) {
            (Message::Ping, receiving) => {
                self.receiving = receiving;
                Ok(None)
            }
            (Message::Declined { partition, position, text }, None) => {
                tracing::error!(%partition, %position, "the checkpoint node could not write a snapshot: {text}");
                fail(shared, partition, position, &text);
                Ok(None)
            }
            (Message::Offer(offer), None) => Ok(Some(self.offered(shared, offer))),
            (Message::Chunk { offset, bytes }, Some(receiving)) => {
                Ok(Some(self.chunk(shared, receiving, offset, &bytes)))
            }
            _ => Err(LinkError::OutOfTurn),
        }
    }

    /// Answers an offer: begins the upload if the policy wants the snapshot.
    fn offered(&mut self, shared: &MasterSide<F>, offer: Offer) -> Message<'static> {
        let Some(claim) = shared.uploads.claim(offer.partition) else {
            return refusal(Reason::Busy, "another connection still uploads this partition's snapshot");
        };
        let now = shared.clock.now();
        let verdict = {
            let mut state = shared.state();
            state.catch_up(now);
            state.policy.offer(offer.partition, offer.position, now)
        };
        match verdict {
            Verdict::Here => Message::Installed,
            Verdict::Stale => refusal(Reason::Stale, "a snapshot of a former life of the master"),
            Verdict::Unwanted => refusal(Reason::Unwanted, "nobody waits for this snapshot"),
            Verdict::Wanted { digests, transfers } => {
                match Receiving::begin(shared, offer, claim, (digests, transfers), now) {
                    Ok(receiving) => self.go_on(shared, receiving),
                    Err(rejected) => reject(shared, offer, &rejected),
                }
            }
        }
    }

    fn chunk(
        &mut self,
        shared: &MasterSide<F>,
        mut receiving: Receiving<F>,
        offset: u64,
        bytes: &[u8],
    ) -> Message<'static> {
        match receiving.write(shared, offset, bytes) {
            Ok(()) => self.go_on(shared, receiving),
            Err(rejected) => reject(shared, receiving.offer, &rejected),
        }
    }

    /// Asks for the next chunk, or verifies the snapshot if it is complete and installs it, at once or when those that
    /// it needs have come.
    fn go_on(&mut self, shared: &MasterSide<F>, receiving: Receiving<F>) -> Message<'static> {
        if !receiving.intake.is_complete() {
            let have = receiving.intake.have();
            self.receiving = Some(receiving);
            return Message::Resume(have);
        }
        let Receiving { offer, claim: _claim, digests, transfers, path, file, started, .. } = receiving;
        drop(file);
        let verified = verify(shared, &path, offer, &digests).map(|installed| {
            let arrival = Arrival { partition: offer.partition, installed, transfers };
            Complete { arrival, path, started, by_core: false }
        });
        let kept = verified.and_then(|complete| {
            let full = |e: StorageError| Rejected { reason: Reason::Disk, text: e.to_string() };
            install::complete(shared, complete).map_err(full)
        });
        match kept {
            Ok(true) => Message::Installed,
            Ok(false) => refusal(Reason::Unwanted, "nobody waits for this snapshot any more"),
            Err(rejected) => reject(shared, offer, &rejected),
        }
    }
}

impl<F: Files> Receiving<F> {
    fn begin(
        shared: &MasterSide<F>,
        offer: Offer,
        claim: Claim,
        (digests, transfers): (Vec<u64>, Vec<Transfer>),
        now: Duration,
    ) -> Result<Self, Rejected> {
        let path = incoming(shared.dir.path(), &offer);
        shared.forget_waiting(offer.partition);
        remove_others(shared, &path, offer.partition);
        let open = || {
            let file = shared.dir.files().open(&path, Access::Write)?;
            let (intake, resume) = Intake::new(offer, file.size()?);
            file.set_size(resume)?;
            Ok((file, intake, resume))
        };
        let (file, intake, resume) = open().map_err(|e| disk(&path, &e))?;
        if resume > 0 {
            tracing::info!(partition = %offer.partition, position = %offer.position, resume, "upload resumed");
            shared.state().counters.resumed += 1;
        }
        Ok(Self { offer, claim, digests, transfers, path, file, intake, unsynced: 0, started: now })
    }

    fn write(&mut self, shared: &MasterSide<F>, offset: u64, bytes: &[u8]) -> Result<(), Rejected> {
        let at = self.intake.have();
        let ChunkAction::Write { skip, .. } = self.intake.chunk(offset, bytes.len()) else { return Ok(()) };
        self.unsynced += (bytes.len() - skip) as u64;
        let written = self.file.write_at(at, &bytes[skip..]);
        let synced = if self.unsynced >= SYNC_STEP { self.file.sync() } else { Ok(()) };
        if let Err(e) = written.and(synced) {
            // After a failure nobody knows which bytes are in the file, so the next attempt begins anew.
            let _ = shared.dir.files().remove(&self.path);
            return Err(disk(&self.path, &e));
        }
        self.unsynced %= SYNC_STEP;
        shared.state().policy.progress(self.offer.partition, shared.clock.now());
        Ok(())
    }
}

fn refusal(reason: Reason, text: &str) -> Message<'static> {
    Message::Refusal { reason, text: text.to_owned().into() }
}

/// Notes that an upload failed, and returns the refusal to send.
fn reject<F: Files>(shared: &MasterSide<F>, offer: Offer, Rejected { reason, text }: &Rejected) -> Message<'static> {
    tracing::error!(partition = %offer.partition, position = %offer.position, "upload refused: {text}");
    fail(shared, offer.partition, offer.position, text);
    refusal(*reason, text)
}

/// Tells the policy and the counters that the node's snapshot will not be installed.
fn fail<F: Files>(shared: &MasterSide<F>, partition: PartitionId, position: Position, why: &str) {
    let now = shared.clock.now();
    let mut state = shared.state();
    // The policy may not know of the barrier yet: the node can fail before that.
    state.catch_up(now);
    state.counters.failed += 1;
    state.policy.failed(partition, position, why, now);
    drop(state);
    shared.wake();
}

/// Verifies the whole file.
fn verify<F: Files>(shared: &MasterSide<F>, file: &Path, offer: Offer, digests: &[u64]) -> Result<Installed, Rejected> {
    let subject = Subject { id: shared.dir.id(), partitions: shared.partition_count(), partition: offer.partition };
    let damaged = |text: String| {
        // The next upload must begin with the first byte.
        let _ = shared.dir.files().remove(file);
        Rejected { reason: Reason::Damaged, text }
    };
    let summary = snapshot::verify_in(shared.dir.files(), file, subject).map_err(|e| match e {
        StorageError::Corrupt(_) => damaged(e.to_string()),
        e => Rejected { reason: Reason::Disk, text: e.to_string() },
    })?;
    let installed = summary.installed;
    if (installed.position, installed.bytes, installed.crc) != (offer.position, offer.bytes, offer.crc32) {
        return Err(damaged("the snapshot is not the one that was offered".to_owned()));
    }
    if summary.digests != digests {
        return Err(damaged("the snapshot's digests are not its barrier's".to_owned()));
    }
    Ok(installed)
}

fn disk(file: &Path, e: &std::io::Error) -> Rejected {
    Rejected { reason: Reason::Disk, text: format!("{}: {e}", file.display()) }
}

/// Path of the file that an upload is collected in. Its name tells each upload from every other: partition, position
/// and CRC32.
fn incoming(data: &Path, offer: &Offer) -> PathBuf {
    let Offer { partition, position, crc32, .. } = offer;
    let name = format!("{:05}-{:010}-{:020}-{crc32:08x}.part", partition.0, position.epoch.0, position.lsn.0);
    data.join(path::INCOMING).join(name)
}

/// Removes the files of former uploads of the partition.
fn remove_others<F: Files>(shared: &MasterSide<F>, file: &Path, partition: PartitionId) {
    let prefix = format!("{:05}-", partition.0);
    remove_parts(shared, |name, path| name.starts_with(&prefix) && path != file && !shared.waiting.is_installing(path));
}

/// Removes uploads of former epochs, which cannot be resumed in the present one.
pub(crate) fn clear_stale<F: Files>(shared: &MasterSide<F>) {
    let present = format!("{:010}", shared.epoch.0);
    remove_parts(shared, |name, _| name.split('-').nth(1) != Some(&present));
}

fn remove_parts<F: Files>(shared: &MasterSide<F>, which: impl Fn(&str, &Path) -> bool) {
    let (files, dir) = (shared.dir.files(), shared.dir.path().join(path::INCOMING));
    for name in files.list(&dir).unwrap_or_default() {
        let path = dir.join(&name);
        if name.ends_with(".part") && which(&name, &path) {
            let _ = files.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::self_checkpoints::tests::shared;
    use super::*;
    use crate::ids::Lsn;

    #[test]
    fn a_snapshot_comes_in_over_one_connection_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        let position = Position::new(shared.epoch, Lsn(1));
        let mut uploads = Uploads::default();
        let mut offer = || {
            let offer = Offer { partition: PartitionId(0), position, bytes: 100, crc32: 1 };
            match uploads.on(&shared, Message::Offer(offer)).unwrap() {
                Some(Message::Refusal { reason, .. }) => reason,
                other => panic!("{other:?}"),
            }
        };
        let other = shared.uploads.claim(PartitionId(0));
        assert_eq!(offer(), Reason::Busy);
        drop(other);
        assert_eq!(offer(), Reason::Unwanted, "nobody asked for it, but nobody else has it either");
        assert_eq!(offer(), Reason::Unwanted);
    }
}
