//! The protocol between master and checkpoint node. Pure: bytes and values, no sockets.
//!
//! The node opens every connection and says [`Hello`] first; the hello's [`Role`] decides what follows.
//!
//! | role | node → master | master → node |
//! |---|---|---|
//! | every | `Hello`, then `Proof` | `Challenge` |
//! | control | then `Ping` every second | `Welcome`, then `Ping` every second |
//! | stream | then `Follow`, then `Applied` at the latest after each empty run, `Compared` | runs of log bytes, an empty one every second if there are none; `End` for an ended epoch |
//! | upload | then per snapshot `Offer`, `Chunk`s; or `Declined`; `Ping` every second if there is nothing to say | `Resume` before each chunk; in the end `Installed`, or `Refusal` |
//! | download | then per partition `Fetch` | `Lend`, `Chunk`s; or `Refusal` |
//!
//! At any point the master may answer with a [`Message::Refusal`] and close; on upload and download connections a
//! refusal is the answer to one snapshot, and the connection goes on. Silence of [`SILENCE`] on the control connection
//! means that the other end is dead. On the other connections an end may be busy with something large, for which it has
//! `checkpoint.timeout_s`; no wait is without a deadline.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | messages and runs of log bytes on a connection: length, checksum, kind |
//! | [`message`] | the messages, as values |
//! | [`proof`] | the proof that a node knows the password |
//! | [`codec`] | the messages as flatbuffers (`schema/mirror.fbs`) |

pub mod codec;
pub mod message;
pub mod proof;
pub mod wire;

use std::time::Duration;

pub use message::{Hello, Kept, Message, Offer, Reason, Received, Role, StreamInfo, Welcome};

/// Version of this protocol. Both ends must speak the same version.
pub const VERSION: u32 = 5;
/// How often an end that has nothing else to send sends a heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Longest silence of an end that owes nothing but heartbeats, before it counts as dead.
pub const SILENCE: Duration = Duration::from_secs(10);
/// Longest body in bytes before the other end is authenticated.
pub const HELLO_LIMIT: usize = 4 << 10;
/// Longest body in bytes once the other end is authenticated.
pub const BODY_LIMIT: usize = 8 << 20;
/// Most bytes of a snapshot file in one [`Message::Chunk`].
pub const CHUNK: usize = if cfg!(test) { 4 << 10 } else { 256 << 10 };
