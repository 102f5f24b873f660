//! Wakes a task of the same core: two cells, no locks, and a system call never.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A bell that one task waits for and others ring. It stays rung until that task has noticed.
#[derive(Default)]
pub struct LocalBell {
    rung: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl LocalBell {
    /// Wakes the task, now or when it next waits.
    #[inline]
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(task) = self.waiting.take() {
            task.wake();
        }
    }

    /// Whether it is rung.
    pub fn is_rung(&self) -> bool {
        self.rung.get()
    }

    /// Whether it was rung; it is quiet then.
    pub fn take(&self) -> bool {
        self.rung.take()
    }

    /// Has the task woken by the next ring.
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
