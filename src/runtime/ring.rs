//! The network's io_uring: one per core, driven by the core's own task (or, in the load generator, by its own thread).
//!
//! The ring is set up so that completions are processed only when this core asks for them (`DEFER_TASKRUN`,
//! `SINGLE_ISSUER`). Accept and receive operations are multishot: submitted once, they complete repeatedly. Received
//! bytes are in provided buffers that kernel and program hand to each other ([`buffers`](super::buffers)). Bytes being
//! sent are owned by the ring until the send completes.
//!
//! Invariants: a descriptor is closed only when no operation refers to it (the caller counts the [`Event`]s that end
//! one); the buffer of a send is not touched between submission and completion.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::buffers::Buffers;

/// Capacity of the submission queue.
const SUBMISSIONS: u32 = 2048;
/// Capacity of the completion queue.
const COMPLETIONS: u32 = 8192;
/// Number of receive buffers of a server core.
const BUFFERS: u16 = 512;

/// Identifier that the caller chooses for a connection or listener; fits into 32 bits.
pub type Token = u32;

/// Completion of a network operation.
#[derive(Debug)]
pub enum Event {
    /// A listener accepted a connection. The receiver of the event owns the descriptor and must close it.
    Accepted(io::Result<i32>),
    /// A listener has stopped accepting.
    AcceptEnded(Token),
    /// Bytes were received. The chunk must be returned with [`Ring::give_back`].
    Received(Token, Chunk),
    /// A receive operation has ended: end of stream, error, no buffer, or cancelled.
    ReceiveEnded(Token, ReceiveEnd),
    /// A send has completed: all bytes were sent, or the connection is broken.
    Sent(Token, io::Result<()>),
}

/// Reason why a receive operation has ended.
#[derive(Debug)]
pub enum ReceiveEnd {
    /// The remote end closed its side of the connection.
    Closed,
    /// The connection is broken.
    Broken(io::Error),
    /// The receive can be resubmitted: all buffers were in use, or the kernel ended the multishot operation.
    Paused,
}

/// Received bytes in one of the ring's buffers.
#[derive(Debug)]
pub struct Chunk {
    buffer: u16,
    len: u32,
}

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const CANCEL: u64 = 3;
const WATCH: u64 = 4;
/// Number of bits of a completion's user data that hold the kind of operation.
const KIND_BITS: u32 = 3;

/// The network ring of one core.
pub struct Ring {
    io: IoUring,
    buffers: Buffers,
    /// Bytes being sent, by token.
    sending: Vec<Vec<u8>>,
    completions: Vec<(u64, i32, u32)>,
    watched: Option<Watched>,
}

/// An eventfd that the ring reads.
struct Watched {
    descriptor: RawFd,
    /// Target of the kernel's read.
    counter: Box<[u8; 8]>,
    /// Whether the last read has completed.
    ended: bool,
}

impl Ring {
    /// Makes a ring that signals `event` on completions while [`Self::set_alert`] is on.
    ///
    /// # Errors
    /// If the kernel refuses; the preflight check explains why in more detail.
    pub fn new(event: BorrowedFd<'_>) -> io::Result<Self> {
        let mut ring = Self::silent(BUFFERS)?;
        ring.io.submitter().register_eventfd(event.as_raw_fd())?;
        ring.set_alert(false);
        Ok(ring)
    }

