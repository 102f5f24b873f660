//! Wakes a task of the same core: two cells, no locks, and a system call never.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};

/// A bell that one task waits for and others ring. It stays rung until that task has noticed.
#[derive(Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Bell {
    /// Wakes the task, now or when it next waits.
    #[inline]
    pub(super) fn ring(&self) {
        self.rung.set(true);
        if let Some(task) = self.waiting.take() {
            task.wake();
        }
    }

    /// Waits until the bell is rung.
    pub(super) async fn wait(&self) {
        self.wait_or(std::future::pending()).await;
    }

    /// Waits until the bell is rung (`true`) or `timer` is over (`false`).
    pub(super) async fn wait_or(&self, timer: impl Future<Output = ()>) -> bool {
        let mut timer = pin!(timer);
        poll_fn(|context| {
            if self.rung.take() {
                return Poll::Ready(true);
            }
            self.waiting.set(Some(context.waker().clone()));
            timer.as_mut().poll(context).map(|()| false)
        })
        .await
    }
}
