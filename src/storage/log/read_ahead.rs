//! Reads a stream's segments in large pieces, ahead of a [`super::reader::StreamReader`]: verifies every frame and
//! finds the stream's end.
//!
//! Frames are sent on once they are known to be durable, which a frame of a later commit says; the rest is sent when
//! the end was found.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::extent::{StreamEnd, StreamSpec, TornTail, Unproven};
use super::scan::{Scan, Step, bad_frame_len, is_complete};
use super::segment::SegmentHeader;
use crate::encoding::frame::{BLOCK, FRAME_HEADER, FrameError, FrameHeader, padded};
use crate::ids::{DirectoryId, Lsn, StreamId};
use crate::storage::error::Context;
use crate::storage::files::{Access, AlignedBuf, Files, PlainFile, read_direct};
use crate::storage::{Corruption, StorageError};

/// Bytes that are read at once; few in tests, so that there are several pieces.
const PIECE: usize = if cfg!(test) { 32 << 10 } else { 1 << 20 };

/// Frames that were read and verified together, in the memory that they were read into.
pub(super) struct Batch {
    pub(super) memory: AlignedBuf,
    pub(super) frames: Vec<(FrameHeader, usize)>,
    pub(super) file: Arc<Path>,
    /// Offset in the file at which the memory begins.
    pub(super) offset: u64,
    /// Edits up to here are durable. Whether later ones are is known only when the whole stream was read, so a batch
    /// with undurable edits is not sent before that.
    pub(super) durable: Lsn,
}

/// A message from the thread that reads ahead.
pub(super) enum Sent {
    Batch(Batch),
    End(StreamEnd),
    Failed(StorageError),
}

/// An open segment whose header is valid.
pub(super) struct Segment<P> {
    pub(super) file: P,
    pub(super) path: Arc<Path>,
    pub(super) header: SegmentHeader,
}

impl<P: PlainFile> Segment<P> {
    /// Opens the segment of `stream` that begins with edit `first`, and verifies its header.
    pub(super) fn open<F: Files<File = P>>(
        files: &F,
        path: &Path,
        id: DirectoryId,
        stream: StreamId,
        first: Lsn,
    ) -> Result<Self, StorageError> {
        let file = files.open(path, Access::ReadDirect).context(path, "cannot open")?;
        let mut block = AlignedBuf::new(BLOCK);
        let read = read_direct(&file, path, 0, block.bytes_mut())?;
        let damaged = |offset, why: String| Err(Corruption::new(path, offset, why).into());
        let block: &[u8; BLOCK] = match block.bytes()[..read].try_into() {
            Ok(block) => block,
            Err(_) => return damaged(read as u64, "the file ends within the segment's header".into()),
        };
        let header = match SegmentHeader::parse(id, block) {
            Ok(header) => header,
            Err(why) => return damaged(0, why.to_string()),
        };
        if (header.stream, header.first) != (stream, first) {
            let why = format!("the header is that of segment {} of stream {}", header.first, header.stream);
            return damaged(0, why);
        }
        let size = file.size().context(path, "cannot read the size")?;
        if size < header.bytes {
            return damaged(size, format!("the file was cut off; it had {} bytes", header.bytes));
        }
        Ok(Self { file, path: path.into(), header })
    }

    /// Fills `into` (whole blocks) from `offset`; all of these bytes must be there.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let read = read_direct(&self.file, &self.path, offset, into)?;
        if read == into.len() {
            return Ok(());
        }
        Err(Corruption::new(&self.path, offset + read as u64, "the file ends here, too early").into())
    }
}

/// State of reading one stream from its files.
pub(super) struct ReadAhead<P> {
    id: DirectoryId,
    scan: Scan,
    segments: VecDeque<Segment<P>>,
    from: Lsn,
    reuse: Receiver<AlignedBuf>,
    /// Frames of the current segment that nothing has proved to be synced: last edit and offset of each.
    unproven: VecDeque<(Lsn, u64)>,
    /// Batches with frames that nothing has said to be durable.
    held: VecDeque<Batch>,
}

impl<P: PlainFile> ReadAhead<P> {
    /// Opens all segments in `paths` and, if `patience` is given, waits that long for the lock of each.
    pub(super) fn open<F: Files<File = P>>(
        files: &F,
        spec: &StreamSpec,
        from: Lsn,
        paths: Vec<(Lsn, PathBuf)>,
        patience: Option<Duration>,
        reuse: Receiver<AlignedBuf>,
    ) -> Result<Self, StorageError> {
        let next = paths.first().map_or(spec.last.unwrap_or_default().next(), |(first, _)| *first);
        let mut segments = VecDeque::new();
        for (first, path) in paths {
            if let Some(patience) = patience {
                // The lock is taken first: until then a killed process may still be writing the header.
                let file = files.open(&path, Access::ReadDirect).context(&path, "cannot open")?;
                if !file.lock_shared(patience).context(&path, "cannot lock")? {
                    return Err(StorageError::InUse { path });
                }
            }
            segments.push_back(Segment::open(files, &path, spec.id, spec.stream, first)?);
        }
        let scan = Scan::new(spec.id, spec.stream, next, spec.last, spec.floor);
        Ok(Self { id: spec.id, scan, segments, from, reuse, unproven: VecDeque::new(), held: VecDeque::new() })
    }

