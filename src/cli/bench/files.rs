//! Reads and writes the files of `bench`. Every error is one sentence that names the file.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::report::{hdr, html, json};
use crate::bench::result::Report;
use crate::cli::{Exit, Failure};

/// Argument that suppresses a file when given in place of its name.
const NONE: &str = "none";

/// Where to write what was measured.
#[derive(Clone, Debug, Args)]
pub struct Files {
    /// All figures; `none` writes none.
    #[arg(long, default_value = "bench.json", value_name = "FILE")]
    pub json: PathBuf,
    /// A page with charts; `none` writes none.
    #[arg(long, default_value = "bench.html", value_name = "FILE")]
    pub html: PathBuf,
    /// Percentiles as a text for HdrHistogram's plotter.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Histograms second by second as HdrHistogram's log.
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
}

/// Reads a text file.
///
/// # Errors
/// If the file cannot be read, or is not text.
pub fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|why| Failure::new(Exit::Data, format_args!("{}: {why}", path.display())))
}

/// Writes a file, or replaces it.
///
/// # Errors
/// If the directory does not exist, or the disk is full or fails.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|why| Failure::new(Exit::Io, format_args!("{}: {why}", path.display())))
}

/// Writes all requested files. Returns their paths.
///
/// # Errors
/// Returns the first failure: which file cannot be written, and why.
pub fn write_all<'a>(files: &'a Files, report: &Report) -> Result<Vec<&'a Path>, Failure> {
    let mut written = Vec::new();
    let mut put = |path: &'a Path, text: String| {
        write(path, &text)?;
        written.push(path);
        Ok::<_, Failure>(())
    };
    let bug = |why: &dyn std::error::Error| Failure::new(Exit::Software, why);
    if files.json != Path::new(NONE) {
        put(&files.json, json::write(report).map_err(|why| bug(&why))?)?;
    }
    if files.html != Path::new(NONE) {
        put(&files.html, html::html(report).map_err(|why| bug(&why))?)?;
    }
    if let Some(path) = &files.hgrm {
        put(path, hdr::hgrm(report).map_err(|why| bug(&why))?)?;
    }
    if let Some(path) = &files.hlog {
        put(path, hdr::hlog(report))?;
    }
    Ok(written)
}
