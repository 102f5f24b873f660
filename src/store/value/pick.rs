//! Selections at random: some elements of a value, each once, every selection as likely as any other.

use crate::store::table::below;

/// A walk over all elements of a value that takes some of them. It takes each with the probability that makes every
/// selection equally likely, and needs no memory for those it has taken.
pub struct Selection {
    /// Number of elements still to be taken.
    wanted: usize,
    /// Number of elements that the walk has not reached.
    left: usize,
}

impl Selection {
    /// Begins a walk over `len` elements that takes `count` of them, or all if there are fewer.
    pub const fn new(count: usize, len: usize) -> Self {
        Self { wanted: if count < len { count } else { len }, left: len }
    }

    /// Whether the walk takes the next element; `random` is a uniform 64-bit number.
    pub fn takes(&mut self, random: u64) -> bool {
        let taken = below(random, self.left) < self.wanted;
        self.wanted -= usize::from(taken);
        self.left = self.left.saturating_sub(1);
        taken
    }

    /// Visits those of `elements` that the walk takes.
    pub(super) fn of<T>(
        mut self,
        elements: impl Iterator<Item = T>,
        mut random: impl FnMut() -> u64,
        mut visit: impl FnMut(T),
    ) {
        for element in elements {
            if self.wanted == 0 {
                return;
            }
            if self.takes(random()) {
                visit(element);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_taken_as_often_as_any_other_and_never_twice() {
        let mut random = fastrand::Rng::with_seed(5);
        for count in [0, 1, 4, 9, 10, 11] {
            let mut taken = [0; 10];
            for _ in 0..2000 {
                let mut all = Vec::new();
                Selection::new(count, 10).of(0..10, || random.u64(..), |n: usize| all.push(n));
                assert_eq!(all.len(), count.min(10));
                assert!(all.is_sorted_by(|a, b| a < b));
                all.into_iter().for_each(|n| taken[n] += 1);
            }
            let expected = 2000 * count.min(10) as i32 / 10;
            assert!(taken.iter().all(|times: &i32| (times - expected).abs() <= 120), "{taken:?}");
        }
    }
}
