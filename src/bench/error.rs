//! Errors of the load generator: why a run failed or ended early.

use std::io;

use super::reply::Malformed;

/// Reason why a run failed or ended early.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan cannot be run; the text says why.
    #[error("{0}")]
    Plan(String),
    /// The server cannot be reached.
    #[error("nobody answers at {address}: {why}")]
    Unreachable {
        /// Address of the server.
        address: String,
        /// Error from the system.
        why: io::Error,
    },
    /// The server at this address requires a password.
    #[error("the server at {0} asks for a password: give it with --password")]
    PasswordNeeded(String),
    /// The server rejects the password.
    #[error("the server at {address} does not accept the password: {why}")]
    PasswordRefused {
        /// Address of the server.
        address: String,
        /// Error that the server replied.
        why: String,
    },
    /// The server's replies are not RESP.
    #[error("what answers at {address} does not speak the Redis protocol: {why}")]
    Protocol {
        /// Address of the server.
        address: String,
        /// What is wrong with the reply.
        why: Malformed,
    },
    /// The connection to the server was lost.
    #[error("the server at {address} closed the connection ({why}); with --reconnect the run would have gone on")]
    Lost {
        /// Address of the server.
        address: String,
        /// Error from the system.
        why: String,
    },
    /// The server refused a command.
    #[error("the server refused {what}: {why}")]
    Refused {
        /// The command.
        what: String,
        /// The server's reply.
        why: String,
    },
    /// An operation failed on this machine.
    #[error("{what}: {why}")]
    System {
        /// The operation.
        what: &'static str,
        /// Error from the system.
        why: io::Error,
    },
}

impl BenchError {
    /// For `map_err`: makes an error that operation `what` failed on this machine.
    pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}
