//! Connections of clients: their sessions, their requests' way to the cores that execute them, their replies in order,
//! their limits.
//!
//! A request's way: the bytes that the ring has received ([`crate::runtime::ring`]) reach the clients of the core, are
//! parsed and resolved (`execute`). A command of the session is executed here ([`session`]); one on data by the
//! [engine](crate::engine), which writes its reply or gives it later. A reply goes into its connection's output, or
//! waits its turn (`replies`) until it is there and its edits are safe.
//!
//! | file | what it is |
//! |---|---|
//! | [`server`] | a core's loop: what is ready is looked at, turns are taken, bytes leave |
//! | `clients`, `connection` | who is connected to the core, and what each has sent, chosen and is owed |
//! | `execute` | from bytes to commands, and to whoever executes them |
//! | `front` | from the engine back to clients |
//! | `replies` | replies in the order of their requests |
//! | `limits`, `admission` | what clients may take: of this core, of all together |
//! | [`session`] | commands that touch no data |
//! | [`service`] | what the networks of a server's cores have in common |
//! | `counts` | what clients have done, for INFO |

mod admission;
mod clients;
mod connection;
mod counts;
mod execute;
mod front;
mod limits;
mod replies;
pub mod server;
pub mod service;
mod session;

pub use server::{ServeError, Server};
pub use service::Service;
pub use session::{COMMANDS, Commands};
