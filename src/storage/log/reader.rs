//! Reads a stream from its segment files, for recovery.
//!
//! Readers observe, callers act: a reader yields frames and says where they stop being valid, and changes nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::extent::{StreamEnd, StreamSpec};
use super::read_ahead::{Batch, ReadAhead, Sent};
use super::segment::SegmentHeader;
use super::segments;
use crate::encoding::frame::{Frame, FrameHeader};
use crate::ids::{DirectoryId, Lsn};
use crate::storage::error::Context;
use crate::storage::files::AlignedBuf;
use crate::storage::{Files, OsFiles, StorageError};

/// How long to wait for the locks of a killed process.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Number of batches that are read before they are asked for.
const AHEAD: usize = 2;

/// Reads the frames of one stream in order, with a thread that reads and verifies ahead. Blocks, so it is not for a
/// core that serves.
pub struct StreamReader {
    id: DirectoryId,
    source: Source,
    used: Option<SyncSender<AlignedBuf>>,
    batch: Option<Batch>,
    at: usize,
    end: Option<StreamEnd>,
}

/// Where batches come from.
enum Source {
    /// A thread that reads a few batches ahead.
    Thread(Receiver<Sent>, JoinHandle<()>),
    /// A queue: all batches were read in advance.
    Read(VecDeque<Sent>),
    /// Nothing: there are no more batches.
    Dry,
}

impl Source {
    fn next(&mut self) -> Option<Sent> {
        match self {
            Self::Thread(batches, _) => batches.recv().ok(),
            Self::Read(batches) => batches.pop_front(),
            Self::Dry => None,
        }
    }
}

impl StreamReader {
    /// Opens the stream from the frame that holds edit `from` on (the frame may begin earlier).
    ///
    /// Waits up to 10 s for each lock on the segments of a stream without a recorded end: the last writes of a killed
    /// process can land after its death.
    ///
    /// # Errors
    /// If segments are missing or still locked, or the disk fails.
    pub fn open(spec: &StreamSpec, from: Lsn) -> Result<Self, StorageError> {
        Self::open_in(&OsFiles, spec, from)
    }

