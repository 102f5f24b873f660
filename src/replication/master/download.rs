//! Sends installed snapshots to a node whose partitions are too old to go on from the log.

use super::side::MasterSide;
use crate::ids::PartitionId;
use crate::replication::link::{LinkError, Receiver, Sender};
use crate::replication::protocol::{CHUNK, Message, Reason};
use crate::storage::files::{Access, PlainFile};
use crate::storage::{Files, path};

/// Serves a download connection until it ends.
pub(crate) fn serve(shared: &MasterSide, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    let mut chunk = Vec::new();
    loop {
        let Message::Fetch(partition) = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        let (mut lending, first) = match Download::begin(shared, partition) {
            Ok(begun) => begun,
            Err(refusal) => {
                sender.send(&refusal)?;
                continue;
            }
        };
        sender.send(&first)?;
        while let Some(message) = lending.next(&mut chunk) {
            sender.send(&message)?;
        }
    }
}

/// The state of one snapshot's download by the node.
pub(crate) struct Download<F: Files> {
    // An open file stays readable, even if the snapshot is deleted meanwhile because newer ones were installed.
    file: F::File,
    bytes: u64,
    offset: u64,
}

impl<F: Files> Download<F> {
    /// Opens the newest snapshot of `partition`. Also returns the message to send first.
    ///
    /// # Errors
    /// The refusal to send instead, if there is no snapshot or it cannot be opened.
    pub(crate) fn begin(
        shared: &MasterSide<F>,
        partition: PartitionId,
    ) -> Result<(Self, Message<'static>), Message<'static>> {
        let refusal = |reason, text: String| Message::Refusal { reason, text: text.into() };
        let Some(newest) = shared.dir.manifest().generations(partition).newest else {
            return Err(refusal(Reason::Unknown, "no snapshot of this partition is installed".to_owned()));
        };
        let path = path::snapshot(shared.dir.path(), partition, newest.position);
        match shared.dir.files().open(&path, Access::Read) {
            Ok(file) => {
                let first = Message::Lend { position: newest.position, bytes: newest.bytes, crc32: newest.crc };
                Ok((Self { file, bytes: newest.bytes, offset: 0 }, first))
            }
            Err(e) => {
                tracing::error!(%partition, position = %newest.position, "cannot read an installed snapshot: {e}");
                Err(refusal(Reason::Disk, e.to_string()))
            }
        }
    }

    /// The next message to send: a chunk, or a refusal if the file cannot be read. `None` after the last chunk or a
    /// refusal.
    pub(crate) fn next<'a>(&mut self, chunk: &'a mut Vec<u8>) -> Option<Message<'a>> {
        let (left, offset) = (self.bytes - self.offset, self.offset);
        if left == 0 {
            return None;
        }
        chunk.resize(usize::try_from(left).unwrap_or(CHUNK).min(CHUNK), 0);
        let read = self.file.read_at(offset, chunk);
        if !matches!(read, Ok(read) if read == chunk.len()) {
            self.offset = self.bytes;
            let text = read.map_or_else(|e| e.to_string(), |_| "the snapshot is too short".to_owned());
            return Some(Message::Refusal { reason: Reason::Disk, text: text.into() });
        }
        self.offset += chunk.len() as u64;
        Some(Message::Chunk { offset, bytes: (&chunk[..]).into() })
    }
}
