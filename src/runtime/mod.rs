//! Cores and the messages between them.
//!
//! Every core is a thread pinned to one CPU with an executor of its own; they share nothing. What one core asks of another goes
//! through a bounded single-producer queue ([`mesh`]); what the rest of the process asks of a core goes through its [`inbox`].
//! Either wakes the core through its [`bell`], and only if it sleeps ([`alarm`]). What the main thread waits for is in [`lifecycle`].
//!
//! Nothing here knows what the messages say.

pub mod alarm;
pub mod bell;
mod buffers;
pub mod inbox;
pub mod lifecycle;
pub mod mesh;
pub mod ring;
