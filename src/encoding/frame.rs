//! Frames: the unit in which edits are written to a log and sent to the checkpoint node.
//!
//! ```text
//! offset  bytes  what (integers are little-endian)
//!      0      4  magic "RBFR"
//!      4      4  CRC32 over the data directory's id, then over everything from offset 8 to the end of the body
//!      8      4  length of the body in bytes
//!     12      4  number of edits in the body
//!     16      4  epoch
//!     20      2  core
//!     22      2  flags: bit 0 = seal, the stream ends here in good order; the others are 0
//!     24      8  lsn of the first edit of the segment that the frame stands in
//!     32      8  lsn of the frame's first edit; of the edit to come, if the frame has none
//!     40      8  synced: every edit up to this lsn was on disk before the frame was written
//!     48      8  durable: every edit up to this lsn was, besides, safe from being cut off when the frame was written
//!     56      4  CRC32 over the data directory's id, then over bytes 8 to 55: only with this is the length believed
//!     60      …  body: the edits, as `encoding::edit` lays them out
//!             …  ones up to the next multiple of 4096 (not part of the frame)
//! ```
//!
//! Always: durable ≤ synced < first.
//!
//! A frame begins at a multiple of [`BLOCK`] in its file. One without edits is a *mark*: it only bears `synced` and
//! `durable`. The CRC covers where the frame belongs, so that a whole frame in the wrong place is no frame.

use crate::encoding::edit;
use crate::ids::{CoreId, DirectoryId, Epoch, Lsn, StreamId};
use crate::planted::{Bug, is_planted};

/// Alignment of frames, segment headers and writes, in bytes.
pub const BLOCK: usize = 4096;
/// Size of a frame's header in bytes.
pub const FRAME_HEADER: usize = HEADER_CRC + 4;
/// Maximum length of a frame's body in bytes: what Linux writes in one call, with some room for the header.
pub const MAX_BODY: usize = (2 << 30) - (64 << 10);

const MAGIC: [u8; 4] = *b"RBFR";
const CRC: usize = 4;
const BODY_LEN: usize = CRC + 4;
const COUNT: usize = BODY_LEN + 4;
const EPOCH: usize = COUNT + 4;
const CORE: usize = EPOCH + 4;
const FLAGS: usize = CORE + 2;
const SEGMENT: usize = FLAGS + 2;
const FIRST: usize = SEGMENT + 8;
const SYNCED: usize = FIRST + 8;
const DURABLE: usize = SYNCED + 8;
const HEADER_CRC: usize = DURABLE + 8;
const _: () = assert!(FRAME_HEADER == 60);

const SEAL: u16 = 1;
const PADDING: u8 = 0xff;
const MISCOUNTED: edit::EditError = edit::EditError::Meaningless("another number of edits than its frame says");

/// Contents of a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the body in bytes.
    pub body_len: u32,
    /// Number of edits in the body; 0 in a mark.
    pub count: u32,
    /// The stream that the frame belongs to.
    pub stream: StreamId,
    /// Whether the stream was closed in good order with this frame.
    pub seal: bool,
    /// First lsn of the segment that contains the frame.
    pub segment: Lsn,
    /// Lsn of the frame's first edit; in a mark, of the next edit.
    pub first: Lsn,
    /// Every edit up to this one was on disk when the frame was written.
    pub synced: Lsn,
    /// Every edit up to this one was durable when the frame was written: recovery never cuts the stream off before its
    /// end.
    pub durable: Lsn,
}

/// Error for bytes that are not a valid frame of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The magic number is missing.
    #[error("no frame begins here")]
    Magic,
    /// More bytes are needed to decide: this many in total.
    #[error("the frame's {0} bytes are cut off")]
    Short(usize),
    /// The header's checksum is wrong: it is damaged, or belongs to another data directory.
    #[error("checksum mismatch in the frame's header")]
    Header,
    /// The frame's checksum is wrong.
    #[error("checksum mismatch")]
    Checksum,
    /// The checksum is right, but no version of this program writes such a frame.
    #[error("impossible header")]
    Meaningless,
}

impl FrameHeader {
    /// Lsn of the frame's last edit; in a mark, of the last edit before it.
    pub const fn last(&self) -> Lsn {
        Lsn(self.first.0 + self.count as u64 - 1)
    }

