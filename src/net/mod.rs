//! Rings, connections, commands, replies.
//!
//! A request's way: the ring's bytes ([`ring`]) reach the worker ([`worker`]), are parsed and routed ([`execute`]); this core executes
//! them at once, another core gets them in a batch ([`peers`], [`message`]). A reply goes into its connection's output, or waits its
//! turn ([`replies`]) until other cores have given their parts ([`merge`]) and its edits are safe.
//!
//! Only this layer knows sockets.

mod alarm;
mod buffers;
mod capture;
mod clients;
mod commands;
mod connection;
mod execute;
pub mod guard;
mod merge;
mod message;
mod peers;
mod replies;
pub mod ring;
pub mod server;
pub mod shared;
pub mod stats;
mod tick;
mod worker;

pub use message::Message;
pub use server::{ServeError, Server};
pub use worker::Worker;
