//! Files: segments, log, snapshots, manifest. Knows frames, never keys.
//!
//! | module | what it is |
//! |---|---|
//! | [`directory`] | the data directory: its lock, its manifest, the order in which files are made and removed |
//! | [`manifest`] | what a data directory holds, as a value; its two copies on disk |
//! | [`log`] | the log of one stream: written by its core, read by recovery and for the mirror |
//! | [`snapshot`] | the state of one partition in a file |
//! | [`probe`] | measures which way of syncing is faster on the device |
//! | [`path`] | names of files and directories |
//! | [`failpoint`] | places where tests make the process die |
//! | [`files`] | the interface to the file system, for code that may block |
//! | [`error`] | errors: of the disk, of the data, of the data directory |
//!
//! The live log is written with direct I/O on its core's thread, which must not block; everything else is read and
//! written by threads that may block. Deliberately absent: keys, wall clocks, retries of a failed write or sync.

pub mod directory;
pub mod error;
pub mod failpoint;
pub mod files;
pub mod log;
pub mod manifest;
#[cfg(test)]
pub(crate) mod model;
pub mod path;
pub mod probe;
pub mod snapshot;

pub use directory::DataDir;
pub use error::{Corruption, StorageError};
pub use files::{Files, OsFiles};
pub use log::bell::LocalBell;
pub use log::extent::{StreamEnd, StreamSpec, TornTail, Unproven};
pub use log::marks::{PartitionMarks, StreamMarks, SyncedEnd};
pub use log::reader::StreamReader;
pub use log::tail::TailReader;
pub use log::{Commit, DirectDisk, Disk, Log, LogOptions, LogStats, Space};
pub use manifest::{Arrival, EpochRecord, Generations, Installed, Manifest, StreamRecord, Transfer};
pub use probe::{Probed, SyncMethod};
