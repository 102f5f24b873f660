//! One core's share of the server: its connections, its shard, and its dealings with other cores.
//!
//! A *turn* is one round of the core's network task ([`super::server`]): what has come in from sockets and other cores is executed,
//! and what came of it leaves. Nothing in a turn awaits. The worker never touches the ring: it notes which connections have something
//! to send, to be paused or to go on, and the end of the turn sees to it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::connection::{Closing, Connection, Hold, Session};
use super::execute::Resolved;
use super::message::{Answers, Batch, HeldAnswer, Message};
use super::replies::Ticket;
use super::shared::{Settings, Shared};
use super::stats::CoreStats;
use crate::encoding::resp::{Limits, Reply, Requests};
use crate::ids::{CoreId, Lsn, Placement};
use crate::partition::Shard;
use crate::runtime::mesh::Endpoint;
use crate::runtime::ring::Token;
use crate::store::Sought;
use crate::time;
use crate::time::UnixMillis;

/// One core's share of the server.
pub struct Worker {
    /// The worker itself, for tasks that come back to it later.
    pub(super) myself: Weak<RefCell<Self>>,
    pub(super) shared: Arc<Shared>,
    pub(super) placement: Placement,
    pub(super) shard: Shard,
    pub(super) connections: Slab<Connection>,
    pub(super) endpoint: Endpoint<Message>,
    /// By core: what goes there at the end of the turn.
    pub(super) outbox: Vec<Batch>,
    pub(super) answers: Vec<Answers>,
    /// Emptied ones, to be filled again.
    pub(super) spare_batches: Vec<Batch>,
    pub(super) spare_answers: Vec<Answers>,
    /// By core: requests sent there and not yet answered.
    pub(super) outstanding: Vec<usize>,
    /// By core: a batch from there that cannot go on for now, and how far it has come.
    pub(super) parked: Vec<Option<(Batch, usize)>>,
    /// Such a batch can go on as soon as the answers to those before have left.
    pub(super) interrupted: bool,
    /// Whose clients' requests came first this time.
    pub(super) first_core: u16,
    /// Answers whose edits are not yet safe, in the order of their gates.
    pub(super) held: VecDeque<(Gate, HeldAnswer)>,
    /// Their bytes.
    pub(super) held_bytes: usize,
    pub(super) lists: Lists,
    /// The time of this turn.
    pub(super) now: Instant,
    pub(super) wall: UnixMillis,
    pub(super) random: fastrand::Rng,
    pub(super) requests: Requests,
    pub(super) resolved: Vec<Resolved>,
    pub(super) sought: Vec<Sought>,
    pub(super) spare: Vec<u8>,
    pub(super) stats: CoreStats,
    pub(super) settings: Arc<Settings>,
    pub(super) settings_version: u64,
    /// The checkpoint node's position when it was last looked at.
    pub(super) mirrored: Lsn,
    /// At a shutdown: the last client is gone.
    pub(super) drained: bool,
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gate {
    /// Edits as safe as the server's durability asks for.
    Safe(Lsn),
    /// Edits on disk.
    Durable(Lsn),
    /// Edits that the checkpoint node has.
    Mirrored(Lsn),
}

/// Connections that the end of the turn must see to.
#[derive(Default)]
pub(super) struct Lists {
    /// Something to send, or to be closed.
    pub dirty: Vec<Token>,
    /// Replies wait for edits to become safe.
    pub gated: Vec<Token>,
    /// Requests wait for room in the log or in the queue to another core.
    pub stalled: Vec<Token>,
    /// Attempts to authenticate that wait, in the order in which they were made.
    pub waiting: VecDeque<Token>,
    /// Too much was received for now.
    pub pause: Vec<Token>,
    /// To be received from again.
    pub resume: Vec<Token>,
}

impl Worker {
    /// A worker without connections.
    pub fn new(shared: Arc<Shared>, shard: Shard, endpoint: Endpoint<Message>) -> Self {
        let placement = shared.placement;
        let cores = usize::from(placement.cores());
        Self {
            myself: Weak::new(),
            placement,
            shard,
            connections: Slab::new(),
            endpoint,
            outbox: (0..cores).map(|_| Batch::default()).collect(),
            answers: (0..cores).map(|_| Answers::default()).collect(),
            spare_batches: Vec::new(),
            spare_answers: Vec::new(),
            outstanding: vec![0; cores],
            parked: (0..cores).map(|_| None).collect(),
            interrupted: false,
            first_core: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            lists: Lists::default(),
            now: Instant::now(),
            wall: time::unix_millis(),
            random: fastrand::Rng::new(),
            requests: Requests::default(),
            resolved: Vec::new(),
            sought: Vec::new(),
            spare: Vec::new(),
            stats: CoreStats::default(),
            settings: shared.settings(),
            settings_version: shared.settings_version(),
            mirrored: Lsn(0),
            drained: false,
            shared,
        }
    }

    /// The core.
    pub(super) const fn core(&self) -> CoreId {
        self.shard.core()
    }

    /// A new turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.now = Instant::now();
        self.wall = time::unix_millis();
    }

