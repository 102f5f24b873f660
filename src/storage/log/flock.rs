//! Locks a file that glommio has opened.
//!
//! The lock must be on the very file description that is written through: the kernel keeps that one, and so the lock,
//! until the last write is done, even if the process is killed before. Whoever gets the lock therefore knows that
//! nothing lands any more.

#![expect(unsafe_code, reason = "glommio's file gives out its descriptor only as a number")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use glommio::io::DmaFile;
use rustix::fs::{FlockOperation, flock};

/// Locks `file` against every other open description of it, until it is closed.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another holds the lock.
pub(super) fn lock(file: &DmaFile) -> io::Result<()> {
    // SAFETY: `file` owns the descriptor and is borrowed for the whole call, so the descriptor stays open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    Ok(flock(descriptor, FlockOperation::NonBlockingLockExclusive)?)
}
