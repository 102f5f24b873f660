//! Comparison of two reports: ratios, and both curves on one page.

use super::chart::{load, percentiles};
use super::grid::{Cell, Columns, Grid, Tone};
use super::html::Page;
use super::{ReportError, facts, hdr, text, units};
use crate::bench::result::{Latency, Report};

/// Ratios above this, or below its inverse, are shown as better or worse; smaller differences may be chance.
const NOTABLE: f64 = 1.05;

/// Two reports with their names, usually file names.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The baseline.
    pub a: (&'a str, &'a Report),
    /// The report compared with the baseline.
    pub b: (&'a str, &'a Report),
}

/// Which direction of a ratio is an improvement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    Less,
    More,
}

impl Comparison<'_> {
    /// The comparison as text for a terminal.
    pub fn text(&self) -> String {
        text::join(&[self.differences(), self.ratios()])
    }

    /// The comparison as a page with the tables and both curves.
    ///
    /// # Errors
    /// If a histogram in a report is damaged, or a chart cannot be drawn.
    pub fn html(&self) -> Result<String, ReportError> {
        let (a, b) = (self.a.1, self.b.1);
        let who = |report: &Report| format!("{} {}", report.server.name, report.server.version);
        let under = format!("A: {}, {} · B: {}, {}", self.a.0, who(a), self.b.0, who(b));
        let mut page = Page::new(&format!("{} compared with {}", self.b.0, self.a.0), &under);
        let names = [format!("A: {}", self.a.0), format!("B: {}", self.b.0)];
        let names = names.each_ref().map(String::as_str);
        let (first, second) = (hdr::decode(&a.latency, self.a.0)?, hdr::decode(&b.latency, self.b.0)?);
        page.chart("Latency by percentile", &names, &percentiles::percentiles(&[&first, &second])?);
        for (name, report) in [self.a, self.b] {
            if !report.sweep.is_empty() {
                page.chart(&format!("Latency by throughput: {name}"), &load::LATENCIES, &load::load(&report.sweep)?);
            }
        }
        page.grid(&self.differences());
        page.grid(&self.ratios());
        page.grid(&Grid { title: format!("A: {}", self.a.0), ..facts::setting(a) });
        page.grid(&Grid { title: format!("B: {}", self.b.0), ..facts::setting(b) });
        Ok(page.finish())
    }

    /// Table of differences between the two runs' settings, which the reader of ratios should know.
    pub fn differences(&self) -> Grid {
        let mut grid =
            Grid { columns: Columns::Words, ..Grid::numbers("Not the same in both runs", ["", self.a.0, self.b.0]) };
        let described = |report: &Report| {
            let mut rows = facts::plan(report).rows;
            // The command's differences are shown by the other rows.
            rows.retain(|row| row[0].text != "command");
            rows.extend(
                facts::setting(report)
                    .rows
                    .into_iter()
                    .filter(|row| ["server", "machine", "kernel"].contains(&&*row[0].text)),
            );
            rows
        };
        let (a, b) = (described(self.a.1), described(self.b.1));
        let names = a.iter().chain(b.iter().filter(|row| !a.iter().any(|other| other[0] == row[0]))).map(|row| &row[0]);
        for name in names {
            let value = |rows: &[Vec<Cell>]| {
                rows.iter().find(|row| row[0] == *name).map_or_else(|| "–".into(), |row| row[1].clone())
            };
            let (a, b) = (value(&a), value(&b));
            if a != b {
                grid.row([name.clone(), a, b]);
            }
        }
        grid
    }

    /// Table of quantities measured in both runs, with the ratio B / A.
    pub fn ratios(&self) -> Grid {
        let (a, b) = (self.a.1, self.b.1);
        let mut grid = Grid::numbers("Ratios", ["", "A", "B", "B / A"]);
        let mut add = |what: &str, a: Option<f64>, b: Option<f64>, shown: fn(f64) -> String, better| {
            if let (Some(a), Some(b)) = (a, b) {
                grid.row([what.into(), shown(a).into(), shown(b).into(), ratio(a, b, better)]);
            }
        };
        let (less, more) = (Better::Less, Better::More);
        add("rate", Some(a.totals.rate), Some(b.totals.rate), units::rate, more);
        let knee = |report: &Report| load::knee(&report.sweep).map(|step| step.totals.rate);
        add("highest sustained rate", knee(a), knee(b), units::rate, more);
        for ((name, a), (_, b)) in quantiles(&a.latency).into_iter().zip(quantiles(&b.latency)) {
            add(name, Some(a), Some(b), units::micros, less);
        }
        add("uncorrected p99", Some(a.uncorrected.p99), Some(b.uncorrected.p99), units::micros, less);
        if a.operations.len() > 1 || b.operations.len() > 1 {
            for operation in &a.operations {
                let Some(other) = b.operations.iter().find(|other| other.name == operation.name) else { continue };
                let what = format!("{} p99", operation.name);
                add(&what, Some(operation.latency.p99), Some(other.latency.p99), units::micros, less);
            }
        }
        let cpu = |report: &Report| report.server.cpu.map(|cpu| cpu.micros_per_request);
        add("server CPU a request", cpu(a), cpu(b), units::micros, less);
        let memory = |report: &Report| report.server.resident_bytes.map(|bytes| bytes as f64);
        add("server memory", memory(a), memory(b), |bytes| units::bytes(bytes as u64), less);
        let generator = |report: &Report| Some(report.generator.micros_per_request);
        add("generator CPU a request", generator(a), generator(b), units::micros, less);
        let errors = |report: &Report| Some(report.totals.errors as f64);
        add("errors", errors(a), errors(b), |errors| units::count(errors as u64), less);
        grid
    }
}

