//! The framing of messages and runs of log bytes on a connection.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `n`, the length of the body, little-endian |
//! | 4 | 4 | CRC32 of everything after this field: kind, zeros and body |
//! | 8 | 1 | kind: 1 = a message (a flatbuffer), 2 = bytes of the log as they stand on disk |
//! | 9 | 3 | zero |
//! | 12 | n | the body |
//!
//! A run of log bytes may begin and end anywhere in a frame: runs are a byte stream, and [`Inbox`] hands each out as it
//! arrives. An incomplete body is told apart from a wrong one, and its length is checked before a byte of it is
//! awaited. The buffer takes at most twice the bytes received so far, plus [`SPACE`].

const LENGTH: usize = 0;
const CRC: usize = LENGTH + 4;
const KIND: usize = CRC + 4;
/// Length of the header in bytes.
pub const HEADER: usize = KIND + 4;
const _: () = assert!(HEADER == 12);

const MESSAGE: u8 = 1;
const LOG: u8 = 2;

/// The kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`super::Message`].
    Message,
    /// Bytes of the log.
    Log,
}

/// Received bytes that no correct end sends. The connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header announces a body longer than allowed.
    #[error("a body of {length} bytes, more than the {limit} allowed here")]
    TooLong {
        /// Length of the body according to its header.
        length: usize,
        /// The longest body allowed.
        limit: usize,
    },
    /// The checksum is wrong.
    #[error("a wrong checksum")]
    Checksum,
    /// Neither a message nor log bytes.
    #[error("an unknown kind of body ({0})")]
    Kind(u8),
}

/// The header for `body`.
///
/// # Panics
/// If the body has 4 GiB or more; bodies are at most [`super::BODY_LIMIT`].
pub fn header(kind: Kind, body: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let length = u32::try_from(body.len()).expect("bodies are far shorter than 4 GiB");
    header[LENGTH..CRC].copy_from_slice(&length.to_le_bytes());
    header[KIND] = match kind {
        Kind::Message => MESSAGE,
        Kind::Log => LOG,
    };
    let crc = checksum(&header[KIND..], body);
    header[CRC..KIND].copy_from_slice(&crc.to_le_bytes());
    header
}

fn checksum(rest_of_header: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(rest_of_header);
    crc.update(body);
    crc.finalize()
}

/// Buffer of received bytes, from which whole bodies are taken. It lives as long as the connection, and allocates
/// nothing once it has grown.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Bytes before this index have been handed out.
    start: usize,
    /// Bytes from this index on are free space.
    end: usize,
}

/// Least space in bytes that is offered to a socket.
const SPACE: usize = 64 << 10;

