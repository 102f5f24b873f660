//! The seam between everything that may block and the disk: [`Files`], with the operating system behind it, and a model
//! disk in the tests. The live log has a seam of its own, since it does not block: `log::disk`.

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

/// How long the lock of a directory is waited for. Its holder may be ending: a killed process gives its memory back
/// before its locks, and a child holds what its parent had locked from its fork until its exec.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read, from its start to its end.
    Read,
    /// To be read in whole blocks into aligned memory, past the page cache where the file system can do that.
    ReadDirect,
    /// To be written; made if it is missing, otherwise as it is.
    Write,
    /// To be written; there must be none of this name.
    CreateNew,
    /// To be written from the start; what it held is gone.
    Truncate,
}

/// What files can do for threads that may block. An error is final: nothing beneath this is tried again.
pub trait Files: Clone + Debug + Send + Sync + 'static {
    /// An open file. Dropping it closes it and gives its locks back.
    type File: PlainFile;

    /// Whether it pays to read ahead on a thread.
    const READS_AHEAD: bool;

    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File>;
    /// Whether there is something of this name.
    fn exists(&self, path: &Path) -> bool;
    /// Names in a directory, in order. Names that are not UTF-8 are replaced by what stands for them.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory whose parent is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file or directory another name; what had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that nobody else will ever draw.
    fn random_id(&self) -> io::Result<[u8; 16]>;
}

/// What an open file can do.
pub trait PlainFile: Debug + Send + Sync + 'static {
    /// Reads at `offset`; less than `into` only at the file's end, or where direct reads stop.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Cuts it off, or lengthens it by zeros.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
    /// Gives it a size of at least `bytes`, with space on disk for all of it.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Makes what was written, and the size, durable.
    fn sync(&self) -> io::Result<()>;
    /// Locks it against every other holder, waiting for them at most `patience`; `false` if one is still there.
    fn lock(&self, patience: Duration) -> io::Result<bool>;
    /// Locks it against those who write, waiting for them at most `patience`; `false` if one is still there.
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
                // Only a hint to the kernel to read further ahead.
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

/// Tries to take a lock until it is taken or `patience` is over.
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

/// A file that is read or written from its start on.
#[derive(Debug)]
pub(super) struct Sequential<P> {
    pub(super) file: P,
    at: u64,
}

impl<P> Sequential<P> {
    /// At the start of `file`.
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

/// Fills `into` from `offset` on, both multiples of [`BLOCK`], up to the file's end; returns how much was read.
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

/// All of a file; nothing if it is missing.
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

/// The directory in which a path's last name stands: of a plain name the working directory, of the root none.
pub(crate) fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    files.sync_dir(dir).context(dir, "cannot sync")
}

/// Makes a directory, and its name durable; no error if it is there.
pub(crate) fn make_dir<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    match files.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made.context(dir, "cannot create")?;
            parent(dir).map_or(Ok(()), |parent| sync_dir(files, parent))
        }
    }
}

/// Makes a directory, with those above it that are missing.
pub(crate) fn create_with_parents<F: Files>(files: &F, dir: &Path) -> Result<(), StorageError> {
    if files.exists(dir) {
        return Ok(());
    }
    if let Some(parent) = parent(dir) {
        create_with_parents(files, parent)?;
    }
    make_dir(files, dir)
}

/// Names in a directory, in order; none if it is missing.
pub(crate) fn list<F: Files>(files: &F, dir: &Path) -> Result<Vec<String>, StorageError> {
    match files.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.context(dir, "cannot list"),
    }
}

/// Removes a file; no error if it is gone.
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
