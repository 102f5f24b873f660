//! `bench.json`: writing reports, and reading them for comparisons.

use serde::Deserialize;

use crate::bench::result::{Report, SCHEMA};

/// Reason why a text cannot be read as a report.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON, or lacks fields of a report.
    #[error("not a report of `rollbook bench`: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The report has a schema of another version.
    #[error("a report of schema {found}, and this rollbook reads schema {SCHEMA}: use the rollbook that wrote it")]
    Schema {
        /// Version of the report's schema.
        found: u32,
    },
}

/// Serializes the report as JSON, with a line break at the end.
///
/// # Errors
/// Does not occur for a report whose numbers are finite.
pub fn write(report: &Report) -> Result<String, JsonError> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// Reads a report from JSON.
///
/// # Errors
/// If the text is not a report, or has another schema.
pub fn read(text: &str) -> Result<Report, JsonError> {
    /// The version is read first, because the other fields may differ in another schema.
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    match serde_json::from_str::<Version>(text)? {
        Version { schema: SCHEMA } => Ok(serde_json::from_str(text)?),
        Version { schema: found } => Err(JsonError::Schema { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn what_was_written_is_read() {
        let report = sample::report();
        assert_eq!(read(&write(&report).unwrap()).unwrap(), report);
    }

    #[test]
    fn what_is_no_report_is_refused_in_one_sentence() {
        let why = |text: &str| read(text).unwrap_err().to_string();
        assert!(why("{").starts_with("not a report of `rollbook bench`: EOF"));
        assert!(why("[1]").starts_with("not a report of `rollbook bench`: "));
        assert!(why(r#"{"schema": 1}"#).contains("missing field"));
        assert!(
            why(r#"{"schema": 99, "more": 1}"#).contains("a report of schema 99, and this rollbook reads schema 1")
        );
    }

    #[test]
    fn a_report_without_what_was_added_later_is_read() {
        let mut report = sample::report();
        report.timeline_histograms.clear();
        let mut value = serde_json::to_value(&report).unwrap();
        value.as_object_mut().unwrap().remove("timeline_histograms");
        assert_eq!(read(&value.to_string()).unwrap(), report);
    }
}
