//! Locks a file that glommio has opened.
//!
//! The lock must be on the file description that the log writes through: even if the process is killed, the kernel
//! keeps that description, and so the lock, until the last write has landed. Whoever gets the lock therefore knows that
//! no more writes can land.

#![expect(unsafe_code, reason = "glommio's file gives out its descriptor only as a number")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use glommio::io::DmaFile;
use rustix::fs::{FlockOperation, flock};

/// Takes the exclusive lock on `file`, until the file is closed.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another open file description holds the lock.
pub(super) fn lock(file: &DmaFile) -> io::Result<()> {
    // SAFETY: `file` owns the descriptor and is borrowed for the whole call, so the descriptor stays open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    Ok(flock(descriptor, FlockOperation::NonBlockingLockExclusive)?)
}
