//! A core's task and its executor: what ends a sleep from outside, and the cheapest yield.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use glommio::io::BufferedFile;

/// An eventfd, such as a bell's, as a task of the executor can wait for it.
pub struct Alarm {
    file: Rc<BufferedFile>,
    /// A wait that has begun and not ended: it goes on with the next sleep, since beginning and ending one costs system calls.
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>>>>;

impl Alarm {
    /// Waits for `event`.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new(event: BorrowedFd<'_>) -> io::Result<Self> {
        let descriptor = event.try_clone_to_owned()?.into_raw_fd();
        // SAFETY: the descriptor was made for this and is owned by nothing else.
        let file = Rc::new(unsafe { BufferedFile::from_raw_fd(descriptor) });
        Ok(Self { file, waiting: None })
    }

    /// Ready when the event was signalled since it last was ready.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let file = &self.file;
        let waiting = self.waiting.get_or_insert_with(|| {
            let file = Rc::clone(file);
            Box::pin(async move {
                file.read_at(0, 8).await.map_err(|error| io::Error::other(error.to_string()))?;
                Ok(())
            })
        });
        let outcome = waiting.as_mut().poll(context);
        if outcome.is_ready() {
            self.waiting = None;
        }
        outcome
    }

    /// Ends a wait that was begun, by a signal.
    ///
    /// # Errors
    /// If the wait ends with one.
    pub async fn disarm(&mut self) -> io::Result<()> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        // SAFETY: the file owns the descriptor and stays open meanwhile.
        let event = unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) };
        rustix::io::write(event, &1u64.to_ne_bytes())?;
        waiting.await
    }
}

/// Lets the tasks that are ready run. Unlike the executor's own way it neither accounts for time nor changes queues: those are for
/// tasks of different weights, and a core's tasks are all of one.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
