//! A child node ends with its master, in whatever way that ends: the kernel kills it when the thread that started it is
//! gone, and it looks itself whether its parent is still the same.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The master whose child this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent(u32);

impl Parent {
    /// Binds this process's life to that of `pid`, which must be its parent. `None` if it is not, or not any more.
    pub fn bind(pid: u32) -> Option<Self> {
        // There is nothing to lose here that is worth a farewell.
        if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
            tracing::warn!("this node may outlive its master for a moment: {e}");
        }
        // After the signal is set: a parent that was gone before that is noticed now.
        let parent = Self(pid);
        parent.is_here().then_some(parent)
    }

    /// Whether the parent is still there.
    pub fn is_here(self) -> bool {
        getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == self.0))
    }
}
