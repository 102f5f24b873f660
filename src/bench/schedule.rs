//! Schedule of an open loop: requests are due at even intervals, whatever the server does.
//!
//! Each thread has a share of the rate in proportion to its connections, and starts slightly later than the one before,
//! so that all threads together are even, too. Request `k` of a thread goes to its connection `k mod n`. When a request
//! was due follows from its number, so that a backlog of millions takes no memory.

use std::time::Duration;

/// Schedule of one thread. Times are nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    first: f64,
    interval: f64,
}

impl Schedule {
    /// Makes a schedule that starts at `begin`, with `rate` requests per second over all `connections`. The thread has
    /// `own` of these, and the number of its first is `first`.
    pub fn new(begin: u64, rate: f64, connections: usize, own: usize, first: usize) -> Self {
        let second = Duration::from_secs(1).as_nanos() as f64;
        let interval = second / rate * connections as f64 / own as f64;
        let offset = second / rate * first as f64;
        Self { first: begin as f64 + offset, interval }
    }

    /// Time at which request `k` is due.
    #[inline]
    pub fn due(&self, k: u64) -> u64 {
        (k as f64).mul_add(self.interval, self.first) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_together_keep_the_rate() {
        let (begin, rate, connections) = (5_000_000_000, 1000.0, 7);
        // Three threads with 3, 2 and 2 of seven connections.
        let threads = [(3, 0), (2, 1), (2, 2)].map(|(own, first)| Schedule::new(begin, rate, connections, own, first));
        let end = begin + 2_000_000_000;
        let due: usize = threads.iter().map(|s| (0..).take_while(|k| s.due(*k) < end).count()).sum();
        assert!((1998..=2002).contains(&due), "{due} requests in two seconds");
        assert_eq!(threads[0].due(0), begin);
    }

    #[test]
    fn the_millionth_request_is_still_on_time() {
        let schedule = Schedule::new(1_000, 1e6, 1, 1, 0);
        assert_eq!(schedule.due(1_000_000_000) - schedule.due(0), 1_000_000_000_000);
    }
}
