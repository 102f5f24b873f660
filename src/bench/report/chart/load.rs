//! Chart of latency over throughput: the steps of a sweep, and the knee.

use plotters::element::Circle;
use plotters::style::Color;

use super::axis::Axis;
use super::{draw, ink, line, plot, stroke};
use crate::bench::report::ReportError;
use crate::bench::result::{Latency, Step};

const HEIGHT: u32 = 800;

/// Names of the latency curves, in the order of [`ink::SERIES`].
pub const LATENCIES: [&str; 3] = ["p50", "p99", "p99.9"];

/// Draws the curves of a sweep. Steps that the server sustained are filled circles, the others hollow.
///
/// # Errors
/// If the chart cannot be drawn.
pub fn load(sweep: &[Step]) -> Result<String, ReportError> {
    let series: [fn(&Latency) -> f64; 3] = [|latency| latency.p50, |latency| latency.p99, |latency| latency.p999];
    let x = Axis::rate(sweep.iter().map(|step| step.totals.rate).fold(0.0, f64::max));
    let y = Axis::latency(sweep.iter().flat_map(|step| series.map(|of| of(&step.latency))));
    draw(HEIGHT, "Latency by throughput", |area| {
        let mut plot = plot(area, &x, &y)?;
        if let Some(knee) = knee(sweep) {
            let rate = x.place(knee.totals.rate);
            line(&mut plot, [(rate, y.from), (rate, y.to)], ink::MARK)?;
        }
        // The last step may have been tried between two earlier ones.
        let mut sweep: Vec<_> = sweep.iter().collect();
        sweep.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        for (of, colour) in series.into_iter().zip(ink::SERIES) {
            let at = |step: &Step| (x.place(step.totals.rate), y.place(of(&step.latency)));
            line(&mut plot, sweep.iter().map(|step| at(step)), colour)?;
            let style = |step: &Step| if step.sustained { colour.filled() } else { stroke(colour) };
            plot.draw_series(sweep.iter().map(|step| Circle::new(at(step), 9, style(step))))?;
        }
        Ok(())
    })
}

/// The step with the highest rate that the server sustained.
pub fn knee(sweep: &[Step]) -> Option<&Step> {
    let sustained = sweep.iter().filter(|step| step.sustained);
    sustained.max_by(|a, b| a.totals.rate.total_cmp(&b.totals.rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn the_knee_is_the_highest_sustained_rate() {
        let sweep = sample::sweep().sweep;
        assert_eq!(knee(&sweep).unwrap().totals.rate, 175_000.0);
        assert_eq!(load(&sweep).unwrap().matches("<circle").count(), 3 * sweep.len());
        assert_eq!(knee(&[]), None);
    }
}