    /// Makes a ring that signals no event, for a thread that waits only in [`Self::wait`]. It has `buffers` receive
    /// buffers, a power of two.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn silent(buffers: u16) -> io::Result<Self> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = Buffers::register(&io, buffers)?;
        Ok(Self { io, buffers, sending: Vec::new(), completions: Vec::new(), watched: None })
    }

    /// Accepts connections from `listener` until cancelled.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn accept(&mut self, token: Token, listener: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(&entry.build().user_data(tag(ACCEPT, token)))
    }

    /// Receives from `socket` until end of stream, an error, or cancellation.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn receive(&mut self, token: Token, socket: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), Buffers::GROUP);
        self.push(&entry.build().user_data(tag(RECEIVE, token)))
    }

    /// Cancels a receive; [`Event::ReceiveEnded`] follows.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn cancel_receive(&mut self, token: Token) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(tag(RECEIVE, token));
        self.push(&entry.build().user_data(tag(CANCEL, token)))
    }

    /// Cancels an accept; [`Event::AcceptEnded`] follows.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn cancel_accept(&mut self, token: Token) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(tag(ACCEPT, token));
        self.push(&entry.build().user_data(tag(CANCEL, token)))
    }

    /// Sends all of `bytes`; [`Event::Sent`] follows. At most one send per token may be in progress. `bytes` is
    /// replaced by the empty vector of an earlier send, to reuse its capacity.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn send(&mut self, token: Token, socket: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> io::Result<()> {
        let slot = token as usize;
        if self.sending.len() <= slot {
            self.sending.resize_with(slot + 1, Vec::new);
        }
        let held = &mut self.sending[slot];
        debug_assert!(held.is_empty(), "one send at a time");
        std::mem::swap(held, bytes);
        let length = u32::try_from(held.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), held.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL);
        self.push(&entry.build().user_data(tag(SEND, token)))
    }

    /// Makes [`Self::wait`] return whenever `event`, an eventfd that outlives the ring, is signalled. At most one event
    /// can be watched.
    pub fn watch(&mut self, event: BorrowedFd<'_>) {
        debug_assert!(self.watched.is_none(), "one event only");
        self.watched = Some(Watched { descriptor: event.as_raw_fd(), counter: Box::default(), ended: true });
    }

    /// Submits the next read of the watched event if the last one has completed.
    fn watch_on(&mut self) -> io::Result<()> {
        let Some(watched) = self.watched.as_mut().filter(|watched| watched.ended) else { return Ok(()) };
        watched.ended = false;
        let read = opcode::Read::new(types::Fd(watched.descriptor), watched.counter.as_mut_ptr(), 8);
        self.push(&read.build().user_data(tag(WATCH, 0)))
    }

    /// Call after [`Event::Sent`]: takes the vector of the completed send, which otherwise stays until the token's next
    /// send.
    pub fn take_sent(&mut self, token: Token) -> Vec<u8> {
        match self.sending.get_mut(token as usize) {
            Some(held) if held.is_empty() => std::mem::take(held),
            _ => Vec::new(),
        }
    }

    /// Submits the collected operations to the kernel and appends the completions to `events`.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn poll(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.watch_on()?;
        let wanted = {
            let submission = self.io.submission();
            !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
        };
        if wanted {
            self.submit()?;
        }
        self.reap(events);
        Ok(())
    }

    /// Like [`Self::poll`], but waits up to `limit` for a completion; submitting and waiting are one system call.
    ///
    /// # Errors
    /// If the kernel takes no submissions.
    pub fn wait(&mut self, limit: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        let limit = types::Timespec::from(limit);
        let arguments = types::SubmitArgs::new().timespec(&limit);
        match self.io.submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(libc::ETIME) => {}
            Err(e) => later(e)?,
        }
        self.reap(events);
        Ok(())
    }

    /// Appends the completions that are available to `events`.
    fn reap(&mut self, events: &mut Vec<Event>) {
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.io.completion().map(|c| (c.user_data(), c.result(), c.flags())));
        for (tagged, result, flags) in completions.drain(..) {
            self.translate(tagged, result, flags, events);
        }
        self.completions = completions;
    }

    /// Whether [`Self::poll`] would have nothing to do.
    pub fn is_idle(&mut self) -> bool {
        let submission = self.io.submission();
        let nothing_to_submit = submission.is_empty() && !submission.taskrun();
        drop(submission);
        nothing_to_submit && self.io.completion().is_empty()
    }

    /// Sets whether completions signal the event.
    pub fn set_alert(&mut self, on: bool) {
        let completion = self.io.completion();
        if on { completion.enable_eventfd() } else { completion.disable_eventfd() }
    }

    /// Bytes of a chunk.
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.buffers.bytes(chunk.buffer, chunk.len as usize)
    }

    /// Returns a chunk's buffer to the kernel.
    pub fn give_back(&mut self, chunk: Chunk) {
        self.buffers.give_back(chunk.buffer);
    }

    fn translate(&mut self, tagged: u64, result: i32, flags: u32, events: &mut Vec<Event>) {
        let (kind, token) = (tagged & ((1 << KIND_BITS) - 1), (tagged >> KIND_BITS) as Token);
        let outcome = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) };
        match kind {
            ACCEPT => {
                if !matches!(&outcome, Err(e) if e.raw_os_error() == Some(libc::ECANCELED)) {
                    events.push(Event::Accepted(outcome));
                }
                if !cqueue::more(flags) {
                    events.push(Event::AcceptEnded(token));
                }
            }
            RECEIVE => self.translate_receive(token, outcome, flags, events),
            SEND => {
                let held = &mut self.sending[token as usize];
                let complete = outcome.and_then(|sent| {
                    if sent as usize == held.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
                });
                held.clear();
                // The buffer of a large reply is freed: ten thousand connections would otherwise hold on to one each.
                if held.capacity() > 16 * 1024 {
                    *held = Vec::new();
                }
                events.push(Event::Sent(token, complete));
            }
            WATCH => self.watched.iter_mut().for_each(|watched| watched.ended = true),
            _ => {}
        }
    }

    fn translate_receive(&mut self, token: Token, outcome: io::Result<i32>, flags: u32, events: &mut Vec<Event>) {
        let chunk =
            cqueue::buffer_select(flags).map(|buffer| Chunk { buffer, len: *outcome.as_ref().unwrap_or(&0) as u32 });
        let end = match (outcome, chunk) {
            (Ok(1..), Some(chunk)) => {
                events.push(Event::Received(token, chunk));
                ReceiveEnd::Paused
            }
            (Ok(_), chunk) => {
                if let Some(chunk) = chunk {
                    self.give_back(chunk);
                }
                ReceiveEnd::Closed
            }
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR) => ReceiveEnd::Paused,
                _ => ReceiveEnd::Broken(error),
            },
        };
        if !cqueue::more(flags) {
            events.push(Event::ReceiveEnded(token, end));
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the operations are built in this file. They name descriptors that stay open until the operation has
        // ended, and memory that outlives it: `sending[token]` is not touched until its completion, and it, the buffers
        // and the watch's counter are not freed before the ring (see `drop`).
        while unsafe { self.io.submission().push(entry) }.is_err() {
            self.submit()?;
        }
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        self.io.submit().map(drop).or_else(later)
    }
}

/// Treats errors that mean "try again later" (completions must be reaped first, or a signal came) as success.
fn later(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EAGAIN | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Until the ring is gone, which happens after this, the kernel may still be reading bytes that are on their way
        // out, and writing what it reads.
        for held in self.sending.drain(..).filter(|held| !held.is_empty()) {
            std::mem::forget(held);
        }
        std::mem::forget(self.watched.take());
    }
}

const fn tag(kind: u64, token: Token) -> u64 {
    (token as u64) << KIND_BITS | kind
}
