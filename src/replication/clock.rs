//! Time for the threads of this layer. State machines are told the time; only threads ask for it, and only here.

use std::time::{Duration, Instant};

/// Counts from when it was made, and never back.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Runs.
    Since(Instant),
    /// Is set by whoever simulates time.
    #[cfg(test)]
    Set(&'static std::thread::LocalKey<std::cell::Cell<Duration>>),
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Self {
        Self::Since(Instant::now())
    }

    /// The time since it was started.
    pub fn now(self) -> Duration {
        match self {
            Self::Since(start) => start.elapsed(),
            #[cfg(test)]
            Self::Set(time) => time.get(),
        }
    }
}
