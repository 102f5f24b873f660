//! One core's data and its position in the log: units of commands, recovery, mirroring, snapshots taken slot by slot.
//!
//! Always, for each stream: acknowledged ≤ safe, and acknowledged ≤ appended = applied, where *safe* is what the
//! server's durability asks for: everything in `async`, the durable mark in `sync`, the mirrored mark in `mirrored`.
//! Nobody is shown a reply whose gate is above *safe*.
//!
//! A start loads snapshots ([`origin`]), replays the log ([`recovery`]) and decides, over all streams at once, how far
//! each of them counts ([`cut`]).
//!
//! A snapshot by the checkpoint node shows one moment; a snapshot by a core shows one moment for each slot
//! ([`capture`]). From either, [`load`] and [`replica`] restore the same state, by replaying the log after it.
//!
//! Deliberately absent: sockets, other cores, the policy of when to take checkpoints.

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
mod transfers;

pub use cut::{Cut, Findings, keep_all};
pub use group::{Committed, Group, Ran};
pub use load::LoadError;
pub use memory::{MemoryBound, MemoryShare};
pub use recovery::{Recovered, Tally, recover_all};
pub use replica::Replica;
pub use shard::Shard;
