//! An RDB file, read item by item through a buffer that is as large as the largest item.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure};
use crate::encoding::rdb::file::{Item, Reader};
use crate::encoding::rdb::{Limits, RdbError};

/// First size of the buffer, in bytes.
const BUFFER: usize = 1 << 20;
/// Maximum size of one item, in bytes: a file that announces more is taken for damaged.
const LARGEST: usize = 8 << 30;
/// Maximum length of a key's name or another string that is not a value.
const LIMITS: Limits = Limits { string: 512 << 20, value: 1 << 30 };

/// The file and what has been read of it.
pub(super) struct Source<R = File> {
    path: PathBuf,
    file: R,
    bytes: u64,
    reader: Reader,
    buffer: Vec<u8>,
    /// The part of the buffer that has been read from the file and not been understood yet.
    start: usize,
    end: usize,
    /// Position in the file of what stands at `start`.
    position: u64,
}

impl Source {
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

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format_args!("cannot read {}: {error}", path.display()))
}

impl<R: Read> Source<R> {
    fn new(path: &Path, file: R, bytes: u64) -> Self {
        let (path, reader) = (path.to_owned(), Reader::new(LIMITS));
        Self { path, file, bytes, reader, buffer: vec![0; BUFFER], start: 0, end: 0, position: 0 }
    }

    /// Size of the file in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of bytes that have been understood.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Version of the file's format; 0 before the first item.
    pub(super) const fn version(&self) -> u16 {
        self.reader.version()
    }

    /// Calls `visit` with the next item.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged, or `visit` fails.
    pub(super) fn next<T>(&mut self, visit: impl FnOnce(Item<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            match self.reader.next(&self.buffer[self.start..self.end]) {
                Ok((item, read)) => {
                    self.start += read;
                    self.position += read as u64;
                    if let Some(item) = item {
                        return visit(item);
                    }
                }
                Err(error) => {
                    if error != RdbError::Truncated || !self.fill()? {
                        let (path, position) = (self.path.display(), self.position);
                        return Err(Failure::new(Exit::Data, format_args!("{path}, at byte {position}: {error}")));
                    }
                }
            }
        }
    }

    /// Reads more of the file. Returns whether there was more.
    fn fill(&mut self) -> Result<bool, Failure> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            if self.end >= LARGEST {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::rdb::{types, write};

    /// A file of keys with values of these lengths, without a checksum.
    fn file(lengths: &[usize]) -> Vec<u8> {
        let mut file = b"REDIS0009".to_vec();
        for length in lengths {
            file.push(types::STRING);
            write::string(&mut file, length.to_string().as_bytes());
            write::string(&mut file, &vec![b'x'; *length]);
        }
        file.push(255);
        file.extend_from_slice(&[0; 8]);
        file
    }

    fn lengths(bytes: &[u8]) -> Result<Vec<usize>, Failure> {
        let mut source = Source::new(Path::new("file"), bytes, bytes.len() as u64);
        let mut lengths = Vec::new();
        while source.next(|item| {
            let Item::Key(key) = &item else { return Ok(false) };
            lengths.push(key.value.iter().filter(|byte| **byte == b'x').count());
            Ok(true)
        })? {}
        assert_eq!(source.position(), source.bytes());
        Ok(lengths)
    }

    #[test]
    fn items_may_be_larger_than_the_buffer() {
        let all = [0, 1, BUFFER - 20, 5 * BUFFER, 3, BUFFER, 17];
        assert_eq!(lengths(&file(&all)), Ok(all.to_vec()));
    }

    #[test]
    fn a_file_that_ends_too_early_is_damaged() {
        let whole = file(&[3, 2 * BUFFER, 5]);
        for end in [0, 8, 9, 12, BUFFER, whole.len() - 20, whole.len() - 1] {
            let failure = lengths(&whole[..end]).unwrap_err();
            assert_eq!(failure.exit, Exit::Data, "{failure:?}");
        }
    }
}
