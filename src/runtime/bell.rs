//! Wakes a resting core.
//!
//! A core rests in one of two ways: it *naps* in its network ring, or *sleeps* in its executor. Before resting, it
//! announces that ([`Bell::about_to_nap`], [`Bell::about_to_sleep`]), checks once more for work, and then waits for the
//! descriptor of its way of resting. A sender first makes its work visible and then rings. Both sides put a full fence
//! between their two steps, so that at least one of them sees the other: no wake-up is lost, and waking a core that is
//! awake costs no system call.
//!
//! There are two descriptors because one signalled eventfd must not signal another through a ring: Linux defers such
//! signals, and some versions lose them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// Bell of one core.
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
    /// Makes a bell.
    ///
    /// # Errors
    /// If no file descriptor is available.
    pub fn new() -> io::Result<Self> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC);
        Ok(Self { nap: event()?, sleep: event()?, state: AtomicU8::new(AWAKE) })
    }

    /// Wakes the core if it rests. The caller must have made the work visible to the core before.
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
        // A write fails only if the counter would overflow, and then the descriptor is readable anyway.
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }

    /// Announces that the core will wait for [`Self::nap_event`] unless it now finds work.
    pub fn about_to_nap(&self) {
        self.rest(NAPPING);
    }

    /// Announces that the core will wait for [`Self::sleep_event`] unless it now finds work.
    pub fn about_to_sleep(&self) {
        self.rest(SLEEPING);
    }

    fn rest(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Announces that the core is awake.
    pub fn awake(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Descriptor that becomes readable (8 bytes) when the bell rings for a napping core.
    pub fn nap_event(&self) -> BorrowedFd<'_> {
        self.nap.as_fd()
    }

    /// Descriptor that becomes readable (8 bytes) when the bell rings for a sleeping core.
    pub fn sleep_event(&self) -> BorrowedFd<'_> {
        self.sleep.as_fd()
    }
}
