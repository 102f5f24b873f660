//! The seam between a log's driver and the disk: [`Disk`], with glommio behind it in `direct` and a model disk in the
//! tests.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use super::writer::{Buffer, Placed};

/// Room in a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What can still be taken.
    pub free: u64,
    /// All that there is.
    pub total: u64,
}

/// What the driver of a log needs of a disk and a clock. An error is final: nothing beneath this is tried again.
#[expect(async_fn_in_trait, reason = "everything happens on one core, and no future is sent to another")]
pub trait Disk: 'static {
    /// An open file.
    type File: 'static;
    /// Memory to write from.
    type Buffer: Buffer + 'static;

    /// Makes an empty file; what `path` was before is gone.
    async fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file to fill it with zeros.
    async fn open_to_fill(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a segment for commits and locks it for as long as it is open.
    async fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// The first block of a file.
    async fn read_block(&self, file: &Self::File) -> io::Result<Vec<u8>>;
    /// How much room there is in the file system of `dir`, for this process.
    async fn room(&self, dir: &Path) -> io::Result<Room>;
    /// Gives a file a size of at least `bytes`, with space on disk for all of it.
    async fn reserve(&self, file: &Self::File, bytes: u64) -> io::Result<()>;
    /// Writes all of `buffer`, in no hurry; less is an error.
    async fn write(&self, file: &Self::File, buffer: Self::Buffer, offset: u64) -> io::Result<()>;
    /// Makes what was written and reserved durable.
    async fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Writes all `frames` and makes them durable. Ends when [`Self::poll`] has found it complete.
    async fn commit(&self, file: &Rc<Self::File>, frames: Vec<Placed<Self::Buffer>>) -> io::Result<()>;
    /// Notes what the device has done; whether a commit has ended by that.
    fn poll(&self) -> bool;
    /// Gives a file another name.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    async fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file's name.
    async fn remove(&self, path: &Path) -> io::Result<()>;
    /// Closes a file and gives its lock back.
    async fn close(&self, file: Self::File);
    /// Waits.
    async fn sleep(&self, time: Duration);
    /// A monotonic clock.
    fn now(&self) -> Instant;
    /// Runs a task beside the others of this core.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}
