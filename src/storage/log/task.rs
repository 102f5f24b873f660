//! The task that writes a log: brings what the writer has prepared to disk, one commit at a time.
//!
//! The task sleeps while nothing is unflushed. The first append after that rings a bell; a timer runs only until the
//! flush interval is over.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::driver::Driver;
use super::writer::{Pending, Placed};
use crate::storage::error::Context;
use crate::storage::{StorageError, path};

/// A log becomes idle when nothing was appended for this long after a commit. It then writes a mark, which proves that
/// the commit was synced and says how far the stream is durable.
const MARK_AFTER: Duration = Duration::from_millis(20);
/// A commit that takes at least this long is reported as a warning.
const SLOW: Duration = Duration::from_secs(1);

enum Work {
    Commit,
    Mark,
    Seal,
}

impl<D: Disk> Driver<D> {
    /// Writes until the log is closed or poisoned.
    pub(super) async fn run(self: Rc<Self>) {
        if let Err(why) = self.serve().await {
            self.poison(&why);
        }
        self.discard_next().await;
        self.use_file(None).await;
        self.ended.set(true);
        self.marks.set_ended();
        self.progress();
    }

    async fn serve(self: &Rc<Self>) -> Result<(), StorageError> {
        while self.poison.get().is_none() {
            match self.next_work().await {
                Work::Commit => self.commit().await?,
                Work::Mark => self.mark(false).await?,
                Work::Seal => return self.mark(true).await,
            }
        }
        Ok(())
    }

    /// Sleeps until there is something to write; says what.
    async fn next_work(&self) -> Work {
        loop {
            let (waiting, full, wants_mark) = {
                let writer = self.writer.borrow();
                (writer.has_waiting(), writer.has_full(), writer.wants_mark())
            };
            let ending = self.closing.get() || self.poison.get().is_some();
            if waiting {
                let due = self.since.get() + self.options.flush_interval;
                let left = due.saturating_duration_since(self.disk.now());
                let now = full || ending || self.eager.get() || self.urgent.get() || left.is_zero();
                if now || !self.bell.wait_or(self.disk.sleep(left)).await {
                    return Work::Commit;
                }
                continue;
            }
            self.urgent.set(false);
            if ending {
                return Work::Seal;
            }
            if !wants_mark {
                self.bell.wait().await;
            } else if !self.bell.wait_or(self.disk.sleep(MARK_AFTER)).await {
                return Work::Mark;
            }
            self.since.set(self.disk.now());
        }
    }

    /// Writes all edits that wait, as far as they fit into the segment, and syncs them. Switches segments first if
    /// needed.
    async fn commit(self: &Rc<Self>) -> Result<(), StorageError> {
        let needed = self.writer.borrow().needs_segment();
        if let Some(needed) = needed {
            self.roll(needed).await?;
        }
        if self.poison.get().is_some() {
            return Ok(());
        }
        let mut frames = Vec::new();
        self.since.set(self.disk.now());
        self.urgent.set(false);
        let pending = self.writer.borrow_mut().take(&mut frames);
        self.write(frames, pending).await?;
        self.prepare_in_time();
        Ok(())
    }

    /// Writes a mark or the seal.
    async fn mark(&self, seal: bool) -> Result<(), StorageError> {
        if self.poison.get().is_some() {
            return Ok(());
        }
        let mut frames = Vec::new();
        let pending = self.writer.borrow_mut().take_mark(seal, &mut frames);
        self.write(frames, pending).await
    }

    async fn write(&self, frames: Vec<Placed<D::Buffer>>, pending: Pending) -> Result<(), StorageError> {
        let started = self.disk.now();
        let Some(file) = self.file.borrow().clone() else { return Ok(()) };
        let segment = || path::segment(&self.options.dir, self.options.stream, pending.end.segment);
        let (count, bytes) = (frames.len() as u64, frames.iter().map(|f| f.bytes as u64).sum());
        self.marks.set_written(pending.end.lsn);
        self.disk.commit(&file, frames).await.or_else(|e| Err(e).context(&segment(), "cannot write and sync"))?;
        self.writer.borrow_mut().complete(pending);
        self.marks.set_synced(pending.end);
        self.settle();
        self.note(count, bytes, started);
        self.progress();
        Ok(())
    }

    fn note(&self, frames: u64, bytes: u64, started: Instant) {
        let now = self.disk.now();
        let took = now - started;
        if took >= SLOW {
            tracing::warn!(stream = %self.options.stream, ms = took.as_millis(), bytes, "slow disk");
        }
        self.latency.borrow_mut().record(took, now);
        let mut stats = self.stats.borrow_mut();
        stats.commits += 1;
        stats.frames += frames;
        stats.bytes += bytes;
    }
}
