//! How many clients there are on all cores, and what they take together.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::config::Settings;
use crate::ids::CoreId;

/// Counts of the clients of all cores, shared by these.
#[derive(Debug)]
pub struct Admission {
    /// Without a password, only clients of this machine are let in.
    is_protected: bool,
    clients: AtomicU32,
    next_client: AtomicU64,
    /// By core: bytes that its clients take, and those of the one that takes most.
    memory: Vec<(AtomicU64, AtomicU64)>,
}

impl Admission {
    /// Creates the counts of a server with `cores` cores that has no clients yet.
    pub fn new(cores: u16, is_protected: bool) -> Self {
        Self {
            is_protected,
            clients: AtomicU32::new(0),
            next_client: AtomicU64::new(1),
            memory: (0..cores).map(|_| Default::default()).collect(),
        }
    }

    /// Draws the number of a new client; no number is drawn twice.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// Number of clients that are connected now.
    pub fn clients(&self) -> u32 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Counts a new client from `peer`. Returns whether its place is one kept for administrators.
    ///
    /// # Errors
    /// Why it is not served, as a whole error reply.
    pub fn admit(&self, peer: Option<SocketAddr>, settings: &Settings) -> Result<bool, &'static str> {
        let is_trusted = peer.is_some_and(|p| p.ip().to_canonical().is_loopback());
        if self.is_protected && settings.password.is_none() && !is_trusted {
            return Err("-DENIED Rollbook runs in protected mode: without a password it serves this machine only. \
                 Set server.password, or server.protected_mode = false if the network is trusted.\r\n");
        }
        let before = self.clients.fetch_add(1, Ordering::Relaxed);
        let is_reserved = before >= settings.max_clients;
        if is_reserved && !(is_trusted && before - settings.max_clients < settings.admin_clients) {
            self.leave();
            return Err("-ERR max number of clients reached\r\n");
        }
        Ok(is_reserved)
    }

    /// A client that was admitted is gone.
    pub fn leave(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// The clients of `core` take `total` bytes, of which one takes `largest`.
    pub fn note_memory(&self, core: CoreId, total: u64, largest: u64) {
        let (own_total, own_largest) = &self.memory[usize::from(core.0)];
        own_total.store(total, Ordering::Relaxed);
        own_largest.store(largest, Ordering::Relaxed);
    }

    /// The clients of `core` take `total` bytes by now; the largest of them is not looked for again.
    pub fn note_total(&self, core: CoreId, total: u64) {
        self.memory[usize::from(core.0)].0.store(total, Ordering::Relaxed);
    }

    /// Bytes that the clients of all cores take.
    pub fn memory(&self) -> u64 {
        self.memory.iter().map(|(total, _)| total.load(Ordering::Relaxed)).sum()
    }

    /// Bytes of the client that takes most on any core but `core`.
    pub fn largest_elsewhere(&self, core: CoreId) -> u64 {
        let others = self.memory.iter().enumerate().filter(|(other, _)| *other != usize::from(core.0));
        others.map(|(_, (_, largest))| largest.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}
