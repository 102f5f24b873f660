//! Decides what a log writes where: buffers, frames, segments, lsns. Pure: does no I/O and knows no time; the driver
//! executes what it decides.
//!
//! Always: durable ≤ synced ≤ written ≤ appended; frames follow each other in the order of their lsns; at most one
//! commit is under way; the last block of a segment is reserved for the seal.

use std::collections::VecDeque;

use super::marks::SyncedEnd;
use super::segment::SegmentHeader;
use crate::encoding::frame::{BLOCK, FRAME_HEADER, FrameHeader, MAX_BODY, padded};
use crate::ids::{DirectoryId, Lsn, StreamId};

/// Frames up to this many bytes are copied out of their buffer, so that the buffer, warm in the CPU's caches, stays in
/// use.
const COPY_UP_TO: usize = 32 << 10;

/// Memory that the disk can write from.
pub trait Buffer {
    /// Allocates `bytes` bytes with arbitrary content.
    fn new(bytes: usize) -> Self;
    /// All bytes of the buffer.
    fn bytes(&mut self) -> &mut [u8];
    /// Shortens the buffer to its first `bytes` bytes.
    fn truncated(self, bytes: usize) -> Self;
}

/// A buffer that is being filled with edits, with room for the frame's header before them.
struct Filling<B> {
    buffer: B,
    capacity: usize,
    /// Offset in the buffer where the next edit goes.
    end: usize,
    first: Lsn,
    count: u32,
}

impl<B: Buffer> Filling<B> {
    fn new(buffer: B, capacity: usize, first: Lsn) -> Self {
        Self { buffer, capacity, end: FRAME_HEADER, first, count: 0 }
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A frame to be written, with its place in the segment.
pub struct Placed<B> {
    /// The frame with its padding.
    pub buffer: B,
    /// Length of the frame with its padding.
    pub bytes: usize,
    /// Offset in the current segment at which the frame is written.
    pub offset: u64,
}

/// A commit under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Where the synced part ends once the commit is complete.
    pub(super) end: SyncedEnd,
    /// Bytes of edits in the commit, which are no longer unflushed once it is complete.
    body_bytes: u64,
}

/// What an append tells the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Nothing new: the driver already knows of unflushed edits.
    No,
    /// The appended edits are the first unflushed ones.
    First,
    /// A buffer is full.
    Full,
}

/// State of the log of one stream: lsns, buffers and the place in the segment.
pub(super) struct Writer<B> {
    id: DirectoryId,
    stream: StreamId,
    buffer_bytes: usize,
    buffers: usize,
    filling: Filling<B>,
    full: VecDeque<Filling<B>>,
    spare: Vec<B>,
    /// Lsn of the next edit.
    next: Lsn,
    synced: Lsn,
    durable: Lsn,
    /// Highest `synced` and highest `durable` that a header on its way to disk has recorded.
    witnessed: (Lsn, Lsn),
    segment: SegmentHeader,
    /// Offset in the segment where the next frame goes.
    offset: u64,
    /// Bytes of edits that were appended and are not synced.
    unflushed: u64,
}

impl<B: Buffer> Writer<B> {
    /// Creates the writer of a log that continues in the fresh segment `segment`, with `buffers` buffers of
    /// `buffer_bytes` each.
    pub(super) fn new(id: DirectoryId, segment: SegmentHeader, buffer_bytes: usize, buffers: usize) -> Self {
        let buffer_bytes = padded(buffer_bytes.max(2 * BLOCK));
        let buffers = buffers.max(2);
        let before = Lsn(segment.first.0 - 1);
        Self {
            id,
            stream: segment.stream,
            buffer_bytes,
            buffers,
            filling: Filling::new(B::new(buffer_bytes), buffer_bytes, segment.first),
            full: VecDeque::with_capacity(2 * buffers),
            spare: (1..buffers).map(|_| B::new(buffer_bytes)).collect(),
            next: segment.first,
            synced: before,
            durable: before,
            witnessed: (before, before),
            segment,
            offset: BLOCK as u64,
            unflushed: 0,
        }
    }

