//! One snapshot on its way in: a state machine of offsets, so that an upload can be cut anywhere, repeated and resumed.
//! Pure.
//!
//! Always: `have` ≤ `bytes`; what is on disk before `have` came in order; nothing is installed before all of it is here
//! and the whole file has been read again and verified.

use crate::replication::protocol::Offer;

/// What to do with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write its bytes from this one on at the end of the file.
    Write {
        /// So many of its first bytes are here already.
        skip: usize,
        /// The file is then complete.
        complete: bool,
    },
    /// All of it is here already.
    Repeated,
    /// Bytes before it are missing, or it goes on beyond the end: the node must be told where to go on.
    OutOfPlace,
}

/// An upload under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    offer: Offer,
    have: u64,
}

impl Intake {
    /// `offer` is accepted, and a file with `have` bytes of it is here from an earlier attempt. Returns also where the
    /// node is to go on: at the beginning if the file is longer than what is offered, for then it cannot be of it.
    pub const fn new(offer: Offer, have: u64) -> (Self, u64) {
        let have = if have > offer.bytes { 0 } else { have };
        (Self { offer, have }, have)
    }

    /// So many bytes are here.
    pub const fn have(&self) -> u64 {
        self.have
    }

    /// Whether all of it is here.
    pub const fn is_complete(&self) -> bool {
        self.have == self.offer.bytes
    }

    /// A chunk of `length` bytes has come for `offset`. After a [`Step::Write`] its bytes count as here.
    pub fn chunk(&mut self, offset: u64, length: usize) -> Step {
        let Some(end) = offset.checked_add(length as u64).filter(|end| *end <= self.offer.bytes) else {
            return Step::OutOfPlace;
        };
        if offset > self.have {
            return Step::OutOfPlace;
        }
        if end <= self.have {
            return Step::Repeated;
        }
        // `offset` ≤ `have` < `end`, so this fits in the chunk's length.
        let skip = (self.have - offset) as usize;
        self.have = end;
        Step::Write { skip, complete: self.is_complete() }
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
                            Step::Write { skip, complete } => {
                                let from = *offset as usize;
                                file.extend_from_slice(&content[from + skip..from + length]);
                                assert_eq!(complete, file.len() == 10);
                            }
                            Step::Repeated => assert!(*offset as usize + length <= file.len()),
                            Step::OutOfPlace => {
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
        assert_eq!(intake.chunk(u64::MAX, 2), Step::OutOfPlace);
        assert_eq!(Intake::new(OFFER, 11).1, 0, "what is too long is not of this snapshot");
    }
}
