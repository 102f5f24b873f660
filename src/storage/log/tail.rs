//! Follows a live stream for the mirror: reads its durable frames from the segment files.
//!
//! Only what the stream's marks call synced is read, so every frame must be valid; a frame is returned once all of it
//! is durable. The locks of the segments belong to their writer; a follower needs none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::marks::{StreamMarks, SyncedEnd};
use super::read_ahead::Segment;
use super::scan::{Scan, Step};
use super::segments;
use crate::encoding::frame::{BLOCK, Frame, FrameHeader, padded};
use crate::ids::{DirectoryId, Lsn, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::files::{AlignedBuf, read_direct};
use crate::storage::{Corruption, Files, OsFiles, StorageError, path};

/// Bytes that are read at once, unless a frame is larger; few in tests, so that there are several pieces.
const PIECE: usize = if cfg!(test) { 32 << 10 } else { 1 << 20 };

/// Why a stream cannot be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The log no longer reaches back to the edit asked for; it begins with this one.
    #[error("the log begins at {0}")]
    Dropped(Lsn),
    /// The files are damaged or cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Corruption> for TailError {
    fn from(corruption: Corruption) -> Self {
        Self::Storage(corruption.into())
    }
}

/// Reads the durable frames of a stream that is being written. Blocks, so it is for threads of the checkpoint side.
pub struct TailReader<F: Files = OsFiles> {
    files: F,
    dir: PathBuf,
    id: DirectoryId,
    stream: StreamId,
    from: Lsn,
    marks: Arc<StreamMarks>,
    /// The segment being read, if one is open.
    segment: Option<Segment<F::File>>,
    scan: Scan,
    /// Offset in the segment at which `memory` begins.
    offset: u64,
    memory: AlignedBuf,
    /// Range of `memory` that is not parsed yet.
    unread: std::ops::Range<usize>,
    /// The frame just before `unread`, if it was parsed but not returned yet.
    held: Option<FrameHeader>,
}

impl<F: Files> TailReader<F> {
    /// Follows `stream` of the data directory `dir` with this `id`, from the frame on that holds edit `from` or will
    /// hold it.
    ///
    /// # Errors
    /// [`TailError::Dropped`] if `from` lies in a segment that was removed; otherwise if the files are damaged or
    /// cannot be read.
    pub fn open(
        files: F,
        dir: PathBuf,
        id: DirectoryId,
        stream: StreamId,
        from: Lsn,
        marks: Arc<StreamMarks>,
    ) -> Result<Self, TailError> {
        let from = from.max(Lsn(1));
        let firsts = segments::listed(&files, &dir, stream)?;
        let Some(first) = firsts.iter().rev().find(|first| **first <= from) else {
            return Err(TailError::Dropped(firsts.first().copied().unwrap_or(marks.durable().next())));
        };
        let mut opened = Self {
            scan: Scan::new(id, stream, *first, None, Lsn(0)),
            files,
            dir,
            id,
            stream,
            from,
            marks,
            segment: None,
            offset: 0,
            memory: AlignedBuf::new(PIECE),
            unread: 0..0,
            held: None,
        };
        opened.enter(*first)?;
        Ok(opened)
    }

    /// Opens the segment that begins with `first` and continues there.
    fn enter(&mut self, first: Lsn) -> Result<(), TailError> {
        let path = path::segment(&self.dir, self.stream, first);
        if !self.files.exists(&path) {
            let firsts = segments::listed(&self.files, &self.dir, self.stream)?;
            return Err(TailError::Dropped(firsts.first().copied().unwrap_or(first)));
        }
        self.segment = Some(Segment::open(&self.files, &path, self.id, self.stream, first)?);
        self.offset = BLOCK as u64;
        self.unread = 0..0;
        Ok(())
    }

