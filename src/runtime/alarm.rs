//! A core's loop and its executor: a sleep that ends with whatever the loop must look at, and the cheapest yield.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use glommio::io::BufferedFile;
use glommio::timer::sleep;

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

    /// Sleeps in the executor until the event is signalled, `others` are ready, or it is `due`. Whatever of these is so already ends the
    /// sleep at once, so that none is missed between a look and the sleep after it.
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

    /// Ready when the event was signalled since it last was ready.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::encoding::edit::{Edit, EncodedEdits};
    use crate::ids::{CoreId, PartitionId, Partitions, StreamId};
    use crate::runtime::bell::Bell;
    use crate::storage::probe::Probed;
    use crate::storage::{Commit, DataDir, LocalBell, Log, LogOptions};

    /// Longer than any test runs.
    const NEVER: Duration = Duration::from_secs(3600);

    async fn open(dir: &tempfile::TempDir) -> (DataDir, Log) {
        let (data, _) = DataDir::open(dir.path(), Partitions::new(1).unwrap()).unwrap();
        let epoch = data.begin_epoch(1, 64 << 10).unwrap();
        let options = LogOptions {
            dir: dir.path().to_owned(),
            id: data.id(),
            stream: StreamId::new(epoch, CoreId(0)),
            segment_bytes: 64 << 10,
            buffer_bytes: 16 << 10,
            buffers: 2,
            flush_interval: Duration::from_millis(20),
            sync: Probed::default(),
            commit: Commit::Async,
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

    /// What a core's loop polls of its engine.
    fn poll_log(bell: &LocalBell, log: &Log, context: &mut Context<'_>) -> Poll<()> {
        if bell.is_rung() || log.poll_committing(context).is_ready() {
            return Poll::Ready(());
        }
        bell.listen(context);
        Poll::Pending
    }

    /// Whatever a loop must look at ends its sleep, whether it comes before the sleep or in it; nothing else is there to end it.
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
                // Its flush interval is over while the loop sleeps, or already when it begins to.
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
