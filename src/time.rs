//! Wall-clock times: the type that is stored and logged, and the only place that reads the clock, for the layers that
//! may.
//!
//! The pure layers (`encoding`, `store`, `commands`) get the time from their callers, so that the same edits give the
//! same state wherever they are applied.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time of the wall clock, in milliseconds since the Unix epoch. Never 0, which on disk means "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Makes a time `millis` after the Unix epoch; 0 becomes 1.
    pub const fn new(millis: u64) -> Self {
        Self(if millis == 0 { 1 } else { millis })
    }

    /// Milliseconds since the Unix epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Encodes an optional time; `None` becomes 0.
    pub fn option_to_raw(time: Option<Self>) -> u64 {
        time.map_or(0, Self::get)
    }

    /// Decodes what [`Self::option_to_raw`] encoded.
    pub fn option_from_raw(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Self(raw))
    }
}

/// Reads the wall clock in milliseconds. It may jump.
pub fn unix_millis() -> UnixMillis {
    UnixMillis::new(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX))
}

/// Reads the wall clock, in microseconds since the Unix epoch (`TIME`).
pub fn unix_micros() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
