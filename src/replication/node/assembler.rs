//! Puts a stream's frames together from runs of log bytes, and hands them out in order without gaps. Pure.
//!
//! Always: every edit up to `applied` was handed out, in order. A gap, a frame of another stream or a wrong checksum is
//! an error that ends the session; the next one follows the stream from the node's position.

use crate::encoding::frame::{Frame, FrameError};
use crate::ids::{DirectoryId, Lsn, StreamId};

/// Why the received bytes do not continue the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The bytes are not a frame of the data directory.
    #[error("a bad frame after edit {after}: {why}")]
    Frame {
        /// The last edit before the bad frame.
        after: Lsn,
        /// What is wrong with the frame.
        why: FrameError,
    },
    /// The frame is of another stream.
    #[error("a frame of stream {found} instead of {wanted}")]
    Foreign {
        /// The frame's stream.
        found: StreamId,
        /// The stream that is followed.
        wanted: StreamId,
    },
    /// Edits are missing.
    #[error("edits {from} to {to} are missing")]
    Gap {
        /// The first missing edit.
        from: Lsn,
        /// The last missing edit.
        to: Lsn,
    },
}

/// Collects runs of log bytes and yields frames.
pub struct Assembler {
    id: DirectoryId,
    stream: StreamId,
    /// The last edit that was handed out; at first, the edit before the first one wanted.
    applied: Lsn,
    bytes: Vec<u8>,
    start: usize,
    /// Number of bytes before which the next frame cannot be parsed; 0 while that is unknown.
    awaited: usize,
}

impl Assembler {
    /// An assembler for `stream` of the data directory `id`, of which the edits from `from` on are wanted.
    pub const fn new(id: DirectoryId, stream: StreamId, from: Lsn) -> Self {
        Self { id, stream, applied: Lsn(from.0.saturating_sub(1)), bytes: Vec::new(), start: 0, awaited: 0 }
    }

    /// Adds a received run.
    pub fn push(&mut self, run: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(run);
    }

    /// Takes the next whole frame that holds an edit not handed out yet; the edits at its beginning may be repeated
    /// ones. Skips frames without such an edit.
    ///
    /// # Errors
    /// If the received bytes do not continue the stream.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, StreamError> {
        loop {
            if self.bytes.len() - self.start < self.awaited.max(1) {
                return Ok(None);
            }
            // The header alone decides what to do with the frame.
            let header = match crate::encoding::frame::FrameHeader::parse(self.id, &self.bytes[self.start..]) {
                Ok(header) => header,
                Err(FrameError::Short(awaited)) => {
                    self.awaited = awaited;
                    return Ok(None);
                }
                Err(why) => return Err(StreamError::Frame { after: self.applied, why }),
            };
            if header.stream != self.stream {
                return Err(StreamError::Foreign { found: header.stream, wanted: self.stream });
            }
            if header.first > self.applied.next() {
                return Err(StreamError::Gap { from: self.applied.next(), to: Lsn(header.first.0 - 1) });
            }
            let at = self.start;
            self.start += header.len();
            self.awaited = 0;
            if header.last() > self.applied {
                self.applied = header.last();
                return Ok(Some(Frame { header, bytes: &self.bytes[at..at + header.len()] }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::edit::{Edit, EncodedEdits};
    use crate::encoding::frame::{FRAME_HEADER, FrameHeader};
    use crate::ids::{CoreId, Db, Epoch, PartitionId};

    const ID: DirectoryId = DirectoryId([7; 16]);
    const STREAM: StreamId = StreamId::new(Epoch(2), CoreId(1));

    fn frame(stream: StreamId, first: u64, count: u32) -> Vec<u8> {
        let mut edits = EncodedEdits::new();
        for _ in 0..count {
            edits.push(PartitionId(1), &Edit::Flush { partition: PartitionId(1), db: Db(0) });
        }
        let body_len = edits.as_bytes().len() as u32;
        let (segment, first, before) = (Lsn(1), Lsn(first), Lsn(first - 1));
        let (synced, durable) = (before, before);
        let header = FrameHeader { body_len, count, stream, seal: false, segment, first, synced, durable };
        let mut bytes = vec![0; header.padded_len()];
        bytes[FRAME_HEADER..header.len()].copy_from_slice(edits.as_bytes());
        header.write(ID, &mut bytes);
        bytes.truncate(header.len());
        bytes
    }

    fn frames(parts: &[(u64, u32)]) -> Vec<u8> {
        parts.iter().flat_map(|(first, count)| frame(STREAM, *first, *count)).collect()
    }

    fn collect(assembler: &mut Assembler) -> Result<Vec<(u64, u64)>, StreamError> {
        let mut seen = Vec::new();
        while let Some(frame) = assembler.next()? {
            assert_eq!(frame.edits().count(), frame.header.count as usize);
            seen.push((frame.header.first.0, frame.header.last().0));
        }
        Ok(seen)
    }

    #[test]
    fn frames_come_out_whole_wherever_the_runs_are_cut() {
        let bytes = frames(&[(5, 2), (7, 1), (8, 0), (8, 3)]);
        for at in 0..=bytes.len() {
            let mut assembler = Assembler::new(ID, STREAM, Lsn(6));
            let mut seen = Vec::new();
            for run in [&bytes[..at], &[], &bytes[at..]] {
                assembler.push(run);
                seen.extend(collect(&mut assembler).unwrap());
            }
            assert_eq!(seen, [(5, 6), (7, 7), (8, 10)], "cut at {at}");
            assert_eq!(assembler.applied, Lsn(10));
        }
    }

    #[test]
    fn repeated_frames_are_passed_over_and_gaps_are_not() {
        let mut assembler = Assembler::new(ID, STREAM, Lsn(1));
        assembler.push(&frames(&[(1, 3), (1, 3), (2, 1), (3, 2)]));
        assert_eq!(collect(&mut assembler).unwrap(), [(1, 3), (3, 4)]);
        assembler.push(&frames(&[(6, 1)]));
        assert_eq!(collect(&mut assembler), Err(StreamError::Gap { from: Lsn(5), to: Lsn(5) }));
    }

    #[test]
    fn another_streams_frame_and_damage_end_the_stream() {
        let other = StreamId::new(Epoch(1), CoreId(1));
        let mut assembler = Assembler::new(ID, STREAM, Lsn(1));
        assembler.push(&frame(other, 1, 1));
        assert_eq!(collect(&mut assembler), Err(StreamError::Foreign { found: other, wanted: STREAM }));
        let good = frames(&[(1, 1), (2, 1)]);
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x20;
            let mut assembler = Assembler::new(ID, STREAM, Lsn(1));
            assembler.push(&damaged);
            // With a larger length the assembler may wait for more bytes; a damaged frame is never handed out.
            let seen = collect(&mut assembler);
            assert!(seen.is_err() || seen.is_ok_and(|s| s.len() < 2), "byte {at}");
        }
    }
}
