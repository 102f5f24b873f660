//! Which way of making writes durable the device does faster, measured at start.

use std::path::Path;

use super::StorageError;

/// How a commit is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMethod {
    /// The file is open with `O_DSYNC`: a write returns when it is on disk.
    DsyncWrite,
    /// Writes, then `fdatasync`.
    #[default]
    WriteThenFdatasync,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// The faster way.
    pub method: SyncMethod,
    /// Whether segments are filled with zeros before they are used, because that syncs faster than space only reserved.
    pub zero_fill: bool,
    /// Median time of a durable 4 KiB write that way, in microseconds.
    pub commit_us: u32,
    /// The same with the other way.
    pub other_us: u32,
    /// The same in space that was only reserved.
    pub reserved_us: u32,
}

/// Measures in the file system of `dir`, in a file that has no name, for some 50 ms.
///
/// # Errors
/// If the file cannot be made or written with direct I/O.
pub fn probe(dir: &Path) -> Result<Probed, StorageError> {
    todo!("{dir:?}")
}