    /// Length of header and body in bytes.
    pub const fn len(&self) -> usize {
        FRAME_HEADER + self.body_len as usize
    }

    /// Always false: a frame has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Bytes that the frame takes in its file: [`Self::len`] rounded up to whole blocks.
    pub const fn padded_len(&self) -> usize {
        padded(self.len())
    }

    /// Writes the header before the body that already stands in `frame` from [`FRAME_HEADER`] on, and padding after it.
    ///
    /// # Panics
    /// If `frame` is not exactly [`Self::padded_len`] long.
    pub fn write(&self, id: DirectoryId, frame: &mut [u8]) {
        assert_eq!(frame.len(), self.padded_len(), "a frame is written into exactly its blocks");
        self.put(id, &mut frame[..self.len()]);
        // Not zeros: a sector that ends with zeros may have been torn.
        frame[self.len()..].fill(PADDING);
    }

    /// Writes the header before the body in `frame`, which ends with it.
    fn put(&self, id: DirectoryId, frame: &mut [u8]) {
        frame[..CRC].copy_from_slice(&MAGIC);
        frame[BODY_LEN..COUNT].copy_from_slice(&self.body_len.to_le_bytes());
        frame[COUNT..EPOCH].copy_from_slice(&self.count.to_le_bytes());
        frame[EPOCH..CORE].copy_from_slice(&self.stream.epoch.0.to_le_bytes());
        frame[CORE..FLAGS].copy_from_slice(&self.stream.core.0.to_le_bytes());
        frame[FLAGS..SEGMENT].copy_from_slice(&(if self.seal { SEAL } else { 0 }).to_le_bytes());
        frame[SEGMENT..FIRST].copy_from_slice(&self.segment.0.to_le_bytes());
        frame[FIRST..SYNCED].copy_from_slice(&self.first.0.to_le_bytes());
        frame[SYNCED..DURABLE].copy_from_slice(&self.synced.0.to_le_bytes());
        frame[DURABLE..HEADER_CRC].copy_from_slice(&self.durable.0.to_le_bytes());
        let crc = checksum(id, &frame[BODY_LEN..HEADER_CRC]);
        frame[HEADER_CRC..FRAME_HEADER].copy_from_slice(&crc.to_le_bytes());
        let crc = checksum(id, &frame[BODY_LEN..]);
        frame[CRC..BODY_LEN].copy_from_slice(&crc.to_le_bytes());
    }

    /// Takes the edits after `last` out of the good frame at the start of `bytes`, and writes its header anew. Returns
    /// that header. What stands there then is a good frame that never had more edits. `last` must be one of its edits.
    ///
    /// # Errors
    /// If the body holds fewer edits than the header says.
    pub fn shorten(&self, id: DirectoryId, bytes: &mut [u8], last: Lsn) -> Result<Self, edit::EditError> {
        let count = u32::try_from(last.0 + 1 - self.first.0).expect("`last` is one of at most 2^32 edits");
        let mut body_len = 0;
        {
            let mut edits = edit::split(&bytes[FRAME_HEADER..self.len()]);
            for _ in 0..count {
                body_len += edit::LENGTH + edits.next().ok_or(MISCOUNTED)??.len();
            }
        }
        let shorter = Self { body_len: body_len as u32, count, ..*self };
        shorter.put(id, &mut bytes[..shorter.len()]);
        Ok(shorter)
    }

    /// Length of header and body claimed by `header`, if its checksum is right.
    pub fn claimed_len(id: DirectoryId, header: &[u8; FRAME_HEADER]) -> Option<usize> {
        let body_len = u32_at(header, BODY_LEN) as usize;
        let believed =
            header[..CRC] == MAGIC && checksum(id, &header[BODY_LEN..HEADER_CRC]) == u32_at(header, HEADER_CRC);
        (believed && body_len <= MAX_BODY).then_some(FRAME_HEADER + body_len)
    }

