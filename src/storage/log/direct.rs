//! The real disk: direct I/O. Commits go through a ring of their own ([`CommitRing`]), everything else through glommio.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::io::{DmaBuffer, DmaFile, OpenOptions};

use super::commit_ring::CommitRing;
use super::disk::{Disk, Room};
use super::flock;
use super::writer::{Buffer, Placed};
use crate::encoding::frame::BLOCK;
use crate::storage::probe::SyncMethod;

/// One core's access to the disk that holds the data directory.
pub struct DirectDisk {
    method: SyncMethod,
    commits: Rc<CommitRing>,
}

/// An open file.
pub struct DirectFile {
    file: DmaFile,
    durable_writes: bool,
}

impl DirectDisk {
    pub(super) const fn new(method: SyncMethod, commits: Rc<CommitRing>) -> Self {
        Self { method, commits }
    }

    /// The ring that executes the commits.
    pub(super) fn commits(&self) -> &CommitRing {
        &self.commits
    }
}

impl DirectFile {
    /// Whether a write is durable when it completes, because the file was opened with `O_DSYNC`.
    pub(super) const fn has_durable_writes(&self) -> bool {
        self.durable_writes
    }
}

impl AsRawFd for DirectFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Buffer for DmaBuffer {
    fn new(bytes: usize) -> Self {
        // Allocated from the memory that the executor has registered with the kernel, as long as some is left.
        glommio::allocate_dma_buffer(bytes)
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.as_bytes_mut()
    }

    fn truncated(mut self, bytes: usize) -> Self {
        self.trim_to_size(bytes);
        self
    }
}

impl Disk for DirectDisk {
    type File = DirectFile;
    type Buffer = DmaBuffer;

    async fn create(&self, path: &Path) -> io::Result<DirectFile> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).dma_open(path).await?;
        Ok(DirectFile { file, durable_writes: false })
    }

    async fn open_to_fill(&self, path: &Path) -> io::Result<DirectFile> {
        let file = OpenOptions::new().read(true).write(true).dma_open(path).await?;
        Ok(DirectFile { file, durable_writes: false })
    }

    async fn open(&self, path: &Path) -> io::Result<DirectFile> {
        let durable_writes = self.method == SyncMethod::DsyncWrite;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(if durable_writes { libc::O_DSYNC } else { 0 });
        let file = options.dma_open(path).await?;
        flock::lock(&file)?;
        Ok(DirectFile { file, durable_writes })
    }

    async fn read_block(&self, file: &DirectFile) -> io::Result<Vec<u8>> {
        Ok(file.file.read_at_aligned(0, BLOCK).await?.to_vec())
    }

    async fn room(&self, dir: &Path) -> io::Result<Room> {
        let dir = dir.to_owned();
        let room = glommio::executor().spawn_blocking(move || rustix::fs::statvfs(&dir)).await?;
        Ok(Room {
            free: room.f_bavail.saturating_mul(room.f_frsize),
            total: room.f_blocks.saturating_mul(room.f_frsize),
        })
    }

    async fn reserve(&self, file: &DirectFile, bytes: u64) -> io::Result<()> {
        Ok(file.file.pre_allocate(bytes, false).await?)
    }

    async fn write(&self, file: &DirectFile, buffer: DmaBuffer, offset: u64) -> io::Result<()> {
        let bytes = buffer.len();
        let written = file.file.write_at(buffer, offset).await?;
        if written == bytes {
            Ok(())
        } else {
            // Why the kernel stopped early is unknown. The write is not tried again, because some of it may have been
            // lost.
            Err(io::Error::new(io::ErrorKind::WriteZero, format!("{written} of {bytes} bytes were written")))
        }
    }

    async fn sync(&self, file: &DirectFile) -> io::Result<()> {
        if file.durable_writes { Ok(()) } else { Ok(file.file.fdatasync().await?) }
    }

    async fn commit(&self, file: &Rc<DirectFile>, frames: Vec<Placed<DmaBuffer>>) -> io::Result<()> {
        self.commits.commit(file, frames).await
    }

    fn poll(&self) -> bool {
        self.commits.poll()
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(glommio::io::rename(from, to).await?)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = dir.to_owned();
        glommio::executor().spawn_blocking(move || File::open(dir)?.sync_all()).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(glommio::io::remove(path).await?)
    }

    async fn close(&self, file: DirectFile) {
        // If this fails, nothing is lost: whatever had to be durable was synced.
        let _ = file.file.close().await;
    }

    async fn sleep(&self, time: Duration) {
        glommio::timer::sleep(time).await;
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(task).detach();
    }
}
