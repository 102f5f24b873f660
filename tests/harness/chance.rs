//! Chance that can be had again: every random test prints its seed.

use std::env;

/// A generator whose seed is printed, or taken from `ROLLBOOK_TEST_SEED`.
pub fn rng() -> fastrand::Rng {
    let seed = env::var("ROLLBOOK_TEST_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |text| text.parse().expect("ROLLBOOK_TEST_SEED is a whole number"));
    eprintln!("ROLLBOOK_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// How many rounds to run where `few` are enough for every commit: `few` times `ROLLBOOK_TEST_ROUNDS`.
pub fn rounds(few: u32) -> u32 {
    let factor: u32 = env::var("ROLLBOOK_TEST_ROUNDS")
        .map_or(1, |text| text.parse().expect("ROLLBOOK_TEST_ROUNDS is a whole number"));
    few * factor
}
