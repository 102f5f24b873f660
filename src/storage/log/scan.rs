//! Decides where a stream ends. Pure: it is shown bytes and says what they mean.
//!
//! A frame that is not good, where edit `n` should stand, is either what a crash left of a commit that nobody was told
//! of (a *torn tail*: ignore it) or an edit that was once synced and is damaged (refuse). First row that fits:
//!
//! | | found | then |
//! |---|---|---|
//! | 1 | the stream's `last` is known, and is before `n` | the end, whatever stands here |
//! | 2 | the stream's `last` is known, and is not before `n` | damaged |
//! | 3 | a seal came before | the end |
//! | 4 | a later segment follows that begins with `n` | go on there |
//! | 5 | a later segment follows that begins elsewhere | damaged: a segment is proof of all edits before it |
//! | 6 | anything valid, before or after, bears a `synced` of `n` or more, or a snapshot does | damaged |
//! | 7 | a valid frame that begins with `n` stands further on | damaged: what is bad is a mark, synced before |
//! | 8 | the frame is there in full length: none of its sectors ends as empty as it was before it was written | damaged |
//! | 9 | anything else | torn tail: the end is `n - 1` |
//!
//! Row 8 rests on this: a device writes sectors of 512 bytes in any order, but the words of a sector one after the
//! other (and mostly all or none of them), and a segment is all zeros before. Something torn therefore lacks at least
//! the last word of a sector; a frame whose sectors all end with something, as its padding does, was written in full,
//! and then changed.
//!
//! A known `last` may stand within a good frame: a cut has taken away the edits after it (`partition::cut`). The frame
//! then ends with it.

use crate::encoding::frame::{BLOCK, FRAME_HEADER, Frame, FrameError, FrameHeader, padded};
use crate::ids::{DirectoryId, Lsn, StreamId};
use crate::planted::{Bug, is_planted};

/// The unit that a device writes in any order, in bytes.
const SECTOR: usize = 512;
/// The unit of which a device writes the first of a sector first, in bytes.
const WORD: usize = 8;

/// How far a stream has been read.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    id: DirectoryId,
    stream: StreamId,
    last: Option<Lsn>,
    /// Lsn of the edit that comes next.
    next: Lsn,
    /// Edits up to here were synced once.
    witnessed: Lsn,
    /// Edits up to here were durable once.
    durable: Lsn,
    /// The frame of the next edit was found further on.
    goes_on: bool,
    sealed: bool,
}

/// What stands at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The frame that comes next.
    Frame(FrameHeader),
    /// The frame that comes next, of which only the edits up to this one are kept.
    Cut(FrameHeader, Lsn),
    /// The stream has ended (rows 1 and 3).
    End,
    /// To tell, this many bytes are needed.
    NeedMore(usize),
    /// No frame that could come next.
    Bad(FrameError),
}

impl Scan {
    /// From edit `next` on; the segment that it stands in is proof that all edits before it were synced. Edits up to
    /// `floor` were durable.
    pub(super) fn new(id: DirectoryId, stream: StreamId, next: Lsn, last: Option<Lsn>, floor: Lsn) -> Self {
        let witnessed = floor.max(Lsn(next.0.saturating_sub(1)));
        Self { id, stream, last, next, witnessed, durable: floor, goes_on: false, sealed: false }
    }

    /// Lsn of the edit that comes next.
    pub(super) fn next(&self) -> Lsn {
        self.next
    }

    /// Edits up to here are proven to have been synced.
    pub(super) fn witnessed(&self) -> Lsn {
        self.witnessed
    }

    /// No cut can take away an edit up to here: all up to the known end, or else those that something calls durable.
    pub(super) fn durable(&self) -> Lsn {
        self.last.unwrap_or(self.durable)
    }

    /// Whether the master closed the stream here.
    pub(super) fn sealed(&self) -> bool {
        self.sealed
    }

    /// Whether nothing of the stream can follow.
    pub(super) fn has_ended(&self) -> bool {
        self.sealed || self.last.is_some_and(|last| self.next > last)
    }

    /// Looks at `bytes`, which begin at a block of `segment`, and goes on over the frame there if it is the next.
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

    /// Looks for proof in `bytes`, which begin at a block somewhere after a bad frame. `NeedMore` asks for more bytes
    /// from the same place; otherwise the search goes on `Ok` bytes further.
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

    /// Rows 2 and 6 to 9: why what stands where the next edit should is damage, or `None` if it is a torn tail.
    /// `is_complete` is what [`is_complete`] says of it.
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
            return Some(format!("what stands before edit {n} is not what was written"));
        }
        is_complete.then(|| format!("the frame of edit {n} was written in full, but is not what was written"))
    }
}

/// Row 8: whether the bad frame at the start of `bytes` shows no trace of being torn. Needs [`bad_frame_len`] bytes.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.chunks(SECTOR).all(|sector| sector.iter().rev().take(WORD).any(|b| *b != 0))
}

/// How long the bad frame that begins with `header` is, with its padding. One sector, if its header is not what was
/// written.
pub(super) fn bad_frame_len(id: DirectoryId, header: &[u8; FRAME_HEADER], room: u64) -> usize {
    FrameHeader::claimed_len(id, header).map(padded).filter(|len| *len as u64 <= room).unwrap_or(SECTOR)
}
