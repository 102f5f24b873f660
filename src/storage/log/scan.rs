//! Decides where a stream ends. Pure: given bytes, it says what they mean.
//!
//! Where edit `n` should be, an invalid frame is either what a crash left of a commit that nobody was told of (a *torn
//! tail*: ignore it) or an edit that was once synced and is now damaged (refuse). The first row that fits decides:
//!
//! | | found | then |
//! |---|---|---|
//! | 1 | the stream's `last` is known, and is before `n` | the end, whatever is here |
//! | 2 | the stream's `last` is known and is not before `n`, and no later segment follows | damaged |
//! | 3 | the frame before was the seal | the end; damaged if a later segment follows |
//! | 4 | a later segment follows that begins with `n` | continue there |
//! | 5 | a later segment follows that begins with another edit | damaged: a segment proves all edits before it |
//! | 6 | a valid frame, before or after, has a `synced` of `n` or more, or a snapshot holds edit `n` | damaged |
//! | 7 | a valid frame that begins with `n` comes later | damaged: the invalid frame is a mark, synced before that |
//! | 8 | the frame was written in full length: the last word of each of its sectors is not zero | damaged |
//! | 9 | anything else | torn tail: the end is `n - 1` |
//!
//! Row 8 assumes that a device writes sectors of 512 bytes in any order, but the words of a sector one after the other
//! (and mostly all or none of them). A segment is all zeros at first, so a torn frame lacks at least the last word of a
//! sector. A frame whose sectors all end with a word that is not zero (padding is not zero either) was written in full
//! and changed later.
//!
//! A known `last` may lie within a valid frame: a cut has taken away the edits after it (`partition::cut`). The frame
//! is then shortened to end with it.

use crate::encoding::frame::{BLOCK, FRAME_HEADER, Frame, FrameError, FrameHeader, padded};
use crate::ids::{DirectoryId, Lsn, StreamId};
use crate::planted::{Bug, is_planted};

/// Size in bytes of a sector; a device writes sectors in any order.
const SECTOR: usize = 512;
/// Size in bytes of a word; a device writes the words of a sector from first to last.
const WORD: usize = 8;

/// State of reading a stream: how far it was read, and what is proved about it.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    id: DirectoryId,
    stream: StreamId,
    last: Option<Lsn>,
    /// Lsn of the next edit.
    next: Lsn,
    /// Edits up to here are proved to have been synced.
    witnessed: Lsn,
    /// Edits up to here are proved to have been durable.
    durable: Lsn,
    /// Whether the frame of the next edit was found further on.
    goes_on: bool,
    sealed: bool,
}

/// What a step has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next frame.
    Frame(FrameHeader),
    /// The next frame, of which only the edits up to this one are kept.
    Cut(FrameHeader, Lsn),
    /// The stream has ended (rows 1 and 3).
    End,
    /// More bytes are needed to decide: this many, from the same place.
    NeedMore(usize),
    /// Not a frame that can come next.
    Bad(FrameError),
}

impl Scan {
    /// Begins with edit `next`; the segment that holds it proves that all edits before it were synced. Edits up to
    /// `floor` were durable.
    pub(super) fn new(id: DirectoryId, stream: StreamId, next: Lsn, last: Option<Lsn>, floor: Lsn) -> Self {
        let witnessed = floor.max(Lsn(next.0.saturating_sub(1)));
        Self { id, stream, last, next, witnessed, durable: floor, goes_on: false, sealed: false }
    }

    /// Lsn of the next edit.
    pub(super) fn next(&self) -> Lsn {
        self.next
    }

    /// Lsn up to which edits are proved to have been synced.
    pub(super) fn witnessed(&self) -> Lsn {
        self.witnessed
    }

    /// Lsn up to which edits cannot be cut off: the recorded end, or else what a frame or snapshot calls durable.
    pub(super) fn durable(&self) -> Lsn {
        self.last.unwrap_or(self.durable)
    }

    /// Whether the last frame read was the seal: the master closed the stream here.
    pub(super) fn sealed(&self) -> bool {
        self.sealed
    }

    /// Whether nothing more of the stream can follow.
    pub(super) fn has_ended(&self) -> bool {
        self.sealed || self.last.is_some_and(|last| self.next > last)
    }

    /// Examines `bytes`, which begin at a block of `segment`; moves past the frame there if it is the next one.
    pub(super) fn step(&mut self, segment: Lsn, bytes: &[u8]) -> Step {
        if self.has_ended() {
            return Step::End;
        }
        let header = match FrameHeader::parse(self.id, bytes) {
            Ok(header) => header,
            Err(FrameError::Short(bytes)) => return Step::NeedMore(bytes),
            Err(why) => return Step::Bad(why),
        };
        if (header.stream, header.segment, header.first) != (self.stream, segment, self.next) {
            return Step::Bad(FrameError::Meaningless);
        }
        self.witnessed = self.witnessed.max(header.synced);
        self.durable = self.durable.max(header.durable);
        if let Some(last) = self.last.filter(|last| header.count > 0 && header.last() > *last) {
            self.next = last.next();
            return Step::Cut(header, last);
        }
        self.next = header.last().next();
        self.sealed = header.seal;
        Step::Frame(header)
    }

    /// Searches for proof in `bytes`, which begin at a block somewhere after an invalid frame. `Ok` says how many bytes
    /// further the search continues; `Err` asks for that many bytes from the same place.
    pub(super) fn search(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        match Frame::parse(self.id, bytes) {
            Ok(frame) if frame.header.stream == self.stream => {
                self.witnessed = self.witnessed.max(frame.header.synced);
                self.goes_on |= frame.header.first == self.next;
                Ok(frame.header.padded_len())
            }
            Err(FrameError::Short(needed)) => Err(needed),
            _ => Ok(BLOCK),
        }
    }

    /// Rows 2 and 6 to 9: why the bytes where the next edit should be are damage, or `None` if they are a torn tail.
    /// `is_complete` is the result of [`is_complete`].
    pub(super) fn verdict(&self, is_complete: bool) -> Option<String> {
        let n = self.next;
        if let Some(last) = self.last {
            let (stream, found) = (self.stream, Lsn(n.0 - 1));
            return Some(format!(
                "stream {stream} ends with edit {found}, though it is known to have ended with {last}"
            ));
        }
        if self.witnessed >= n {
            let witnessed = self.witnessed;
            return Some(format!("edit {n} is missing, though edits up to {witnessed} are known to have been on disk"));
        }
        if is_planted(Bug::TornTailRefused) {
            return Some("a bug was planted".to_owned());
        }
        if self.goes_on {
            return Some(format!("the frame before edit {n} is damaged: a valid frame of edit {n} follows it"));
        }
        is_complete.then(|| format!("the frame of edit {n} was written in full, and changed later"))
    }
}

/// Row 8: whether the invalid frame at the start of `bytes`, of [`bad_frame_len`] bytes, shows no trace of being torn.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.chunks(SECTOR).all(|sector| sector.iter().rev().take(WORD).any(|b| *b != 0))
}

/// Length of the invalid frame that begins with `header`, with its padding; one sector if its header is damaged too or
/// claims more than `room` bytes.
pub(super) fn bad_frame_len(id: DirectoryId, header: &[u8; FRAME_HEADER], room: u64) -> usize {
    FrameHeader::claimed_len(id, header).map(padded).filter(|len| *len as u64 <= room).unwrap_or(SECTOR)
}
