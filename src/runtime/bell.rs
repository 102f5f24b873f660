//! Waking a core that sleeps.
//!
//! A core goes to sleep in three steps: it says so ([`Bell::about_to_sleep`]), looks once more whether there is work, and waits for
//! the bell's descriptor. Who brings work first makes it visible and then rings. Both put a full fence between their two steps,
//! so that at least one of them sees the other: no wake-up is lost, and a core that is awake costs its callers no system call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// One core's bell.
#[derive(Debug)]
pub struct Bell {
    event: OwnedFd,
    sleeping: AtomicBool,
}

impl Bell {
    /// A bell that nobody waits for yet.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { event, sleeping: AtomicBool::new(false) })
    }

    /// Wakes the core if it sleeps. The work is already where the core will find it.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.signal();
        }
    }

    /// The core will sleep unless it now finds work.
    pub fn about_to_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The core is awake.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Readable (8 bytes) once the bell has rung. The network ring signals the same descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn signal(&self) {
        // Can only fail if the counter is about to overflow, and then the descriptor is readable anyway.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}
