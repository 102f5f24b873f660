//! The interface between code that may block and the disk: [`Files`], implemented by the operating system's files and,
//! in tests, by a model disk. The live log has an interface of its own, because it must not block: `log::disk`.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags};

use super::StorageError;
use super::error::Context;
use crate::encoding::frame::{BLOCK, padded};

/// How long to wait for the lock of a directory. Its holder may be ending: a killed process gives its memory back
/// before its locks, and a forked child holds its parent's locks until its exec.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading, from start to end.
    Read,
    /// For reading whole blocks into aligned memory, bypassing the page cache where the file system supports it.
    ReadDirect,
    /// For reading and writing; created if missing, otherwise left as it is.
    Write,
    /// For writing; the file must not exist.
    CreateNew,
    /// For writing from the start; created if missing, emptied if not.
    Truncate,
}

/// A file system for threads that may block. Errors are final: no implementation retries a failed operation.
pub trait Files: Clone + Debug + Send + Sync + 'static {
    /// An open file. Dropping it closes it and releases its locks.
    type File: PlainFile;

    /// Whether reading ahead on a thread of its own is worthwhile.
    const READS_AHEAD: bool;

    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File>;
    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> bool;
    /// Lists the names in a directory, sorted. In names that are not UTF-8, replacement characters stand for the
    /// invalid bytes.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory; its parent must exist.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing whatever had the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and everything in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Syncs a directory, so that the names in it are durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Returns 16 random bytes, for an identifier that is unique everywhere.
    fn random_id(&self) -> io::Result<[u8; 16]>;
}

/// Operations on an open file.
pub trait PlainFile: Debug + Send + Sync + 'static {
    /// Reads at `offset` and returns the number of bytes; fewer than `into` holds only at the file's end, or where
    /// direct reads stop.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Length of the file in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Truncates the file, or extends it by zeros.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
    /// Extends the file to at least `bytes` bytes and allocates disk space for all of them.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Syncs the file: its content and size are durable afterwards.
    fn sync(&self) -> io::Result<()>;
    /// Locks the file exclusively, waiting at most `patience`; returns `false` if another holder is still there.
    fn lock(&self, patience: Duration) -> io::Result<bool>;
    /// Takes a shared lock on the file, waiting at most `patience`; returns `false` if an exclusive holder is still
    /// there.
    fn lock_shared(&self, patience: Duration) -> io::Result<bool>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    type File = File;

    const READS_AHEAD: bool = true;

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.mode(0o600);
        match access {
            Access::Read => {
                let file = options.read(true).open(path)?;
                // This is only a hint to the kernel to read further ahead.
                let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
                Ok(file)
            }
            Access::ReadDirect => match options.read(true).custom_flags(libc::O_DIRECT).open(path) {
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => File::open(path),
                other => other,
            },
            Access::Write => options.read(true).write(true).create(true).truncate(false).open(path),
            Access::CreateNew => options.write(true).create_new(true).open(path),
            Access::Truncate => options.write(true).create(true).truncate(true).open(path),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(dir)?.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn random_id(&self) -> io::Result<[u8; 16]> {
        let mut id = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut id)?;
        Ok(id)
    }
}

impl PlainFile for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, into, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(self, FallocateFlags::empty(), 0, bytes)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn lock(&self, patience: Duration) -> io::Result<bool> {
        insist(patience, || self.try_lock())
    }

    fn lock_shared(&self, patience: Duration) -> io::Result<bool> {
        insist(patience, || self.try_lock_shared())
    }
}

