//! The files that `rollbook bench` reads and writes: what goes wrong is said in one sentence, with the file's name.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::cli::{Exit, Failure};

/// The text in a file.
///
/// # Errors
/// If it cannot be read, or is no text.
pub fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == ErrorKind::InvalidData { Exit::Data } else { Exit::Usage };
        Failure::new(exit, format_args!("cannot read {}: {error}", path.display()))
    })
}

/// Writes a file, or replaces it.
///
/// # Errors
/// If the place is not there, or the disk is full or fails.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::new(Exit::Io, format_args!("cannot write {}: {error}", path.display())))
}
