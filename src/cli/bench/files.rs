//! Writing what was measured.

use std::fs;
use std::path::Path;

use super::arguments::Files;
use crate::bench::report::{hdr, html, json};
use crate::bench::result::Report;
use crate::cli::{Exit, Failure};

/// Instead of a file's name: it is not wanted.
const NONE: &str = "none";

/// Writes all files that are wanted; returns their names.
///
/// # Errors
/// The first that cannot be written, and why.
pub fn write<'a>(files: &'a Files, report: &Report) -> Result<Vec<&'a Path>, Failure> {
    let mut written = Vec::new();
    let mut put = |path: &'a Path, text: String| {
        fs::write(path, text).map_err(|why| Failure::new(Exit::Io, format_args!("{}: {why}", path.display())))?;
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
