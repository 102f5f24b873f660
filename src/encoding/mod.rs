//! Bytes to values and back, without I/O: edits (flatbuffers), log frames, snapshot entries, RESP, integers, and
//! the slot of a key.
//!
//! Everything that comes from outside (a client, a file, another server) is checked here once. The resulting values can
//! be trusted.

pub mod edit;
pub mod entry;
pub mod frame;
pub mod integer;
pub mod rdb;
pub mod resp;
pub mod slot;
