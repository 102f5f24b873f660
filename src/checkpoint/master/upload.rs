//! Takes snapshots from the node: aside first, then verified whole and against their barrier, then installed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::intake::{Intake, Step};
use super::policy::Verdict;
use super::shared::Shared;
use crate::checkpoint::clock;
use crate::checkpoint::link::{LinkError, Receiver, Sender};
use crate::checkpoint::protocol::{Message, Offer, Reason};
use crate::ids::{PartitionId, Position};
use crate::storage::snapshot::{self, Subject};
use crate::storage::{StorageError, path};

/// Bytes are synced in steps of this size, so that the end of an upload is not one long burst beside the log's own writes.
const SYNC_STEP: u64 = 8 << 20;

/// An upload that will not be installed.
struct Rejected {
    reason: Reason,
    text: String,
}

/// Serves an upload connection.
pub(super) fn serve(shared: &Shared, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    loop {
        let offer = match receiver.message()? {
            Message::Declined { partition, position, text } => {
                tracing::error!(%partition, %position, "the checkpoint node could not write a snapshot: {text}");
                fail(shared, partition, position, &text);
                continue;
            }
            Message::Offer(offer) => offer,
            _ => return Err(LinkError::OutOfTurn),
        };
        let now = shared.clock.now();
        let verdict = {
            let mut state = shared.state();
            state.catch_up(now);
            state.policy.offer(offer.partition, offer.position, now)
        };
        match verdict {
            Verdict::Here => sender.send(&Message::Installed)?,
            Verdict::Stale => sender.refuse(Reason::Stale, "a snapshot of a former life of the master"),
            Verdict::Unwanted => sender.refuse(Reason::Unwanted, "nobody waits for this snapshot"),
            Verdict::Wanted(digests) => match take(shared, offer, &digests, &mut sender, &mut receiver)? {
                Ok(()) => sender.send(&Message::Installed)?,
                Err(Rejected { reason, text }) => {
                    tracing::error!(partition = %offer.partition, position = %offer.position, "upload refused: {text}");
                    fail(shared, offer.partition, offer.position, &text);
                    sender.refuse(reason, &text);
                }
            },
        }
    }
}

fn fail(shared: &Shared, partition: PartitionId, position: Position, why: &str) {
    let mut state = shared.state();
    state.counters.failed += 1;
    state.policy.failed(partition, position, why, shared.clock.now());
    drop(state);
    shared.wake();
}

/// Takes the chunks of a wanted snapshot and installs it.
fn take(
    shared: &Shared,
    offer: Offer,
    digests: &[u64],
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<Result<(), Rejected>, LinkError> {
    let started = shared.clock.now();
    let file = incoming(shared.dir.path(), &offer);
    let (mut out, mut intake, mut resume) = match open(shared, &file, offer) {
        Ok(opened) => opened,
        Err(rejected) => return Ok(Err(rejected)),
    };
    if resume > 0 {
        tracing::info!(partition = %offer.partition, position = %offer.position, resume, "upload resumed");
        shared.state().counters.resumed += 1;
    }
    let mut unsynced = 0;
    while !intake.is_complete() {
        sender.send(&Message::Resume(resume))?;
        let Message::Chunk { offset, bytes } = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        if let Step::Write { skip, .. } = intake.chunk(offset, bytes.len()) {
            unsynced += (bytes.len() - skip) as u64;
            let written = out.write_all(&bytes[skip..]);
            let synced = if unsynced >= SYNC_STEP { out.sync_data() } else { Ok(()) };
            if let Err(e) = written.and(synced) {
                // What was written in part cannot be told from what was not: begin again next time.
                let _ = fs::remove_file(&file);
                return Ok(Err(disk(&file, &e)));
            }
            unsynced %= SYNC_STEP;
            shared.state().policy.progress(offer.partition, shared.clock.now());
        }
        resume = intake.have();
    }
    drop(out);
    let installed = install(shared, &file, offer, digests);
    if installed.is_ok() {
        let now = shared.clock.now();
        let mut state = shared.state();
        state.policy.installed(offer.partition, offer.position, now);
        state.counters.installed(offer, now.saturating_sub(started), clock::wall());
        state.look_over = true;
        drop(state);
        shared.wake();
        tracing::debug!(partition = %offer.partition, position = %offer.position, bytes = offer.bytes, "checkpoint installed");
    }
    Ok(installed)
}

/// Verifies the whole file and hands it to the data directory.
fn install(shared: &Shared, file: &Path, offer: Offer, digests: &[u64]) -> Result<(), Rejected> {
    let subject = Subject { id: shared.dir.id(), partitions: shared.partition_count(), partition: offer.partition };
    let damaged = |text: String| {
        // To be sent anew from its first byte.
        let _ = fs::remove_file(file);
        Rejected { reason: Reason::Damaged, text }
    };
    let summary = snapshot::verify(file, subject).map_err(|e| match e {
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
    let done = shared.dir.install_snapshot(offer.partition, file, installed);
    done.map_err(|e| Rejected { reason: Reason::Disk, text: e.to_string() })
}

fn open(shared: &Shared, file: &Path, offer: Offer) -> Result<(File, Intake, u64), Rejected> {
    remove_others(shared, file, offer.partition);
    let open = || {
        fs::create_dir_all(shared.dir.path().join(path::INCOMING))?;
        let out = OpenOptions::new().append(true).create(true).open(file)?;
        let (intake, resume) = Intake::new(offer, out.metadata()?.len());
        out.set_len(resume)?;
        Ok((out, intake, resume))
    };
    open().map_err(|e| disk(file, &e))
}

fn disk(file: &Path, e: &std::io::Error) -> Rejected {
    Rejected { reason: Reason::Disk, text: format!("{}: {e}", file.display()) }
}

/// Where an upload is collected. The name holds all that tells one upload from another.
fn incoming(data: &Path, offer: &Offer) -> PathBuf {
    let Offer { partition, position, crc32, .. } = offer;
    let name = format!("{:05}-{:010}-{:020}-{crc32:08x}.part", partition.0, position.epoch.0, position.lsn.0);
    data.join(path::INCOMING).join(name)
}

/// Removes what is left of former uploads of the partition.
fn remove_others(shared: &Shared, file: &Path, partition: PartitionId) {
    let prefix = format!("{:05}-", partition.0);
    remove_parts(shared, |name, path| name.starts_with(&prefix) && path != file);
}

/// Removes uploads of former lives of the master: they are of no use in this one.
pub(super) fn clear_stale(shared: &Shared) {
    let present = format!("{:010}", shared.epoch.0);
    remove_parts(shared, |name, _| name.split('-').nth(1) != Some(&present));
}

fn remove_parts(shared: &Shared, which: impl Fn(&str, &Path) -> bool) {
    let Ok(entries) = fs::read_dir(shared.dir.path().join(path::INCOMING)) else { return };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.ends_with(".part") && which(&name, &path) {
            let _ = fs::remove_file(path);
        }
    }
}
