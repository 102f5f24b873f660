//! The bound on the memory that the data of all cores may take (`memory.max_bytes`), kept at no cost per request.
//!
//! Each core publishes how much memory its data takes in steps of [`STEP`] bytes; once the sum is close to the bound,
//! it publishes every change. So the sum is exact where it decides something, except for what idle cores have not
//! published yet; those publish periodically. Always:
//!
//! |sum − memory taken| < cores × [`STEP`]; memory taken < bound + cores × [`STEP`] + one command of each core
//!
//! Writes are refused as soon as the published sum reaches the bound, and accepted as soon as it is below.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes by which a core's data may change before the core publishes it, far from the bound.
const STEP: u64 = 64 << 10;

/// The memory that the data of all cores takes, and its bound. All cores share it.
#[derive(Debug)]
pub struct MemoryBound {
    /// Sum of the bytes that the cores have published.
    used: AtomicU64,
    /// The bound in bytes; [`u64::MAX`] if there is none.
    most: AtomicU64,
    /// From this sum on, the cores publish every change.
    near: AtomicU64,
    /// Largest number of bytes that all cores together may not have published.
    untold: u64,
}

impl MemoryBound {
    /// Creates the bound for `cores` cores without data; `most` is in bytes, `None` for no bound.
    pub fn new(cores: u16, most: Option<u64>) -> Self {
        let untold = u64::from(cores) * STEP;
        let bound = Self { used: AtomicU64::new(0), most: AtomicU64::default(), near: AtomicU64::default(), untold };
        bound.set(most);
        bound
    }

    /// Changes the bound; `None` removes it.
    pub fn set(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(u64::MAX), Relaxed);
        self.near.store(most.map_or(u64::MAX, |most| most.saturating_sub(self.untold)), Relaxed);
    }
}

/// One core's share of the memory.
#[derive(Debug)]
pub struct MemoryShare {
    all: Arc<MemoryBound>,
    /// Bytes that this core has published.
    told: u64,
}

impl MemoryShare {
    /// The share of a core without data.
    pub const fn new(all: Arc<MemoryBound>) -> Self {
        Self { all, told: 0 }
    }

    /// Notes that the core's data takes `used` bytes now, and publishes it if that may matter.
    #[inline]
    pub fn note(&mut self, used: usize) {
        let change = self.told.abs_diff(used as u64);
        if change >= STEP || (change > 0 && self.all.used.load(Relaxed) >= self.all.near.load(Relaxed)) {
            self.tell(used);
        }
    }

    /// Publishes that the core's data takes `used` bytes now.
    pub fn tell(&mut self, used: usize) {
        let used = used as u64;
        if used != self.told {
            // Wraps around if the core's data has shrunk.
            self.all.used.fetch_add(used.wrapping_sub(self.told), Relaxed);
            self.told = used;
        }
    }

    /// Whether the data of all cores takes as much as it may.
    #[inline]
    pub fn is_used_up(&self) -> bool {
        self.all.used.load(Relaxed) >= self.all.most.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 100 * STEP;

    fn shares(cores: u16, most: Option<u64>) -> Vec<MemoryShare> {
        let all = Arc::new(MemoryBound::new(cores, most));
        (0..cores).map(|_| MemoryShare::new(Arc::clone(&all))).collect()
    }

    #[test]
    fn cores_that_write_by_turns_stop_at_the_bound_however_small_their_steps() {
        for step in [1, 100, 4_096, STEP - 1, STEP, 3 * STEP + 7] {
            let mut shares = shares(3, Some(MOST));
            let mut used = [0; 3];
            let mut turn = 0;
            while !shares[turn % 3].is_used_up() {
                used[turn % 3] += step;
                shares[turn % 3].note(used[turn % 3] as usize);
                turn += 1;
            }
            let taken: u64 = used.iter().sum();
            assert!((MOST..MOST + 3 * step).contains(&taken), "{taken} in steps of {step}");
            // The smallest removal makes room, whichever core it was on.
            used[0] -= taken - MOST + 1;
            shares[0].note(used[0] as usize);
            assert!(!shares[1].is_used_up() && !shares[2].is_used_up());
        }
    }

    #[test]
    fn what_an_idle_core_keeps_to_itself_is_less_than_a_step() {
        let mut shares = shares(2, Some(MOST));
        shares[0].note(STEP as usize - 1);
        let mut used = 0;
        while !shares[1].is_used_up() {
            used += 100;
            shares[1].note(used);
        }
        assert!(used as u64 >= MOST && (used as u64) < MOST + 100);
        shares[0].tell(0);
        assert!(shares[1].is_used_up());
    }

    #[test]
    fn the_bound_can_be_moved_and_taken_away() {
        let mut shares = shares(2, None);
        shares[0].note(5_000_000);
        shares[1].note(10);
        assert!(!shares[0].is_used_up());
        for (most, used_up) in [(Some(5_000_000), true), (Some(5_000_001), false), (Some(1), true), (None, false)] {
            shares[1].all.set(most);
            assert_eq!((shares[0].is_used_up(), shares[1].is_used_up()), (used_up, used_up), "{most:?}");
        }
    }
}
