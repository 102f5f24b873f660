//! Wakes a task on the same core: two cells, no locks, never a system call.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A bell that one task waits for and others ring. It stays rung until the task has taken notice.
#[derive(Default)]
pub struct LocalBell {
    rung: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl LocalBell {
    /// Rings the bell: wakes the waiting task now, or lets its next wait return at once.
    #[inline]
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(task) = self.waiting.take() {
            task.wake();
        }
    }

    /// Whether the bell is rung; leaves it so.
    pub fn is_rung(&self) -> bool {
        self.rung.get()
    }

    /// Silences the bell. Returns whether it was rung.
    pub fn take(&self) -> bool {
        self.rung.take()
    }

    /// Registers the task of `context` to be woken by the next ring.
    pub fn listen(&self, context: &Context<'_>) {
        self.waiting.set(Some(context.waker().clone()));
    }

    /// Waits until the bell is rung.
    pub async fn wait(&self) {
        self.wait_or(std::future::pending()).await;
    }

    /// Waits until the bell is rung (`true`) or `timer` is over (`false`).
    pub(super) async fn wait_or(&self, timer: impl Future<Output = ()>) -> bool {
        let mut timer = pin!(timer);
        poll_fn(|context| {
            if self.take() {
                return Poll::Ready(true);
            }
            self.listen(context);
            timer.as_mut().poll(context).map(|()| false)
        })
        .await
    }
}
