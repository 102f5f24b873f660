//! Axes of charts, with their scales and marks.
//!
//! The chart library draws linear axes. For a logarithmic axis [`Axis::place`] takes the logarithm of a value.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use super::super::units;

/// An axis of a chart.
pub struct Axis {
    /// Title of the axis.
    pub name: &'static str,
    /// Value at the beginning of the axis.
    pub from: f64,
    /// Value at the end of the axis.
    pub to: f64,
    /// Values that have a mark with a label.
    pub marks: Vec<f64>,
    /// Values that have only a faint line.
    pub between: Vec<f64>,
    /// Formats the label of a mark.
    pub label: Box<dyn Fn(f64) -> String>,
    /// Maps a value to its position on the axis.
    place: fn(f64) -> f64,
}

/// An axis in the form that the chart library needs: linear, with its marks.
#[derive(Clone, Debug)]
pub struct Scale {
    range: Range<f64>,
    marks: Vec<f64>,
    between: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.between.clone() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// The shortest latency that can be shown, in microseconds: a nanosecond.
const SHORTEST: f64 = 1e-3;

impl Axis {
    /// The same axis without a title, for charts where another axis has it.
    pub fn unnamed(self) -> Self {
        Self { name: "", ..self }
    }

    /// Position of a value on the axis.
    pub fn place(&self, value: f64) -> f64 {
        (self.place)(value).clamp(self.from, self.to)
    }

    /// The axis in the form that the chart library needs.
    pub fn scale(&self) -> Scale {
        Scale { range: self.from..self.to, marks: self.marks.clone(), between: self.between.clone() }
    }

    /// Logarithmic axis of latencies in microseconds.
    pub fn latency(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut greatest) = (f64::MAX, f64::MIN);
        for value in values.into_iter().filter(|value| value.is_finite()).map(|value| value.max(SHORTEST)) {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        if least > greatest {
            (least, greatest) = (1.0, 1000.0);
        }
        let steps = decades(least, greatest);
        let bottom = steps.iter().rfind(|step| **step <= least * 1.0001).copied().unwrap_or(least);
        let top =
            steps.iter().find(|step| **step >= greatest * 0.9999 && **step > bottom).copied().unwrap_or(greatest * 2.0);
        let within = |step: &&f64| (bottom..=top).contains(*step);
        // Three marks per power of ten, or one where that would be too many.
        let dense = top / bottom < 2000.0;
        let marks = steps.iter().filter(within).filter(|step| dense || leading(**step) == 1);
        let between =
            (1..10).flat_map(|n| steps.iter().filter(|step| leading(**step) == 1).map(move |step| step * f64::from(n)));
        Self {
            name: "latency",
            from: bottom.log10(),
            to: top.log10(),
            marks: marks.map(|step| step.log10()).collect(),
            between: between.filter(|step| (bottom..=top).contains(step)).map(f64::log10).collect(),
            label: Box::new(|place| short_micros(10f64.powf(place))),
            place: |micros| micros.max(SHORTEST).log10(),
        }
    }

    /// Axis of quantiles, from 0 to the quantile that one of `count` values exceeds; each further power of ten towards
    /// 1 takes equal room.
    pub fn quantiles(count: u64) -> Self {
        let to = (count.max(100) as f64).log10().ceil();
        Self {
            name: "percentile",
            from: 0.0,
            to,
            marks: [0.0, 2f64.log10()].into_iter().chain((1..=to as u32).map(f64::from)).collect(),
            between: Vec::new(),
            label: Box::new(percent),
            place: |quantile| -(1.0 - quantile).max(f64::MIN_POSITIVE).log10(),
        }
    }

    /// Axis of seconds since the start of a run.
    pub fn seconds(end: f64) -> Self {
        let end = if end > 0.0 { end } else { 1.0 };
        let marks = linear(end, 10.0);
        let label = Box::new(|seconds: f64| format!("{} s", units::trimmed(seconds)));
        Self { name: "time", from: 0.0, to: end, marks, between: Vec::new(), label, place: |seconds| seconds }
    }

