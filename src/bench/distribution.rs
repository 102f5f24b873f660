//! Distributions of keys: uniform, sequential, zipfian, latest.
//!
//! *Zipfian*: the key of rank r (from 1) is chosen with probability proportional to 1 / r^θ with θ = 0.99, YCSB's
//! constant; drawn by the method of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994),
//! which needs no table. A hash scatters the ranks over all keys, so that popular keys are not adjacent. *Latest*: the
//! same with the newest key at rank 1.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Exponent θ of the zipfian distribution; YCSB's constant.
pub const THETA: f64 = 0.99;
/// Number of terms of the zeta function that are summed one by one; the rest is an integral, exact to ten digits from
/// there on.
const TERMS: u64 = 1_000_000;

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Every key with equal probability.
    Uniform,
    /// Keys in order, starting again after the last.
    Sequential,
    /// A few keys often, most of them rarely.
    Zipfian,
    /// The newest keys most often.
    Latest,
}

/// Error for the name of an unknown distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no distribution {0:?}: uniform, sequential, zipfian or latest")]
pub struct UnknownDistribution(String);

impl Distribution {
    const NAMES: [(&'static str, Self); 4] = [
        ("uniform", Self::Uniform),
        ("sequential", Self::Sequential),
        ("zipfian", Self::Zipfian),
        ("latest", Self::Latest),
    ];
}

impl FromStr for Distribution {
    type Err = UnknownDistribution;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, distribution)| *distribution).ok_or_else(|| UnknownDistribution(text.to_owned()))
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::NAMES.iter().find(|(_, this)| this == self).map_or(Ok(()), |(name, _)| f.write_str(name))
    }
}

/// Draws ranks from 0 on with a zipfian distribution; rank 0 is the most frequent.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    /// The cumulated weight of the first two ranks, which are drawn exactly.
    second: f64,
}

impl Zipf {
    /// Makes a distribution over `count` ranks; `count` is at least 1.
    pub fn new(count: u64) -> Self {
        let zeta = zeta(count);
        let second = 1.0 + 0.5f64.powf(THETA);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - second / zeta);
        Self { count, zeta, alpha: 1.0 / (1.0 - THETA), eta, second }
    }

    /// Draws a rank.
    #[inline]
    pub fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        let u = random.f64();
        let scaled = u * self.zeta;
        if scaled < 1.0 || self.count == 1 {
            0
        } else if scaled < self.second || self.count == 2 {
            1
        } else {
            let rank = self.count as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
            (rank as u64).min(self.count - 1)
        }
    }
}

/// The sum of 1 / i^θ for i from 1 to `count`.
fn zeta(count: u64) -> f64 {
    let term = |i: u64| (i as f64).powf(-THETA);
    let exact = count.min(TERMS);
    let sum: f64 = (1..=exact).map(term).sum();
    if exact == count {
        return sum;
    }
    // Euler-Maclaurin formula for the remaining terms.
    let (first, last) = (exact as f64, count as f64);
    let integral = (last.powf(1.0 - THETA) - first.powf(1.0 - THETA)) / (1.0 - THETA);
    sum + integral + (term(count) - term(exact)) / 2.0
}

/// Chooses keys for all connections of a run. The state of each connection is in its [`Cursor`].
#[derive(Clone, Debug)]
pub struct Chooser {
    distribution: Distribution,
    keys: u64,
    zipf: Option<Zipf>,
}

/// State of one connection. Connections insert distinct keys: connection `c` of `n` adds the keys `keys + c`, `keys + c
/// + n` …
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    connection: u64,
    connections: u64,
    /// Number of keys that this connection has chosen in sequence.
    chosen: u64,
    /// Number of keys that this connection has inserted.
    inserted: u64,
}

impl Cursor {
    /// Makes the cursor of one of `connections` connections.
    pub const fn new(connection: u64, connections: u64) -> Self {
        Self { connection, connections, chosen: 0, inserted: 0 }
    }
}

impl Chooser {
    /// Chooses among the initial keys 0 to `keys` - 1; there must be at least one.
    pub fn new(distribution: Distribution, keys: u64) -> Self {
        let skewed = matches!(distribution, Distribution::Zipfian | Distribution::Latest);
        Self { distribution, keys, zipf: skewed.then(|| Zipf::new(keys)) }
    }

    /// Chooses a key: an initial one, or one that this connection has inserted.
    #[inline]
    pub fn choose(&self, cursor: &mut Cursor, random: &mut fastrand::Rng) -> u64 {
        match (&self.zipf, self.distribution) {
            (Some(zipf), Distribution::Latest) => self.by_age(zipf.draw(random), cursor),
            (Some(zipf), _) => scatter(zipf.draw(random), self.keys),
            (None, Distribution::Sequential) => {
                let turn = cursor.chosen;
                cursor.chosen += 1;
                (cursor.connection + turn * cursor.connections) % self.keys
            }
            (None, _) => random.u64(0..self.keys),
        }
    }

    /// Returns a new key that no other connection inserts.
    pub fn insert(&self, cursor: &mut Cursor) -> u64 {
        cursor.inserted += 1;
        self.inserted(cursor, 0)
    }

    /// The key of the given age; 0 is the newest.
    fn by_age(&self, age: u64, cursor: &Cursor) -> u64 {
        if age < cursor.inserted { self.inserted(cursor, age) } else { self.keys - 1 - (age - cursor.inserted) }
    }