    /// Puts a group of `count` edits into one frame. Returns the lsn of the last edit, and what the driver must know.
    #[inline]
    pub(super) fn append(&mut self, edits: &[u8], count: u32) -> (Lsn, Wake) {
        assert!(count > 0, "a group has edits");
        let mut wake = if self.unflushed == 0 { Wake::First } else { Wake::No };
        let mut end = self.filling.end + edits.len();
        if end > self.filling.capacity {
            wake = Wake::Full;
            self.turn(edits.len());
            end = FRAME_HEADER + edits.len();
        }
        let filling = &mut self.filling;
        filling.buffer.bytes()[filling.end..end].copy_from_slice(edits);
        filling.end = end;
        filling.count += count;
        self.unflushed += edits.len() as u64;
        self.next = Lsn(self.next.0 + u64::from(count));
        (Lsn(self.next.0 - 1), wake)
    }

    /// Sets the current buffer aside as full and begins another, large enough for `bytes`.
    #[cold]
    fn turn(&mut self, bytes: usize) {
        assert!(bytes <= MAX_BODY, "the limits on requests keep groups below {MAX_BODY} bytes");
        let capacity = padded(FRAME_HEADER + bytes).max(self.buffer_bytes);
        let spare = if capacity == self.buffer_bytes { self.spare.pop() } else { None };
        let fresh = Filling::new(spare.unwrap_or_else(|| B::new(capacity)), capacity, self.next);
        let before = std::mem::replace(&mut self.filling, fresh);
        if before.is_empty() {
            self.keep(before.buffer, before.capacity);
        } else {
            self.full.push_back(before);
        }
    }

    fn keep(&mut self, buffer: B, capacity: usize) {
        if capacity == self.buffer_bytes && self.spare.len() + 1 < self.buffers {
            self.spare.push(buffer);
        }
    }

    /// Lsn of the last edit appended.
    pub(super) fn appended(&self) -> Lsn {
        Lsn(self.next.0 - 1)
    }

    /// Lsn of the last edit on disk.
    pub(super) fn synced(&self) -> Lsn {
        self.synced
    }

    /// Lsn of the last durable edit.
    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    /// Notes that every edit up to `lsn` is durable; frames record it from now on.
    pub(super) fn set_durable(&mut self, lsn: Lsn) {
        debug_assert!((self.durable..=self.synced).contains(&lsn));
        self.durable = lsn;
    }

    /// Bytes of edits appended but not synced.
    pub(super) fn unflushed(&self) -> u64 {
        self.unflushed
    }

    /// Number of unflushed bytes from which on [`super::Log::is_full`] is true.
    pub(super) fn bound(&self) -> u64 {
        (self.buffers * self.buffer_bytes) as u64
    }

    /// Whether there are edits that no commit has taken yet.
    pub(super) fn has_waiting(&self) -> bool {
        !self.full.is_empty() || !self.filling.is_empty()
    }

    /// Whether a full buffer waits for a commit.
    pub(super) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Header of the current segment.
    pub(super) fn segment(&self) -> SegmentHeader {
        self.segment
    }

    /// Bytes of the segment that are still free, without the block reserved for the seal.
    pub(super) fn room(&self) -> u64 {
        (self.segment.bytes - BLOCK as u64).saturating_sub(self.offset)
    }

    /// If the next frame does not fit into the segment: the smallest size of a segment that it needs.
    pub(super) fn needs_segment(&self) -> Option<u64> {
        let next = self.full.front().unwrap_or(&self.filling);
        let frame = padded(next.end) as u64;
        if next.is_empty() || frame <= self.room() { None } else { Some(frame + 2 * BLOCK as u64) }
    }

    /// Header of the next segment, of `bytes` bytes. All frames taken before must be synced.
    pub(super) fn following(&self, bytes: u64) -> SegmentHeader {
        let first = self.full.front().unwrap_or(&self.filling).first;
        debug_assert_eq!(first, self.synced.next(), "a segment begins after what is synced");
        // A segment without edits is too small for its first frame, so it is replaced.
        let replaced = first == self.segment.first;
        let previous = if replaced { self.segment.previous } else { self.segment.first };
        SegmentHeader { stream: self.stream, first, previous, bytes }
    }

    /// Switches to `segment`, whose header is on disk and proves all edits before it.
    pub(super) fn roll(&mut self, segment: SegmentHeader) {
        self.segment = segment;
        self.offset = BLOCK as u64;
        self.witnessed.0 = self.synced;
    }