    /// As [`Self::open`], on any [`Files`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in<F: Files>(files: &F, spec: &StreamSpec, from: Lsn) -> Result<Self, StorageError> {
        let patience = Some(LOCK_PATIENCE).filter(|_| spec.last.is_none());
        Self::start(files, spec, from, segments::plan(files, spec, from)?, patience)
    }

    /// As [`Self::open`], without waiting for locks: for inspecting the files of a master that may be running.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_unlocked(spec: &StreamSpec, from: Lsn) -> Result<Self, StorageError> {
        Self::start(&OsFiles, spec, from, segments::plan(&OsFiles, spec, from)?, None)
    }

    /// Opens a single segment file, of any stream of any data directory, without waiting for locks.
    ///
    /// # Errors
    /// If its header is damaged, or the disk fails.
    pub fn open_file(path: &Path) -> Result<(Self, SegmentHeader), StorageError> {
        let (id, header) = segments::identify(&OsFiles, path)?;
        let spec = StreamSpec {
            dir: path.to_owned(),
            id,
            stream: header.stream,
            first: header.first,
            last: None,
            floor: Lsn(0),
        };
        let files = vec![(header.first, path.to_owned())];
        Ok((Self::start(&OsFiles, &spec, header.first, files, None)?, header))
    }

    fn start<F: Files>(
        files: &F,
        spec: &StreamSpec,
        from: Lsn,
        segments: Vec<(Lsn, PathBuf)>,
        patience: Option<Duration>,
    ) -> Result<Self, StorageError> {
        let (used, reuse) = sync_channel(AHEAD + 2);
        let ahead = ReadAhead::open(files, spec, from, segments, patience, reuse)?;
        let source = if F::READS_AHEAD {
            let (send, batches) = sync_channel(AHEAD);
            let run = move || ahead.run(|sent| send.send(sent).is_ok());
            let thread = std::thread::Builder::new().name("read-ahead".into()).spawn(run);
            Source::Thread(batches, thread.context(&spec.dir, "cannot start a thread to read")?)
        } else {
            let mut batches = VecDeque::new();
            ahead.run(|sent| {
                batches.push_back(sent);
                true
            });
            Source::Read(batches)
        };
        Ok(Self { id: spec.id, source, used: Some(used), batch: None, at: 0, end: None })
    }

    /// Returns the next frame with edits; `None` at the end. Marks are skipped.
    ///
    /// # Errors
    /// If the stream is damaged ([`StorageError::Corrupt`]), or the disk fails.
    #[expect(clippy::should_implement_trait, reason = "the frame borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, StorageError> {
        self.advance(|header| header.count > 0)
    }

    /// Returns the next frame with edits, if all of them are durable. `None` at the end, or if a cut can take away
    /// edits from here on; [`Self::next`] then continues with these.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_durable(&mut self) -> Result<Option<Frame<'_>>, StorageError> {
        // A frame that is not durable is found here and given back below.
        let found = self.advance(|header| header.count > 0)?.map(|frame| frame.header.last());
        let durable = self.batch.as_ref().map_or(Lsn(0), |batch| batch.durable);
        match found {
            Some(last) if last > durable => {
                self.at -= 1;
                Ok(None)
            }
            Some(_) => Ok(self.current()),
            None => Ok(None),
        }
    }

    /// Returns the next frame, whether it has edits or is a mark; `None` at the end.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_with_marks(&mut self) -> Result<Option<Frame<'_>>, StorageError> {
        self.advance(|_| true)
    }

    fn advance(&mut self, wanted: impl Fn(&FrameHeader) -> bool) -> Result<Option<Frame<'_>>, StorageError> {
        loop {
            let frames = self.batch.as_ref().map_or(&[][..], |b| &b.frames);
            if let Some(skip) = frames.get(self.at..).and_then(|rest| rest.iter().position(|(h, _)| wanted(h))) {
                self.at += skip + 1;
                return Ok(self.current());
            }
            if !self.next_batch()? {
                return Ok(None);
            }
        }
    }

    fn current(&self) -> Option<Frame<'_>> {
        let batch = self.batch.as_ref()?;
        let (header, start) = *batch.frames.get(self.at.checked_sub(1)?)?;
        Some(Frame { header, bytes: batch.memory.bytes().get(start..start + header.len())? })
    }

    /// Makes the next batch the current one. Returns whether there is one.
    fn next_batch(&mut self) -> Result<bool, StorageError> {
        if let (Some(batch), Some(used)) = (self.batch.take(), &self.used) {
            // If the thread that reads ahead does not take the memory back, it is freed.
            let _ = used.try_send(batch.memory);
        }
        self.at = 0;
        match self.source.next() {
            Some(Sent::Batch(batch)) => {
                self.batch = Some(batch);
                return Ok(true);
            }
            Some(Sent::End(end)) => self.end = Some(end),
            Some(Sent::Failed(error)) => return Err(error),
            None if self.end.is_none() => {
                let source = std::io::Error::other("the thread that reads ahead is gone");
                return Err(StorageError::Io { path: PathBuf::new(), what: "cannot read", source });
            }
            _ => {}
        }
        Ok(false)
    }

    /// Where the stream ends; known once [`Self::next`] has returned `None`.
    pub fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }

    /// The file of the last frame returned, and the frame's offset there.
    pub fn place(&self) -> Option<(&Path, u64)> {
        let batch = self.batch.as_ref()?;
        let (_, start) = batch.frames.get(self.at.checked_sub(1)?)?;
        Some((&batch.file, batch.offset + *start as u64))
    }

    /// Id of the data directory, which the checksums of the frames include.
    pub fn id(&self) -> DirectoryId {
        self.id
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.used = None;
        if let Source::Thread(batches, thread) = std::mem::replace(&mut self.source, Source::Dry) {
            // Without a receiver the thread ends, even if it waits to send a batch.
            drop(batches);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_which_nobody_has_told_the_end_is_not_at_the_end() {
        let reader = |sent: Vec<Sent>| StreamReader {
            id: DirectoryId::default(),
            source: Source::Read(sent.into()),
            used: None,
            batch: None,
            at: 0,
            end: None,
        };
        assert!(reader(Vec::new()).next().is_err(), "the thread that read ahead has died");
        let end = StreamEnd { last: Lsn(3), durable: Lsn(3), sealed: false, torn: None, unproven: None };
        let mut ended = reader(vec![Sent::End(end.clone())]);
        for _ in 0..2 {
            assert!(matches!(ended.next(), Ok(None)), "however often it is asked");
        }
        assert_eq!(ended.end(), Some(&end));
    }
}
