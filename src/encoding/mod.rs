//! Bytes to values and back, without I/O: edits (flatbuffers), log frames, snapshot entries, RESP, and the slot of a
//! key.
//!
//! Everything that comes from outside (a client, a file, a peer) is checked here once and is then a value that can be
//! trusted.

pub mod edit;
pub mod entry;
pub mod frame;
pub mod resp;
pub mod slot;