    /// Parses and verifies the frame at the start of `bytes`, and returns its header. `bytes` may continue after the
    /// frame.
    ///
    /// # Errors
    ///
    /// [`FrameError::Short`] if `bytes` may be the beginning of a frame; another error if it cannot be.
    pub fn parse(id: DirectoryId, bytes: &[u8]) -> Result<Self, FrameError> {
        let Some(header) = bytes.first_chunk::<FRAME_HEADER>() else { return Err(FrameError::Short(FRAME_HEADER)) };
        if header[..CRC] != MAGIC {
            return Err(FrameError::Magic);
        }
        let len = Self::claimed_len(id, header).ok_or(FrameError::Header)?;
        let body_len = (len - FRAME_HEADER) as u32;
        let Some(frame) = bytes.get(..len) else { return Err(FrameError::Short(len)) };
        if checksum(id, &frame[BODY_LEN..]) != u32_at(header, CRC) && !is_planted(Bug::ChecksumIgnored) {
            return Err(FrameError::Checksum);
        }
        let flags = u16_at(header, FLAGS);
        let parsed = Self {
            body_len,
            count: u32_at(header, COUNT),
            stream: StreamId::new(Epoch(u32_at(header, EPOCH)), CoreId(u16_at(header, CORE))),
            seal: flags & SEAL != 0,
            segment: Lsn(u64_at(header, SEGMENT)),
            first: Lsn(u64_at(header, FIRST)),
            synced: Lsn(u64_at(header, SYNCED)),
            durable: Lsn(u64_at(header, DURABLE)),
        };
        // An edit takes at least its length's 4 bytes, so these bounds also keep `last` from overflow.
        let counts_match = u64::from(parsed.count) * 4 <= u64::from(body_len) && (parsed.count == 0) == (body_len == 0);
        let in_order = parsed.segment.0 >= 1
            && parsed.segment <= parsed.first
            && parsed.durable <= parsed.synced
            && parsed.synced < parsed.first;
        let seal_is_mark = !parsed.seal || parsed.count == 0;
        let possible = counts_match && in_order && seal_is_mark && flags & !SEAL == 0 && parsed.first.is_possible();
        if possible { Ok(parsed) } else { Err(FrameError::Meaningless) }
    }
}

/// A frame whose checksum has been verified.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Contents of the header.
    pub header: FrameHeader,
    /// Header and body, as in the file, without the padding after them.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Parses and verifies the frame at the start of `bytes`, which may continue after it.
    ///
    /// # Errors
    /// As [`FrameHeader::parse`].
    pub fn parse(id: DirectoryId, bytes: &'a [u8]) -> Result<Self, FrameError> {
        let header = FrameHeader::parse(id, bytes)?;
        Ok(Self { header, bytes: &bytes[..header.len()] })
    }

    /// The encoded edits.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[FRAME_HEADER..]
    }

    /// The edits with their lsns; decode them with [`edit::Edit::decode`]. An `Err` ends the iteration. It also occurs
    /// if the number of edits differs from the header's, because the lsns that follow would then be wrong.
    pub fn edits(&self) -> impl Iterator<Item = Result<(Lsn, &'a [u8]), edit::EditError>> + use<'a> {
        let mut edits = edit::split(self.body());
        let mut lsns = (self.header.first.0..).take(self.header.count as usize).map(Lsn);
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let next = match (edits.next(), lsns.next()) {
                (Some(Ok(bytes)), Some(lsn)) => return Some(Ok((lsn, bytes))),
                (None, None) => None,
                (Some(Err(why)), _) => Some(Err(why)),
                (Some(_), None) | (None, Some(_)) => Some(Err(MISCOUNTED)),
            };
            ended = true;
            next
        })
    }
}

/// `len` rounded up to whole blocks.
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(BLOCK)
}

fn checksum(id: DirectoryId, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.0);
    hasher.update(bytes);
    hasher.finalize()
}

