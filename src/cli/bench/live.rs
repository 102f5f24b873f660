//! Progress line of a run: a bar, and the figures of the last second. Shown only on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::bench::Progress;
use crate::bench::plan::Plan;
use crate::bench::report::units;
use crate::bench::result::{Interval, Step};

/// Duration of one tick of a bar that measures time.
const MILLIS: Duration = Duration::from_millis(1);

/// The progress line.
pub struct Live {
    bar: ProgressBar,
    stage: Stage,
    began: Instant,
    length: Duration,
    errors: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Loading,
    Running,
    Sweeping,
    Verifying,
}

impl Live {
    /// Makes the progress line for a run of this plan.
    pub fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::new(0);
        // The template is valid; if it were not, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{prefix:<9} {wide_bar} {msg}") {
            bar.set_style(style);
        }
        Self { bar, stage: Stage::Connecting, began: Instant::now(), length: plan.warmup + plan.duration, errors: 0 }
    }

    /// Updates the line with the run's progress.
    pub fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Loading(done, of) => {
                self.enter(Stage::Loading, "loading", of);
                self.bar.set_position(done);
                self.bar.set_message(format!("{} of {} records", units::count(done), units::count(of)));
            }
            Progress::Running => {
                self.enter(Stage::Running, "measuring", (self.length.as_nanos() / MILLIS.as_nanos()) as u64);
                self.bar.set_position((self.began.elapsed().as_nanos() / MILLIS.as_nanos()) as u64);
            }
            Progress::Interval(interval) => {
                self.show(Progress::Running);
                self.errors += interval.errors;
                self.bar.set_message(interval_line(interval, self.errors));
            }
            Progress::Step(step) => {
                self.enter(Stage::Sweeping, "sweeping", 0);
                self.bar.inc(1);
                self.bar.set_message(step_line(step));
            }
            Progress::Verifying(done, of) => {
                self.enter(Stage::Verifying, "verifying", of);
                self.bar.set_position(done);
                self.bar.set_message(format!("{} of {} values", units::count(done), units::count(of)));
            }
        }
    }

    fn enter(&mut self, stage: Stage, name: &'static str, length: u64) {
        if self.stage != stage {
            self.stage = stage;
            self.began = Instant::now();
            self.bar.set_prefix(name);
            self.bar.set_length(length);
            self.bar.set_message("");
        }
    }

    /// Removes the line, so that results can be printed.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn interval_line(interval: &Interval, errors: u64) -> String {
    let seconds = interval.seconds.max(1e-9);
    format!(
        "{} p50 {} p99 {} p99.9 {} max {} · {}/s · {} errors",
        units::rate(interval.requests as f64 / seconds),
        units::micros(interval.p50),
        units::micros(interval.p99),
        units::micros(interval.p999),
        units::micros(interval.max),
        units::bytes((interval.bytes as f64 / seconds) as u64),
        units::count(errors),
    )
}

fn step_line(step: &Step) -> String {
    format!(
        "{} of {} p50 {} p99 {}{}",
        units::rate(step.totals.rate),
        units::rate(step.rate),
        units::micros(step.latency.p50),
        units::micros(step.latency.p99),
        if step.sustained { "" } else { " · not sustained" },
    )
}
