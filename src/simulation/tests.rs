//! Runs thousands of seeds. The environment variable `ROLLBOOK_SIMULATION` asks for a long run or a replay instead:
//!
//! ```text
//! ROLLBOOK_SIMULATION=hours:8      random seeds for eight hours (also minutes:, seeds:)
//! ROLLBOOK_SIMULATION=seed:4711    this seed only, with its trace
//! ```
//!
//! `ROLLBOOK_PLANTED=TailTrusted,CutIgnored` looks for these planted bugs only.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, Outcome, run};
use crate::planted::{Bug, plant};

/// Number of seeds of an ordinary test run.
const SEEDS: u64 = 2_000;
/// Number of failures after which a run ends.
const SOME: usize = 5;

/// Runs a seed. Returns what happened or why it failed; a panic is a failure, too.
fn fails(seed: u64) -> Result<Outcome, String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, false))) {
        Ok(Ok((outcome, _))) => Ok(outcome),
        Ok(Err(Failure { why, .. })) => Err(why),
        Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panics".to_owned())),
    }
}

/// Runs seeds from `first` on, on all CPUs, until `enough` is true for the number of seeds begun and the time spent, or
/// [`SOME`] have failed. Returns the number of seeds, the sum of their outcomes, and the seeds that failed with the
/// reasons.
fn run_many(first: u64, enough: impl Fn(u64, Duration) -> bool + Sync) -> (u64, Outcome, Vec<(u64, String)>) {
    let next = AtomicU64::new(0);
    let sum = Mutex::new((Outcome::default(), Vec::new()));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while sum.lock().unwrap().1.len() < SOME {
                    let n = next.fetch_add(1, Relaxed);
                    if enough(n, began.elapsed()) {
                        break;
                    }
                    let seed = first.wrapping_add(n);
                    let outcome = fails(seed);
                    let mut sum = sum.lock().unwrap();
                    match outcome {
                        Ok(outcome) => sum.0 = sum.0.plus(outcome),
                        Err(why) => sum.1.push((seed, why)),
                    }
                }
            });
        }
    });
    let (outcome, failed) = sum.into_inner().unwrap();
    (next.into_inner(), outcome, failed)
}

impl Outcome {
    fn plus(self, other: Self) -> Self {
        Self {
            starts: self.starts + other.starts,
            crashes: self.crashes + other.crashes,
            acknowledged: self.acknowledged + other.acknowledged,
            installed: self.installed + other.installed,
            own: self.own + other.own,
            refused: self.refused + other.refused,
            rotten: self.rotten + other.rotten,
            machines_lost: self.machines_lost + other.machines_lost,
        }
    }
}

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_nothing_wrong_is_served() {
    let wish = env::var("ROLLBOOK_SIMULATION").unwrap_or_default();
    let (kind, number) = wish.split_once(':').unwrap_or(("", ""));
    let number: u64 = number.parse().unwrap_or_default();
    let began = Instant::now();
    let (count, outcome, failed) = match kind {
        "seed" => {
            let (failed, trace) = match run(number, true) {
                Ok((_, trace)) => (Vec::new(), trace),
                Err(Failure { why, trace }) => (vec![(number, why)], trace),
            };
            trace.iter().for_each(|line| println!("{line}"));
            (1, Outcome::default(), failed)
        }
        "seeds" => run_many(fastrand::u64(..), |done, _| done >= number),
        "minutes" => run_many(fastrand::u64(..), |_, time| time >= Duration::from_secs(60 * number)),
        "hours" => run_many(fastrand::u64(..), |_, time| time >= Duration::from_secs(3600 * number)),
        _ => run_many(0, |done, _| done >= SEEDS),
    };
    println!("{count} seeds in {:.0?}: {outcome:?}", began.elapsed());
    for (seed, why) in &failed {
        println!("seed {seed}: {why}; its trace: ROLLBOOK_SIMULATION=seed:{seed}");
    }
    assert!(failed.is_empty(), "a promise was broken");
    assert!(count < 1_000 || outcome.own > 100, "hardly a snapshot is taken by the master's cores");
    assert!(count < 1_000 || outcome.machines_lost > 20, "hardly a machine is lost");
}

#[test]
fn the_same_seed_makes_the_same_history() {
    for seed in [1, 17, 170] {
        let trace = || run(seed, true).map_or_else(|failure| failure.trace, |(_, trace)| trace);
        let (first, second) = (trace(), trace());
        assert!(first.len() > 100);
        let differing = first.iter().zip(&second).find(|(a, b)| a != b);
        assert_eq!(differing, None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
}

/// The planted bugs, each with the number of seeds within which it must be found. The numbers leave some room, since
/// any change of what is simulated changes what a seed does.
const PLANTED: [(Bug, u64); 34] = [
    (Bug::AcknowledgedBeforeSync, 20),
    (Bug::FailedSyncAccepted, 40),
    (Bug::SegmentNameUnsynced, 10),
    (Bug::SegmentHeaderUnsynced, 300),
    (Bug::FirstSegmentUnsynced, 100),
    (Bug::EndNotRecorded, 200),
    (Bug::AcknowledgedWhenSynced, 100),
    (Bug::ShippedWhenSynced, 400),
    (Bug::CutNotRecorded, 50),
    (Bug::CutIgnored, 100),
    (Bug::TailTrusted, 100),
    (Bug::CacheTrusted, 800),
    (Bug::TornTailRefused, 5),
    (Bug::ChecksumIgnored, 200),
    (Bug::EpochIgnored, 5),
    (Bug::SnapshotAhead, 20),
    (Bug::ManifestUnsynced, 100),
    (Bug::DroppedBeforeRecorded, 800),
    (Bug::CoveredByOne, 20),
    (Bug::SnapshotUnsynced, 10),
    (Bug::SnapshotNameUnsynced, 10),
    (Bug::RecordedBeforeMoved, 10),
    (Bug::TransfersIgnored, 100),
    (Bug::OlderTransfersIgnored, 100),
    (Bug::RecordedOneByOne, 100),
    (Bug::TransfersForgotten, 200),
    (Bug::MovedPastCapture, 400),
    (Bug::FollowedEditsForgotten, 800),
    (Bug::GroupSplit, 300),
    (Bug::ReadNotGated, 10),
    (Bug::FollowedLate, 5),
    (Bug::CapturedLate, 100),
    (Bug::FailingNodeCounts, 100),
    (Bug::MirroredWhenDurable, 400),
];

#[test]
fn every_planted_bug_is_found_within_so_many_seeds() {
    let wish = env::var("ROLLBOOK_PLANTED").unwrap_or_default();
    let next = AtomicU64::new(0);
    let missed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((bug, limit)) = PLANTED.get(next.fetch_add(1, Relaxed) as usize) {
                    plant(Some(*bug));
                    if !wish.is_empty() && !wish.split(',').any(|name| format!("{bug:?}") == name) {
                        continue;
                    }
                    let found = (0..*limit).find_map(|seed| Some((seed + 1, fails(seed).err()?)));
                    match found {
                        Some((seeds, why)) => println!("| {bug:?} | {seeds} | {} |", why.lines().next().unwrap_or("")),
                        None => missed.lock().unwrap().push(*bug),
                    }
                }
            });
        }
    });
    assert_eq!(missed.into_inner().unwrap(), [], "not found");
}
