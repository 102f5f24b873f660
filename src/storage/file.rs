//! Plain files for threads that may block: direct reads into aligned memory, directories that are synced, locks that are waited for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StorageError;
use super::error::Context;
use crate::encoding::frame::{BLOCK, padded};

/// Memory that begins at a multiple of [`BLOCK`] and has a multiple of it in bytes, as direct I/O wants it.
pub(super) struct AlignedBuf {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// Zeros: `bytes`, rounded up to whole blocks.
    pub(super) fn new(bytes: usize) -> Self {
        let len = padded(bytes);
        let memory = vec![0; len + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Self { memory, start, len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// Opens `path` to be read past the page cache, where the file system can do that.
pub(super) fn open_direct(path: &Path) -> Result<File, StorageError> {
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
    match direct {
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => File::open(path),
        other => other,
    }
    .context(path, "cannot open")
}

/// Fills `into` from `offset` on, both multiples of [`BLOCK`], up to the file's end; returns how much was read.
pub(super) fn read_direct(file: &File, path: &Path, offset: u64, into: &mut [u8]) -> Result<usize, StorageError> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => {
                done += n;
                if !n.is_multiple_of(BLOCK) {
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                let at = offset + done as u64;
                return Err(io::Error::new(e.kind(), format!("at byte {at}: {e}"))).context(path, "cannot read");
            }
        }
    }
    Ok(done)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|d| d.sync_all()).context(dir, "cannot sync")
}

/// Makes a directory, and its name durable; no error if it is there.
pub(super) fn make_dir(dir: &Path) -> Result<(), StorageError> {
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made.context(dir, "cannot create")?;
            dir.parent().map_or(Ok(()), sync_dir)
        }
    }
}

/// Names in a directory, in order; none if it is missing. Names that are not UTF-8 are replaced by what stands for them.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, StorageError> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(dir, "cannot list")?,
    };
    let names = entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>, _>>().context(dir, "cannot list")?;
    names.sort_unstable();
    Ok(names)
}

/// Waits until no other process has `file` locked to write it, for at most `patience`.
pub(super) fn lock_shared(file: &File, path: &Path, patience: Duration) -> Result<(), StorageError> {
    let began = Instant::now();
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) if began.elapsed() >= patience => {
                return Err(StorageError::InUse { path: path.to_owned() });
            }
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(std::fs::TryLockError::Error(e)) => return Err(e).context(path, "cannot lock"),
        }
    }
}
