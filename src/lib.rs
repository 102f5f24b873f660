//! Rollbook: the register that the master of a distributed system keeps.
//!
//! # Layers
//!
//! Each may use only those above it; `tests/tidy.rs` sees to it.
//!
//! | module | what it is |
//! |---|---|
//! | [`ids`], [`config`] | numbers that cannot be confused; the checked configuration |
//! | [`encoding`] | bytes to values and back: edits, frames, RESP. No I/O |
//! | [`store`] | the data: plan, apply, queries. No await, no clock, no I/O |
//! | [`storage`] | files: segments, log, snapshots, manifest. Knows frames, never keys |
//! | [`partition`] | one owner's store with its place in a log: execute, recover |
//! | [`runtime`] | cores and the messages between them |
//! | [`net`] | rings, connections, replies |
//! | [`checkpoint`] | the checkpoint node, and the master's side of it |
//! | [`mod@bench`] | the load generator |
//! | [`cli`] | `serve`, `checkpoint`, `bench`, `inspect`, `doctor` |
//!
//! Beside them: `planted`, the bugs that the simulator (`checkpoint::simulation`) must find; nothing outside of this crate's own tests.

// Files that the crate's own tests share with those under tests/ name it as those do.
#[cfg(test)]
extern crate self as rollbook;

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod encoding;
pub mod ids;
pub mod net;
pub mod partition;
mod planted;
pub mod runtime;
pub mod storage;
pub mod store;
