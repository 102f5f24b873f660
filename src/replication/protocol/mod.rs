//! What master and checkpoint node say to each other. Pure: bytes and values, no sockets.
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
//! At any point the master may answer with a [`Message::Refusal`] and close. Silence of [`SILENCE`] on the control
//! connection means that the other end is dead. On the others it may be busy with something large, and has
//! `checkpoint.timeout_s` for it; nowhere is anybody waited for without a deadline.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | messages and runs of log bytes on a connection: length, checksum, kind |
//! | [`message`] | the messages, as values |
//! | [`proof`] | what a node proves that it knows the password with |
//! | [`codec`] | the messages as flatbuffers (`schema/mirror.fbs`) |

pub mod codec;
pub mod message;
pub mod proof;
pub mod wire;

use std::time::Duration;

pub use message::{Hello, Kept, Message, Offer, Reason, Received, Role, StreamInfo, Welcome};

/// The version of this protocol. Both ends must speak the same.
pub const VERSION: u32 = 3;
/// How often an end that has nothing else to say shows that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long an end that has nothing to do but to show that it lives is waited for, at most.
pub const SILENCE: Duration = Duration::from_secs(10);
/// Longest body before the other end has shown the password, in bytes.
pub const HELLO_LIMIT: usize = 4 << 10;
/// Longest body after that, in bytes.
pub const BODY_LIMIT: usize = 8 << 20;
/// Bytes of a snapshot file in one chunk.
pub const CHUNK: usize = if cfg!(test) { 4 << 10 } else { 256 << 10 };
