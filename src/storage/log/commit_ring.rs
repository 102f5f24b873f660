//! Commits on an io_uring of their own: the writes of a commit and the sync after them reach the kernel in one system
//! call.
//!
//! The core's loop checks for completions on every turn ([`CommitRing::poll`]) and is signalled while it rests; a
//! commit that begins while the loop waits for something else wakes it ([`CommitRing::poll_begun`]). On the executor's
//! own rings, a commit would be submitted and completed only when the core has nothing else to do, once for its writes
//! and once for its sync.
//!
//! Invariant: the buffers and the file that an operation refers to are kept alive here until its completion was seen.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use glommio::io::DmaBuffer;
use io_uring::{IoUring, opcode, squeue, types};

use super::direct::DirectFile;
use super::writer::Placed;

/// Capacity of the ring in operations: a commit has one for the frame of each buffer, and a sync.
const ENTRIES: u32 = 64;
/// Identifies the sync among the operations of a commit; writes are identified by the index of their frame.
const SYNC: u64 = u64::MAX;

/// The ring, and the commit under way, if any.
pub(super) struct CommitRing {
    ring: RefCell<IoUring>,
    flight: RefCell<Option<Flight>>,
    /// Task to wake when a commit begins.
    watcher: Cell<Option<Waker>>,
}

/// A commit under way.
struct Flight {
    frames: Vec<Placed<DmaBuffer>>,
    /// Keeps the file open as long as operations refer to it.
    _file: Rc<DirectFile>,
    /// Number of operations that are not complete.
    pending: usize,
    outcome: io::Result<()>,
    waiting: Option<Waker>,
}

