//! The clients of one core: their connections, and which of these the end of the turn must see to.
//!
//! Nothing here touches the ring or the data: `execute` takes commands to the engine, `limits` looks after what clients
//! may take, and the core's loop (`server`) moves bytes.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::connection::{Closing, Connection, Hold, ReplyMode, Session};
use super::counts::ClientCounts;
use super::service::Service;
use crate::commands::Spec;
use crate::config::Settings;
use crate::encoding::resp::{Reply, Requests};
use crate::engine::{EngineCounts, WaitId};
use crate::ids::{CoreId, Lsn, Slot};
use crate::runtime::ring::Token;

/// The clients that are connected to one core.
pub struct Clients {
    pub(super) core: CoreId,
    pub(super) service: Arc<Service>,
    pub(super) settings: Arc<Settings>,
    pub(super) connections: Slab<Connection>,
    pub(super) lists: Lists,
    pub(super) counts: ClientCounts,
    /// The monotonic time at which this turn began.
    pub(super) now: Instant,
    /// Kept for their memory: requests that are parsed, what they name, a reply under construction.
    pub(super) requests: Requests,
    pub(super) resolved: Vec<Resolved>,
    pub(super) spare: Vec<u8>,
    /// At a shutdown: the last client is gone.
    drained: bool,
}

/// A request's command, and the slot of its key if it has just one.
#[derive(Clone, Copy)]
pub(super) struct Resolved {
    /// `None`: it names no command, or not with as many arguments as it takes.
    pub spec: Option<&'static Spec>,
    pub slot: Slot,
}

/// Connections that the end of the turn must see to.
#[derive(Default)]
pub(super) struct Lists {
    /// Connections with something to send, or that are to be closed.
    pub dirty: Vec<Token>,
    /// Connections that have got replies which were under way.
    pub answered: Vec<Token>,
    /// Connections whose replies wait for edits to become safe.
    pub gated: Vec<Token>,
    /// Connections whose requests wait for room in the log or in the queue to another core.
    pub stalled: Vec<Token>,
    /// Connections whose attempts to authenticate wait, in the order of the attempts.
    pub waiting: VecDeque<Token>,
    /// Connections whose receive is to be cancelled, since they have sent more than can be executed now.
    pub pause: Vec<Token>,
    /// Connections whose receive is to be armed again.
    pub resume: Vec<Token>,
}

impl Clients {
    /// Creates the client table of `core`, without connections.
    pub fn new(core: CoreId, service: Arc<Service>) -> Self {
        Self {
            core,
            settings: service.cores.settings.get(),
            connections: Slab::new(),
            lists: Lists::default(),
            counts: ClientCounts::default(),
            now: Instant::now(),
            requests: Requests::default(),
            resolved: Vec::new(),
            spare: Vec::new(),
            drained: false,
            service,
        }
    }

    /// Takes over settings that have changed; without a password, every client is authenticated from now on.
    pub(super) fn take_settings(&mut self) {
        self.settings = self.service.cores.settings.get();
        if self.settings.password.is_none() {
            self.connections.iter_mut().for_each(|(_, c)| c.session.admit());
        }
    }

    /// A client has connected. Returns its token, unless it is not served.
    pub(super) fn connect(&mut self, socket: OwnedFd) -> Option<Token> {
        let client = self.service.admission.next_client();
        let mut connection = Connection::new(socket, client, Session::new(self.now));
        match self.service.admission.admit(connection.peer, &self.settings) {
            Ok(reserved) => connection.session.reserved = reserved,
            Err(refusal) => {
                // The socket is new and its buffer empty: a short line always fits.
                let _ = rustix::net::send(connection.socket(), refusal.as_bytes(), rustix::net::SendFlags::DONTWAIT);
                self.counts.rejected += 1;
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
        self.counts.accepted += 1;
        Some(self.connections.insert(connection) as Token)
    }

    /// A connection is to be closed at once.
    pub(super) fn break_off(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize) {
            if connection.closing != Closing::Now && connection.replies.has_pending() {
                self.service.cores.note_gone(self.core, connection.client);
            }
            connection.close(Closing::Now);
            self.touch(token);
        }
    }

    /// Drops a connection. Returns the wait that its client was in, and the client's number.
    pub(super) fn disconnect(&mut self, token: Token) -> Option<(WaitId, u64)> {
        let connection = self.connections.try_remove(token as usize)?;
        self.service.admission.leave();
        match connection.hold {
            Hold::Blocked(_, Some(wait)) => Some((wait, connection.client)),
            _ => None,
        }
    }

    /// Notes that a connection has something to send, or is to be looked at at the end of the turn.
    #[inline]
    pub(super) fn touch(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize)
            && !connection.dirty
        {
            connection.dirty = true;
            self.lists.dirty.push(token);
        }
    }

