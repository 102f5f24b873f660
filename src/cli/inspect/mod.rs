//! `rollbook inspect`: what is on disk, and whether it is good. Changes nothing.
//!
//! Everything is printed as text for people, or with `--json` as one JSON document. Exit code 65 says that something is damaged.

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

/// Shows what the arguments name.
///
/// # Errors
/// If it is damaged, or cannot be read.
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
        // What is wrong was printed, as a part of the text or the document.
        Ok(Some(failure)) => Err(failure),
        Err(Interrupted::Failed(failure)) => Err(failure),
        // Whoever reads has seen enough.
        Err(Interrupted::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Interrupted::Output(e)) => Err(Failure::new(Exit::Io, format!("cannot print: {e}"))),
    }
}

/// Why showing has ended before the end.
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

/// What showing returns: all was printed, and this is wrong with it, if anything.
type Shown = Result<Option<Failure>, Interrupted>;

/// Prints text or JSON.
struct Printer<'a> {
    out: BufWriter<io::StdoutLock<'a>>,
    json: bool,
}

impl Printer<'_> {
    /// A line of text; nothing with `--json`.
    fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{}", text.as_ref()) }
    }

    /// The whole document; nothing without `--json`.
    fn document(&mut self, value: &Value) -> io::Result<()> {
        if self.json { writeln!(self.out, "{value}") } else { Ok(()) }
    }

    /// A part of the document as it is; nothing without `--json`. A long list is printed item by item, not kept.
    fn raw(&mut self, text: &str) -> io::Result<()> {
        if self.json { write!(self.out, "{text}") } else { Ok(()) }
    }
}

/// Prints what is wrong, as text and as the end of a document that is an object with something in it.
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

/// What is wrong, and where.
fn error_value(error: &StorageError) -> Value {
    match error {
        StorageError::Corrupt(c) => json!({"file": c.file, "offset": c.offset, "why": c.why}),
        other => json!({"why": other.to_string()}),
    }
}

/// Bytes as text, with what cannot be printed escaped; long ones are shortened.
fn readable(bytes: &[u8]) -> String {
    const LONGEST: usize = 120;
    let shown = bytes.get(..LONGEST).unwrap_or(bytes).escape_ascii().to_string();
    if bytes.len() > LONGEST { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

/// Whether `path` is a directory.
fn is_dir(path: &Path) -> bool {
    path.is_dir()
}
