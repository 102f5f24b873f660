//! What is fuzzed: each target is a function of bytes that panics if a promise is broken.
//!
//! Two programs share these files: cargo-fuzz's (`tests/fuzz/fuzz_targets/`), which search for bytes, and
//! `tests/fuzz/corpus.rs`, which runs the seeds and mutations of them with every commit.
//!
//! Where a checksum stands before what is of interest, a target takes the bytes for what they say and makes the
//! checksums right itself: no search would come through otherwise.

pub mod append_only;
pub mod commands;
pub mod config;
pub mod edits;
mod file;
pub mod manifest;
pub mod mirror;
mod model;
pub mod rdb;
pub mod resp;
pub mod segment;
mod small;
pub mod snapshot;
pub mod tell;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in `corpus/`.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// All of them.
pub const ALL: [Target; 10] = [
    Target { name: "append_only", run: append_only::run },
    Target { name: "commands", run: commands::run },
    Target { name: "config", run: config::run },
    Target { name: "edits", run: edits::run },
    Target { name: "manifest", run: manifest::run },
    Target { name: "mirror", run: mirror::run },
    Target { name: "rdb", run: rdb::run },
    Target { name: "resp", run: resp::run },
    Target { name: "segment", run: segment::run },
    Target { name: "snapshot", run: snapshot::run },
];

/// Cuts `bytes` into pieces, some of one byte and some of many, as `seed` has it.
fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    let longest = [1, 4, 40, 4000][usize::from(seed) % 4];
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.usize(1..=longest).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
