//! One connection of the generator: requests in progress, and matching replies to them.
//!
//! Equal requests that were written together form one [`Run`], so that a thousand replies are one histogram update.
//!
//! Invariants: `under_way` is the number of requests in `runs`; the server owes exactly the replies that `runs`
//! expects, in this order.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::ledger::{Ledger, Write};
use super::recorder::Recorder;
use super::reply::{Answer, Malformed, Replies};
use super::workload::{Issued, Sheet, Stream, Workload};

/// Equal requests that were sent together and await replies.
#[derive(Clone, Copy, Debug)]
struct Run {
    due: u64,
    sent: u64,
    count: u32,
    operation: u8,
    /// Number of replies to each request.
    commands: u8,
    /// Number of replies already received for the first request.
    answered: u8,
    /// Whether one of these replies was an error.
    failed: bool,
    write: Option<Write>,
}

/// One connection of the generator.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// Ledger of the connection's writes, if the run is verified.
    pub ledger: Option<Ledger>,
    socket: Option<OwnedFd>,
    replies: Replies,
    runs: VecDeque<Run>,
    under_way: usize,
    /// Bytes still to be sent.
    pub output: Vec<u8>,
    /// Whether a send is in progress.
    pub sending: bool,
    /// Whether a receive is in progress.
    pub receiving: bool,
    /// Reason why the connection is no longer usable.
    pub broken: Option<String>,
    /// Number of requests that are due but do not fit into the pipeline; only in an open loop.
    pub backlog: u64,
    /// Number of due requests that have been written so far; only in an open loop.
    pub taken: u64,
    /// Whether the connection has loaded all its records.
    pub done: bool,
}

impl Connection {
    /// Makes a connection without a socket.
    pub fn new(stream: Stream, ledger: Option<Ledger>) -> Self {
        Self {
            stream,
            ledger,
            socket: None,
            replies: Replies::default(),
            runs: VecDeque::new(),
            under_way: 0,
            output: Vec::new(),
            sending: false,
            receiving: false,
            broken: None,
            backlog: 0,
            taken: 0,
            done: false,
        }
    }

    /// Attaches a connected socket.
    pub fn attach(&mut self, socket: OwnedFd) {
        self.socket = Some(socket);
        self.replies = Replies::default();
        self.broken = None;
    }

