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
//! Always: position of a node's snapshot ≤ mirrored ≤ durable. The master never waits for the node. Without a node, the
//! master keeps serving and keeps its log; when the log gets too long, the master's cores take snapshots themselves,
//! slot by slot (`partition::capture`, [`master::self_checkpoints`]). Such a snapshot is installed once its newest
//! section ≤ durable.
//!
//! | module | what it is |
//! |---|---|
//! | [`protocol`] | the messages between master and node. Pure |
//! | `link` | the connections that carry these messages |
//! | [`master`] | threads of the master: ship the log, take snapshots, decide, keep the child |
//! | [`node`] | the checkpoint node |
//! | `clock` | monotonic time for threads; state machines get the time as an argument |

pub(crate) mod clock;
pub(crate) mod link;
pub mod master;
pub mod node;
pub mod protocol;

#[cfg(test)]
mod tests;
