//! What the tests of the whole program share: real server processes, real connections, and a ledger of what was
//! acknowledged.
//!
//! * [`Home`] is a data directory with ports of its own; [`Server`] is one life of a server in it.
//! * Tests run side by side; one that measures time begins with [`alone`].
//! * [`Conn`] is a connection that sees every byte; the `redis` crate is used where a library's view is wanted.
//! * [`Load`] writes until it is told to stop or the server dies; the [`Ledger`] it leaves says what must be held
//!   afterwards.
//! * [`Dump`] is everything that a client can see.
//! * [`Proxy`] is a network that can be bad.
//! * [`Scripted`] is a server whose replies a test makes.
//! * [`Disk`] is a small file system that can be filled and broken; [`StorageDaemon`] is a disk that fails or remembers
//!   on demand.
//!
//! Environment: `ROLLBOOK_TEST_SEED` repeats a random test, `ROLLBOOK_TEST_ROUNDS` multiplies the rounds of the tests
//! that kill, `ROLLBOOK_TEST_PEER=redis-server` runs what both understand against Redis, to tell a wrong test from a
//! wrong server.

mod cgroup;
mod chance;
mod disk;
mod disk_shutdown;
mod dump;
mod form;
mod home;
mod inspect;
mod journal;
mod ledger;
mod load;
mod machine;
mod ports;
mod process;
mod proxy;
mod resp;
mod scripted;
mod server;
mod storage_daemon;
mod stream;
mod tests;
mod write_log;

pub use cgroup::Cgroup;
pub use chance::{rng, rounds};
pub use disk::{Disk, make_image, or_skip, run};
pub use dump::{Content, Dump};
pub use home::{Home, Peer};
pub use inspect::verify;
pub use journal::LOG_FAILED;
pub use ledger::{Ledger, Lost, Seen};
pub use load::{Confirm, Load, Running};
pub use machine::{alone, beside_others};
pub use ports::Port;
pub use process::{Process, eventually, signal_pid as signal};
pub use proxy::{Proxy, Step, Weather};
pub use resp::{Conn, Value, encode};
pub use scripted::{Scripted, measured, report_in};
pub use server::{Refused, Server};
pub use storage_daemon::{Fault, StorageDaemon};
pub use stream::stream_facts;
pub use write_log::{Unflushed, WriteLog};
