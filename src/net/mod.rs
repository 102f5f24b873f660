//! Rings, connections, replies.

mod buffers;
pub mod ring;