    /// Returns the next durable frame (marks without edits are skipped); `None` if there was none within `timeout`, or
    /// there will never be one ([`StreamMarks::has_ended`]). [`Frame::bytes`] is what the mirror is sent.
    ///
    /// # Errors
    /// If the files are damaged, cannot be read, or are gone.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Frame<'_>>, TailError> {
        let deadline = Instant::now() + timeout;
        let found = loop {
            let durable = self.durable();
            if let Some(header) = self.held.take_if(|held| held.last() <= durable) {
                break header;
            }
            if self.held.is_none() {
                if let Some(header) = self.step()? {
                    if header.count > 0 && header.last() >= self.from {
                        self.held = Some(header);
                    }
                    continue;
                }
                if self.read_to(self.marks.synced_end())? {
                    continue;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.marks.has_ended() {
                return Ok(None);
            }
            self.marks.wait(durable, left);
        };
        let start = self.unread.start - found.padded_len();
        let bytes = &self.memory.bytes()[start..start + found.len()];
        Ok(Some(Frame { header: found, bytes }))
    }

    /// Lsn up to which frames are returned.
    fn durable(&self) -> Lsn {
        if is_planted(Bug::ShippedWhenSynced) { self.marks.synced() } else { self.marks.durable() }
    }

    /// Parses the next whole frame in memory; `None` if more bytes are needed.
    fn step(&mut self) -> Result<Option<FrameHeader>, TailError> {
        let Some(segment) = &self.segment else { return Ok(None) };
        if self.unread.is_empty() {
            return Ok(None);
        }
        let at = self.offset + self.unread.start as u64;
        match self.scan.step(segment.header.first, &self.memory.bytes()[self.unread.clone()]) {
            Step::Frame(header) => {
                self.unread.start += header.padded_len();
                Ok(Some(header))
            }
            Step::NeedMore(bytes) => {
                self.make_room(padded(bytes));
                Ok(None)
            }
            // A live stream has no recorded end at which it could be cut.
            Step::End | Step::Cut(..) => Ok(None),
            Step::Bad(why) => {
                let damaged = Corruption::new(&segment.path, at, why.to_string());
                // After its last frame a segment holds zeros, so an invalid frame is normal if a segment follows.
                if self.enter_following()? { Ok(None) } else { Err(damaged.into()) }
            }
        }
    }

    /// Continues in the segment that begins with the next edit, if there is one; that segment proves that this one has
    /// no more frames. Returns whether there is one.
    fn enter_following(&mut self) -> Result<bool, TailError> {
        let next = self.scan.next();
        let exists = self.files.exists(&path::segment(&self.dir, self.stream, next));
        let follows = exists && self.segment.as_ref().is_some_and(|current| current.header.first < next);
        if follows {
            self.enter(next)?;
        }
        Ok(follows)
    }

    /// Moves the unread bytes to the front of `memory`, which then holds at least `bytes`.
    fn make_room(&mut self, bytes: usize) {
        let unread = self.unread.clone();
        let len = unread.len();
        if self.memory.len() < bytes {
            let mut larger = AlignedBuf::new(bytes);
            larger.bytes_mut()[..len].copy_from_slice(&self.memory.bytes()[unread.clone()]);
            self.memory = larger;
        } else {
            self.memory.bytes_mut().copy_within(unread.clone(), 0);
        }
        self.offset += unread.start as u64;
        self.unread = 0..len;
    }

    /// Reads more bytes, as far as `end` allows. Returns whether there are new bytes or a new segment.
    fn read_to(&mut self, end: SyncedEnd) -> Result<bool, TailError> {
        let Some(segment) = &self.segment else { return Ok(false) };
        if self.scan.has_ended() || end.segment < segment.header.first {
            return Ok(false);
        }
        let is_newest = end.segment == segment.header.first;
        let limit = if is_newest { end.offset } else { segment.header.bytes };
        self.make_room(0);
        let have = self.unread.end;
        let Some(segment) = self.segment.as_ref().filter(|_| self.offset + (have as u64) < limit) else {
            return if is_newest { Ok(false) } else { self.enter_following() };
        };
        let wanted = usize::try_from(limit - self.offset).unwrap_or(usize::MAX).min(self.memory.len());
        let at = self.offset + have as u64;
        let into = &mut self.memory.bytes_mut()[have..wanted];
        let len = into.len();
        let read = read_direct(&segment.file, &segment.path, at, into)?;
        if read < len {
            return Err(Corruption::new(&segment.path, at + read as u64, "the file ends here, too early").into());
        }
        self.unread.end = wanted;
        Ok(len > 0)
    }
}
