//! The checkpoint node, and the master's side of it.
//!
//! ```text
//!            master                                        node
//!   core ── log ──► disk                      ┌──────────────────────────────┐
//!                    │ durable frames ───────►│ apply ─► partitions in memory │
//!    ▲ mirrored ◄────│────────── applied ─────│   │ at a barrier              │
//!    │               │                        │   ▼                           │
//!   barrier ◄── policy ◄── digests compared ──│ compare, capture ─► snapshot  │
//!                    │                        └──────────────────────│────────┘
//!   manifest ◄── verify, install ◄──────── upload ───────────────────┘
//!                    └► drop log
//! ```
//!
//! Always: snapshot position ≤ mirrored ≤ durable. The master waits for the node nowhere; without one, it keeps its log
//! and serves, and when the log gets too long its cores take snapshots themselves, slot by slot (`partition::capture`,
//! [`master::self_checkpoints`]): of those the newest section ≤ durable.
//!
//! | module | what it is |
//! |---|---|
//! | [`protocol`] | what both say to each other. Pure |
//! | `link` | connections that carry it |
//! | [`master`] | threads of the master: ship the log, take snapshots, decide, keep the child |
//! | [`node`] | the checkpoint node |
//! | `clock` | the time, for threads; state machines are told it |

pub(crate) mod clock;
pub(crate) mod link;
pub mod master;
pub mod node;
pub mod protocol;

#[cfg(test)]
mod tests;
