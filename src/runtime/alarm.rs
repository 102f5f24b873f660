//! Connects a core's loop with its executor: a sleep that ends on any event the loop must handle, and a cheap yield.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use glommio::io::BufferedFile;
use glommio::timer::sleep;

/// An eventfd, such as a bell's, that a task of the executor can wait for.
pub struct Alarm {
    file: Rc<BufferedFile>,
    /// A pending read of the eventfd. It is kept across sleeps, since starting and cancelling one costs system calls.
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>>>>;

impl Alarm {
    /// Makes an alarm for `event`.
    ///
    /// # Errors
    /// If no file descriptor is available.
    pub fn new(event: BorrowedFd<'_>) -> io::Result<Self> {
        let descriptor = event.try_clone_to_owned()?.into_raw_fd();
        // SAFETY: the descriptor was made for this and is owned by nothing else.
        let file = Rc::new(unsafe { BufferedFile::from_raw_fd(descriptor) });
        Ok(Self { file, waiting: None })
    }

    /// Sleeps in the executor until the event is signalled, `others` is ready, or the time `due` is reached. If one of
    /// these already holds, it returns at once, so that nothing is missed between a check and the sleep after it.
    ///
    /// # Errors
    /// If the event cannot be waited for.
    pub async fn sleep(
        &mut self,
        mut others: impl FnMut(&mut Context<'_>) -> Poll<()>,
        due: Instant,
    ) -> io::Result<()> {
        let mut timer = pin!(sleep(due.saturating_duration_since(Instant::now())));
        poll_fn(|context| {
            if others(context).is_ready() || timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll(context)
        })
        .await
    }

    /// Ready when the event has been signalled since this was last ready.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// Ends a pending wait by signalling the event itself.
    ///
    /// # Errors
    /// If the wait fails.
    pub async fn disarm(&mut self) -> io::Result<()> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        // SAFETY: the file owns the descriptor and stays open meanwhile.
        let event = unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) };
        rustix::io::write(event, &1u64.to_ne_bytes())?;
        waiting.await
    }
}

/// Lets the ready tasks run. Unlike the executor's own yield it neither accounts for time nor switches queues: that
/// serves tasks of different weights, and a core's tasks all have the same.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::encoding::edit::{Edit, EncodedEdits};
    use crate::ids::{CoreId, PartitionId, Partitions, StreamId};
    use crate::runtime::bell::Bell;
    use crate::storage::{DataDir, LocalBell, Log, LogOptions};

    /// Longer than any test runs.
    const NEVER: Duration = Duration::from_secs(3600);

    async fn open(dir: &tempfile::TempDir) -> (DataDir, Log) {
        let (data, _) = DataDir::open(dir.path(), Partitions::new(1).unwrap()).unwrap();
        let epoch = data.begin_epoch(1, 64 << 10).unwrap();
        let options = LogOptions {
            flush_interval: Duration::from_millis(20),
            ..LogOptions::small(&data, StreamId::new(epoch, CoreId(0)))
        };
        (data, Log::open(options, Arc::default()).await.unwrap())
    }

    fn append(log: &Log) {
        let mut edits = EncodedEdits::default();
        edits.push(
            PartitionId(0),
            &Edit::Barrier { partition: PartitionId(0), checkpoint: false, digests: (&[][..]).into() },
        );
        log.append(&edits);
    }

    /// Polls the log as a core's loop does through its engine.
    fn poll_log(bell: &LocalBell, log: &Log, context: &mut Context<'_>) -> Poll<()> {
        if bell.is_rung() || log.poll_committing(context).is_ready() {
            return Poll::Ready(());
        }
        bell.listen(context);
        Poll::Pending
    }

    /// Each event that a loop must handle ends its sleep, whether it happens before or during the sleep.
    #[test]
    fn all_that_a_loop_must_look_at_ends_its_sleep() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound);
        let slept = async || {
            let dir = tempfile::tempdir().unwrap();
            let (_data, log) = open(&dir).await;
            let (outside, inside) = (Arc::new(Bell::new().unwrap()), Rc::new(LocalBell::default()));
            let mut alarm = Alarm::new(outside.sleep_event()).unwrap();
            let far = Instant::now() + NEVER;
            for early in [true, false] {
                outside.about_to_sleep();
                let ringer = std::thread::spawn({
                    let outside = Arc::clone(&outside);
                    move || {
                        std::thread::sleep(Duration::from_millis(if early { 0 } else { 20 }));
                        outside.ring();
                    }
                });
                alarm.sleep(|context| poll_log(&inside, &log, context), far).await.unwrap();
                ringer.join().unwrap();

                let progress = Rc::clone(&inside);
                let ring = async move {
                    sleep(Duration::from_millis(if early { 0 } else { 20 })).await;
                    progress.ring();
                };
                let ringing = glommio::spawn_local(ring);
                if early {
                    sleep(Duration::from_millis(20)).await;
                }
                alarm.sleep(|context| poll_log(&inside, &log, context), far).await.unwrap();
                ringing.await;
                assert!(inside.take());

                let due = Instant::now() + Duration::from_millis(if early { 0 } else { 20 });
                alarm.sleep(|context| poll_log(&inside, &log, context), due).await.unwrap();
                assert!(due <= Instant::now());
            }
            for early in [true, false] {
                // The flush interval ends while the loop sleeps, or has already ended when it begins to.
                append(&log);
                if early {
                    sleep(Duration::from_millis(100)).await;
                }
                alarm.sleep(|context| poll_log(&inside, &log, context), far).await.unwrap();
                assert!(log.is_committing());
                while log.is_committing() {
                    log.poll();
                    sleep(Duration::from_micros(100)).await;
                }
            }
            alarm.disarm().await.unwrap();
            log.close().await.unwrap();
        };
        executor.spawn(move || async move { slept().await }).unwrap().join().unwrap();
    }
}
