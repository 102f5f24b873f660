//! Events that the server's main thread waits for while the cores serve.

use crate::config::Level;
use crate::ids::CoreId;

/// Event sent to the main thread.
#[derive(Debug)]
pub enum Event {
    /// Request to shut the server down in good order; the text says who asked for it.
    Stop(&'static str),
    /// Request to change the log level.
    Level(Level),
    /// A core has ended, normally or with the reason why it could not go on.
    Ended(CoreId, Result<(), String>),
}