    /// Takes the frames that wait, as far as they fit into the segment, and writes their headers.
    pub(super) fn take(&mut self, frames: &mut Vec<Placed<B>>) -> Pending {
        let mut body_bytes = 0;
        while self.needs_segment().is_none() && self.has_waiting() {
            body_bytes += match self.full.pop_front() {
                Some(full) => self.place(full, frames),
                None => self.place_filling(frames),
            };
        }
        self.pending(self.full.front().unwrap_or(&self.filling).first, body_bytes)
    }

    fn pending(&self, next: Lsn, body_bytes: u64) -> Pending {
        let end = SyncedEnd { lsn: Lsn(next.0 - 1), segment: self.segment.first, offset: self.offset };
        Pending { end, body_bytes }
    }

    /// Places the buffer being filled: copies a small frame, and gives the buffer away for a large one.
    fn place_filling(&mut self, frames: &mut Vec<Placed<B>>) -> u64 {
        let bytes = padded(self.filling.end);
        if bytes <= COPY_UP_TO && self.filling.capacity == self.buffer_bytes {
            let filling = &mut self.filling;
            let (end, first, count) = (filling.end, filling.first, filling.count);
            let mut copy = Filling { buffer: B::new(bytes), capacity: bytes, end, first, count };
            copy.buffer.bytes()[FRAME_HEADER..end].copy_from_slice(&filling.buffer.bytes()[FRAME_HEADER..end]);
            (filling.end, filling.count, filling.first) = (FRAME_HEADER, 0, self.next);
            self.place(copy, frames)
        } else {
            let fresh = self.spare.pop().unwrap_or_else(|| B::new(self.buffer_bytes));
            let fresh = Filling::new(fresh, self.buffer_bytes, self.next);
            let full = std::mem::replace(&mut self.filling, fresh);
            self.place(full, frames)
        }
    }

    /// Gives a frame its offset and header; returns the length of its body.
    fn place(&mut self, full: Filling<B>, frames: &mut Vec<Placed<B>>) -> u64 {
        let body_len = full.end - FRAME_HEADER;
        self.seal_frame(full.buffer, full.first, full.count, body_len, false, frames);
        body_len as u64
    }

    fn seal_frame(
        &mut self,
        buffer: B,
        first: Lsn,
        count: u32,
        body_len: usize,
        seal: bool,
        frames: &mut Vec<Placed<B>>,
    ) {
        let (stream, segment, synced, durable) = (self.stream, self.segment.first, self.synced, self.durable);
        let body_len = u32::try_from(body_len).expect("a body is at most MAX_BODY bytes");
        let header = FrameHeader { body_len, count, stream, seal, segment, first, synced, durable };
        let bytes = header.padded_len();
        let mut buffer = buffer.truncated(bytes);
        header.write(self.id, buffer.bytes());
        frames.push(Placed { buffer, bytes, offset: self.offset });
        self.offset += bytes as u64;
        self.witnessed = (synced, durable);
    }

    /// Whether more is synced or durable than any header records, and the segment has room for a mark that records it.
    pub(super) fn wants_mark(&self) -> bool {
        let (synced, durable) = self.witnessed;
        (synced < self.synced || durable < self.durable) && !self.has_waiting() && self.room() >= BLOCK as u64
    }

    /// Takes a mark or, at the end of the stream, the seal, for which a block is reserved. No edits may be waiting.
    pub(super) fn take_mark(&mut self, seal: bool, frames: &mut Vec<Placed<B>>) -> Pending {
        debug_assert!(!self.has_waiting(), "a mark comes after all edits");
        self.seal_frame(B::new(BLOCK), self.next, 0, 0, seal, frames);
        self.pending(self.next, 0)
    }

    /// Notes that the commit `pending` is on disk.
    pub(super) fn complete(&mut self, pending: Pending) {
        debug_assert!(pending.end.lsn >= self.synced && pending.end.lsn <= self.appended());
        self.synced = pending.end.lsn;
        self.unflushed -= pending.body_bytes;
        while self.spare.len() + 1 < self.buffers {
            self.spare.push(B::new(self.buffer_bytes));
        }
    }
}
