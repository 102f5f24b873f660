//! Time for the threads of this layer. State machines are told the time; only threads ask for it, and only here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::encoding::edit::UnixMillis;

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

/// What the clock on the wall shows, for people to read. It may jump.
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
