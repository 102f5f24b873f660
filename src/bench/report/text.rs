//! A report as text for the terminal.

use super::facts;
use super::grid::Grid;
use crate::bench::result::Report;

/// The tables of a run, separated by empty lines. The plan is omitted, because the user has just given it.
pub fn text(report: &Report) -> String {
    let grids = [
        facts::totals(report),
        facts::sweep(report),
        facts::latencies(report),
        facts::events(report),
        facts::verification(report),
    ];
    join(&grids)
}

/// Formats tables as text, separated by empty lines; tables without rows are omitted.
pub fn join(grids: &[Grid]) -> String {
    let texts: Vec<_> = grids.iter().map(Grid::to_text).filter(|text| !text.is_empty()).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn a_terminal_shows_the_whole_run_within_its_width() {
        let text = text(&sample::report());
        for title in ["Run", "Latency", "Events", "Verification"] {
            assert!(text.lines().any(|line| line == title), "{title} is missing:\n{text}");
        }
        assert!(!text.contains("Sweep"));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
