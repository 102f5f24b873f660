//! The bound of the memory that the data of all cores may take (`memory.max_bytes`), kept without a cost for each
//! request.
//!
//! Each core tells the others what its data takes in steps of [`STEP`] bytes; once all together are nearly at the
//! bound, it tells each change. So the sum is exact where it decides something, but for what cores that are idle have
//! not told, and each of them looks again by the clock:
//!
//! |sum − memory taken| < cores × [`STEP`]; memory taken < bound + cores × [`STEP`] + one command of each core
//!
//! A write is refused as soon as the sum is at the bound, and let pass as soon as it is below.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes by which a core's data may change before it tells the others, far from the bound.
const STEP: u64 = 64 << 10;

/// The memory that the data of all cores takes, and the bound of it.
#[derive(Debug)]
pub struct MemoryBound {
    /// What the cores have told.
    used: AtomicU64,
    /// [`u64::MAX`] if there is no bound.
    most: AtomicU64,
    /// From here on the cores tell each change.
    near: AtomicU64,
    /// What all cores together may have kept to themselves.
    untold: u64,
}

impl MemoryBound {
    /// A bound for `cores` cores that have no data yet; `None` is no bound.
    pub fn new(cores: u16, most: Option<u64>) -> Self {
        let untold = u64::from(cores) * STEP;
        let bound = Self { used: AtomicU64::new(0), most: AtomicU64::default(), near: AtomicU64::default(), untold };
        bound.set(most);
        bound
    }

    /// Moves the bound.
    pub fn set(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(u64::MAX), Relaxed);
        self.near.store(most.map_or(u64::MAX, |most| most.saturating_sub(self.untold)), Relaxed);
    }
}

/// One core's part of the memory.
#[derive(Debug)]
pub struct MemoryShare {
    all: Arc<MemoryBound>,
    /// What the others know of.
    told: u64,
}

impl MemoryShare {
    /// The part of a core without data.
    pub const fn new(all: Arc<MemoryBound>) -> Self {
        Self { all, told: 0 }
    }

    /// The core's data takes `used` bytes now; the others are told if that may matter.
    #[inline]
    pub fn note(&mut self, used: usize) {
        let change = self.told.abs_diff(used as u64);
        if change >= STEP || (change > 0 && self.all.used.load(Relaxed) >= self.all.near.load(Relaxed)) {
            self.tell(used);
        }
    }

    /// The core's data takes `used` bytes now; the others are told.
    pub fn tell(&mut self, used: usize) {
        let used = used as u64;
        if used != self.told {
            // Wraps where it shrinks.
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
            // The smallest thing that goes makes room, whichever core it was on.
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