    /// Moves replies that are ready to the output, this core's edits being safe up to `safe`.
    pub(super) fn release(&mut self, token: Token, safe: Lsn) {
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        connection.replies.release(safe, &mut connection.output);
        if connection.replies.is_gated() && !connection.gated {
            connection.gated = true;
            self.lists.gated.push(token);
        }
        self.touch(token);
    }

    /// Releases replies that waited for edits to become safe. If the log has failed, breaks with clients that wait for
    /// more.
    pub(super) fn release_gated(&mut self, safe: Lsn, has_failed: bool) {
        for token in std::mem::take(&mut self.lists.gated) {
            if let Some(connection) = self.connections.get_mut(token as usize) {
                connection.gated = false;
                self.release(token, safe);
                // What such a client waits for will never be safe, and what became of it nobody knows: that is what a
                // lost connection tells it.
                if has_failed && self.connections.get(token as usize).is_some_and(|c| c.gated) {
                    self.break_off(token);
                }
            }
        }
    }

    /// Writes a reply of the network's own to a connection, in order.
    pub(super) fn reply(&mut self, token: Token, write: impl FnOnce(&mut Reply<'_>)) {
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        write(&mut Reply::new(&mut bytes, connection.session.protocol));
        self.put_reply(token, &bytes);
        self.spare = bytes;
    }

    /// Puts a reply of the network's own behind the others.
    pub(super) fn put_reply(&mut self, token: Token, bytes: &[u8]) {
        self.counts.errors.note_reply(bytes);
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.replies.is_empty() {
            connection.output.extend_from_slice(bytes);
        } else {
            connection.replies.push(bytes, Lsn(0));
        }
        self.touch(token);
        self.bound_output(token);
    }

    /// As [`Self::reply`], unless the client does not want it.
    pub(super) fn reply_unless_muted(&mut self, token: Token, write: impl FnOnce(&mut Reply<'_>)) {
        match self.connections.get_mut(token as usize) {
            Some(connection) if connection.session.replies == ReplyMode::On => self.reply(token, write),
            Some(connection) => connection.session.unmute_next(),
            None => {}
        }
    }

    /// Publishes this core's counts.
    pub(super) fn publish(&mut self, engine: &EngineCounts) {
        let counts = &mut self.counts;
        counts.sample_rates(self.now);
        counts.connections = self.connections.len() as u64;
        counts.blocked = self.connections.iter().filter(|(_, c)| matches!(c.hold, Hold::Blocked(..))).count() as u64;
        counts.output_bytes = self.connections.iter().map(|(_, c)| c.output_bytes() as u64).sum();
        counts.input_bytes = self.connections.iter().map(|(_, c)| c.input.len() as u64).sum();
        counts.client_bytes = self.connections.iter().map(|(_, c)| c.memory() as u64).sum();
        self.service.publish(self.core, counts, engine);
    }

    /// The server ends: no more requests are taken, and clients go when they have their replies.
    pub(super) fn let_all_go(&mut self) {
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token as Token).collect();
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(token as usize) {
                connection.close(Closing::AfterReplies);
            }
            self.touch(token);
        }
    }

    /// Whether the clients of all cores are gone.
    pub(super) fn have_drained(&mut self) -> bool {
        if !self.drained && self.connections.is_empty() {
            self.drained = true;
            self.service.note_drained();
        }
        self.service.has_drained()
    }
}
