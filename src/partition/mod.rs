//! One core's data with its place in the log: units of commands, recovery, mirroring, snapshots slot by slot.
//!
//! Always, for each stream: acked ≤ safe ≤ appended = applied, where *safe* is what the server's durability asks for:
//! everything in `async`, the durable mark in `sync`, the mirrored one in `mirrored`. Nobody is shown a reply whose
//! gate is above *safe*.
//!
//! A start loads snapshots ([`origin`]), replays the log ([`recovery`]) and decides, over all streams at once, how far
//! each of them counts ([`cut`]).
//!
//! A snapshot is of one moment when the checkpoint node takes it, and of many, one for each slot, when a core does
//! ([`capture`]). Either way [`load`] and [`replica`] make the same state of it and of the log after it.
//!
//! Deliberately absent: sockets, other cores, policy on checkpoints.

mod ahead;
pub mod capture;
pub mod cut;
mod group;
mod load;
pub mod memory;
pub mod order;
pub mod origin;
pub mod recovery;
pub mod replica;
pub mod shard;
#[cfg(test)]
mod tests;

pub use cut::{Cut, Findings, keep_all};
pub use group::{Committed, Group, Ran};
pub use load::LoadError;
pub use memory::{MemoryBound, MemoryShare};
pub use recovery::{Recovered, Tally, recover_all};
pub use replica::Replica;
pub use shard::Shard;
