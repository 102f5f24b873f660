//! What a comparison found: the schema of `peers.json`. Fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::bench::result::Machine;

/// The version of this schema.
pub const SCHEMA: u32 = 1;

/// A whole comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeersReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the generator.
    pub rollbook: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// The arguments it was called with.
    pub command: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// The servers, Rollbook first.
    pub programs: Vec<String>,
    /// How often each was measured.
    pub rounds: usize,
    /// Keys in each.
    pub keys: u64,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What else is to be known: what was not measured, and why.
    pub notes: Vec<String>,
}

/// One quantity of several subjects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The experiment that it belongs to.
    pub experiment: String,
    /// What it is.
    pub what: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Of whom; the first is compared with each of the others.
    pub subjects: Vec<Subject>,
    /// What is aimed at.
    pub aim: Option<Aim>,
}

/// Whose values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// A server and its version, or what was different about it.
    pub name: String,
    /// The values, in the order of the rounds; never empty.
    pub values: Vec<f64>,
}

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Microseconds.
    Micros,
    /// Events a second.
    PerSecond,
    /// Bytes.
    Bytes,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// At most so many times what the other has.
    RatioAtMost(f64),
    /// At least so many times what the other has.
    RatioAtLeast(f64),
    /// At most this, whatever others have.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// A middle and how far from it values lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` of none.
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
    /// The values' median and spread.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.values.iter().copied())
    }

    /// These values divided by those of another: medians by medians, and the spread over the rounds, which were run one after the
    /// other and so saw the same machine.
    pub fn ratio(&self, other: &Self) -> Option<Spread> {
        let rounds = self.values.iter().zip(&other.values).map(|(a, b)| a / b);
        let spread = Spread::of(rounds)?;
        Some(Spread { median: self.spread()?.median / other.spread()?.median, ..spread })
    }
}

impl Aim {
    /// Whether it is reached: `value` is the first subject's, `ratio` that of it and another's, if there is another.
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
