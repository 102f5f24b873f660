//! Promise: no bytes, be they a client's, a file's or a peer's, break what the fuzz targets promise: the seeds under
//! `tests/fuzz/corpus` and mutations of them, for a few seconds each.
//!
//! A failure prints the seed of its input: `ROLLBOOK_TEST_SEED=n` runs that one input only. `ROLLBOOK_TEST_ROUNDS=n`
//! takes n times as long. Bytes that cargo-fuzz has found are run again by putting them into the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::targets;
use crate::harness::beside_others;

/// How long each target's mutations are run.
const TIME: Duration = Duration::from_secs(2);
/// Longest input, so that many are tried.
const LONGEST: usize = 4096;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a whole number")))
}

/// The inputs under `tests/fuzz/corpus`, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut inputs: Vec<_> = files
        .map(|file| {
            let path = file.expect("list the corpus").path();
            (path.display().to_string(), fs::read(&path).expect("read an input"))
        })
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", directory.display());
    inputs
}

/// Runs a target; says what failed, if it does.
fn run(target: targets::Target, input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!("{} fails with {what}: {}", target.name, input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Something else than the inputs, but not far from one of them.
fn mutated(inputs: &[(String, Vec<u8>)], random: &mut Rng) -> Vec<u8> {
    const NUMBERS: [u64; 12] = [0, 1, 2, 7, 16, 127, 255, 256, 65_535, u32::MAX as u64, i64::MAX as u64, u64::MAX];
    let other = |random: &mut Rng| &inputs[random.usize(..inputs.len())].1;
    let mut input = other(random).clone();
    for _ in 0..1 << random.u32(..5) {
        let at = random.usize(..=input.len());
        let to = at + random.usize(..=(input.len() - at).min(40));
        match random.u8(..8) {
            0 | 1 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            2 if at < input.len() => input[at] = random.u8(..),
            3 => input.truncate(at.max(1)),
            4 => drop(input.drain(at..to)),
            5 => {
                let again = input[at..to].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let (other, number) = (other(random), NUMBERS[random.usize(..NUMBERS.len())]);
                let from = random.usize(..=other.len());
                let text = number.to_string();
                let new = [&other[from..other.len().min(from + 60)], text.as_bytes(), &number.to_le_bytes()];
                input.splice(at..to, new[random.usize(..3)].iter().copied());
            }
            _ => {
                let number = NUMBERS[random.usize(..NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.usize(..4)].min(input.len() - at);
                input[at..at + width].copy_from_slice(&number[..width]);
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn search(name: &str) {
    let _share = beside_others();
    let target = *targets::ALL.iter().find(|target| target.name == name).expect("one of the targets");
    let inputs = corpus(name);
    if let Some(seed) = number("ROLLBOOK_TEST_SEED") {
        let input = mutated(&inputs, &mut Rng::with_seed(seed));
        return run(target, &input, &format!("ROLLBOOK_TEST_SEED={seed}"));
    }
    for (path, input) in &inputs {
        run(target, input, path);
    }
    let time = TIME * number("ROLLBOOK_TEST_ROUNDS").unwrap_or(1) as u32;
    let (start, first, mut tried) = (Instant::now(), fastrand::u64(..), 0);
    while start.elapsed() < time {
        let seed = first.wrapping_add(tried);
        let input = mutated(&inputs, &mut Rng::with_seed(seed));
        run(target, &input, &format!("ROLLBOOK_TEST_SEED={seed}"));
        tried += 1;
    }
    eprintln!("{name}: {} inputs, {tried} mutations, from ROLLBOOK_TEST_SEED={first} on", inputs.len());
}

#[test]
fn every_target_has_a_test() {
    let tests = include_str!("corpus.rs");
    for target in targets::ALL {
        assert!(tests.contains(&format!("search(\"{}\")", target.name)), "{}", target.name);
    }
}

#[test]
fn commands_of_append_only_files_are_the_same_wherever_they_are_cut() {
    search("append_only");
}

#[test]
fn commands_do_what_a_model_of_the_store_does() {
    search("commands");
}

#[test]
fn a_configuration_makes_sense_or_is_refused_with_reasons() {
    search("config");
}

#[test]
fn edits_do_what_a_model_of_the_store_does() {
    search("edits");
}

#[test]
fn a_manifest_is_understood_or_refused() {
    search("manifest");
}

#[test]
fn messages_arrive_wherever_they_are_cut_and_cost_what_has_come() {
    search("mirror");
}

#[test]
fn values_and_files_of_redis_are_read_or_refused() {
    search("rdb");
}

#[test]
fn requests_and_replies_are_the_same_wherever_they_are_cut() {
    search("resp");
}

#[test]
fn a_segment_gives_what_was_written_and_no_end_before_what_was_durable() {
    search("segment");
}

#[test]
fn a_snapshot_is_loaded_or_refused() {
    search("snapshot");
}
