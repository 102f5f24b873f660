//! Histograms in the formats of other tools: HdrHistogram's percentile text (`.hgrm`) and its interval log (`.hlog`,
//! version 1.3).
//!
//! A report stores histograms of nanoseconds in the compressed V2 encoding in base64, which is also the encoding in a
//! log, so that a log is written without decoding anything.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::ReportError;
use crate::bench::result::{Latency, Report};

/// Lines per halving of the distance to 100 %, as HdrHistogram's own tools print them.
const TICKS_PER_HALF: u32 = 5;
/// Nanoseconds per unit of the percentile text: it uses milliseconds, like other load generators.
const NANOS_PER_MILLI: f64 = 1e6;
/// Tag of log lines whose latencies count from when a request was really sent.
const UNCORRECTED: &str = "uncorrected";

/// Decodes the histogram of `latency`, in nanoseconds. `what` names it in an error.
///
/// # Errors
/// If the histogram is damaged.
pub fn decode(latency: &Latency, what: &str) -> Result<Histogram<u64>, ReportError> {
    let histogram = match latency {
        // Without measurements, no histogram is stored.
        Latency { count: 0, histogram, .. } if histogram.is_empty() => Histogram::new(3).ok(),
        Latency { histogram, .. } => decode_text(histogram),
    };
    histogram.ok_or_else(|| ReportError::Histogram(what.to_owned()))
}

fn decode_text(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

/// Percentiles of all latencies in milliseconds, in the format of HdrHistogram's plotter.
///
/// # Errors
/// If the histogram is damaged.
pub fn hgrm(report: &Report) -> Result<String, ReportError> {
    let histogram = decode(&report.latency, "all latencies")?;
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut seen = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        seen += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NANOS_PER_MILLI;
        let quantile = step.quantile_iterated_to();
        let _ = write!(text, "{value:12.3} {quantile:2.12} {seen:10}");
        // The last line, 100 %, has no inverse distance to print.
        let _ = if quantile < 1.0 { writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_MILLI, histogram.stdev() / NANOS_PER_MILLI);
    let max = histogram.max() as f64 / NANOS_PER_MILLI;
    let sub_buckets = (2 * 10u32.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len());
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]", histogram.buckets());
    Ok(text)
}

/// HdrHistogram's log of a run: one line per piece of the timeline (or one for the whole run, if the report has no
/// histograms of the pieces), and tagged lines for the uncorrected latencies and for each kind of operation, over the
/// whole run.
pub fn hlog(report: &Report) -> String {
    let started = report.started_unix_ms as f64 / 1e3;
    let mut text = format!(
        "#[Logged with rollbook bench {}]\n#[Histogram log format version 1.3]\n#[StartTime: {started:.3} (seconds since epoch)]\n\
         #[BaseTime: {started:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        report.rollbook
    );
    // A piece without replies has no histogram and gets no line. The maximum is for people, in milliseconds as in
    // HdrHistogram's own logs.
    let mut line = |tag: &str, start: f64, length: f64, max_micros: f64, histogram: &str| {
        if histogram.is_empty() {
            return;
        }
        let tag = if tag.is_empty() { String::new() } else { format!("Tag={},", tag.replace([',', ' ', '\n'], "-")) };
        let _ = writeln!(text, "{tag}{start:.3},{length:.3},{:.3},{histogram}", max_micros / 1e3);
    };
    let whole = report.totals.seconds;
    if report.timeline_histograms.len() == report.timeline.len() && !report.timeline.is_empty() {
        for (interval, histogram) in report.timeline.iter().zip(&report.timeline_histograms) {
            line("", interval.start, interval.seconds, interval.max, histogram);
        }
    } else {
        line("", 0.0, whole, report.latency.max, &report.latency.histogram);
    }
    line(UNCORRECTED, 0.0, whole, report.uncorrected.max, &report.uncorrected.histogram);
    for operation in &report.operations {
        line(&operation.name, 0.0, whole, operation.latency.max, &operation.latency.histogram);
    }
    text
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::bench::report::sample;
    use crate::bench::result::Interval;

    #[test]
    fn percentile_text_has_the_columns_that_plotters_read() {
        let report = sample::report();
        let text = hgrm(&report).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("       Value     Percentile TotalCount 1/(1-Percentile)"));
        let rows: Vec<Vec<f64>> = lines
            .skip(1)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]));
        assert_eq!(rows.last().unwrap()[1..], [1.0, report.latency.count as f64]);
        assert!((rows.last().unwrap()[0] * 1e3 / report.latency.max - 1.0).abs() < 1e-2);
        assert!(text.contains(&format!("Total count    = {:12}]", report.latency.count)));
    }

    #[test]
    fn the_log_is_read_by_the_library_and_adds_up_to_the_whole() {
        let report = sample::report();
        let text = hlog(&report);
        let (mut sum, mut tags) = (0, Vec::new());
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let histogram = decode_text(interval.encoded_histogram()).unwrap();
            match interval.tag() {
                None => sum += histogram.len(),
                Some(tag) => tags.push(tag.as_str().to_owned()),
            }
        }
        assert_eq!(sum, report.latency.count);
        assert_eq!(tags, ["uncorrected", "read", "update"]);
    }

    #[test]
    fn without_histograms_of_the_pieces_the_log_has_the_whole_run() {
        let report = Report { timeline_histograms: Vec::new(), ..sample::report() };
        let text = hlog(&report);
        assert_eq!(text.lines().filter(|line| line.starts_with("0.000,")).count(), 1);
    }

    #[test]
    fn nothing_measured_is_no_damage() {
        let empty = Report {
            timeline: vec![Interval::default()],
            timeline_histograms: vec![String::new()],
            ..Report::default()
        };
        assert!(hgrm(&empty).unwrap().contains("Total count    =            0]"));
        assert_eq!(hlog(&empty).lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count(), 0);
    }

    #[test]
    fn a_damaged_histogram_is_named() {
        let damaged = Latency { histogram: "AAAA".into(), ..Latency::default() };
        let error = decode(&damaged, "all latencies").unwrap_err();
        assert_eq!(error.to_string(), "the histogram of all latencies is damaged");
    }
}
