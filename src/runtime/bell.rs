//! Waking a core that rests.
//!
//! A core rests in one of two ways: it *naps* in its network ring, or *sleeps* in its executor. It begins in three steps: it says so
//! ([`Bell::about_to_nap`], [`Bell::about_to_sleep`]), looks once more whether there is work, and waits for the descriptor that belongs
//! to the way. Who brings work first makes it visible and then rings. Both put a full fence between their two steps, so that at least
//! one of them sees the other: no wake-up is lost, and a core that is awake costs its callers no system call.
//!
//! There are two descriptors because one signalled eventfd must not signal another by way of a ring: Linux puts such signals off, and
//! some versions lose them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// One core's bell.
#[derive(Debug)]
pub struct Bell {
    nap: OwnedFd,
    sleep: OwnedFd,
    state: AtomicU8,
}

const AWAKE: u8 = 0;
const NAPPING: u8 = 1;
const SLEEPING: u8 = 2;

impl Bell {
    /// A bell that nobody waits for yet.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC);
        Ok(Self { nap: event()?, sleep: event()?, state: AtomicU8::new(AWAKE) })
    }

    /// Wakes the core if it rests. The work is already where the core will find it.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == AWAKE {
            return;
        }
        let event = match self.state.swap(AWAKE, Ordering::AcqRel) {
            NAPPING => &self.nap,
            SLEEPING => &self.sleep,
            _ => return,
        };
        // Can only fail if the counter is about to overflow, and then the descriptor is readable anyway.
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }

    /// The core will wait for [`Self::nap_event`] unless it now finds work.
    pub fn about_to_nap(&self) {
        self.rest(NAPPING);
    }

    /// The core will wait for [`Self::sleep_event`] unless it now finds work.
    pub fn about_to_sleep(&self) {
        self.rest(SLEEPING);
    }

    fn rest(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The core is awake.
    pub fn awake(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Readable (8 bytes) once the bell has rung for a core that naps.
    pub fn nap_event(&self) -> BorrowedFd<'_> {
        self.nap.as_fd()
    }

    /// Readable (8 bytes) once the bell has rung for a core that sleeps.
    pub fn sleep_event(&self) -> BorrowedFd<'_> {
        self.sleep.as_fd()
    }
}
