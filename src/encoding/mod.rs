//! Bytes to values and back, without I/O: edits (flatbuffers), log frames, snapshot entries, events of streams, RESP,
//! Redis's files, integers, places, and the slot of a key.
//!
//! Everything that comes from outside (a client, a file, another server) is checked here once. The resulting values can
//! be trusted.

pub mod append_only;
pub mod edit;
pub mod entry;
pub mod event;
pub mod frame;
pub mod geohash;
pub mod integer;
pub mod rdb;
pub mod resp;
pub mod slot;
