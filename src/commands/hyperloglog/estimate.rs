//! Estimates how many different elements a HyperLogLog has seen, from how many of its registers have each value.
//!
//! The estimator is the improved one of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (arXiv:1702.01284), as in Redis.

use super::registers::{HIGHEST, Histogram, REGISTERS};

/// Estimated number of different elements.
pub(super) fn estimate(histogram: &Histogram) -> u64 {
    let registers = REGISTERS as f64;
    let highest = usize::from(HIGHEST);
    let full = f64::from(histogram[highest]);
    let mut z = registers * tau((registers - full) / registers);
    for count in histogram[1..highest].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += registers * sigma(f64::from(histogram[0]) / registers);
    // The limit of the bias correction for many registers: 1 / (2 ln 2).
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    (ALPHA * registers * registers / z).round() as u64
}

/// x + Σ x^(2^k) 2^(k-1): corrects for registers that are zero.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// (1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3: corrects for registers that are at their highest value.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
