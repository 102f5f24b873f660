//! What a run found, as people and other tools read it. Pure: a [`Report`](super::result::Report) in, a text out; whoever calls prints it
//! or writes it to a file.
//!
//! | module | what it is |
//! |---|---|
//! | [`json`] | `bench.json`, written and read |
//! | [`text`] | the tables for the terminal |
//! | [`html`] | one self-contained page with charts |
//! | [`hdr`] | histograms for other tools: percentile text and HdrHistogram's log |
//! | [`compare`] | two reports side by side |
//! | [`facts`] | what is shown, as [`grid`]s that text and page share |
//! | [`chart`] | the charts, as SVG |
//! | [`units`] | numbers with their units |

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

/// Why a report cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A histogram in it is not one.
    #[error("the histogram of {0} is damaged")]
    Histogram(String),
    /// A chart could not be drawn.
    #[error("a chart could not be drawn: {0}")]
    Chart(String),
}
