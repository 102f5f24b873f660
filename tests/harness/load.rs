//! Clients that write until they are told to stop or the server dies.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastrand::Rng;

use super::journal::Journal;
use super::ledger::Ledger;
use super::resp::{Conn, Value};
use super::server::Server;

/// What a client asks to be told about its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// That they are on disk, by WAITAOF.
    Disk,
    /// That the checkpoint node has them too, by WAIT.
    Node,
}

impl Confirm {
    /// Asks, and says whether all writes of the connection are confirmed. A node that is away is not waited for in
    /// vain.
    pub(super) fn ask(self, conn: &mut Conn) -> io::Result<bool> {
        Ok(match self {
            Self::Disk => match conn.try_command(&["WAITAOF", "1", "0", "10000"])? {
                // The log has failed.
                Value::Error(_) => false,
                reply => reply.items()[0].int() == 1,
            },
            Self::Node => conn.try_command(&["WAIT", "1", "200"])? == Value::Int(1),
        })
    }
}

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Begins every key; loads of different names do not touch each other's keys.
    pub name: String,
    /// Number of connections.
    pub connections: usize,
    /// Keys of each connection: strings and hashes by turns.
    pub keys: usize,
    /// Most commands in flight on a connection.
    pub pipeline: usize,
    /// Most bytes of padding in a value.
    pub padding: usize,
    /// Longest pause between batches.
    pub pause: Duration,
    /// Most writes of a connection.
    pub writes: usize,
    /// Number of cores of the server.
    pub cores: u16,
    /// What is asked for after some of the batches.
    pub confirm: Option<Confirm>,
    /// Whether keys are deleted, too. Where a server refuses some kinds of writes and takes others, what a client was
    /// not told of is no first part of what it sent.
    pub deletes: bool,
}

impl Load {
    /// Four connections that write as fast as they can.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            connections: 4,
            keys: 300,
            pipeline: 32,
            padding: 300,
            pause: Duration::ZERO,
            writes: 100_000,
            cores: 2,
            confirm: None,
            deletes: true,
        }
    }

    /// Begins to write.
    pub fn start(&self, server: &Server, rng: &mut Rng) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..self.connections)
            .map(|connection| {
                let mut conn = server.connect();
                let mut journal = Journal::new(self, connection);
                conn.command(&["SELECT", &journal.db.to_string()]);
                let (load, stop, mut rng) = (self.clone(), Arc::clone(&stop), rng.fork());
                thread::spawn(move || {
                    // The error is the server's death: what was not acknowledged by then stays so.
                    let ended = journal.run(&load, &mut conn, &stop, &mut rng);
                    journal.starved = ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
                    journal
                })
            })
            .collect();
        Running { stop, threads, cores: self.cores }
    }
}

/// Clients at work.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Journal>>,
    cores: u16,
}

impl Running {
    /// Waits until every connection has come to its end: its last write, or the server's death.
    pub fn join(self) -> Ledger {
        let journals = self.threads.into_iter().map(|thread| thread.join().expect("a client's thread"));
        Ledger::new(journals.collect(), self.cores)
    }

    /// Lets the clients read what is under way and stop.
    pub fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}