    /// The socket, while the connection is usable.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        if self.broken.is_none() { self.socket.as_ref().map(AsFd::as_fd) } else { None }
    }

    /// Whether requests can be sent.
    pub fn is_up(&self) -> bool {
        self.broken.is_none() && self.socket.is_some()
    }

    /// Number of requests that await replies.
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Marks the connection as unusable, and makes the ring's operations on it end.
    pub fn break_off(&mut self, why: String) {
        if let Some(socket) = self.socket() {
            // If the socket is already closed, the operations end by themselves.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
        self.broken.get_or_insert(why);
    }

    /// Closes a broken connection once no ring operation refers to it. Returns the number of lost requests and the
    /// reason.
    pub fn close_if_quiet(&mut self) -> Option<(usize, String)> {
        if self.sending || self.receiving || self.socket.is_none() {
            return None;
        }
        let why = self.broken.clone()?;
        self.socket = None;
        self.output.clear();
        if let Some(ledger) = &mut self.ledger {
            self.runs.iter().filter_map(|run| run.write).for_each(|write| ledger.give_up(write));
        }
        self.runs.clear();
        Some((std::mem::take(&mut self.under_way), why))
    }

    /// Writes the next request, which was due at `due` and is sent at `now`.
    #[inline]
    pub fn issue(&mut self, workload: &Workload, due: u64, now: u64) {
        let mut sheet = Sheet { out: &mut self.output, ledger: self.ledger.as_mut() };
        let issued = workload.next(&mut self.stream, &mut sheet);
        self.expect(issued, due, now);
    }

    /// Writes the request that loads the next record, if any is left.
    pub fn issue_load(&mut self, workload: &Workload, now: u64) {
        let mut sheet = Sheet { out: &mut self.output, ledger: self.ledger.as_mut() };
        match workload.load_next(&mut self.stream, &mut sheet) {
            Some(issued) => self.expect(issued, now, now),
            None => self.done = true,
        }
    }

    /// Schedules the last `records` load requests again, because their replies were lost.
    pub const fn load_again(&mut self, records: usize) {
        self.stream.load_again(records as u64);
        self.done &= records == 0;
    }

    #[inline]
    fn expect(&mut self, issued: Issued, due: u64, sent: u64) {
        self.under_way += 1;
        let Issued { operation, commands, write } = issued;
        if let Some(run) = self.runs.back_mut()
            && (run.due, run.sent, run.operation, run.commands) == (due, sent, operation, commands)
            && run.write.is_none()
            && write.is_none()
        {
            run.count += 1;
            return;
        }
        self.runs.push_back(Run { due, sent, count: 1, operation, commands, answered: 0, failed: false, write });
    }

    /// Processes received bytes.
    ///
    /// # Errors
    /// If the bytes do not match the requests sent.
    pub fn receive(&mut self, bytes: &[u8], recorder: &mut Recorder, now: u64) -> Result<(), Malformed> {
        let mut account = Account {
            runs: &mut self.runs,
            under_way: &mut self.under_way,
            ledger: self.ledger.as_mut(),
            commands: 0,
            unexpected: false,
            recorder,
            now,
        };
        let outcome = self.replies.feed(bytes, |answer| account.take(answer));
        let (commands, unexpected) = (account.commands, account.unexpected);
        recorder.received(bytes.len(), commands, now);
        if unexpected {
            return Err(Malformed("an answer to nothing that was asked".to_owned()));
        }
        outcome
    }
}

/// Assigns replies to the requests that await them.
struct Account<'a> {
    runs: &'a mut VecDeque<Run>,
    under_way: &'a mut usize,
    ledger: Option<&'a mut Ledger>,
    commands: u64,
    unexpected: bool,
    recorder: &'a mut Recorder,
    now: u64,
}

impl Account<'_> {
    #[inline]
    fn take(&mut self, answer: Answer<'_>) {
        match answer {
            Answer::Good(mut count) => {
                self.commands += u64::from(count);
                while count > 0 {
                    count -= self.take_good(count);
                }
            }
            Answer::Error(text) => {
                self.commands += 1;
                if let Some(run) = self.runs.front_mut() {
                    run.failed = true;
                    self.recorder.error(text);
                }
                self.take_one();
            }
        }
    }

    /// Assigns up to `most` replies that are not errors. Returns how many were assigned.
    #[inline]
    fn take_good(&mut self, most: u32) -> u32 {
        let Some(run) = self.runs.front_mut() else {
            self.unexpected = true;
            return most;
        };
        if run.commands > 1 || run.write.is_some() {
            self.take_one();
            return 1;
        }
        let taken = most.min(run.count);
        run.count -= taken;
        *self.under_way -= taken as usize;
        self.recorder.answered(run.operation, taken, run.due, run.sent, self.now);
        if run.count == 0 {
            self.runs.pop_front();
        }
        taken
    }

    /// Assigns one reply, whose success is taken from the run.
    fn take_one(&mut self) {
        let Some(run) = self.runs.front_mut() else {
            self.unexpected = true;
            return;
        };
        run.answered += 1;
        if run.answered < run.commands {
            return;
        }
        let failed = std::mem::take(&mut run.failed);
        run.answered = 0;
        run.count -= 1;
        *self.under_way -= 1;
        self.recorder.answered(run.operation, 1, run.due, run.sent, self.now);
        if failed {
            self.recorder.failed(run.operation, run.due);
        }
        if let (Some(ledger), Some(write)) = (&mut self.ledger, run.write) {
            if failed { ledger.give_up(write) } else { ledger.acknowledge(write, self.now) }
        }
        if run.count == 0 {
            self.runs.pop_front();
        }
    }
}
