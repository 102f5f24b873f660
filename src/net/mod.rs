//! Connections of clients: their sessions, their requests' way to the cores that execute them, their replies in order, their limits.
//!
//! A request's way: the bytes that the ring has received ([`crate::runtime::ring`]) reach the worker ([`worker`]), are parsed and routed
//! ([`execute`]). A command of the session is executed at once ([`session`]); one on data by this core, or by another, which gets it in a
//! batch ([`peers`], [`message`]). A reply goes into its connection's output, or waits its turn ([`replies`]) until other cores have given
//! their parts ([`merge`]) and its edits are safe.

mod alarm;
mod capture;
mod clients;
mod connection;
mod execute;
mod merge;
mod message;
mod peers;
mod replies;
pub mod server;
mod session;
pub mod shared;
pub mod stats;
mod tick;
mod worker;

pub use message::Message;
pub use server::{ServeError, Server};
pub use session::{COMMANDS, Commands};
pub use worker::Worker;
