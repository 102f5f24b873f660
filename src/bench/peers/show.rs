//! Shows a comparison as text and as a page.

use super::result::{Aim, PeersReport, Row, Spread, Subject, Unit};
use crate::bench::report::chart::rounds::{self, Lane};
use crate::bench::report::grid::{Cell, Grid, Tone};
use crate::bench::report::html::Page;
use crate::bench::report::{ReportError, text, units};

/// The comparison as text for a terminal.
pub fn text(report: &PeersReport) -> String {
    text::join(&[table(report), about(report)])
}

/// The comparison as a page, with the table and every round.
///
/// # Errors
/// If a chart cannot be drawn.
pub fn html(report: &PeersReport) -> Result<String, ReportError> {
    let title = report.programs.join(", ");
    let under = format!("{} × {} · {}", report.machine.cpus, report.machine.cpu, units::date(report.started_unix_ms));
    let mut page = Page::new(&title, &under);
    page.grid(&table(report));
    page.note("A bar is the median, a circle each round.");
    for row in &report.rows {
        let spreads = row.subjects.iter().filter_map(|subject| Some((subject, subject.spread()?)));
        let lanes: Vec<_> = spreads
            .map(|(subject, spread)| Lane { name: &subject.name, values: &subject.values, median: spread.median })
            .collect();
        page.chart(&row.what, &[], &rounds::rounds(&row.what, &lanes, row.unit.shown())?);
    }
    page.grid(&about(report));
    Ok(page.finish())
}

impl Unit {
    /// Function that formats values of this unit.
    pub fn shown(self) -> fn(f64) -> String {
        match self {
            Self::Micros => units::micros,
            Self::PerSecond => units::rate,
            Self::Bytes => |bytes| units::bytes(bytes as u64),
        }
    }
}

/// Table with one line per quantity and compared subject.
fn table(report: &PeersReport) -> Grid {
    let mut grid = Grid::numbers("Medians", ["", "", "against", "", "ratio (min – max)", "aim", "met"]);
    for row in &report.rows {
        let Some((first, others)) = row.subjects.split_first() else { continue };
        let Some(own) = first.spread() else { continue };
        if others.is_empty() {
            grid.row(line(row, own, None));
        }
        others.iter().for_each(|other| grid.row(line(row, own, Some((other, first.ratio(other))))));
    }
    grid
}

fn line(row: &Row, own: Spread, against: Option<(&Subject, Option<Spread>)>) -> [Cell; 7] {
    let shown = row.unit.shown();
    let ratio = against.and_then(|(_, ratio)| ratio);
    let other = against.and_then(|(other, _)| other.spread());
    let dash = || "–".to_owned();
    let met = match row.aim.and_then(|aim| aim.is_met(own.median, ratio.map(|ratio| ratio.median))) {
        None => "–".into(),
        Some(true) => Cell::toned("yes", Tone::Good),
        Some(false) => Cell::toned("no", Tone::Bad),
    };
    [
        row.what.as_str().into(),
        shown(own.median).into(),
        against.map_or_else(dash, |(other, _)| other.name.clone()).into(),
        other.map_or_else(dash, |other| shown(other.median)).into(),
        ratio.map_or_else(dash, ratio_text).into(),
        row.aim.map_or_else(dash, |aim| aim_text(aim, shown)).into(),
        met,
    ]
}

fn ratio_text(Spread { median, min, max }: Spread) -> String {
    let [median, min, max] = [median, min, max].map(units::ratio);
    format!("{median} ({min} – {max})")
}

fn aim_text(aim: Aim, shown: fn(f64) -> String) -> String {
    match aim {
        Aim::RatioAtMost(ratio) => format!("≤ {} ×", units::trimmed(ratio)),
        Aim::RatioAtLeast(ratio) => format!("≥ {} ×", units::trimmed(ratio)),
        Aim::AtMost(value) => format!("≤ {}", shown(value)),
        Aim::AtLeast(value) => format!("≥ {}", shown(value)),
    }
}

/// Table of how the comparison was measured.
fn about(report: &PeersReport) -> Grid {
    let mut grid = Grid::words("Setting");
    grid.fact("servers", report.programs.join(", "));
    grid.fact(
        "machine",
        format!("{} × {}, {}", report.machine.cpus, report.machine.cpu, units::bytes(report.machine.memory_bytes)),
    );
    grid.fact("kernel", report.machine.kernel.as_str());
    grid.fact("rounds", format!("{}, interleaved, {} keys", report.rounds, units::count(report.keys)));
    grid.fact("started", units::date(report.started_unix_ms));
    grid.fact("command", report.command.join(" "));
    report.notes.iter().for_each(|note| grid.fact("note", note.as_str()));
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> PeersReport {
        let subject = |name: &str, values: &[f64]| Subject { name: name.into(), values: values.to_vec() };
        let row =
            |what: &str, unit, subjects, aim| Row { experiment: "set".into(), what: what.into(), unit, subjects, aim };
        let rows = vec![
            row(
                "SET: server CPU a request",
                Unit::Micros,
                vec![subject("rollbook 0.1.0", &[9.4, 9.5, 9.9]), subject("redis-server 7.0.15", &[10.8, 10.7, 11.0])],
                Some(Aim::RatioAtMost(0.9)),
            ),
            row("start", Unit::Micros, vec![subject("rollbook 0.1.0", &[70_000.0])], Some(Aim::AtMost(60_000.0))),
        ];
        PeersReport { rows, notes: vec!["interrupted during get".into()], rounds: 3, ..PeersReport::default() }
    }

    #[test]
    fn the_table_says_by_how_much_and_how_sure_that_is() {
        let text = text(&report());
        let line = |what: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        let cpu = [
            "SET: server CPU a request",
            "9.50 µs",
            "redis-server 7.0.15",
            "10.8 µs",
            "0.88 (0.87 – 0.90)",
            "≤ 0.9 ×",
            "yes",
        ];
        assert_eq!(line("SET"), cpu);
        assert_eq!(line("start"), ["start", "70.0 ms", "–", "–", "–", "≤ 60.0 ms", "no"]);
        assert!(text.contains("interrupted during get"));
    }

    #[test]
    fn the_page_has_a_chart_for_each_quantity() {
        let page = html(&report()).unwrap();
        assert_eq!(page.matches("<circle").count(), 7);
        assert_eq!(page.matches("<svg role").count(), 2);
    }
}
