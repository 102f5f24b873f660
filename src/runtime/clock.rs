//! The time, read here and handed to whoever needs it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::encoding::edit::UnixMillis;

/// The wall clock, in milliseconds.
pub fn unix_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(since.as_millis() as u64)
}

/// The wall clock, in microseconds since the Unix epoch (`TIME`).
pub fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
