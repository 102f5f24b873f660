//! Why a run came to nothing, or to less than it should have.

use std::io;

use super::reply::Malformed;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// What was asked for cannot be run.
    #[error("{0}")]
    Plan(String),
    /// Nobody answers.
    #[error("nobody answers at {address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        why: io::Error,
    },
    /// The server wants to know who it talks to.
    #[error("the server at {0} asks for a password: give it with --password")]
    PasswordNeeded(String),
    /// It does not accept the password.
    #[error("the server at {address} does not accept the password: {why}")]
    PasswordRefused {
        /// Where.
        address: String,
        /// What the server said.
        why: String,
    },
    /// Whoever answers is no server of this kind.
    #[error("what answers at {address} does not speak the Redis protocol: {why}")]
    Protocol {
        /// Where.
        address: String,
        /// What is wrong with what it said.
        why: Malformed,
    },
    /// The server is gone.
    #[error("the server at {address} closed the connection ({why}); with --reconnect the run would have gone on")]
    Lost {
        /// Where.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The server answers, but not with what is needed.
    #[error("the server refused {what}: {why}")]
    Refused {
        /// What it was asked for.
        what: String,
        /// What it said.
        why: String,
    },
    /// This machine cannot do it.
    #[error("{what}: {why}")]
    System {
        /// What it cannot do.
        what: &'static str,
        /// What the system said.
        why: io::Error,
    },
}

impl BenchError {
    /// For `map_err`: this machine cannot do `what`.
    pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}
