//! A file in memory, for readers that take a path. Nothing is left of it, however the process ends.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};

/// A file without a name of its own.
pub struct Memory(File);

impl Memory {
    /// A file that holds `bytes`.
    pub fn holding(bytes: &[u8]) -> Self {
        let mut file = File::from(memfd_create("fuzzed", MemfdFlags::CLOEXEC).expect("a file in memory"));
        file.write_all(bytes).expect("memory takes everything");
        Self(file)
    }

    /// Where it can be opened, as long as it lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}
