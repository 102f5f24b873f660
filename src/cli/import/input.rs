//! A file, read through a buffer that is as large as the largest thing in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure};

/// First size of the buffer, in bytes.
pub(super) const BUFFER: usize = 1 << 20;

/// The file and what has been read of it.
pub(super) struct Input<R = File> {
    path: PathBuf,
    file: R,
    bytes: u64,
    buffer: Vec<u8>,
    /// The part of the buffer that has been read from the file and not been understood yet.
    start: usize,
    end: usize,
    /// Position in the file of what stands at `start`.
    position: u64,
}

impl Input {
    /// Opens the file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let open = || {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|error| unreadable(path, &error))?;
        Ok(Self::new(path, file, bytes))
    }
}

/// The failure for a file or directory that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format_args!("cannot read {}: {error}", path.display()))
}

impl<R: Read> Input<R> {
    pub(super) fn new(path: &Path, file: R, bytes: u64) -> Self {
        Self { path: path.to_owned(), file, bytes, buffer: vec![0; BUFFER], start: 0, end: 0, position: 0 }
    }

    /// Size of the file in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of bytes that have been understood.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Name of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What has been read of the file and not been understood yet.
    pub(super) fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// What [`Self::held`] gives, after which `count` bytes of it count as understood.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// Reads more of the file, unless `most` bytes are held. Returns whether there was more.
    pub(super) fn fill(&mut self, most: usize) -> Result<bool, Failure> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            if self.end >= most {
                return Ok(false);
            }
            self.buffer.resize(2 * self.end, 0);
        }
        let before = self.end;
        // As much as there is room for, so that a large item is not looked at again for every few bytes.
        while self.end < self.buffer.len() {
            match self.file.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.path, &error)),
            }
        }
        Ok(self.end > before)
    }

    /// The failure for bytes that make no sense.
    pub(super) fn damaged(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::Data, format_args!("{}, at byte {}: {why}", self.path.display(), self.position))
    }
}
