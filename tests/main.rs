//! All tests of the whole program: one folder a theme, one file a promise. `cargo test --test all crash::` runs a
//! theme, `cargo test --test all crash::any` a file.
//!
//! They are one program, so that the [`harness`] is compiled once and one link is enough. What a test needs for itself
//! alone, it asks the harness for (`harness::alone`); nothing here changes what belongs to the whole process:
//! environment, directory, limits, signals.

mod bench;
mod clients;
mod commands;
mod crash;
mod disk;
mod durability;
mod fuzz;
mod harness;
mod mirror;
mod operation;
mod recovery;
mod rules;
mod timed;
