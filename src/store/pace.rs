//! How long writing a snapshot's entries goes on before its caller is asked whether there is time for more.

use std::ops::ControlFlow;

/// Bytes that are written between two questions, at most twice as many.
pub const STEP: usize = 16 << 10;
/// Bytes that a key or an element counts for at least, since small ones take time as well.
const LEAST: usize = 128;

/// What may still be written before the next question.
pub(super) struct Pace {
    left: usize,
}

impl Pace {
    /// A whole step is left.
    pub const fn new() -> Self {
        Self { left: STEP }
    }

    /// Counts something of `bytes` bytes that has been written. Asks `go_on` at the end of a step, and breaks if it
    /// declines.
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
