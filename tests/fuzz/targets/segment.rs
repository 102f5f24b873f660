//! Of a segment file, whatever became of it, only frames come out that were written, in order and without a gap; and no
//! end is found before an edit that a frame in it knows to have been durable.
//!
//! Input: numbers that say what is written: the segment's header, frames that are right, frames that bear a right
//! checksum and nothing else, damage.

use arbitrary::{Result, Unstructured};
use rollbook::encoding::edit::EncodedEdits;
use rollbook::encoding::frame::{BLOCK, FRAME_HEADER, FrameHeader};
use rollbook::ids::{CoreId, DirectoryId, Epoch, Lsn, StreamId};
use rollbook::storage::log::segment::SegmentHeader;
use rollbook::storage::{StorageError, StreamEnd, StreamReader};

use super::file::Memory;
use super::model::Generator;
use super::small::partition;

const ID: DirectoryId = DirectoryId([7; 16]);
const STREAM: StreamId = StreamId::new(Epoch(2), CoreId(1));
/// Blocks that a file has at most.
const BLOCKS: usize = 64;

/// Writes a file and reads it.
pub fn run(data: &[u8]) {
    // What is not said is zero, so there is nothing that cannot be written.
    let Ok(written) = Written::new(&mut Unstructured::new(data)) else { return };
    let file = Memory::holding(&written.file);
    let Ok((mut reader, header)) = StreamReader::open_file(&file.path()) else {
        assert!(written.damaged, "a good file is refused");
        return;
    };
    let mut next = header.first;
    let end = loop {
        match reader.next() {
            Ok(Some(frame)) => {
                let place = written.frames.iter().find(|(_, bytes)| *bytes == frame.bytes);
                assert!(place.is_some(), "frame {:?} was never written", frame.header);
                assert_eq!(frame.header.first, next, "a gap");
                next = frame.header.last().next();
                let edits = frame.edits().filter(|edit| edit.is_ok()).count();
                assert!(
                    edits == frame.header.count as usize || frame.edits().any(|edit| edit.is_err()),
                    "edits are lost"
                );
            }
            Ok(None) => break Ok(reader.end().expect("a stream that was read has an end").clone()),
            Err(error) => break Err(error),
        }
    };
    written.judge(next, end);
}

/// A segment file in the making.
struct Written {
    file: Vec<u8>,
    header: SegmentHeader,
    /// Where each frame was put, and its bytes.
    frames: Vec<(usize, Vec<u8>)>,
    /// Something else than frames in order was written.
    damaged: bool,
}

impl Written {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let blocks = input.int_in_range(3..=BLOCKS)?;
        let first = Lsn(1 + u64::from(input.arbitrary::<u8>()?));
        let header = SegmentHeader { stream: STREAM, first, previous: Lsn(0), bytes: (blocks * BLOCK) as u64 };
        let mut written = Self { file: vec![0; blocks * BLOCK], header, frames: Vec::new(), damaged: false };
        let block = written.file.first_chunk_mut::<BLOCK>().expect("a file has a block");
        header.write(ID, block);
        let (mut at, mut next, mut synced) = (BLOCK, first, 0);
        while !input.is_empty() && at < written.file.len() {
            let body = body(input)?;
            let (bytes, count) = (body.as_bytes(), body.count());
            let mut header = FrameHeader {
                body_len: bytes.len() as u32,
                count,
                stream: STREAM,
                seal: false,
                segment: first,
                first: next,
                synced: Lsn(synced),
                // What is durable lags behind, now and then.
                durable: Lsn(synced.saturating_sub(next.0 % 3)),
            };
            match input.int_in_range(0..=9u8)? {
                // What was written before is synced by now, or some of it.
                0..=5 => synced = next.0 - 1 - u64::from(input.arbitrary::<u8>()? % 4).min(next.0 - 1),
                6 => header.seal = count == 0,
                7 => written.forge(&mut header, input)?,
                8 => {
                    at += BLOCK;
                    written.damaged = true;
                    continue;
                }
                _ => {
                    let (place, bits) = (input.arbitrary::<u16>()?, input.arbitrary::<u8>()?);
                    let place = usize::from(place) * 8 % at;
                    written.file[place] ^= bits;
                    written.damaged = true;
                    continue;
                }
            }
            let Some(place) = written.file.get_mut(at..at + header.padded_len()) else { break };
            place[FRAME_HEADER..header.len()].copy_from_slice(bytes);
            header.write(ID, place);
            written.frames.push((at, place[..header.len()].to_vec()));
            at += header.padded_len();
            next = Lsn(next.0 + u64::from(count));
            if header.seal && !input.is_empty() {
                written.damaged = true;
            }
        }
        Ok(written)
    }

    /// Makes a header say something else than is so.
    fn forge(&mut self, header: &mut FrameHeader, input: &mut Unstructured<'_>) -> Result<()> {
        self.damaged = true;
        let value = input.arbitrary::<u64>()?;
        match input.int_in_range(0..=6u8)? {
            0 => header.first = Lsn(value),
            1 if value % 2 == 0 => header.durable = Lsn(value),
            1 => header.synced = Lsn(value),
            2 => header.segment = Lsn(value),
            3 => header.count = value as u32,
            4 => header.stream.epoch = Epoch(value as u32),
            5 => header.stream.core = CoreId(value as u16),
            _ => header.seal = true,
        }
        Ok(())
    }

    /// `next` is the edit after the last that came out.
    fn judge(&self, next: Lsn, end: Result<StreamEnd, StorageError>) {
        let end = match end {
            Ok(end) => end,
            Err(StorageError::Corrupt(_)) if self.damaged => return,
            Err(error) => panic!("a good file: {error}"),
        };
        assert_eq!(end.last.next(), next, "the end is not where the frames end");
        if !self.damaged {
            assert_eq!(end.torn, None, "something is cut off a good file");
            let last = self.frames.last().map(|(_, bytes)| FrameHeader::parse(ID, bytes).expect("a good frame"));
            assert_eq!(last.map_or(self.header.first, |last| last.last().next()), next, "frames are lost");
        }
        if end.sealed {
            return;
        }
        for (at, bytes) in &self.frames {
            let is_there = self.file[*at..].starts_with(bytes);
            if let (true, Ok(header)) = (is_there, FrameHeader::parse(ID, bytes))
                && header.stream == STREAM
            {
                assert!(header.synced < next, "{header:?} knows of more than the {} edits that came out", end.last);
            }
        }
    }
}

/// Edits of a frame.
fn body(input: &mut Unstructured<'_>) -> Result<EncodedEdits> {
    let (count, seed) = (input.int_in_range(0..=6u8)?, input.arbitrary::<u16>()?);
    let mut edits = EncodedEdits::new();
    let mut generator = Generator::new(seed.into());
    for _ in 0..count {
        let edit = generator.edit();
        edits.push(partition(&edit), &edit);
    }
    Ok(edits)
}
