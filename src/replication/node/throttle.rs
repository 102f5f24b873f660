//! Limits uploads to a rate, so that they do not compete with the traffic that clients wait for. Pure.

use std::time::Duration;

/// Burst that is let through at once after a pause: as many bytes as the rate allows in this time.
const BURST: Duration = Duration::from_millis(50);

/// The limit of the upload rate, and how much of it is used up.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    bytes_per_second: Option<u64>,
    /// When the rate has made up for the bytes let through so far.
    paid: Duration,
}

impl Throttle {
    /// A limit of so many bytes per second; no limit for `None` or 0.
    pub const fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, paid: Duration::ZERO }
    }

    /// How long to wait before `bytes` more bytes are sent, if it is `now`. Counts the bytes as sent.
    pub fn delay(&mut self, bytes: usize, now: Duration) -> Duration {
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else { return Duration::ZERO };
        let due = self.paid.max(now.saturating_sub(BURST));
        self.paid = due + Duration::from_secs_f64(bytes as f64 / rate as f64);
        due.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_pauses_are_not_saved_up() {
        let mut throttle = Throttle::new(Some(1_000_000));
        for start in [Duration::from_secs(100), Duration::from_secs(1000)] {
            let mut now = start;
            for _ in 0..100 {
                now += throttle.delay(10_000, now);
            }
            let took = now - start;
            assert!(took >= Duration::from_millis(940) && took <= Duration::from_secs(1), "{took:?}");
        }
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut throttle = Throttle::new(None);
        assert!((0..100).all(|_| throttle.delay(usize::MAX, Duration::ZERO).is_zero()));
    }
}