    /// Reads to the end or the first error, passing everything to `send`; stops early if `send` returns false, because
    /// nobody listens.
    pub(super) fn run(mut self, mut send: impl FnMut(Sent) -> bool) {
        let outcome = match self.read_all(&mut send) {
            Ok(Some(end)) => Sent::End(end),
            Ok(None) => return,
            Err(error) => Sent::Failed(error),
        };
        send(outcome);
    }

    fn read_all(&mut self, send: &mut impl FnMut(Sent) -> bool) -> Result<Option<StreamEnd>, StorageError> {
        let (mut torn, mut unproven) = (None, None);
        while let Some(segment) = self.segments.pop_front() {
            // The existence of another segment proves all edits before it.
            self.unproven.clear();
            let Some(stopped) = self.read_segment(&segment, send)? else { return Ok(None) };
            if let Some(following) = self.segments.front() {
                self.check_joint(&segment, stopped, following)?;
            } else if !self.scan.has_ended() {
                torn = self.end_of_stream(&segment, stopped)?;
            }
            let file = segment.path.to_path_buf();
            unproven =
                self.unproven.front().map(|(_, offset)| Unproven { file, offset: *offset, bytes: stopped - offset });
        }
        while let Some(batch) = self.held.pop_front() {
            if !send(Sent::Batch(Batch { durable: self.scan.durable(), ..batch })) {
                return Ok(None);
            }
        }
        let (last, durable, sealed) = (Lsn(self.scan.next().0 - 1), self.scan.durable(), self.scan.sealed());
        Ok(Some(StreamEnd { last, durable, sealed, torn, unproven }))
    }

    /// Sends the batches that are durable by now. Returns `false` if nobody listens.
    fn send_durable(&mut self, send: &mut impl FnMut(Sent) -> bool) -> bool {
        let durable = self.scan.durable();
        let is_durable = |batch: &Batch| batch.frames.last().is_none_or(|(header, _)| header.last() <= durable);
        let count = self.held.iter().take_while(|batch| is_durable(batch)).count();
        self.held.drain(..count).all(|batch| send(Sent::Batch(Batch { durable, ..batch })))
    }

    /// Checks that a segment continues where the one before it stops: rows 4 and 5 of the table in `scan`.
    fn check_joint(&self, segment: &Segment<P>, stopped: u64, following: &Segment<P>) -> Result<(), StorageError> {
        let (n, first) = (self.scan.next(), following.header.first);
        if self.scan.sealed() {
            let why = format!("the stream was closed here, but a segment that begins with edit {first} follows");
            return Err(Corruption::new(&segment.path, stopped, why).into());
        }
        if n != first {
            let why = format!("edit {n} is missing, though a segment that begins with edit {first} follows");
            return Err(Corruption::new(&segment.path, stopped, why).into());
        }
        if following.header.previous != segment.header.first {
            let (found, expected) = (following.header.previous, segment.header.first);
            let why = format!("it says that it follows segment {found}, but the one before it is {expected}");
            return Err(Corruption::new(&following.path, 0, why).into());
        }
        Ok(())
    }

