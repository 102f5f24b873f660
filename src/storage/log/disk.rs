//! The interface between a log's driver and the disk: [`Disk`], implemented with glommio in `direct` and by a model
//! disk in tests.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use super::writer::{Buffer, Placed};

/// Free and total space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this process can still allocate.
    pub free: u64,
    /// Total size of the file system.
    pub total: u64,
}

/// The disk and clock that a log's driver uses. Errors are final: no implementation retries a failed operation.
#[expect(async_fn_in_trait, reason = "everything happens on one core, and no future is sent to another")]
pub trait Disk: 'static {
    /// An open file.
    type File: 'static;
    /// Memory to write from.
    type Buffer: Buffer + 'static;

    /// Creates an empty file, replacing whatever `path` was before.
    async fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file for filling it with zeros.
    async fn open_to_fill(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a segment for commits and locks it for as long as it is open.
    async fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Reads the first block of a file.
    async fn read_block(&self, file: &Self::File) -> io::Result<Vec<u8>>;
    /// Free and total space in the file system of `dir`.
    async fn room(&self, dir: &Path) -> io::Result<Room>;
    /// Extends a file to at least `bytes` bytes and allocates disk space for all of them.
    async fn reserve(&self, file: &Self::File, bytes: u64) -> io::Result<()>;
    /// Writes all of `buffer` in the background; a short write is an error.
    async fn write(&self, file: &Self::File, buffer: Self::Buffer, offset: u64) -> io::Result<()>;
    /// Syncs a file: its content and reserved space are durable afterwards.
    async fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Writes all `frames` and makes them durable. Completes only once [`Self::poll`] has seen that.
    async fn commit(&self, file: &Rc<Self::File>, frames: Vec<Placed<Self::Buffer>>) -> io::Result<()>;
    /// Processes completions of the device. Returns whether the commit under way has ended.
    fn poll(&self) -> bool;
    /// Renames a file.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Syncs a directory, so that the names in it are durable.
    async fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file.
    async fn remove(&self, path: &Path) -> io::Result<()>;
    /// Closes a file and releases its lock.
    async fn close(&self, file: Self::File);
    /// Waits for `time`.
    async fn sleep(&self, time: Duration);
    /// Current time of a monotonic clock.
    fn now(&self) -> Instant;
    /// Spawns a task on this core.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}