    fn inserted(&self, cursor: &Cursor, age: u64) -> u64 {
        self.keys + cursor.connection + (cursor.inserted - 1 - age) * cursor.connections
    }
}

/// Maps ranks to keys pseudo-randomly, always in the same way.
#[inline]
fn scatter(rank: u64, keys: u64) -> u64 {
    xxh3_64_with_seed(&rank.to_le_bytes(), 0) % keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 1_000_000;

    fn counts(distribution: Distribution, keys: u64) -> Vec<u64> {
        let (chooser, mut cursor) = (Chooser::new(distribution, keys), Cursor::new(0, 1));
        let mut random = fastrand::Rng::with_seed(17);
        let mut counts = vec![0; keys as usize];
        (0..DRAWS).for_each(|_| counts[chooser.choose(&mut cursor, &mut random) as usize] += 1);
        counts
    }

    #[test]
    fn uniform_passes_a_chi_square_test() {
        let counts = counts(Distribution::Uniform, 1000);
        let expected = DRAWS as f64 / 1000.0;
        let chi_square: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        // 999 degrees of freedom: mean 999, deviation 44.7.
        assert!((999.0 - 4.0 * 44.7..999.0 + 4.0 * 44.7).contains(&chi_square), "{chi_square}");
    }

    #[test]
    fn sequential_takes_all_in_turn_and_connections_do_not_meet() {
        let chooser = Chooser::new(Distribution::Sequential, 6);
        let mut random = fastrand::Rng::with_seed(0);
        let mut run = |connection| {
            let mut cursor = Cursor::new(connection, 2);
            (0..4).map(|_| chooser.choose(&mut cursor, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!((run(0), run(1)), (vec![0, 2, 4, 0], vec![1, 3, 5, 1]));
    }

    #[test]
    fn zipfian_ranks_follow_the_law() {
        let keys = 10_000;
        let (zipf, mut random) = (Zipf::new(keys), fastrand::Rng::with_seed(1));
        let mut counts = vec![0u64; keys as usize];
        (0..DRAWS).for_each(|_| counts[zipf.draw(&mut random) as usize] += 1);
        let weight: f64 = (1..=keys).map(|i| (i as f64).powf(-THETA)).sum();
        let share = |ranks: std::ops::Range<u64>| -> f64 {
            ranks.map(|rank| ((rank + 1) as f64).powf(-THETA)).sum::<f64>() / weight
        };
        // The first two ranks are exact, the others approximated by a curve: ranges of them agree within a few percent.
        for (ranks, tolerance) in
            [(0..1, 0.01), (1..2, 0.015), (2..10, 0.1), (10..100, 0.05), (100..1000, 0.05), (1000..10_000, 0.05)]
        {
            let seen: u64 = counts[ranks.start as usize..ranks.end as usize].iter().sum();
            let ratio = seen as f64 / DRAWS as f64 / share(ranks.clone());
            assert!((ratio - 1.0).abs() < tolerance, "ranks {ranks:?}: {ratio}");
        }
    }

    #[test]
    fn zeta_of_many_terms_is_the_sum_of_them() {
        let count = 3 * TERMS;
        let sum: f64 = (1..=count).map(|i| (i as f64).powf(-THETA)).sum();
        assert!((zeta(count) / sum - 1.0).abs() < 1e-10);
        assert_eq!(zeta(1), 1.0);
    }

    #[test]
    fn zipfian_keys_are_scattered() {
        let counts = counts(Distribution::Zipfian, 10_000);
        let mut popular: Vec<_> = (0..counts.len()).collect();
        popular.sort_by_key(|key| std::cmp::Reverse(counts[*key]));
        let first_half = popular[..100].iter().filter(|key| **key < 5000).count();
        assert!((25..75).contains(&first_half), "{first_half} of the 100 most popular keys lie in the first half");
        // The most popular key has the share of rank 1: 1 / zeta(10,000).
        let share = counts[popular[0]] as f64 / DRAWS as f64 * zeta(10_000);
        assert!((share - 1.0).abs() < 0.05, "{share}");
    }

    #[test]
    fn latest_prefers_what_was_inserted_last() {
        let (chooser, mut cursor) = (Chooser::new(Distribution::Latest, 100), Cursor::new(1, 3));
        let mut random = fastrand::Rng::with_seed(5);
        assert_eq!((chooser.insert(&mut cursor), chooser.insert(&mut cursor)), (101, 104));
        let mut newest = 0;
        for _ in 0..10_000 {
            let key = chooser.choose(&mut cursor, &mut random);
            assert!(key < 100 || key == 101 || key == 104, "{key} does not exist");
            newest += usize::from(key == 104);
        }
        let share = newest as f64 / 10_000.0 * zeta(100);
        assert!((share - 1.0).abs() < 0.1, "{share}");
    }

    #[test]
    fn few_keys_are_no_trouble() {
        for distribution in
            [Distribution::Uniform, Distribution::Sequential, Distribution::Zipfian, Distribution::Latest]
        {
            for keys in 1..4 {
                assert_eq!(counts(distribution, keys).iter().sum::<u64>(), DRAWS, "{distribution}");
            }
        }
    }
}
