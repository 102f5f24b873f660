//! Monotonic time for the threads of this layer. Only threads read a clock, and only this one; state machines get the
//! time as an argument.

use std::time::{Duration, Instant};

/// Monotonic clock that counts from the moment at which it was started.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Real time since this instant.
    Since(Instant),
    /// Simulated time, which the simulator sets.
    #[cfg(test)]
    Set(&'static std::thread::LocalKey<std::cell::Cell<Duration>>),
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Self {
        Self::Since(Instant::now())
    }

    /// Time since the clock was started.
    pub fn now(self) -> Duration {
        match self {
            Self::Since(start) => start.elapsed(),
            #[cfg(test)]
            Self::Set(time) => time.get(),
        }
    }
}
