//! How the program exits: an exit code that scripts and supervisors can distinguish, and lines that give the reasons.

use std::fmt;
use std::process::ExitCode;

/// Exit codes as in `sysexits.h`, plus one from shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is invalid.
    Usage = 64,
    /// Data on disk is damaged. Restarting does not help.
    Data = 65,
    /// The machine lacks something, or a resource is in use: a kernel feature, a port, the data directory.
    Unavailable = 69,
    /// A bug in the program.
    Software = 70,
    /// The disk failed.
    Io = 74,
    /// The configuration is wrong.
    Config = 78,
    /// Interrupted with Ctrl-C; the code that shells use.
    Interrupted = 130,
}

/// Reason why the program exits without having done what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line per reason: what is wrong, and what to do.
    pub reasons: Vec<String>,
}

impl Failure {
    /// Makes a failure with one reason.
    pub fn new(exit: Exit, reason: impl fmt::Display) -> Self {
        Self { exit, reasons: vec![reason.to_string()] }
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self { exit: Exit::Config, reasons: error.0.iter().map(ToString::to_string).collect() }
    }
}

impl From<crate::storage::StorageError> for Failure {
    fn from(error: crate::storage::StorageError) -> Self {
        use crate::storage::StorageError;
        let exit = match &error {
            StorageError::Io { .. } => Exit::Io,
            StorageError::Corrupt(_) => Exit::Data,
            StorageError::InUse { .. } => Exit::Unavailable,
            StorageError::Unusable { .. } => Exit::Config,
        };
        Self::new(exit, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Unavailable, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("\n"))
    }
}

impl std::error::Error for Failure {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
