//! The fuzz targets, with the seeds of their corpus and mutations of them; `Cargo.toml` makes cargo-fuzz search with
//! the same targets.

mod corpus;
pub mod targets;
