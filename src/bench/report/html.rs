//! A report as one self-contained page: no scripts, fonts or pictures from elsewhere. It is readable in light and dark
//! mode and on paper.

use std::fmt::Write as _;

use super::chart::{ink, load, percentiles, timeline};
use super::grid::{Grid, escape};
use super::{ReportError, facts, hdr, units};
use crate::bench::result::Report;
use plotters::style::RGBColor;

const STYLE: &str = include_str!("html/style.css");

/// Renders the report of a run as a page.
///
/// # Errors
/// If a histogram in the report is damaged, or a chart cannot be drawn.
pub fn html(report: &Report) -> Result<String, ReportError> {
    let (server, plan) = (&report.server, &report.plan);
    let title = format!("{} on {} {}", plan.workload, server.name, server.version);
    let under = format!("{} · {} · {}", server.address, report.machine.cpu, units::date(report.started_unix_ms));
    let mut page = Page::new(&title, &under);
    page.figures(&figures(report));
    if !report.sweep.is_empty() {
        page.chart("Latency by throughput", &load::LATENCIES, &load::load(&report.sweep)?);
        page.note("Full circles are rates that the server sustained; the dotted line is the highest of them.");
        page.grid(&facts::sweep(report));
    }
    page.percentiles(report)?;
    page.grid(&facts::latencies(report));
    if !report.timeline.is_empty() {
        page.chart("Over time", &timeline::SERIES, &timeline::timeline(report)?);
    }
    page.grid(&facts::events(report));
    page.grid(&facts::verification(report));
    [facts::totals(report), facts::plan(report), facts::setting(report)].iter().for_each(|grid| page.grid(grid));
    page.folded("What changed in the server's INFO", &facts::info(report));
    Ok(page.finish())
}

/// Key figures, shown first: name, value, and whether it is good.
fn figures(report: &Report) -> Vec<(&'static str, String, bool)> {
    let name = if report.sweep.is_empty() { "requests a second" } else { "sustained rate" };
    let latency = &report.latency;
    let mut figures = vec![(name, units::rate(report.totals.rate), true)];
    for (name, micros) in [("p50", latency.p50), ("p99", latency.p99), ("p99.9", latency.p999), ("max", latency.max)] {
        figures.push((name, units::micros(micros), true));
    }
    if let Some(cpu) = report.server.cpu {
        figures.push(("server CPU a request", units::micros(cpu.micros_per_request), true));
    }
    figures.push(("errors", units::count(report.totals.errors), report.totals.errors == 0));
    if let Some(verification) = &report.verification {
        figures.push((
            "verification",
            if verification.passed { "passed" } else { "FAILED" }.into(),
            verification.passed,
        ));
    }
    figures
}

/// A page under construction.
pub(in crate::bench) struct Page {
    html: String,
}

