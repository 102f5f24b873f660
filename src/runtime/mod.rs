//! Cores and the messages between them.
//!
//! Every core is a thread pinned to one CPU, with an executor of its own; cores share no data. Messages from one core
//! to another go through a bounded single-producer queue ([`mesh`]); messages from other threads go through the core's
//! [`inbox`]. Both wake the core through its [`bell`], and only if it rests ([`alarm`]). [`lifecycle`] has the events
//! that the main thread waits for.
//!
//! This layer does not know the content of the messages.

pub mod alarm;
pub mod bell;
mod buffers;
pub mod inbox;
pub mod lifecycle;
pub mod mesh;
pub mod ring;
