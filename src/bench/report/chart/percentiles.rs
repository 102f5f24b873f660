//! Chart of latency over percentiles: the latency that one in ten, a hundred, a thousand requests exceeds.

use hdrhistogram::Histogram;

use super::axis::Axis;
use super::{draw, ink, line, plot};
use crate::bench::report::ReportError;

const HEIGHT: u32 = 800;
/// Number of points per halving of the distance to 100 %.
const POINTS_PER_HALF: u32 = 12;

/// Draws one curve per histogram (of nanoseconds), in the order of [`ink::SERIES`].
///
/// # Errors
/// If the chart cannot be drawn.
pub fn percentiles(histograms: &[&Histogram<u64>]) -> Result<String, ReportError> {
    let shown: Vec<_> = histograms.iter().filter(|histogram| !histogram.is_empty()).collect();
    let x = Axis::quantiles(shown.iter().map(|histogram| histogram.len()).max().unwrap_or(0));
    let y = Axis::latency(
        shown.iter().flat_map(|histogram| [histogram.min(), histogram.max()]).map(|nanos| nanos as f64 / 1e3),
    );
    draw(HEIGHT, "Latency by percentile, the distance to 100 % on a logarithmic axis", |area| {
        let mut plot = plot(area, &x, &y)?;
        for (histogram, colour) in histograms.iter().zip(ink::SERIES) {
            let points = curve(histogram).map(|(quantile, micros)| (x.place(quantile), y.place(micros)));
            line(&mut plot, points, colour)?;
        }
        Ok(())
    })
}

/// Points of a curve: quantile and latency in microseconds. The maximum is placed where one value is left, not
/// infinitely far away.
fn curve(histogram: &Histogram<u64>) -> impl Iterator<Item = (f64, f64)> + '_ {
    let last = 1.0 - 1.0 / histogram.len().max(1) as f64;
    let steps = histogram.iter_quantiles(POINTS_PER_HALF);
    steps.map(move |step| (step.quantile_iterated_to().min(last), step.value_iterated_to() as f64 / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_one_value_is_left() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1000).for_each(|micros| histogram.record(micros * 1000).unwrap());
        let points: Vec<_> = curve(&histogram).collect();
        assert!(points.is_sorted());
        let (quantile, micros) = points.last().unwrap();
        assert_eq!(*quantile, 0.999);
        assert!((micros - 1000.0).abs() < 1.0);
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        let svg = percentiles(&[&Histogram::new(3).unwrap()]).unwrap();
        assert!(svg.contains("99 %"));
    }
}
