//! Predicts how long the next start will take to recover, from what it will have to read and the speed of this machine.
//! Pure.
//!
//! A core loads its partitions' newest snapshots, then reads the log from the first edit that any of them lacks; all
//! cores do so at once, so the slowest counts. The costs are those of this start's own recovery, if it took long enough
//! to be measured; otherwise built-in costs are assumed, which are rather too high.

use std::time::Duration;

/// Time that every start takes, for opening files and waiting for threads.
const ALWAYS: Duration = Duration::from_millis(5);
/// Built-in cost of loading one byte of a snapshot, in nanoseconds. The built-in costs are 1.5 times those measured on
/// a core of a machine of 2024.
const SNAPSHOT_BYTE: f64 = 4.0;
/// Built-in cost of reading and applying one edit, in nanoseconds.
const EDIT: f64 = 1500.0;
/// Built-in cost of reading one byte of the log, in nanoseconds.
const LOG_BYTE: f64 = 1.0;
/// Least time, both measured and by the built-in costs, from which the machine's speed is derived. In a shorter one,
/// most of the time went elsewhere.
const TELLING: Duration = Duration::from_millis(20);

/// What one core reads when it recovers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes of snapshots to load.
    pub snapshot_bytes: u64,
    /// Number of edits to read from the log.
    pub edits: u64,
    /// Bytes of these edits in the log.
    pub log_bytes: u64,
}

impl Work {
    /// Time in nanoseconds for the snapshots and for the log, by the built-in costs.
    fn assumed(self) -> (f64, f64) {
        let log = self.edits as f64 * EDIT + self.log_bytes as f64 * LOG_BYTE;
        (self.snapshot_bytes as f64 * SNAPSHOT_BYTE, log)
    }
}

/// What one core has read in recovery, and how long that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What the core has read.
    pub work: Work,
    /// Time spent on loading snapshots.
    pub snapshots: Duration,
    /// Time spent on reading and applying the log.
    pub log: Duration,
}

/// This machine's costs of recovery as factors of the built-in costs: 2.0 is twice as slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    snapshots: f64,
    log: f64,
}

impl Default for Speed {
    fn default() -> Self {
        Self { snapshots: 1.0, log: 1.0 }
    }
}

impl Speed {
    /// Derives the factors from what the cores have measured. If only one of the two steps took long enough, its factor
    /// is used for both; if none did, both are 1.
    pub fn of(cores: &[Measured]) -> Self {
        let assumed = |which: fn((f64, f64)) -> f64| cores.iter().map(|m| which(m.work.assumed())).sum::<f64>();
        let took = |which: fn(&Measured) -> Duration| cores.iter().map(which).sum::<Duration>();
        let telling = TELLING.as_nanos() as f64;
        let factor = |took: Duration, assumed: f64| {
            let took = took.as_nanos() as f64;
            (took >= telling && assumed >= telling).then(|| took / assumed)
        };
        let snapshots = factor(took(|m| m.snapshots), assumed(|both| both.0));
        let log = factor(took(|m| m.log), assumed(|both| both.1));
        let or = |own: Option<f64>, other: Option<f64>| own.or(other).unwrap_or(1.0);
        Self { snapshots: or(snapshots, log), log: or(log, snapshots) }
    }

    /// Predicts how long recovery takes if the cores have this work to do.
    pub fn predict(self, cores: &[Work]) -> Duration {
        let slowest = cores.iter().map(|work| {
            let (snapshots, log) = work.assumed();
            snapshots * self.snapshots + log * self.log
        });
        ALWAYS + Duration::from_nanos(slowest.fold(0.0, f64::max) as u64)
    }
}

/// Time that the slowest of the cores took.
pub fn slowest(cores: &[Measured]) -> Duration {
    cores.iter().map(|m| m.snapshots + m.log).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(snapshot_bytes: u64, edits: u64, snapshots_ms: u64, log_ms: u64) -> Measured {
        let work = Work { snapshot_bytes, edits, log_bytes: edits * 200 };
        Measured { work, snapshots: Duration::from_millis(snapshots_ms), log: Duration::from_millis(log_ms) }
    }

    #[test]
    fn the_same_work_again_takes_the_same_time_again() {
        for seen in [measured(1 << 30, 2_000_000, 900, 7000), measured(0, 50_000, 0, 300), measured(6 << 20, 0, 40, 0)]
        {
            let predicted = Speed::of(&[seen, seen]).predict(&[seen.work, Work::default()]);
            let difference = predicted.abs_diff(slowest(&[seen]) + ALWAYS);
            assert!(difference < Duration::from_micros(1), "{predicted:?} for {seen:?}");
        }
    }

    #[test]
    fn what_was_too_short_to_tell_is_not_believed_and_one_step_speaks_for_the_other() {
        assert_eq!(Speed::of(&[measured(1 << 20, 10, 1, 19)]), Speed::default());
        assert_eq!(Speed::of(&[]), Speed::default());
        assert_eq!(Speed::of(&[measured(0, 1, 0, 35)]), Speed::default(), "one edit, after locks were waited for");
        let speed = Speed::of(&[measured(1 << 30, 10, 8600, 1)]);
        assert!(speed.snapshots > 1.9 && speed.snapshots == speed.log, "{speed:?}");
    }

    #[test]
    fn the_slowest_core_counts() {
        let work = |edits| Work { edits, ..Work::default() };
        let speed = Speed::default();
        assert_eq!(speed.predict(&[work(10), work(1_000_000), work(5)]), speed.predict(&[work(1_000_000)]));
        assert!(speed.predict(&[work(1_000_000)]) > Duration::from_secs(1));
        assert_eq!(speed.predict(&[]), ALWAYS);
    }
}
