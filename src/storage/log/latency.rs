//! Durations of the commits of the last one or two minutes.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

const WINDOW: Duration = Duration::from_secs(60);
/// Longest duration that is counted exactly (one hour), in microseconds; longer ones count as this long.
const LONGEST_US: u64 = 3_600_000_000;

/// Two histograms of commit durations: of the current window and of the window before.
pub(super) struct Latency {
    current: Histogram<u64>,
    before: Histogram<u64>,
    since: Instant,
}

/// Percentiles of the durations of commits, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        let empty = || Histogram::new_with_max(LONGEST_US, 2).expect("bounds and precision are valid");
        Self { current: empty(), before: empty(), since: now }
    }

    /// Records a commit that took `time` and ended at `now`.
    pub(super) fn record(&mut self, time: Duration, now: Instant) {
        if now - self.since >= WINDOW {
            std::mem::swap(&mut self.current, &mut self.before);
            self.current.reset();
            self.since = now;
        }
        self.current.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST_US));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let mut both = self.before.clone();
        if both.add(&self.current).is_err() || both.is_empty() {
            return Percentiles::default();
        }
        Percentiles { p50: both.value_at_quantile(0.5), p99: both.value_at_quantile(0.99), max: both.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_for_a_window_or_two_and_then_forgotten() {
        let start = Instant::now();
        let mut latency = Latency::new(start);
        assert_eq!(latency.percentiles(), Percentiles::default());
        let mut max_at = |windows: u32, micros| {
            latency.record(Duration::from_micros(micros), start + WINDOW * windows);
            latency.percentiles().max
        };
        assert_eq!(max_at(0, 100), 100);
        assert_eq!(max_at(0, 20), 100);
        assert_eq!(max_at(1, 20), 100, "it was in the window before");
        assert_eq!(max_at(2, 30), 30);
        assert_eq!(latency.percentiles(), Percentiles { p50: 20, p99: 30, max: 30 });
    }
}
