//! Chart of a run over time: throughput above, latency below, and events.

use plotters::element::{Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::{Plot, Undrawn, draw, ink, letters, line, plot};
use crate::bench::report::ReportError;
use crate::bench::result::{Event, EventKind, Interval, Report};

const HEIGHT: u32 = 1160;
/// Height of the throughput part, in pixels.
const THROUGHPUT: u32 = 480;
/// Maximum number of events that get a label; if there are more, they are only marked.
const NAMED: usize = 8;

/// Names of the series, in the order of [`ink::SERIES`].
pub const SERIES: [&str; 4] = ["p50", "p99", "max", "throughput"];

/// Draws the timeline of `report`.
///
/// # Errors
/// If the chart cannot be drawn.
pub fn timeline(report: &Report) -> Result<String, ReportError> {
    let end = report.timeline.last().map_or(report.totals.seconds, |last| last.start + last.seconds);
    let time = Axis::seconds(end);
    let rate = Axis::rate(report.timeline.iter().map(throughput).fold(0.0, f64::max));
    // An interval without requests has no latency.
    let served = || report.timeline.iter().filter(|interval| interval.requests > 0);
    let latency = Axis::latency(served().flat_map(|interval| [interval.p50, interval.p99, interval.max]));
    draw(HEIGHT, "Throughput and latency over time", |area| {
        let (above, below) = area.split_vertically(THROUGHPUT);
        let mut upper = plot(&above, &Axis::seconds(end).unnamed(), &rate)?;
        events(&mut upper, report, &rate, true)?;
        // Each interval is drawn as a step, because its mean holds for all of it.
        let steps = report.timeline.iter().flat_map(|interval| {
            let level = rate.place(throughput(interval));
            [(interval.start, level), (interval.start + interval.seconds, level)]
        });
        line(&mut upper, steps, ink::SERIES[3])?;
        let mut lower = plot(&below, &time, &latency)?;
        events(&mut lower, report, &latency, false)?;
        let series: [fn(&Interval) -> f64; 3] =
            [|interval| interval.p50, |interval| interval.p99, |interval| interval.max];
        for (of, colour) in series.into_iter().zip(ink::SERIES) {
            for run in
                report.timeline.chunk_by(|a, b| (a.requests > 0) == (b.requests > 0)).filter(|run| run[0].requests > 0)
            {
                let middle = |interval: &Interval| interval.start + interval.seconds / 2.0;
                line(&mut lower, run.iter().map(|interval| (middle(interval), latency.place(of(interval)))), colour)?;
            }
        }
        Ok(())
    })
}

fn throughput(interval: &Interval) -> f64 {
    if interval.seconds > 0.0 { interval.requests as f64 / interval.seconds } else { 0.0 }
}

/// Marks the events, and shades the times when the server was lost.
fn events(plot: &mut Plot<'_, '_>, report: &Report, y: &Axis, named: bool) -> Result<(), Undrawn> {
    let end = plot.x_range().end;
    for (from, to) in outages(&report.events, end) {
        plot.draw_series([Rectangle::new([(from, y.from), (to, y.to)], ink::SHADE.filled())])?;
    }
    let shown = report.events.iter().filter(|event| (0.0..=end).contains(&event.at));
    for (number, event) in (0..).zip(shown) {
        let (name, colour) = match event.kind {
            EventKind::Checkpoint => ("checkpoint", ink::MARK),
            EventKind::Lost => ("lost", ink::ALARM),
            EventKind::Back => ("back", ink::MARK),
        };
        line(plot, [(event.at, y.from), (event.at, y.to)], colour)?;
        if named && report.events.len() <= NAMED {
            // Labels go to the side that has room, each a little higher than the one before, so that neighbours do not
            // overlap.
            let before = event.at > end * 0.9;
            let (side, gap) = if before { (HPos::Right, -end / 300.0) } else { (HPos::Left, end / 300.0) };
            let style = letters(colour).pos(Pos::new(side, VPos::Bottom));
            let height = y.from + (y.to - y.from) * (0.02 + 0.08 * f64::from(number % 3));
            plot.draw_series([Text::new(name, (event.at + gap, height), style)])?;
        }
    }
    Ok(())
}

/// Times (from, to) in seconds when the server was lost.
fn outages(events: &[Event], end: f64) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    let mut lost = None;
    for event in events {
        match (event.kind, lost) {
            (EventKind::Lost, None) => lost = Some(event.at),
            (EventKind::Back, Some(at)) => {
                found.push((at, event.at));
                lost = None;
            }
            _ => {}
        }
    }
    found.extend(lost.map(|at| (at, end)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn outages_are_from_the_first_loss_to_the_return() {
        let event = |at, kind| Event { at, kind, text: String::new() };
        let events = [
            event(1.0, EventKind::Lost),
            event(1.5, EventKind::Lost),
            event(3.0, EventKind::Back),
            event(4.0, EventKind::Checkpoint),
            event(8.0, EventKind::Lost),
        ];
        assert_eq!(outages(&events, 9.0), [(1.0, 3.0), (8.0, 9.0)]);
    }

    #[test]
    fn events_are_named_and_a_run_without_intervals_is_drawn() {
        let svg = timeline(&sample::report()).unwrap();
        assert!(svg.contains("checkpoint") && svg.contains("lost") && svg.contains("back"));
        assert!(timeline(&Report::default()).is_ok());
    }
}
