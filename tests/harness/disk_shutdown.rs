//! The one system call that makes an ext4 file system forget what it has not committed.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `EXT4_IOC_SHUTDOWN`, the same number in every file system that has it.
const SHUTDOWN: libc::c_ulong = 0x8004_587D;
/// Without writing the journal first.
const NO_LOG_FLUSH: u32 = 2;

/// Shuts the mounted file system down; from now on everything in it fails.
pub(super) fn shut_down(mount: &Path) {
    let root = File::open(mount).expect("open the root of a file system");
    let flags = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open, and the kernel reads four bytes of flags, which live until the call returns.
    let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const flags) };
    assert_eq!(done, 0, "shut the file system down: {}", io::Error::last_os_error());
}
