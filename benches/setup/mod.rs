//! What the microbenchmarks share: how long they measure, and requests to measure with.
//!
//! `cargo bench` runs all of them in under five minutes; `cargo bench --bench resp -- parse` some of one file.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::time::Duration;

use criterion::Criterion;

/// Bytes of a value.
pub const VALUE: usize = 100;
/// Requests in a pipeline.
pub const PIPELINE: usize = 32;

/// Short enough for all benchmarks in a few minutes, long enough to tell five percent.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(30)
        .without_plots()
        .configure_from_args()
}

/// The key of a number, 16 bytes long.
pub fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// A request as clients send it.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
