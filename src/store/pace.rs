//! Pacing of snapshot writing: after how many bytes the caller is asked whether there is time for more.

use std::ops::ControlFlow;

/// Bytes written between two questions; at most twice as many.
pub const STEP: usize = 16 << 10;
/// Minimum number of bytes counted per key or element, since small ones take time as well.
const LEAST: usize = 128;

/// Budget left before the caller is asked again.
pub(super) struct Pace {
    left: usize,
}

impl Pace {
    /// Starts with a full step.
    pub const fn new() -> Self {
        Self { left: STEP }
    }

    /// Counts an item of `bytes` bytes as written. At the end of a step it calls `go_on`, and breaks if that returns
    /// false.
    #[inline]
    pub fn count(&mut self, bytes: usize, go_on: impl FnOnce() -> bool) -> ControlFlow<()> {
        let cost = bytes.max(LEAST);
        if cost < self.left {
            self.left -= cost;
            return ControlFlow::Continue(());
        }
        self.left = STEP;
        if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
