//! Results of a comparison: the schema of `peers.json`. Fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::bench::result::Machine;

/// Version of this schema.
pub const SCHEMA: u32 = 1;

/// Results of a whole comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeersReport {
    /// Version of the schema, [`SCHEMA`].
    pub schema: u32,
    /// Version of the generator.
    pub rollbook: String,
    /// Start of the comparison, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Arguments of the program.
    pub command: Vec<String>,
    /// Machine on which it ran.
    pub machine: Machine,
    /// The servers, Rollbook first.
    pub programs: Vec<String>,
    /// Number of rounds.
    pub rounds: usize,
    /// Number of keys in each server.
    pub keys: u64,
    /// The measurements.
    pub rows: Vec<Row>,
    /// Remarks, such as experiments that could not be run, and why.
    pub notes: Vec<String>,
}

/// One quantity, measured for several subjects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the quantity.
    pub what: String,
    /// Unit of the values.
    pub unit: Unit,
    /// The measured subjects; the first is compared with each of the others.
    pub subjects: Vec<Subject>,
    /// Target for the quantity, if any.
    pub aim: Option<Aim>,
}

/// Measurements of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Name of the subject: a server and its version, or what was varied.
    pub name: String,
    /// Values in the order of the rounds; never empty.
    pub values: Vec<f64>,
}

/// Unit of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Microseconds.
    Micros,
    /// Events per second.
    PerSecond,
    /// Bytes.
    Bytes,
}

/// Target for a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// The ratio to the other subject is at most this.
    RatioAtMost(f64),
    /// The ratio to the other subject is at least this.
    RatioAtLeast(f64),
    /// The value is at most this, whatever others have.
    AtMost(f64),
    /// The value is at least this, whatever others have.
    AtLeast(f64),
}

/// Median and range of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// Median and range of these values; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Some(Self { median, min, max })
    }
}

impl Subject {
    /// Median and range of the subject's values.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.values.iter().copied())
    }

    /// Ratio to another subject: median divided by median, with the range of the ratios within each round. Runs of a
    /// round follow each other, so that they saw the machine in the same state.
    pub fn ratio(&self, other: &Self) -> Option<Spread> {
        let rounds = self.values.iter().zip(&other.values).map(|(a, b)| a / b);
        let spread = Spread::of(rounds)?;
        Some(Spread { median: self.spread()?.median / other.spread()?.median, ..spread })
    }
}

impl Aim {
    /// Whether the target is met; `value` is the first subject's, `ratio` its ratio to another subject, if there is
    /// one.
    pub fn is_met(self, value: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtMost(limit) => ratio.map(|ratio| ratio <= limit),
            Self::RatioAtLeast(limit) => ratio.map(|ratio| ratio >= limit),
            Self::AtMost(limit) => Some(value <= limit),
            Self::AtLeast(limit) => Some(value >= limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_of_rounds() {
        let subject = |values: &[f64]| Subject { name: String::new(), values: values.to_vec() };
        let ratio = subject(&[1.0, 2.0, 3.0]).ratio(&subject(&[2.0, 2.0, 4.0])).unwrap();
        assert_eq!(ratio, Spread { median: 1.0, min: 0.5, max: 1.0 });
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
        assert_eq!(subject(&[1.0]).ratio(&subject(&[])), None);
    }

    #[test]
    fn aims_are_of_ratios_or_of_the_value_itself() {
        assert_eq!(Aim::RatioAtMost(0.9).is_met(10.0, Some(0.88)), Some(true));
        assert_eq!(Aim::RatioAtLeast(2.0).is_met(10.0, Some(0.88)), Some(false));
        assert_eq!(Aim::RatioAtLeast(2.0).is_met(10.0, None), None);
        assert_eq!(Aim::AtMost(300.0).is_met(70.0, None), Some(true));
        assert_eq!(Aim::AtLeast(300.0).is_met(70.0, Some(9.0)), Some(false));
    }
}
