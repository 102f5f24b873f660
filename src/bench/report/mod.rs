//! Output of reports, for people and other tools. The functions are pure: they turn a [`Report`](super::result::Report)
//! into text; the caller prints it or writes it to a file.
//!
//! | module | what it is |
//! |---|---|
//! | [`json`] | writing and reading `bench.json` |
//! | [`text`] | tables for the terminal |
//! | [`html`] | one self-contained page with charts |
//! | [`hdr`] | histograms for other tools: percentile text and HdrHistogram's log |
//! | [`compare`] | comparison of two reports |
//! | [`facts`] | tables of a report as [`grid`]s, which text and page share |
//! | [`chart`] | charts, as SVG |
//! | [`units`] | formatting numbers with units |

pub mod chart;
pub mod compare;
pub mod facts;
pub mod grid;
pub mod hdr;
pub mod html;
pub mod json;
#[cfg(test)]
pub mod sample;
pub mod text;
pub mod units;

/// Reason why a report cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A histogram in the report is damaged.
    #[error("the histogram of {0} is damaged")]
    Histogram(String),
    /// A chart could not be drawn.
    #[error("a chart could not be drawn: {0}")]
    Chart(String),
}