impl Page {
    /// Begins a page with a title and a subtitle.
    pub(in crate::bench) fn new(title: &str, under: &str) -> Self {
        let (title, under) = (escape(title), escape(under));
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} – rollbook bench</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<p class=\"under\">{under}</p>\n</header>\n<main>\n"
        );
        Self { html }
    }

    /// Adds key figures: names and values, and whether each is good.
    pub(in crate::bench) fn figures(&mut self, figures: &[(&str, String, bool)]) {
        self.html.push_str("<dl class=\"figures\">\n");
        for (name, value, good) in figures {
            let class = if *good { "" } else { " class=\"bad\"" };
            let _ = writeln!(self.html, "<div><dt>{}</dt><dd{class}>{}</dd></div>", escape(name), escape(value));
        }
        self.html.push_str("</dl>\n");
    }

    /// Adds a chart with a legend of its series, in the order of [`ink::SERIES`], unless the chart itself has one.
    pub(in crate::bench) fn chart(&mut self, title: &str, series: &[&str], svg: &str) {
        let _ = write!(self.html, "<h2>{}</h2>\n<figure>\n", escape(title));
        if !series.is_empty() {
            self.html.push_str("<ul class=\"legend\">");
        }
        for (name, RGBColor(red, green, blue)) in series.iter().zip(ink::SERIES) {
            // A line like those in the chart, so that colour and dashes follow the style sheet.
            let _ = write!(
                self.html,
                "<li><svg viewBox=\"0 0 78 20\" aria-hidden=\"true\"><polyline fill=\"none\" stroke=\"#{red:02X}{green:02X}{blue:02X}\" \
                 stroke-width=\"5\" points=\"0,10 78,10\"/></svg>{}</li>",
                escape(name)
            );
        }
        let end = if series.is_empty() { "" } else { "</ul>\n" };
        let _ = writeln!(self.html, "{end}{svg}</figure>");
    }

    /// Adds a paragraph.
    pub(in crate::bench) fn note(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p class=\"under\">{}</p>", escape(text));
    }

    /// Adds a table; nothing if it has no rows.
    pub(in crate::bench) fn grid(&mut self, grid: &Grid) {
        let table = grid.to_html();
        if !table.is_empty() {
            let _ = write!(self.html, "<div class=\"scroll\">\n{table}</div>\n");
        }
    }

    /// Adds a table that is folded until the reader opens it; nothing if it has no rows.
    pub(in crate::bench) fn folded(&mut self, summary: &str, grid: &Grid) {
        if !grid.rows.is_empty() {
            let _ = write!(self.html, "<details>\n<summary>{}</summary>\n", escape(summary));
            self.grid(grid);
            self.html.push_str("</details>\n");
        }
    }

    /// Adds the latencies by percentile (of a sweep, those of its best step), and the uncorrected ones where they
    /// differ.
    fn percentiles(&mut self, report: &Report) -> Result<(), ReportError> {
        let corrected = hdr::decode(&report.latency, "all latencies")?;
        if report.plan.mode == "closed" {
            self.chart("Latency by percentile", &["from sending to answer"], &percentiles::percentiles(&[&corrected])?);
            return Ok(());
        }
        let uncorrected = hdr::decode(&report.uncorrected, "the uncorrected latencies")?;
        let at =
            if report.sweep.is_empty() { String::new() } else { format!(" at {}", units::rate(report.totals.rate)) };
        let title = format!("Latency by percentile{at}");
        let names = ["from when it was due", "uncorrected: from when it was sent"];
        self.chart(&title, &names, &percentiles::percentiles(&[&corrected, &uncorrected])?);
        self.note(
            "A request that could not be sent in time, because the server kept its connection waiting, has waited all the same: \
             latency counts from the instant at which it was due.",
        );
        Ok(())
    }

    /// Completes the page and returns it.
    pub(in crate::bench) fn finish(mut self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let _ = write!(self.html, "</main>\n<footer>rollbook bench {version}</footer>\n</body>\n</html>\n");
        self.html
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = html(&sample::report()).unwrap();
        for outside in ["src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("&lt;script&gt;"), "what the server says is shown, not executed");
        assert!(page.len() < 300_000, "{} bytes", page.len());
    }

    #[test]
    fn every_element_is_closed() {
        for report in [sample::report(), sample::sweep(), Report::default()] {
            let page = html(&report).unwrap();
            for element in ["svg", "table", "tr", "td", "th", "div", "figure", "details", "li", "ul", "dl", "text", "p"]
            {
                let closed = page.matches(&format!("</{element}>")).count();
                let opened = [" ", ">", "\n"].map(|end| page.matches(&format!("<{element}{end}")).count());
                assert_eq!(opened.iter().sum::<usize>(), closed, "{element}");
            }
        }
    }

    #[test]
    fn a_damaged_histogram_is_no_page() {
        let mut report = sample::report();
        report.uncorrected.histogram.truncate(20);
        assert_eq!(html(&report).unwrap_err().to_string(), "the histogram of the uncorrected latencies is damaged");
    }

    #[test]
    #[ignore = "writes target/sample/*.html, to be looked at in a browser"]
    fn sample_pages() {
        use crate::bench::report::compare::Comparison;
        let (run, sweep) = (sample::report(), sample::sweep());
        let pages = [
            ("run", html(&run).unwrap()),
            ("sweep", html(&sweep).unwrap()),
            ("compare", Comparison { a: ("before", &run), b: ("after", &sweep) }.html().unwrap()),
        ];
        std::fs::create_dir_all("target/sample").unwrap();
        pages.iter().for_each(|(name, page)| std::fs::write(format!("target/sample/{name}.html"), page).unwrap());
        print!("{}", crate::bench::report::text::text(&run));
        print!("{}", Comparison { a: ("before", &run), b: ("after", &sweep) }.text());
    }
}
