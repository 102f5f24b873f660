//! `rollbook inspect`: shows and verifies files on disk. Changes nothing.
//!
//! Output is text for people or, with `--json`, one JSON document. Exit code 65 means that something is damaged.

mod log;
mod manifest;
mod snapshot;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::{Inspect, Inspected};
use super::{Exit, Failure};
use crate::storage::StorageError;

/// Shows what the arguments ask for.
///
/// # Errors
/// If the file is damaged, or cannot be read.
pub fn run(inspect: &Inspect) -> Result<(), Failure> {
    let mut out = Printer { out: BufWriter::new(io::stdout().lock()), json: inspect.json };
    let shown = match &inspect.what {
        Inspected::Log { path } => log::show(path, &mut out),
        Inspected::Snapshot { path } => snapshot::show(path, &mut out),
        Inspected::Manifest { path } => manifest::show(path, &mut out),
        Inspected::Verify { path } => verify::show(path, &mut out),
    };
    let flushed = out.out.flush().map_err(Interrupted::from);
    match shown.and_then(|verdict| flushed.map(|()| verdict)) {
        Ok(None) => Ok(()),
        // The problem has already been printed, as part of the text or the document.
        Ok(Some(failure)) => Err(failure),
        Err(Interrupted::Failed(failure)) => Err(failure),
        // The reader of the output has closed it, which is no failure.
        Err(Interrupted::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Interrupted::Output(e)) => Err(Failure::new(Exit::Io, format!("cannot print: {e}"))),
    }
}

/// Reason why output stopped early.
enum Interrupted {
    Output(io::Error),
    Failed(Failure),
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<StorageError> for Interrupted {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// Result of showing a file: `Some` if everything was printed but something is damaged.
type Shown = Result<Option<Failure>, Interrupted>;

/// Prints either text or JSON.
struct Printer<'a> {
    out: BufWriter<io::StdoutLock<'a>>,
    json: bool,
}

impl Printer<'_> {
    /// Prints a line of text; nothing with `--json`.
    fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{}", text.as_ref()) }
    }

    /// Prints the whole JSON document; nothing without `--json`.
    fn document(&mut self, value: &Value) -> io::Result<()> {
        if self.json { writeln!(self.out, "{value}") } else { Ok(()) }
    }

    /// Prints a raw part of the JSON document; nothing without `--json`. This lets a long list be printed item by item
    /// instead of being kept in memory.
    fn raw(&mut self, text: &str) -> io::Result<()> {
        if self.json { write!(self.out, "{text}") } else { Ok(()) }
    }
}

/// Prints the outcome as text, or as the last members of a JSON object that already has members.
fn finish(out: &mut Printer<'_>, outcome: Result<Value, StorageError>, text: &str) -> Shown {
    match outcome {
        Ok(end) => {
            out.line(text)?;
            out.raw(&format!(",\"valid\":true,\"end\":{end}}}\n"))?;
            Ok(None)
        }
        Err(error) => {
            out.line(format!("NOT VALID: {error}"))?;
            out.raw(&format!(",\"valid\":false,\"error\":{}}}\n", error_value(&error)))?;
            Ok(Some(error.into()))
        }
    }
}

/// Describes an error and its location as JSON.
fn error_value(error: &StorageError) -> Value {
    match error {
        StorageError::Corrupt(c) => json!({"file": c.file, "offset": c.offset, "why": c.why}),
        other => json!({"why": other.to_string()}),
    }
}

/// Formats bytes as text: unprintable bytes are escaped, long values are shortened.
fn readable(bytes: &[u8]) -> String {
    const LONGEST: usize = 120;
    let shown = bytes.get(..LONGEST).unwrap_or(bytes).escape_ascii().to_string();
    if bytes.len() > LONGEST { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

/// Whether `path` is a directory.
fn is_dir(path: &Path) -> bool {
    path.is_dir()
}
