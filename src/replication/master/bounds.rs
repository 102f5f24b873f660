//! The stages of the log's length, and what each of them causes. A state machine: it is told bytes and time. No I/O, no
//! clock.
//!
//! | stage | begins at | ends below | then |
//! |---|---|---|---|
//! | short | | | nothing |
//! | long | 50 % of `log.max_bytes` | 40 % | a warning, and again every five minutes |
//! | pressing | 75 % | 60 % | every changed partition is checkpointed, by the master's cores if no node delivers |
//! | full | 100 % | 90 % | writes are refused, except those that free memory |
//!
//! Always: a stage begins when its upper mark is reached, from whichever stage; it ends only below its lower mark, so
//! that it does not begin and end with every segment.

use std::time::Duration;

/// How often a lasting condition is logged again.
pub(super) const REMIND: Duration = Duration::from_secs(300);

/// How long the log is, measured by its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing needs to be done.
    #[default]
    Short,
    /// The length is worth a warning.
    Long,
    /// The log must become shorter: every changed partition is checkpointed.
    Pressing,
    /// The log must not become longer: writes are refused.
    Full,
}

impl Stage {
    const RISING: [Self; 3] = [Self::Full, Self::Pressing, Self::Long];

    /// Percent of the bound at which the stage begins, and below which it ends.
    const fn percent(self) -> (u64, u64) {
        match self {
            Self::Short => (0, 0),
            Self::Long => (50, 40),
            Self::Pressing => (75, 60),
            Self::Full => (100, 90),
        }
    }

    /// The stage's name, for INFO.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Pressing => "pressing",
            Self::Full => "full",
        }
    }
}

/// A change of the stage, or a reminder of one that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The stage before.
    pub before: Stage,
    /// The stage now; the same as before, if this is a reminder.
    pub stage: Stage,
}

/// The state machine of the log's length; see the module.
#[derive(Debug)]
pub struct Bounds {
    max_bytes: Option<u64>,
    stage: Stage,
    bytes: u64,
    noticed: Duration,
}

impl Bounds {
    /// A log of at most `max_bytes`; without a bound, it stays short.
    pub const fn new(max_bytes: Option<u64>) -> Self {
        Self { max_bytes, stage: Stage::Short, bytes: 0, noticed: Duration::ZERO }
    }

    /// Takes in that the log has `bytes` at `now`. Returns what is to be logged: a change of the stage, or a reminder.
    pub fn tick(&mut self, bytes: u64, now: Duration) -> Option<Notice> {
        self.bytes = bytes;
        let max = self.max_bytes?;
        let reaches = |percent: u64| u128::from(bytes) * 100 >= u128::from(max) * u128::from(percent);
        let holds = |stage: &Stage| {
            let (begin, end) = stage.percent();
            reaches(begin) || (self.stage >= *stage && reaches(end))
        };
        let stage = Stage::RISING.into_iter().find(holds).unwrap_or_default();
        let before = std::mem::replace(&mut self.stage, stage);
        let reminds = stage > Stage::Short && now.saturating_sub(self.noticed) >= REMIND;
        if stage == before && !reminds {
            return None;
        }
        self.noticed = now;
        Some(Notice { before, stage })
    }

    /// The present stage.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The log's bound in bytes.
    pub const fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Bytes of log at the last [`Self::tick`].
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The module's table as a function of the stage before and the percentage.
    fn expected(before: Stage, percent: u64) -> Stage {
        match (before, percent) {
            (_, 100..) | (Stage::Full, 90..) => Stage::Full,
            (_, 75..) | (Stage::Full | Stage::Pressing, 60..) => Stage::Pressing,
            (_, 50..) | (Stage::Full | Stage::Pressing | Stage::Long, 40..) => Stage::Long,
            _ => Stage::Short,
        }
    }

    #[test]
    fn stages_follow_the_table_from_every_stage_at_every_length() {
        const MAX: u64 = 100_000;
        for (before, at) in [(Stage::Short, 0), (Stage::Long, 50), (Stage::Pressing, 75), (Stage::Full, 100)] {
            for bytes in (0..=120 * MAX / 100).step_by(500).flat_map(|b: u64| [b, b.saturating_sub(1)]) {
                let mut bounds = Bounds::new(Some(MAX));
                bounds.tick(at * MAX / 100, Duration::ZERO);
                assert_eq!(bounds.stage(), before);
                let notice = bounds.tick(bytes, Duration::ZERO);
                let stage = expected(before, bytes * 100 / MAX);
                assert_eq!(bounds.stage(), stage, "{before:?}, {bytes} bytes");
                assert_eq!(notice, (stage != before).then_some(Notice { before, stage }));
            }
        }
    }

    #[test]
    fn a_stage_that_lasts_is_spoken_of_every_five_minutes_and_a_short_log_never() {
        let mut bounds = Bounds::new(Some(100));
        let notices = |bounds: &mut Bounds, bytes| {
            (1..=1200).filter(|s| bounds.tick(bytes, Duration::from_secs(*s)).is_some()).count()
        };
        assert_eq!(notices(&mut bounds, 30), 0);
        assert_eq!(notices(&mut Bounds::new(Some(100)), 60), 4);
        assert_eq!(notices(&mut Bounds::new(None), u64::MAX), 0);
    }

    #[test]
    fn bounds_near_the_end_of_the_numbers_do_not_overflow() {
        let mut bounds = Bounds::new(Some(u64::MAX));
        bounds.tick(u64::MAX / 4 * 3, Duration::ZERO);
        assert_eq!(bounds.stage(), Stage::Long);
        bounds.tick(u64::MAX, Duration::ZERO);
        assert_eq!(bounds.stage(), Stage::Full);
    }
}
