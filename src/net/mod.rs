//! Rings, connections, replies.