    /// A client has connected. Returns its token, or the socket back with the reason why it is not served.
    pub(super) fn connect(&mut self, socket: std::os::fd::OwnedFd) -> Option<Token> {
        let client = self.shared.next_client();
        let mut connection = Connection::new(socket, client, Session::new(self.now));
        match self.shared.admit(connection.peer) {
            Ok(reserved) => connection.session.reserved = reserved,
            Err(refusal) => {
                // The socket is new and its buffer empty: a short line always fits.
                let _ = rustix::net::send(connection.socket(), refusal.as_bytes(), rustix::net::SendFlags::DONTWAIT);
                self.stats.rejected += 1;
                return None;
            }
        }
        if let Some(seconds) = self.settings.tcp_keepalive_s
            && let Err(error) = connection.keep_alive(seconds)
        {
            tracing::debug!(client, %error, "the kernel does not keep a connection alive");
        }
        if self.settings.password.is_none() {
            connection.session.admit();
        }
        self.stats.accepted += 1;
        Some(self.connections.insert(connection) as Token)
    }

    /// Bytes have come in on a connection.
    pub(super) fn receive(&mut self, token: Token, bytes: &[u8]) {
        self.stats.received_bytes += bytes.len() as u64;
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.closing >= Closing::AfterReplies {
            return;
        }
        if connection.input.is_empty() && connection.hold == Hold::No {
            let done = self.run(token, bytes);
            if let Some(connection) = self.connections.get_mut(token as usize)
                && connection.closing < Closing::AfterReplies
            {
                connection.input.extend_from_slice(&bytes[done..]);
            }
        } else {
            connection.input.extend_from_slice(bytes);
            self.go_on(token);
        }
        self.bound_input(token);
    }

    /// Executes what a connection has sent and what was not executed yet, as far as it may.
    pub(super) fn go_on(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.hold == Hold::No && connection.input.len() >= connection.partial.needed().max(1) {
            let mut input = std::mem::take(&mut connection.input);
            let done = self.run(token, &input);
            if let Some(connection) = self.connections.get_mut(token as usize) {
                if done > 0 {
                    connection.note_progress(self.now);
                }
                input.drain(..done);
                if input.is_empty() && input.capacity() > 64 * 1024 {
                    input = Vec::new();
                }
                connection.input = input;
            }
        }
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.hold == Hold::No {
            if connection.closing == Closing::AfterInput {
                connection.close(Closing::AfterReplies);
                self.touch(token);
            } else if !connection.receiving {
                self.lists.resume.push(token);
            }
        }
    }

    /// The client will send no more. Most likely it is gone, but it may have closed its half only and wait for its replies.
    pub(super) fn end_of_input(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize) {
            connection.alone_since = Some(self.now);
            connection.close(Closing::AfterInput);
            self.go_on(token);
            self.touch(token);
        }
    }

    /// A connection is to be closed at once.
    pub(super) fn break_off(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize) {
            if connection.closing != Closing::Now && connection.replies.has_pending() {
                self.shared.note_broken(self.shard.core(), connection.client);
            }
            connection.close(Closing::Now);
            self.touch(token);
        }
    }

    /// Drops a connection.
    pub(super) fn disconnect(&mut self, token: Token) {
        if self.connections.try_remove(token as usize).is_some() {
            self.shared.leave();
        }
    }

    /// Notes that a connection has something to send, or is to be looked at at the end of the turn.
    pub(super) fn touch(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize)
            && !connection.dirty
        {
            connection.dirty = true;
            self.lists.dirty.push(token);
        }
    }

    /// Moves replies that are ready to the output.
    pub(super) fn release(&mut self, token: Token) {
        let safe = self.shard.safe();
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        connection.replies.release(safe, &mut connection.output);
        if connection.replies.is_gated() && !connection.gated {
            connection.gated = true;
            self.lists.gated.push(token);
        }
        self.touch(token);
    }

    /// Writes a reply of this core's own to a connection, in order.
    pub(super) fn reply(&mut self, token: Token, write: impl FnOnce(&mut Reply<'_>)) {
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        let protocol = connection.session.protocol;
        if connection.replies.is_empty() {
            let start = connection.output.len();
            write(&mut Reply::new(&mut connection.output, protocol));
            self.stats.note_reply(&connection.output[start..]);
        } else {
            self.spare.clear();
            write(&mut Reply::new(&mut self.spare, protocol));
            self.stats.note_reply(&self.spare);
            connection.replies.push(&self.spare, Lsn(0));
        }
        self.touch(token);
        self.bound_output(token);
    }

    /// Gives a reply that a client waits for, and goes on with its requests.
    pub(super) fn finish(&mut self, token: Token, client: u64, ticket: Ticket, reply: &[u8]) {
        let Some(connection) = self.connections.get_mut(token as usize).filter(|c| c.client == client) else { return };
        if connection.replies.finish(ticket, reply) {
            self.unblock(token, ticket);
        }
    }

    /// A reply is complete: lets it leave, and its client go on if it waited for it.
    pub(super) fn unblock(&mut self, token: Token, ticket: Ticket) {
        self.release(token);
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        let may_go_on = match connection.hold {
            Hold::Blocked(awaited) => awaited == ticket,
            Hold::Settling => !connection.replies.has_pending(),
            Hold::No | Hold::Stalled | Hold::Waiting(_) | Hold::Ending => false,
        };
        if may_go_on {
            connection.hold = Hold::No;
            self.go_on(token);
        }
    }

    /// Limits on the requests of clients that have authenticated.
    pub(super) fn usual_limits(&self) -> Limits {
        let limits = &self.settings.limits;
        Limits { args: limits.args, bulk_bytes: limits.bulk_bytes, unauthenticated: false }
    }
}
