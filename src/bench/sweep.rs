//! `--rate sweep`: the latency at ever higher rates, up to where the server no longer keeps up, and a little beyond.
//!
//! First a closed loop finds out how much the server can do at most. Then open loops climb from a tenth of that in even steps; from where
//! a rate is no longer sustained, half of a step is tried once in between, to find the knee, and the sweep ends after the second rate that
//! is not sustained. A rate is sustained if nearly all that was due was answered in time and no queue was left at the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::BenchError;
use super::phase::{self, Finished, Phase, Setting};
use super::result::Step;

/// Requests under way on a connection, at least: otherwise connections and not the server limit the rate.
const PIPELINE: usize = 16;
/// Steps from nothing to what a closed loop reached.
const STEPS: u32 = 10;
/// Steps beyond that, at most.
const BEYOND: u32 = 3;
/// Length of a step, at least.
const SHORTEST: Duration = Duration::from_millis(500);
/// A step's warm-up is this part of it.
const WARMUP: u32 = 5;
/// The part of the due requests that must be answered.
const SUSTAINED: f64 = 0.98;

/// All steps, and the last of those that were sustained in full (or the first of all).
pub struct Sweep {
    /// In the order in which they were run.
    pub steps: Vec<Step>,
    /// The numbers of one of them, for the rest of the report.
    pub best: Finished,
}

/// Runs a sweep that takes about as long as the plan's duration.
///
/// # Errors
/// If a part of it cannot begin, or fails.
pub fn run(setting: &Setting, mut stepped: impl FnMut(&Step)) -> Result<Sweep, BenchError> {
    let each = (setting.plan.duration / (STEPS + BEYOND)).max(SHORTEST);
    let pipeline = setting.plan.pipeline.max(PIPELINE);
    let part =
        |rate| Phase { loading: false, rate, pipeline, warmup: each / WARMUP, duration: each, ledgers: Vec::new() };
    let probe = phase::run(setting, part(None), &mut |_| ())?;
    let most = probe.found.totals.rate;
    let mut climb = Climb::new(most / f64::from(STEPS), most * f64::from(STEPS + BEYOND) / f64::from(STEPS));
    let (mut steps, mut best) = (Vec::new(), probe);
    while let Some(rate) = climb.next_rate() {
        if best.failure.is_some() || setting.stop.load(Ordering::Relaxed) {
            break;
        }
        let finished = phase::run(setting, part(Some(rate)), &mut |_| ())?;
        let step = step(rate, &finished);
        stepped(&step);
        climb.took(step.sustained);
        if step.sustained || steps.is_empty() || finished.failure.is_some() {
            best = finished;
        }
        steps.push(step);
    }
    Ok(Sweep { steps, best })
}

fn step(rate: f64, finished: &Finished) -> Step {
    let totals = finished.found.totals;
    Step {
        rate,
        totals,
        latency: finished.found.latency.clone(),
        cpu: finished.server,
        sustained: totals.rate >= rate * SUSTAINED && totals.unanswered == 0,
    }
}

/// Which rate comes next.
struct Climb {
    step: f64,
    most: f64,
    next: Option<f64>,
    last_sustained: f64,
    /// Rates that were not sustained so far.
    failed: u32,
}

impl Climb {
    fn new(step: f64, most: f64) -> Self {
        // Whatever a closed loop found, at least one request a second is asked for.
        let step = step.max(1.0);
        Self { step, most: most.max(step), next: Some(step), last_sustained: 0.0, failed: 0 }
    }

    fn next_rate(&mut self) -> Option<f64> {
        self.next.take()
    }

    fn took(&mut self, sustained: bool) {
        let rate = self.last_sustained + self.step;
        if sustained {
            // After the first failure steps are halved, and go on from the last that was sustained.
            self.last_sustained = rate;
        } else {
            self.failed += 1;
            self.step /= 2.0;
        }
        let next = self.last_sustained + self.step;
        self.next = (self.failed < 2 && next <= self.most * 1.001).then_some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(most: f64, knee: f64) -> Vec<f64> {
        let mut climb = Climb::new(most / 10.0, most * 1.3);
        let mut rates = Vec::new();
        while let Some(rate) = climb.next_rate() {
            rates.push(rate.round());
            climb.took(rate <= knee);
        }
        rates
    }

    #[test]
    fn rates_climb_to_the_knee_and_end_after_the_second_that_is_too_high() {
        assert_eq!(rates(1000.0, 460.0), [100.0, 200.0, 300.0, 400.0, 500.0, 450.0, 500.0]);
        assert_eq!(rates(1000.0, 430.0), [100.0, 200.0, 300.0, 400.0, 500.0, 450.0]);
        assert_eq!(rates(1000.0, 1e9).len(), 13);
        assert_eq!(rates(1000.0, 0.0), [100.0, 50.0]);
    }
}
