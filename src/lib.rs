//! Rollbook: the register that the master of a distributed system keeps.
//!
//! # Layers
//!
//! Each may use only those above it; `tests/rules/tidy.rs` sees to it.
//!
//! | module | what it is |
//! |---|---|
//! | [`ids`], [`time`], [`config`] | newtypes for numbers; wall-clock times; the checked configuration |
//! | [`auth`] | password checks, and delays after wrong passwords |
//! | [`encoding`] | bytes to values and back: edits, frames, RESP. No I/O |
//! | [`store`] | the data: hash tables, values, apply, queries. No await, no clock, no I/O |
//! | [`commands`] | commands on data: the registry, and one file per family with its rows, plans and tests. Pure |
//! | [`storage`] | files: segments, log, snapshots, manifest. Knows frames, never keys |
//! | [`partition`] | one core's data with its log: groups of edits, recovery |
//! | [`runtime`] | what a core's thread runs on: network ring, bells, queues between threads |
//! | [`replication`] | the checkpoint node, and the master's side of it |
//! | [`engine`] | executes commands on one core: messages between cores, waits for disk and mirror |
//! | [`net`] | connections, sessions and their commands, replies |
//! | [`mod@bench`] | the load generator |
//! | [`cli`] | `serve`, `checkpoint`, `bench`, `inspect`, `doctor` |
//! | `simulation` | master and node, whole, over model disks and a model network; only in the crate's own tests |
//!
//! Beside them: `planted`, the bugs that the simulator must find; nothing outside of this crate's own tests.

// Source files shared between the crate's own tests and `tests/` refer to the crate as `rollbook`.
#[cfg(test)]
extern crate self as rollbook;

pub mod auth;
pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod encoding;
pub mod engine;
pub mod ids;
pub mod net;
pub mod partition;
mod planted;
pub mod replication;
pub mod runtime;
#[cfg(test)]
mod simulation;
pub mod storage;
pub mod store;
pub mod time;
