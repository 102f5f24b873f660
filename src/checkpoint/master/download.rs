//! Lends installed snapshots to a node that the log does not reach.

use std::fs::File;
use std::io::Read;

use super::shared::Shared;
use crate::checkpoint::link::{LinkError, Receiver, Sender};
use crate::checkpoint::protocol::{CHUNK, Message, Reason};
use crate::ids::PartitionId;
use crate::storage::{Installed, path};

/// Serves a download connection.
pub(super) fn serve(shared: &Shared, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    let mut chunk = Vec::new();
    loop {
        let Message::Fetch(partition) = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        match newest(shared, partition) {
            None => sender.refuse(Reason::Unknown, "no snapshot of this partition is installed"),
            Some((Err(e), installed)) => {
                tracing::error!(%partition, position = %installed.position, "cannot read an installed snapshot: {e}");
                sender.refuse(Reason::Disk, &e.to_string());
            }
            // An open file stays readable even if a newer generation pushes it out meanwhile.
            Some((Ok(file), installed)) => lend(&mut sender, file, installed, &mut chunk)?,
        }
    }
}

fn newest(shared: &Shared, partition: PartitionId) -> Option<(std::io::Result<File>, Installed)> {
    let installed = shared.dir.manifest().generations(partition).newest?;
    Some((File::open(path::snapshot(shared.dir.path(), partition, installed.position)), installed))
}

fn lend(sender: &mut Sender, mut file: File, installed: Installed, chunk: &mut Vec<u8>) -> Result<(), LinkError> {
    let Installed { position, bytes, crc, .. } = installed;
    sender.send(&Message::Lend { position, bytes, crc32: crc })?;
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(CHUNK).min(CHUNK);
        chunk.resize(length, 0);
        if let Err(e) = file.read_exact(chunk) {
            sender.refuse(Reason::Disk, &e.to_string());
            return Err(e.into());
        }
        sender.send(&Message::Chunk { offset, bytes: (&chunk[..]).into() })?;
        offset += length as u64;
    }
    Ok(())
}