impl Inbox {
    /// Space for bytes from a socket, never empty. The caller reports with [`Self::filled`] how many it wrote there.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let have = self.end - self.start;
        // The space grows with the bytes received, whatever length was announced.
        let wanted = self.pending_length().saturating_sub(have).min(have).max(SPACE);
        if self.bytes.len() - self.end < wanted {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let length = (self.end + wanted).max(self.bytes.len());
            self.bytes.resize(length, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Tells that the first `count` bytes of [`Self::space`] hold received bytes now.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Length of the header and body that begin at `start`; 0 while it is unknown. Not checked against a limit:
    /// [`Self::is_ready`] does that.
    fn pending_length(&self) -> usize {
        let length = self.bytes[self.start..self.end].first_chunk::<4>();
        length.map_or(0, |l| HEADER + u32::from_le_bytes(*l) as usize)
    }

    /// Whether the next body has been received as a whole.
    ///
    /// # Errors
    /// If the body is longer than `limit`.
    pub fn is_ready(&self, limit: usize) -> Result<bool, WireError> {
        let whole = self.pending_length();
        if whole > HEADER + limit {
            return Err(WireError::TooLong { length: whole - HEADER, limit });
        }
        Ok(whole > 0 && self.end - self.start >= whole)
    }

    /// Takes the next body, if it has been received as a whole.
    ///
    /// # Errors
    /// If the checksum or the kind is wrong, or the body is longer than `limit`.
    pub fn next(&mut self, limit: usize) -> Result<Option<(Kind, &[u8])>, WireError> {
        if !self.is_ready(limit)? {
            return Ok(None);
        }
        let whole = self.pending_length();
        let Some([_, _, _, _, crc @ .., kind, _, _, _]) = self.bytes[self.start..self.end].first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        let (crc, kind) = (u32::from_le_bytes(*crc), *kind);
        let (rest, body) = self.bytes[self.start + KIND..self.start + whole].split_at(HEADER - KIND);
        if checksum(rest, body) != crc {
            return Err(WireError::Checksum);
        }
        let kind = match kind {
            MESSAGE => Kind::Message,
            LOG => Kind::Log,
            other => return Err(WireError::Kind(other)),
        };
        self.start += whole;
        Ok(Some((kind, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bodies: &[(Kind, &[u8])]) -> Vec<u8> {
        bodies.iter().flat_map(|(kind, body)| [&header(*kind, body)[..], body].concat()).collect()
    }

    fn give(inbox: &mut Inbox, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = inbox.space();
            let count = bytes.len().min(space.len());
            space[..count].copy_from_slice(&bytes[..count]);
            inbox.filled(count);
            bytes = &bytes[count..];
        }
    }

    #[test]
    fn bodies_arrive_whole_wherever_the_bytes_are_split() {
        let bodies: [(Kind, &[u8]); 4] =
            [(Kind::Message, b"hello"), (Kind::Log, b""), (Kind::Log, &[7; 300]), (Kind::Message, b"x")];
        let bytes = encoded(&bodies);
        for at in 0..=bytes.len() {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for part in [&bytes[..at], &bytes[at..]] {
                give(&mut inbox, part);
                while let Some((kind, body)) = inbox.next(1000).unwrap() {
                    seen.push((kind, body.to_vec()));
                }
            }
            assert_eq!(seen, bodies.map(|(k, b)| (k, b.to_vec())), "split at {at}");
        }
    }

    #[test]
    fn large_bodies_byte_runs_and_small_ones_share_one_buffer() {
        let big = vec![3; 3 * SPACE];
        let bytes = encoded(&[(Kind::Log, &big), (Kind::Message, b"small"), (Kind::Log, &big)]);
        let mut inbox = Inbox::default();
        let mut lengths = Vec::new();
        for part in bytes.chunks(5000) {
            give(&mut inbox, part);
            while let Some((_, body)) = inbox.next(big.len()).unwrap() {
                lengths.push(body.len());
            }
        }
        assert_eq!(lengths, [big.len(), 5, big.len()]);
        assert!(inbox.bytes.len() < 3 * big.len(), "the buffer is reused");
    }

    #[test]
    fn every_flipped_byte_is_noticed_or_awaited() {
        let bytes = encoded(&[(Kind::Message, b"some words")]);
        for at in 0..bytes.len() {
            for flip in [1, 0x10, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let mut inbox = Inbox::default();
                give(&mut inbox, &damaged);
                // A longer length is still awaited; everything else is an error.
                assert!(!matches!(inbox.next(64), Ok(Some(_))), "byte {at} flipped with {flip}");
            }
        }
    }

    #[test]
    fn an_announced_length_takes_no_more_memory_than_what_has_come() {
        let mut inbox = Inbox::default();
        let whole = encoded(&[(Kind::Log, &vec![5; 8 << 20])]);
        let mut come = 0;
        for part in whole.chunks(10_000) {
            give(&mut inbox, part);
            come += part.len();
            inbox.space();
            assert!(inbox.bytes.len() <= 2 * come + 2 * SPACE, "{} bytes for {come}", inbox.bytes.len());
        }
        assert!(matches!(inbox.next(8 << 20), Ok(Some((Kind::Log, body))) if body.len() == 8 << 20));
    }

    #[test]
    fn a_huge_length_allocates_nothing() {
        let mut inbox = Inbox::default();
        give(&mut inbox, &[0xff; HEADER]);
        assert_eq!(inbox.next(64), Err(WireError::TooLong { length: u32::MAX as usize, limit: 64 }));
        assert!(inbox.bytes.len() <= SPACE);
    }
}
