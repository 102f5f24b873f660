//! One owner's store with its place in a log: execute, and recover.
//!
//! Always, for each stream: acked ≤ safe ≤ appended = applied, where *safe* is what the server's durability asks for: everything
//! in `async`, the durable mark in `sync`, the mirrored one in `mirrored`. Nobody is shown a reply whose gate is above *safe*.
//!
//! Deliberately absent: sockets, other cores, policy on checkpoints.

mod ahead;
pub mod capture;
mod load;
pub mod recovery;
pub mod replica;
pub mod shard;
#[cfg(test)]
mod tests;

pub use load::LoadError;
pub use recovery::{Recovered, Tally, recover, settle};
pub use replica::Replica;
pub use shard::{Executed, Shard};