    /// Axis of requests per second, starting at zero.
    pub fn rate(greatest: f64) -> Self {
        Self { name: "requests a second", label: Box::new(short_rate), ..Self::from_zero(greatest) }
    }

    /// Axis of plain numbers, starting at zero.
    pub fn from_zero(greatest: f64) -> Self {
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        let step = step(greatest, 5.0);
        let to = (greatest / step).ceil() * step;
        let marks = linear(to, 5.0);
        Self {
            name: "",
            from: 0.0,
            to,
            marks,
            between: Vec::new(),
            label: Box::new(units::trimmed),
            place: |value| value,
        }
    }
}

/// The steps 1, 2, 5, 10 … that enclose a range of positive values.
fn decades(least: f64, greatest: f64) -> Vec<f64> {
    let powers = least.log10().floor() as i32..=greatest.log10().ceil() as i32;
    powers.flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10f64.powi(power))).collect()
}

/// First digit of a step of [`decades`].
fn leading(step: f64) -> u32 {
    (step / 10f64.powf((step.log10() + 1e-9).floor())).round() as u32
}

/// About `count` evenly spaced marks from zero to `end`.
fn linear(end: f64, count: f64) -> Vec<f64> {
    let step = step(end, count);
    (0..=(end / step * 1.000_001) as u32).map(|n| f64::from(n) * step).collect()
}

/// Step size, 1, 2 or 5 times a power of ten, for about `count` steps up to `end`.
fn step(end: f64, count: f64) -> f64 {
    let rough = end / count;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|step| *step >= rough * 0.999).unwrap_or(power * 10.0)
}

/// Formats a percentile (`90 %`, `99.9 %` …), given its distance to 100 % in powers of ten.
fn percent(place: f64) -> String {
    if place < 1.0 {
        return format!("{:.0} %", 100.0 * (1.0 - 10f64.powf(-place)));
    }
    let nines = place.round() as usize;
    format!("{:.*} %", nines.saturating_sub(2), 100.0 * (1.0 - 10f64.powi(-(nines as i32))))
}

/// Formats a duration in microseconds without superfluous digits.
fn short_micros(micros: f64) -> String {
    let micros = micros * (1.0 + 1e-9);
    match micros {
        m if m < 1.0 => format!("{} ns", units::trimmed(m * 1e3)),
        m if m < 1e3 => format!("{} µs", units::trimmed(m)),
        m if m < 1e6 => format!("{} ms", units::trimmed(m / 1e3)),
        m => format!("{} s", units::trimmed(m / 1e6)),
    }
}

fn short_rate(rate: f64) -> String {
    match rate {
        r if r < 1e3 => units::trimmed(r),
        r if r < 1e6 => format!("{} k", units::trimmed(r / 1e3)),
        r => format!("{} M", units::trimmed(r / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.marks.iter().map(|mark| (axis.label)(*mark)).collect()
    }

    #[test]
    fn latencies_are_marked_at_round_values_that_enclose_them() {
        assert_eq!(labels(&Axis::latency([70.0, 900.0])), ["50 µs", "100 µs", "200 µs", "500 µs", "1 ms"]);
        assert_eq!(labels(&Axis::latency([70.0, 3e6])), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        assert_eq!(labels(&Axis::latency([])), labels(&Axis::latency([1.0, 1000.0])));
        assert!(Axis::latency([5.0, 5.0]).from < Axis::latency([5.0, 5.0]).to);
    }

    #[test]
    fn each_nine_takes_as_much_room() {
        let axis = Axis::quantiles(60_000);
        assert_eq!(labels(&axis), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert!((axis.place(0.999) - 3.0).abs() < 1e-9 && axis.place(1.0) == axis.to);
    }

    #[test]
    fn linear_axes_have_round_steps() {
        assert_eq!(labels(&Axis::seconds(30.0)), ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]);
        assert_eq!(labels(&Axis::rate(41_000.0)), ["0", "10 k", "20 k", "30 k", "40 k", "50 k"]);
        assert_eq!(Axis::from_zero(0.0).to, 1.0);
    }
}
