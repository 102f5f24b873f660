//! For tests: writes the files of a log frame by frame, as the live log would, without a disk that syncs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::segment::SegmentHeader;
use super::writer::{Buffer, Writer};
use crate::encoding::edit::{Change, Edit, EncodedEdits};
use crate::encoding::frame::BLOCK;
use crate::ids::{CoreId, Db, DirectoryId, Epoch, Lsn, PartitionId, Slot, StreamId};
use crate::storage::path;

impl Buffer for Vec<u8> {
    fn new(bytes: usize) -> Self {
        // Filled with a byte other than zero, since memory that was used before is not zeros either.
        vec![0xa5; bytes]
    }

    fn bytes(&mut self) -> &mut [u8] {
        self
    }

    fn truncated(mut self, bytes: usize) -> Self {
        self.truncate(bytes);
        self
    }
}

/// Makes a group of `edits` edits, each with a value of `bytes` bytes.
pub(super) fn group(edits: usize, bytes: usize) -> EncodedEdits {
    let mut encoded = EncodedEdits::new();
    for n in 0..edits {
        let change = Change::PutString { value: vec![n as u8 | 1; bytes].into(), expire_at: None };
        let key = format!("key{n}").into_bytes().into();
        encoded.push(PartitionId(0), &Edit::Key { db: Db(0), slot: Slot(1), key, change });
    }
    encoded
}

/// Where a frame was written, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) segment: Lsn,
    pub(super) offset: u64,
    /// Length of the frame without padding.
    pub(super) bytes: u64,
    pub(super) first: Lsn,
    pub(super) last: Lsn,
}

/// A log that a test writes.
pub(super) struct OfflineLog {
    pub(super) dir: tempfile::TempDir,
    pub(super) id: DirectoryId,
    pub(super) stream: StreamId,
    segment_bytes: u64,
    writer: Writer<Vec<u8>>,
    pub(super) frames: Vec<Put>,
    /// Edits after this one do not become durable, even if they are synced.
    pub(super) most_durable: Lsn,
}

impl OfflineLog {
    /// Creates an empty log with segments of `segment_bytes`.
    pub(super) fn new(segment_bytes: u64) -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let (dir, id) = (dir.unwrap(), DirectoryId([9; 16]));
        let stream = StreamId::new(Epoch(1), CoreId(0));
        std::fs::create_dir_all(path::stream(dir.path(), stream)).unwrap();
        let header = SegmentHeader { stream, first: Lsn(1), previous: Lsn(0), bytes: segment_bytes };
        let writer = Writer::new(id, header, 2 * BLOCK, 2);
        let log = Self { dir, id, stream, segment_bytes, writer, frames: Vec::new(), most_durable: Lsn(u64::MAX) };
        log.make_segment(header);
        log
    }

    pub(super) fn path(&self, segment: Lsn) -> PathBuf {
        path::segment(self.dir.path(), self.stream, segment)
    }

    pub(super) fn write_at(&self, segment: Lsn, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(segment)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn make_segment(&self, header: SegmentHeader) {
        let mut block = [0; BLOCK];
        header.write(self.id, &mut block);
        self.write_at(header.first, 0, &block);
        let file = OpenOptions::new().write(true).open(self.path(header.first)).unwrap();
        file.set_len(header.bytes).unwrap();
    }

    /// Writes one commit; each group longer than half a buffer becomes a frame of its own.
    pub(super) fn commit(&mut self, groups: &[EncodedEdits]) {
        for group in groups {
            self.writer.append(group.as_bytes(), group.count());
        }
        while self.writer.has_waiting() {
            if let Some(needed) = self.writer.needs_segment() {
                self.roll(needed);
            }
            self.put(|writer, frames| writer.take(frames));
        }
    }

    /// Begins a new segment of at least `needed` bytes.
    pub(super) fn roll(&mut self, needed: u64) {
        let header = self.writer.following(self.segment_bytes.max(needed));
        self.make_segment(header);
        self.writer.roll(header);
    }

    /// Writes a mark, or the seal.
    pub(super) fn mark(&mut self, seal: bool) {
        self.put(|writer, frames| writer.take_mark(seal, frames));
    }

    fn put(
        &mut self,
        take: impl FnOnce(&mut Writer<Vec<u8>>, &mut Vec<super::writer::Placed<Vec<u8>>>) -> super::writer::Pending,
    ) {
        let mut frames = Vec::new();
        let pending = take(&mut self.writer, &mut frames);
        let segment = pending.end.segment;
        for frame in frames {
            self.write_at(segment, frame.offset, &frame.buffer);
            let header = crate::encoding::frame::FrameHeader::parse(self.id, &frame.buffer).unwrap();
            let (first, last, bytes) = (header.first, header.last(), header.len() as u64);
            self.frames.push(Put { segment, offset: frame.offset, bytes, first, last });
        }
        self.writer.complete(pending);
        let durable = self.writer.synced().min(self.most_durable);
        self.writer.set_durable(durable.max(self.writer.durable()));
    }
}
