//! How long the next start will take to recover: what it will have to read, at the speed of this machine. Pure.
//!
//! A core loads its partitions' newest snapshots, then reads the log from the first edit that any of them lacks; all
//! cores do so at once, so the slowest counts. What that costs is known from this life's own recovery where it was long
//! enough to tell; otherwise built-in costs are assumed, which are rather too high.

use std::time::Duration;

/// Opening files, waiting for threads: what every start takes.
const ALWAYS: Duration = Duration::from_millis(5);
/// Costs in nanoseconds, half as much again as a core of a machine of 2024 was seen to need: of a byte of a snapshot,
/// of an edit read and applied, and of a byte of the log.
const SNAPSHOT_BYTE: f64 = 4.0;
const EDIT: f64 = 1500.0;
const LOG_BYTE: f64 = 1.0;
/// A shorter time says nothing about the machine, nor does work that should have taken less: most of its time went
/// elsewhere.
const TELLING: Duration = Duration::from_millis(20);

/// What one core reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes of snapshots.
    pub snapshot_bytes: u64,
    /// Edits in the log.
    pub edits: u64,
    /// Their bytes.
    pub log_bytes: u64,
}

impl Work {
    /// What the built-in costs say for the snapshots and for the log, in nanoseconds.
    fn assumed(self) -> (f64, f64) {
        let log = self.edits as f64 * EDIT + self.log_bytes as f64 * LOG_BYTE;
        (self.snapshot_bytes as f64 * SNAPSHOT_BYTE, log)
    }
}

/// What one core has read, and how long that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What it has read.
    pub work: Work,
    /// How long it loaded snapshots.
    pub snapshots: Duration,
    /// How long it read and applied the log.
    pub log: Duration,
}

/// How fast this machine recovers, relative to the built-in costs.
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
    /// The speed at which the cores have recovered. If only one of both steps took long enough to tell, it speaks for
    /// the other, too.
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

    /// How long cores with this work to do will take.
    pub fn predict(self, cores: &[Work]) -> Duration {
        let slowest = cores.iter().map(|work| {
            let (snapshots, log) = work.assumed();
            snapshots * self.snapshots + log * self.log
        });
        ALWAYS + Duration::from_nanos(slowest.fold(0.0, f64::max) as u64)
    }
}

/// How long the slowest of the cores took.
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