    /// Sends the frames of a segment. Returns the offset where they stop, or `None` if nobody listens.
    fn read_segment(
        &mut self,
        segment: &Segment<P>,
        send: &mut impl FnMut(Sent) -> bool,
    ) -> Result<Option<u64>, StorageError> {
        let size = segment.header.bytes;
        let mut offset = BLOCK as u64;
        let mut memory = AlignedBuf::new(0);
        // Range of the previous piece with the start of a frame that continues in this one.
        let mut kept = 0..0;
        let mut wanted = PIECE;
        loop {
            let mut piece = self.memory(wanted);
            let carried = kept.len();
            piece.bytes_mut()[..carried].copy_from_slice(&memory.bytes()[kept]);
            let len = piece.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            segment.read(offset + carried as u64, &mut piece.bytes_mut()[carried..len])?;
            let (mut at, mut frames) = (0, Vec::new());
            let stopped = loop {
                match self.scan.step(segment.header.first, &piece.bytes()[at..len]) {
                    Step::Cut(header, last) => {
                        let shorter = header.shorten(self.id, &mut piece.bytes_mut()[at..len], last);
                        let at_frame = offset + at as u64;
                        let shorter =
                            shorter.map_err(|why| Corruption::new(&segment.path, at_frame, why.to_string()))?;
                        if last >= self.from {
                            frames.push((shorter, at));
                        }
                        at += header.padded_len();
                    }
                    Step::Frame(header) => {
                        if header.last() >= self.from {
                            frames.push((header, at));
                        }
                        self.unproven.push_back((header.last(), offset + at as u64));
                        while self.unproven.front().is_some_and(|(last, _)| *last <= self.scan.witnessed()) {
                            self.unproven.pop_front();
                        }
                        at += header.padded_len();
                    }
                    Step::NeedMore(n) if offset + (at + n) as u64 <= size => {
                        wanted = padded(n).max(PIECE);
                        break None;
                    }
                    Step::NeedMore(_) | Step::Bad(_) | Step::End => break Some(offset + at as u64),
                }
            };
            kept = at..len;
            let file = segment.path.clone();
            if frames.is_empty() {
                memory = piece;
            } else {
                memory = AlignedBuf::new(kept.len());
                memory.bytes_mut()[..kept.len()].copy_from_slice(&piece.bytes()[kept]);
                kept = 0..len - at;
                let durable = self.scan.durable();
                self.held.push_back(Batch { memory: piece, frames, file, offset, durable });
                if !self.send_durable(send) {
                    return Ok(None);
                }
            }
            offset += at as u64;
            if stopped.is_some() {
                return Ok(stopped);
            }
        }
    }

    fn memory(&self, bytes: usize) -> AlignedBuf {
        match self.reuse.try_recv() {
            Ok(memory) if memory.len() >= bytes => memory,
            _ => AlignedBuf::new(bytes),
        }
    }

    /// Decides what the bytes at `stopped` are, where the next edit should be: damage or a torn tail. Rows 2 and 6 to 9
    /// of the table in `scan`.
    fn end_of_stream(&mut self, segment: &Segment<P>, stopped: u64) -> Result<Option<TornTail>, StorageError> {
        let (mut at, mut last_byte) = (stopped, stopped);
        let mut piece = AlignedBuf::new(PIECE);
        let mut complete = false;
        while at < segment.header.bytes {
            let room = segment.header.bytes - at;
            let len = usize::try_from(room).unwrap_or(usize::MAX).min(piece.len());
            segment.read(at, &mut piece.bytes_mut()[..len])?;
            let bytes = &piece.bytes()[..len];
            if at == stopped
                && let Some(header) = bytes.first_chunk::<FRAME_HEADER>()
            {
                let claimed = bad_frame_len(self.id, header, room);
                if claimed > len {
                    piece = AlignedBuf::new(claimed);
                    continue;
                }
                // A frame with the right checksum in the wrong place was certainly written in full.
                let is_frame = matches!(FrameHeader::parse(self.id, bytes), Ok(_) | Err(FrameError::Meaningless));
                complete = is_frame || is_complete(&bytes[..claimed]);
            }
            let (searched, wanted) = self.search(bytes, room);
            if let Some(end) = end_of_content(&bytes[..searched]) {
                last_byte = at + end as u64;
            }
            at += searched as u64;
            if wanted > piece.len() {
                piece = AlignedBuf::new(wanted);
            }
        }
        if let Some(why) = self.scan.verdict(complete) {
            return Err(Corruption::new(&segment.path, stopped, why).into());
        }
        let torn = TornTail { file: segment.path.to_path_buf(), offset: stopped, bytes: last_byte - stopped };
        Ok((torn.bytes > 0).then_some(torn))
    }

    /// Searches `bytes` for proof; the segment has `room` bytes from their start on. Returns how far the search came,
    /// and how many bytes it needs from there on (0 if none).
    fn search(&mut self, bytes: &[u8], room: u64) -> (usize, usize) {
        let mut at = 0;
        while at < bytes.len() {
            match self.scan.search(&bytes[at..]) {
                Ok(searched) => at += searched,
                Err(wanted) if at as u64 + wanted as u64 > room => at += BLOCK,
                Err(wanted) => return (at, padded(wanted)),
            }
        }
        (at.min(bytes.len()), 0)
    }
}

/// Length of `bytes` up to the last byte that is not zero; `None` if all are zeros.
fn end_of_content(bytes: &[u8]) -> Option<usize> {
    // Whole blocks are tested first, without a branch per byte: most blocks here are empty.
    let block = bytes.chunks(BLOCK).rposition(|block| block.iter().fold(0, |all, byte| all | byte) != 0)?;
    let end = bytes.len().min((block + 1) * BLOCK);
    bytes[..end].iter().rposition(|byte| *byte != 0).map(|last| last + 1)
}
