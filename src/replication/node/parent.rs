//! Ends a child node when its master ends, in whatever way that happens: the kernel kills the child when the thread
//! that started it is gone, and the child itself checks whether its parent is still the same.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The master whose child this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent(u32);

impl Parent {
    /// Has the kernel kill this process when the process `pid`, its parent, ends. `None` if `pid` is not its parent, or
    /// not any more.
    pub fn bind(pid: u32) -> Option<Self> {
        // A child node may be killed at any time: it holds nothing that its master does not have.
        if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
            tracing::warn!("this node may outlive its master for a moment: {e}");
        }
        // Checked after the signal is set, so that a parent that was gone before that is noticed.
        let parent = Self(pid);
        parent.is_here().then_some(parent)
    }

    /// Whether the parent still runs.
    pub fn is_here(self) -> bool {
        getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == self.0))
    }
}
