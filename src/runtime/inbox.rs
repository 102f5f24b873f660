//! Messages to a core from threads that are not cores: infrequent, unbounded, in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::bell::Bell;

/// Inbox of one core, shared by senders and the core. Cheap to clone.
#[derive(Debug)]
pub struct Inbox<M> {
    shared: Arc<Shared<M>>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Shared<M> {
    messages: Mutex<Vec<M>>,
    /// Whether the queue may contain messages, so that the core takes the lock only then.
    filled: AtomicBool,
}

impl<M> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), bell: Arc::clone(&self.bell) }
    }
}

impl<M> Inbox<M> {
    /// Makes an empty inbox for the core that `bell` wakes.
    pub fn new(bell: Arc<Bell>) -> Self {
        let shared = Shared { messages: Mutex::new(Vec::new()), filled: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), bell }
    }

    /// Queues a message and wakes the core.
    pub fn send(&self, message: M) {
        self.shared.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.shared.filled.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Wakes the core without a message, so that it re-reads shared state that has changed.
    pub fn nudge(&self) {
        self.bell.ring();
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        !self.shared.filled.load(Ordering::Acquire)
    }

    /// Takes all messages. Called by the core.
    pub fn take(&self) -> Vec<M> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut messages = self.shared.messages.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.filled.store(false, Ordering::Release);
        std::mem::take(&mut *messages)
    }
}