impl CommitRing {
    /// Creates a ring without a commit.
    ///
    /// # Errors
    /// If the kernel refuses the ring.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().setup_coop_taskrun().build(ENTRIES)?;
        Ok(Self { ring: RefCell::new(ring), flight: RefCell::default(), watcher: Cell::default() })
    }

    /// Makes completions signal the eventfd `event` while [`Self::set_alert`] is on; it is off at first.
    ///
    /// # Errors
    /// If the kernel refuses to register the eventfd.
    pub(super) fn signal(&self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.borrow().submitter().register_eventfd(event.as_raw_fd())?;
        self.set_alert(false);
        Ok(())
    }

    /// Turns the signalling of completions on or off.
    pub(super) fn set_alert(&self, on: bool) {
        let mut ring = self.ring.borrow_mut();
        let completion = ring.completion();
        if on { completion.enable_eventfd() } else { completion.disable_eventfd() }
    }

    /// Whether a commit is under way.
    pub(super) fn is_committing(&self) -> bool {
        self.flight.borrow().is_some()
    }

    /// Ready as soon as a commit is under way; [`Self::poll`] must then be called until the commit has ended.
    pub(super) fn poll_begun(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_committing() {
            return Poll::Ready(());
        }
        self.watcher.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Whether there are completions that [`Self::poll`] has not seen.
    pub(super) fn has_completions(&self) -> bool {
        !self.ring.borrow_mut().completion().is_empty()
    }

    /// Processes completions. Returns whether the commit under way has ended. Costs no system call.
    pub(super) fn poll(&self) -> bool {
        let mut flight = self.flight.borrow_mut();
        let Some(flight) = flight.as_mut() else { return false };
        for completion in self.ring.borrow_mut().completion() {
            flight.complete(completion.user_data(), completion.result());
        }
        let ended = flight.pending == 0;
        if ended && let Some(task) = flight.waiting.take() {
            task.wake();
        }
        ended
    }

    /// Writes all frames, and syncs unless the file's writes are durable by themselves. Only one commit may be under
    /// way.
    ///
    /// # Errors
    /// The first error of any operation, once all operations have ended; or an error of submitting them, after which
    /// some may still be under way.
    pub(super) async fn commit(&self, file: &Rc<DirectFile>, frames: Vec<Placed<DmaBuffer>>) -> io::Result<()> {
        self.submit(file, frames)?;
        poll_fn(|context| {
            self.poll();
            let mut slot = self.flight.borrow_mut();
            match slot.as_mut() {
                Some(flight) if flight.pending > 0 => {
                    flight.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(slot.take().map_or(Ok(()), |flight| flight.outcome)),
            }
        })
        .await
    }

    fn submit(&self, file: &Rc<DirectFile>, frames: Vec<Placed<DmaBuffer>>) -> io::Result<()> {
        debug_assert!(self.flight.borrow().is_none(), "one commit at a time");
        let descriptor = types::Fd(file.as_raw_fd());
        let mut slot = self.flight.borrow_mut();
        let flight = slot.insert(Flight { frames, _file: Rc::clone(file), pending: 0, outcome: Ok(()), waiting: None });
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
        for (number, frame) in (0..).zip(&flight.frames) {
            let length = u32::try_from(frame.bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
            let write = opcode::Write::new(descriptor, frame.buffer.as_ptr(), length).offset(frame.offset);
            self.push(&write.build().user_data(number))?;
            flight.pending += 1;
        }
        if !file.has_durable_writes() {
            let sync = opcode::Fsync::new(descriptor).flags(types::FsyncFlags::DATASYNC);
            // `IO_DRAIN`: the sync begins only when all writes before it have ended.
            self.push(&sync.build().flags(squeue::Flags::IO_DRAIN).user_data(SYNC))?;
            flight.pending += 1;
        }
        self.enter()
    }

    fn push(&self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the operations are built in this file. The flight holds their buffers and file until all its
        // completions were seen, or for ever if the ring is dropped before that (see `drop`).
        while unsafe { self.ring.borrow_mut().submission().push(entry) }.is_err() {
            self.enter()?;
        }
        Ok(())
    }

    /// Submits the queued operations. After an error some may still be queued; the log is then poisoned, and nothing is
    /// submitted any more.
    fn enter(&self) -> io::Result<()> {
        loop {
            match self.ring.borrow().submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Flight {
    fn complete(&mut self, operation: u64, result: i32) {
        self.pending -= 1;
        let expected = if operation == SYNC { 0 } else { self.frames[operation as usize].bytes };
        let outcome = match usize::try_from(result) {
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
            Ok(done) if done == expected => Ok(()),
            // Why the kernel stopped early is unknown. The write is not tried again, because some of it may have been
            // lost.
            Ok(done) => {
                Err(io::Error::new(io::ErrorKind::WriteZero, format!("{done} of {expected} bytes were written")))
            }
        };
        if self.outcome.is_ok() {
            self.outcome = outcome;
        }
    }
}

impl Drop for CommitRing {
    fn drop(&mut self) {
        // The kernel may still be reading from the flight's buffers, so they must never be freed.
        if let Some(flight) = self.flight.take().filter(|flight| flight.pending > 0) {
            std::mem::forget(flight);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the real ring with real files.

    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::super::direct::DirectDisk;
    use super::super::disk::Disk;
    use super::super::live_tests::on_core;
    use super::super::writer::Buffer;
    use super::*;
    use crate::encoding::frame::BLOCK;
    use crate::storage::probe::SyncMethod;

    /// Opens the file at `path`, with a ring that a task polls.
    async fn open(path: &Path, method: SyncMethod) -> (Rc<CommitRing>, Rc<DirectFile>) {
        let ring = Rc::new(CommitRing::new().unwrap());
        let polled = Rc::clone(&ring);
        glommio::spawn_local(async move {
            loop {
                polled.poll();
                glommio::timer::sleep(Duration::from_micros(100)).await;
            }
        })
        .detach();
        let file = DirectDisk::new(method, Rc::clone(&ring)).open(path).await.unwrap();
        (ring, Rc::new(file))
    }

    fn frame(fill: u8, blocks: usize, offset: u64) -> Placed<DmaBuffer> {
        let bytes = blocks * BLOCK;
        let mut buffer = <DmaBuffer as Buffer>::new(bytes);
        buffer.bytes().fill(fill);
        Placed { buffer, bytes, offset }
    }

    /// Creates a file of six blocks of zeros.
    fn file(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("segment");
        std::fs::write(&path, [0; 6 * BLOCK]).unwrap();
        path
    }

    #[test]
    fn all_frames_are_where_they_belong_when_the_commit_ends() {
        for method in [SyncMethod::DsyncWrite, SyncMethod::WriteThenFdatasync] {
            let dir = tempfile::tempdir().unwrap();
            let path = file(dir.path());
            let at = path.clone();
            on_core(async move || {
                let (ring, file) = open(&at, method).await;
                let block = BLOCK as u64;
                ring.commit(&file, vec![frame(1, 1, block), frame(2, 3, 2 * block)]).await.unwrap();
                ring.commit(&file, vec![frame(3, 1, 5 * block)]).await.unwrap();
                assert!(!ring.is_committing());
            });
            let bytes = std::fs::read(path).unwrap();
            let expected = [0, 1, 2, 2, 2, 3].map(|fill| [fill; BLOCK]).concat();
            assert!(bytes == expected, "{method:?}");
        }
    }

    #[test]
    fn one_operation_that_fails_fails_its_commit_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        on_core(async move || {
            let (ring, file) = open(&path, SyncMethod::WriteThenFdatasync).await;
            // Direct I/O refuses an offset that is not aligned.
            let frames = vec![frame(1, 1, 0), frame(2, 1, BLOCK as u64 + 1), frame(3, 1, 3 * BLOCK as u64)];
            assert_eq!(ring.commit(&file, frames).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            ring.commit(&file, vec![frame(4, 1, 0)]).await.unwrap();
        });
    }

    /// Completions do not tell whether a write is durable, so this checks what was asked of the kernel.
    #[test]
    fn a_commit_ends_with_a_sync_unless_the_writes_of_its_file_are_durable() {
        for (method, syncs) in [(SyncMethod::DsyncWrite, 0), (SyncMethod::WriteThenFdatasync, 1)] {
            let dir = tempfile::tempdir().unwrap();
            let path = file(dir.path());
            on_core(async move || {
                let ring = Rc::new(CommitRing::new().unwrap());
                let file = Rc::new(DirectDisk::new(method, Rc::clone(&ring)).open(&path).await.unwrap());
                // SAFETY: the descriptor stays open as long as `file` lives, which is longer than this borrow.
                let descriptor = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
                let flags = rustix::fs::fcntl_getfl(descriptor).unwrap().bits();
                assert_eq!(flags & libc::O_DSYNC as u32 != 0, syncs == 0, "{method:?}");
                ring.submit(&file, vec![frame(1, 1, 0), frame(2, 1, BLOCK as u64)]).unwrap();
                assert_eq!(ring.flight.borrow().as_ref().map(|flight| flight.pending), Some(2 + syncs), "{method:?}");
                while !ring.poll() {
                    glommio::timer::sleep(Duration::from_micros(100)).await;
                }
                assert!(ring.flight.take().unwrap().outcome.is_ok());
            });
        }
    }

    #[test]
    fn what_the_kernel_may_still_write_from_outlives_the_ring() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        on_core(async move || {
            let (_ring, file) = open(&path, SyncMethod::WriteThenFdatasync).await;
            for pending in [0, 1] {
                let ring = CommitRing::new().unwrap();
                let (_file, outcome) = (Rc::clone(&file), Ok(()));
                ring.flight.replace(Some(Flight { frames: Vec::new(), _file, pending, outcome, waiting: None }));
                drop(ring);
                assert_eq!(Rc::strong_count(&file), 1 + pending, "{pending} operations are under way");
            }
        });
    }

    /// The test below runs this in a process of its own, whose files may not become larger than three blocks; alone,
    /// this does nothing.
    #[test]
    fn meets_a_limit_on_the_way() {
        let Some(dir) = std::env::var_os("ROLLBOOK_TEST_DIR") else { return };
        let path = file(Path::new(&dir));
        // The kernel also sends a signal, which kills a process that does not handle it.
        signal_hook::flag::register(libc::SIGXFSZ, std::sync::Arc::default()).unwrap();
        let limit = Rlimit { current: Some(3 * BLOCK as u64), ..getrlimit(Resource::Fsize) };
        setrlimit(Resource::Fsize, limit).unwrap();
        on_core(async move || {
            let (ring, file) = open(&path, SyncMethod::WriteThenFdatasync).await;
            let refused = ring.commit(&file, vec![frame(1, 1, 0), frame(2, 4, BLOCK as u64)]).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::WriteZero, "{refused}");
            assert!(refused.to_string().contains("8192 of 16384"), "{refused}");
        });
        println!("a short write was refused");
    }

    #[test]
    fn a_short_write_is_not_taken_for_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::log::commit_ring::tests::meets_a_limit_on_the_way", "--nocapture"])
            .env("ROLLBOOK_TEST_DIR", dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("refused"), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    }
}
