//! `--rate sweep`: measures latency at increasing rates, up to and slightly beyond what the server sustains.
//!
//! First a closed loop determines the server's maximum rate. Then open loops increase the rate in even steps, starting
//! at a tenth of the maximum. At the first rate that is not sustained, the step is halved once to locate the knee; the
//! sweep ends after the second rate that is not sustained. A rate is sustained if nearly all due requests were answered
//! in time and no backlog was left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::BenchError;
use super::phase::{self, Finished, Phase, Setting};
use super::result::Step;

/// Minimum pipeline: with less, the connections and not the server would limit the rate.
const PIPELINE: usize = 16;
/// Number of steps from zero to the rate of the closed loop.
const STEPS: u32 = 10;
/// Maximum number of steps beyond the rate of the closed loop.
const BEYOND: u32 = 3;
/// Minimum length of a step.
const SHORTEST: Duration = Duration::from_millis(500);
/// The warm-up takes the length of a step divided by this.
const WARMUP: u32 = 5;
/// Minimum fraction of the due requests that must be answered for a rate to count as sustained.
const SUSTAINED: f64 = 0.98;

/// All steps, and the last one that was sustained (or the first, if none was).
pub struct Sweep {
    /// Steps in the order in which they were run.
    pub steps: Vec<Step>,
    /// Measurements of the best step, for the rest of the report.
    pub best: Finished,
}

/// Runs a sweep that takes about as long as the plan's duration.
///
/// # Errors
/// If a phase cannot begin, or fails.
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

/// Chooses the next rate of a sweep.
struct Climb {
    step: f64,
    most: f64,
    next: Option<f64>,
    last_sustained: f64,
    /// Number of rates that were not sustained so far.
    failed: u32,
}

impl Climb {
    fn new(step: f64, most: f64) -> Self {
        // Whatever the closed loop measured, the rate is at least one request per second.
        let step = step.max(1.0);
        Self { step, most: most.max(step), next: Some(step), last_sustained: 0.0, failed: 0 }
    }

    fn next_rate(&mut self) -> Option<f64> {
        self.next.take()
    }

    fn took(&mut self, sustained: bool) {
        let rate = self.last_sustained + self.step;
        if sustained {
            // After the first failure, steps are halved and continue from the last sustained rate.
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
