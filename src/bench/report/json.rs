//! `bench.json`: a report as it is kept, and read again for comparisons.

use serde::Deserialize;

use crate::bench::result::{Report, SCHEMA};

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, or lacks what a report has.
    #[error("not a report of `rollbook bench`: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Its schema is not this program's.
    #[error("a report of schema {found}, and this rollbook reads schema {SCHEMA}: use the rollbook that wrote it")]
    Schema {
        /// What it says.
        found: u32,
    },
}

/// The report as JSON, with a line break at the end.
///
/// # Errors
/// Never for a report whose numbers are finite.
pub fn write(report: &Report) -> Result<String, JsonError> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// The report that a text holds.
///
/// # Errors
/// If it holds none, or one of another schema.
pub fn read(text: &str) -> Result<Report, JsonError> {
    /// What is looked at first: everything else may have another shape in another schema.
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