/// Tries to take a lock until it succeeds (`true`) or `patience` is over (`false`).
fn insist(patience: Duration, lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<bool> {
    let began = Instant::now();
    loop {
        match lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Memory whose address and length are multiples of [`BLOCK`], as direct I/O requires.
pub(super) struct AlignedBuf {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// Allocates `bytes` zeros, rounded up to whole blocks.
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

/// A file that is read or written sequentially.
#[derive(Debug)]
pub(super) struct Sequential<P> {
    pub(super) file: P,
    at: u64,
}

impl<P> Sequential<P> {
    /// Begins at the start of `file`.
    pub(super) const fn new(file: P) -> Self {
        Self { file, at: 0 }
    }
}

impl<P: PlainFile> Read for Sequential<P> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<P: PlainFile> Write for Sequential<P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills `into` from `offset` on, both multiples of [`BLOCK`], up to the file's end. Returns the number of bytes read.
pub(super) fn read_direct(
    file: &impl PlainFile,
    path: &Path,
    offset: u64,
    into: &mut [u8],
) -> Result<usize, StorageError> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(offset + done as u64, &mut into[done..]) {
            Ok(0) => break,
            Ok(n) => {
                done += n;
                if !n.is_multiple_of(BLOCK) {
                    break;
                }
            }
            Err(e) => {
                let at = offset + done as u64;
                return Err(io::Error::new(e.kind(), format!("at byte {at}: {e}"))).context(path, "cannot read");
            }
        }
    }
    Ok(done)
}

/// Reads a whole file; returns no bytes if it is missing.
pub(crate) fn read_whole<F: Files>(files: &F, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match files.open(path, Access::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        file => {
            Sequential::new(file?).read_to_end(&mut bytes)?;
        }
    }
    Ok(bytes)
}

/// Directory that contains `path`: the working directory for a plain name, `None` for the root.
pub(crate) fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Syncs a directory, so that the names in it are durable.
pub(crate) fn sync_dir<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    files.sync_dir(dir).context(dir, "cannot sync")
}

/// Creates a directory and makes its name durable; no error if it exists.
pub(crate) fn make_dir<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    match files.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made.context(dir, "cannot create")?;
            parent(dir).map_or(Ok(()), |parent| sync_dir(files, parent))
        }
    }
}

/// Creates a directory and its missing parents.
pub(crate) fn create_with_parents<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    if files.exists(dir) {
        return Ok(());
    }
    if let Some(parent) = parent(dir) {
        create_with_parents(files, parent)?;
    }
    make_dir(files, dir)
}

/// Lists the names in a directory, sorted; none if the directory is missing.
pub(crate) fn list<F: Files>(files: &F, dir: &Path) -> Result<Vec<String>, StorageError> {
    match files.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.context(dir, "cannot list"),
    }
}

/// Removes a file; no error if it is missing.
pub(crate) fn remove<F: Files>(files: &F, path: &Path) -> Result<(), StorageError> {
    match files.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.context(path, "cannot remove"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_says_where_it_failed_and_one_at_the_end_how_much_there_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let block = BLOCK as u64;
        let unreadable = OsFiles.open(&path, Access::CreateNew).unwrap();
        let mut memory = AlignedBuf::new(3 * BLOCK);
        let refused = read_direct(&unreadable, &path, 2 * block, memory.bytes_mut()).unwrap_err();
        assert!(refused.to_string().contains("at byte 8192"), "{refused}");
        std::fs::write(&path, vec![7; 2 * BLOCK + 100]).unwrap();
        for access in [Access::Read, Access::ReadDirect] {
            let file = OsFiles.open(&path, access).unwrap();
            let mut read = |offset| read_direct(&file, &path, offset, memory.bytes_mut()).unwrap();
            assert_eq!([0, block, 2 * block, 3 * block].map(&mut read), [2 * BLOCK + 100, BLOCK + 100, 100, 0]);
        }
    }

    #[test]
    fn what_is_opened_is_kept_emptied_or_refused_as_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for access in [Access::Read, Access::ReadDirect] {
            assert_eq!(OsFiles.open(&path, access).unwrap_err().kind(), io::ErrorKind::NotFound, "{access:?}");
        }
        for (access, size) in [(Access::Write, 0), (Access::Write, 3), (Access::Truncate, 0)] {
            let file = OsFiles.open(&path, access).unwrap();
            assert_eq!(file.size().unwrap(), size, "{access:?}");
            PlainFile::write_at(&file, 0, b"abc").unwrap();
        }
        assert_eq!(OsFiles.open(&path, Access::CreateNew).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read_whole(&OsFiles, &path).unwrap(), b"abc");
        assert_eq!(read_whole(&OsFiles, &dir.path().join("none")).unwrap(), b"");
    }
}