/// Figures of a latency distribution that are compared.
const fn quantiles(latency: &Latency) -> [(&'static str, f64); 6] {
    let Latency { mean, p50, p90, p99, p999, max, .. } = *latency;
    [("mean", mean), ("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("max", max)]
}

/// Cell with the ratio B / A.
fn ratio(a: f64, b: f64, better: Better) -> Cell {
    if a == b {
        return units::ratio(1.0).into();
    }
    let ratio = b / a;
    let gain = if better == Better::More { ratio } else { 1.0 / ratio };
    let tone = match gain {
        gain if gain > NOTABLE => Tone::Good,
        gain if gain < 1.0 / NOTABLE => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell::toned(units::ratio(ratio), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn a_report_is_the_same_as_itself() {
        let report = sample::report();
        let comparison = Comparison { a: ("a", &report), b: ("b", &report) };
        assert!(comparison.differences().rows.is_empty());
        assert!(comparison.ratios().rows.iter().all(|row| row[3] == "1.00".into()));
    }

    #[test]
    fn less_latency_and_more_throughput_are_good_news() {
        let (a, mut b) = (sample::report(), sample::report());
        b.latency.p99 = a.latency.p99 * 2.0;
        b.totals.rate = a.totals.rate * 2.0;
        b.latency.p50 = a.latency.p50 * 1.01;
        b.plan.connections = 10;
        let comparison = Comparison { a: ("a", &a), b: ("b", &b) };
        let ratios = comparison.ratios();
        let found = |name: &str| ratios.rows.iter().find(|row| row[0].text == name).unwrap()[3].clone();
        assert_eq!(found("p99"), Cell::toned("2.00", Tone::Bad));
        assert_eq!(found("rate"), Cell::toned("2.00", Tone::Good));
        assert_eq!(found("p50"), Cell::toned("1.01", Tone::Plain));
        let differences = comparison.differences();
        assert_eq!(differences.rows, [["connections", "50, pipeline of 1", "10, pipeline of 1"].map(Cell::from)]);
        assert!(comparison.text().starts_with("Not the same in both runs"));
    }

    #[test]
    fn nothing_divided_by_nothing_is_no_news() {
        assert_eq!(ratio(0.0, 0.0, Better::Less), "1.00".into());
        assert_eq!(ratio(0.0, 3.0, Better::Less), Cell::toned("–", Tone::Bad));
    }
}
