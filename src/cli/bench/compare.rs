//! `rollbook bench compare`: compares two reports.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::files;
use crate::bench::report::compare::Comparison;
use crate::bench::report::json;
use crate::bench::result::Report;
use crate::cli::{Exit, Failure};

/// Arguments of `bench compare`.
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// The report that is compared with, as written by --json.
    pub a: PathBuf,
    /// The report that is compared with it.
    pub b: PathBuf,
    /// Also write a page with the table and both curves.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Prints the ratios and writes the page.
///
/// # Errors
/// If a file is not a report, or cannot be read or written.
pub fn run(compare: &Compare) -> Result<(), Failure> {
    let (a, b) = (read(&compare.a)?, read(&compare.b)?);
    let (a_name, b_name) = (compare.a.display().to_string(), compare.b.display().to_string());
    let comparison = Comparison { a: (&a_name, &a), b: (&b_name, &b) };
    // The page comes first, so that a problem in a report is reported instead of printing a table.
    if let Some(path) = &compare.html {
        let page = comparison.html().map_err(|error| Failure::new(Exit::Data, error))?;
        files::write(path, &page)?;
    }
    let printed = io::stdout().lock().write_all(comparison.text().as_bytes());
    printed.map_err(|error| Failure::new(Exit::Io, format_args!("standard output: {error}")))
}

fn read(path: &Path) -> Result<Report, Failure> {
    let text = files::read(path)?;
    json::read(&text).map_err(|error| Failure::new(Exit::Data, format_args!("{}: {error}", path.display())))
}
