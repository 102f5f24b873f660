//! Files: segments, log, snapshots, manifest. Knows frames, never keys.
//!
//! | module | what it is |
//! |---|---|
//! | [`directory`] | the data directory: its lock, its manifest, what is made and removed in which order |
//! | [`manifest`] | what a data directory holds, as a value; its two copies on disk |
//! | [`log`] | one stream: written by its core, read by recovery and for the mirror |
//! | [`snapshot`] | the state of one partition in a file |
//! | [`probe`] | which way of syncing the device does faster |
//! | [`path`] | what files are called |
//! | [`failpoint`] | where tests make the process die |
//! | [`files`] | the seam to the file system, for all that may block |
//! | [`error`] | what can go wrong: the disk, the data, the place |
//!
//! The live log is written by glommio with direct I/O on its core; everything else is read and written by plain threads
//! that may block. Deliberately absent: keys, clocks of the wall, retries of a failed write or sync.

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
pub use manifest::{EpochRecord, Generations, Installed, Manifest, StreamRecord};
pub use probe::{Probed, SyncMethod};
