//! What the server's main thread waits for, once the cores serve.

use crate::config::Level;
use crate::ids::CoreId;

/// What the main thread is told.
#[derive(Debug)]
pub enum Event {
    /// The server is to end in good order; who wants it.
    Stop(&'static str),
    /// The log level is to change.
    Level(Level),
    /// A core has ended, or why it could not go on.
    Ended(CoreId, Result<(), String>),
}
