//! The offsets of one upload, as a state machine: an upload can break off anywhere, be repeated and be resumed. Pure.
//!
//! Always: `have` ≤ `bytes`; the file's bytes before `have` were written in order; nothing is installed before the file
//! is complete and has been read again and verified.

use crate::replication::protocol::Offer;

/// What to do with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkAction {
    /// Write the chunk's bytes after the first `skip` at the end of the file.
    Write {
        /// Number of the chunk's first bytes that the file has already.
        skip: usize,
        /// Whether the file is complete with this chunk.
        complete: bool,
    },
    /// The file has all of the chunk's bytes already.
    Repeated,
    /// Bytes before the chunk are missing, or the chunk reaches beyond the end: the node must be told where to go on.
    OutOfPlace,
}

/// How much of an offered snapshot has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    offer: Offer,
    have: u64,
}

impl Intake {
    /// Begins to take in `offer`, of which a file of `have` bytes is left from an earlier attempt. Also returns the
    /// offset from which the node must send. That is 0 if the file is longer than the snapshot: then it is not part of
    /// it.
    pub const fn new(offer: Offer, have: u64) -> (Self, u64) {
        let have = if have > offer.bytes { 0 } else { have };
        (Self { offer, have }, have)
    }

    /// Number of bytes received so far.
    pub const fn have(&self) -> u64 {
        self.have
    }

    /// Whether all bytes have been received.
    pub const fn is_complete(&self) -> bool {
        self.have == self.offer.bytes
    }

    /// Decides what to do with a chunk of `length` bytes at `offset`. After a [`ChunkAction::Write`] its bytes count as
    /// received.
    pub fn chunk(&mut self, offset: u64, length: usize) -> ChunkAction {
        let Some(end) = offset.checked_add(length as u64).filter(|end| *end <= self.offer.bytes) else {
            return ChunkAction::OutOfPlace;
        };
        if offset > self.have {
            return ChunkAction::OutOfPlace;
        }
        if end <= self.have {
            return ChunkAction::Repeated;
        }
        // `offset` ≤ `have` < `end`, so this fits in the chunk's length.
        let skip = (self.have - offset) as usize;
        self.have = end;
        ChunkAction::Write { skip, complete: self.is_complete() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PartitionId, Position};

    const OFFER: Offer = Offer { partition: PartitionId(0), position: Position::START, bytes: 10, crc32: 0 };

    #[test]
    fn every_sequence_of_chunks_writes_each_byte_once_and_in_order() {
        let content: Vec<u8> = (0..10).collect();
        let chunks: Vec<(u64, usize)> = (0..12).flat_map(|o| [0, 1, 4, 10].map(|l| (o, l))).collect();
        for have in 0..=11 {
            for first in &chunks {
                for second in &chunks {
                    let (mut intake, resume) = Intake::new(OFFER, have);
                    let mut file = content[..resume as usize].to_vec();
                    for (offset, length) in [first, second, &(0, 10)] {
                        match intake.chunk(*offset, *length) {
                            ChunkAction::Write { skip, complete } => {
                                let from = *offset as usize;
                                file.extend_from_slice(&content[from + skip..from + length]);
                                assert_eq!(complete, file.len() == 10);
                            }
                            ChunkAction::Repeated => assert!(*offset as usize + length <= file.len()),
                            ChunkAction::OutOfPlace => {
                                assert!(*offset as usize > file.len() || *offset as usize + length > 10);
                            }
                        }
                        assert_eq!(file, content[..file.len()]);
                    }
                    assert!(intake.is_complete(), "the last chunk held everything");
                }
            }
        }
    }

    #[test]
    fn offsets_near_the_end_of_the_numbers_are_out_of_place() {
        let (mut intake, _) = Intake::new(OFFER, 0);
        assert_eq!(intake.chunk(u64::MAX, 2), ChunkAction::OutOfPlace);
        assert_eq!(Intake::new(OFFER, 11).1, 0, "what is too long is not of this snapshot");
    }
}