fn u16_at(header: &[u8; FRAME_HEADER], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

fn u32_at(header: &[u8; FRAME_HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn u64_at(header: &[u8; FRAME_HEADER], at: usize) -> u64 {
    u64::from(u32_at(header, at)) | u64::from(u32_at(header, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: DirectoryId = DirectoryId([7; 16]);

    fn sample(body: &[u8]) -> (FrameHeader, Vec<u8>) {
        let header = FrameHeader {
            body_len: body.len() as u32,
            count: (body.len() / 4) as u32,
            stream: StreamId::new(Epoch(3), CoreId(1)),
            seal: body.is_empty(),
            segment: Lsn(10),
            first: Lsn(20),
            synced: Lsn(19),
            durable: Lsn(17),
        };
        let mut frame = vec![0xee; header.padded_len()];
        frame[FRAME_HEADER..header.len()].copy_from_slice(body);
        header.write(ID, &mut frame);
        (header, frame)
    }

    #[test]
    fn what_is_written_is_parsed() {
        for body in [&b""[..], b"four", &[1; 5000]] {
            let (header, bytes) = sample(body);
            let frame = Frame::parse(ID, &bytes).unwrap();
            assert_eq!((frame.header, frame.body()), (header, body));
            assert!(bytes[header.len()..].iter().all(|b| *b == PADDING));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (header, bytes) = sample(&[1; 400]);
        for at in 0..header.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(FrameHeader::parse(ID, &damaged).is_err(), "bit {bit} of byte {at}");
            }
            assert!(matches!(FrameHeader::parse(ID, &bytes[..at]), Err(FrameError::Short(n)) if n > at));
        }
    }

    #[test]
    fn a_frame_of_more_or_fewer_edits_than_it_says_is_noticed() {
        // Three empty edits.
        let body = [0; 12];
        for count in 1..=3 {
            let (header, _) = sample(&body);
            let header = FrameHeader { count, ..header };
            let mut bytes = vec![0; header.padded_len()];
            bytes[FRAME_HEADER..header.len()].copy_from_slice(&body);
            header.write(ID, &mut bytes);
            let edits: Vec<_> = Frame::parse(ID, &bytes).unwrap().edits().collect();
            assert_eq!(edits.iter().filter(|edit| edit.is_ok()).count(), count as usize);
            assert_eq!(edits.iter().filter(|edit| edit.is_err()).count(), usize::from(count < 3));
        }
        let (header, _) = sample(&body);
        let frame = Frame {
            header: FrameHeader { count: 5, ..header },
            bytes: &[[0; FRAME_HEADER].as_slice(), &body].concat(),
        };
        assert_eq!(frame.edits().map(|edit| edit.is_ok()).collect::<Vec<_>>(), [true, true, true, false]);
    }

    #[test]
    fn a_shortened_frame_is_good_and_holds_the_edits_before_the_cut() {
        // Edits of 0, 1, 2 … bytes.
        let body: Vec<u8> =
            (0..5u32).flat_map(|n| [n.to_le_bytes().to_vec(), vec![n as u8; n as usize]].concat()).collect();
        let (header, bytes) = sample(&body);
        let header = FrameHeader { count: 5, ..header };
        for kept in 1..=5 {
            let mut shortened = bytes.clone();
            header.write(ID, &mut shortened);
            let shorter = header.shorten(ID, &mut shortened, Lsn(header.first.0 + kept - 1)).unwrap();
            let frame = Frame::parse(ID, &shortened).unwrap();
            assert_eq!(frame.header, shorter);
            assert_eq!(shorter, FrameHeader { count: kept as u32, body_len: shorter.body_len, ..header });
            let edits: Vec<_> = frame.edits().map(Result::unwrap).collect();
            let expected: Vec<_> = (0..kept as usize).map(|n| (Lsn(20 + n as u64), vec![n as u8; n])).collect();
            assert!(edits.iter().map(|(lsn, edit)| (*lsn, edit.to_vec())).eq(expected), "{kept}");
        }
        let more = FrameHeader { count: 6, ..header };
        let mut bytes = bytes;
        more.write(ID, &mut bytes);
        assert!(more.shorten(ID, &mut bytes, more.last()).is_err());
    }

    #[test]
    fn a_frame_that_calls_more_durable_than_synced_is_none() {
        for (synced, durable, is_possible) in [(19, 19, true), (20, 19, false), (18, 19, false)] {
            let (header, mut bytes) = sample(b"four");
            let header = FrameHeader { synced: Lsn(synced), durable: Lsn(durable), ..header };
            header.write(ID, &mut bytes);
            assert_eq!(FrameHeader::parse(ID, &bytes).is_ok(), is_possible, "{synced}, {durable}");
        }
    }

    #[test]
    fn a_frame_of_another_directory_is_none() {
        let (_, bytes) = sample(b"four");
        assert_eq!(FrameHeader::parse(DirectoryId([8; 16]), &bytes), Err(FrameError::Header));
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_else_is_looked_at() {
        let (_, mut bytes) = sample(b"four");
        bytes[BODY_LEN..COUNT].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(FrameHeader::parse(ID, &bytes), Err(FrameError::Header));
    }
}
