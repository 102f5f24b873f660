//! Measurements of one thread: histograms of its own, delivered piece by piece.
//!
//! A thread records a piece of the timeline without any synchronisation and then sends it to the collector
//! ([`collector`](super::collector)), which returns empty pieces, so that no thread allocates or clears a histogram
//! while it measures.

use std::sync::mpsc::{Receiver, Sender};

use hdrhistogram::Histogram;

use super::error::BenchError;

/// Longest latency that is distinguished, in nanoseconds: one hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Significant decimal digits of a recorded latency.
const DIGITS: u8 = 3;

/// Makes an empty histogram of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds and precision are valid")
}

/// Measurements of one kind of operation in one piece.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latency from the time at which each request was due.
    pub due: Histogram<u64>,
    /// Latency from the time at which each request was sent. `None` in a closed loop, where it equals `due`.
    pub sent: Option<Histogram<u64>>,
    /// Number of requests answered.
    pub requests: u64,
    /// Number of requests answered with an error.
    pub errors: u64,
}

/// A piece of the timeline as measured by one thread.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Number of the thread.
    pub core: usize,
    /// Number of the piece: 0 is the first after the warm-up.
    pub index: usize,
    /// Measurements by kind of operation.
    pub tallies: Vec<Tally>,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Commands answered; a request consists of one or several.
    pub commands: u64,
    /// Requests that were lost with their connection.
    pub lost: u64,
    /// Requests that were due but not answered when the thread ended.
    pub unanswered: u64,
}

impl Piece {
    /// Makes an empty piece for `operations` kinds of operation.
    pub fn new(core: usize, operations: usize, open: bool) -> Self {
        let tally = || Tally { due: histogram(), sent: open.then(histogram), requests: 0, errors: 0 };
        Self {
            core,
            index: 0,
            tallies: (0..operations).map(|_| tally()).collect(),
            sent_bytes: 0,
            received_bytes: 0,
            commands: 0,
            lost: 0,
            unanswered: 0,
        }
    }

    /// Empties the piece.
    pub fn clear(&mut self) {
        for tally in self.tallies.iter_mut().filter(|tally| tally.requests > 0) {
            tally.due.reset();
            if let Some(sent) = &mut tally.sent {
                sent.reset();
            }
            (tally.requests, tally.errors) = (0, 0);
        }
        (self.sent_bytes, self.received_bytes, self.commands, self.lost, self.unanswered) = (0, 0, 0, 0, 0);
    }
}

/// Message from a thread to the collector.
#[derive(Debug)]
pub enum Message {
    /// A piece is complete.
    Piece(Box<Piece>),
    /// The thread lost its last connection, at this time in nanoseconds of the run's clock.
    Lost(u64),
    /// The thread has a connection again, since this time.
    Back(u64),
    /// The first error that the server replied to this thread.
    FirstError(String),
    /// The thread has ended, with an error if it failed.
    Ended(Option<BenchError>),
}

/// Times of a phase's parts, in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Start of the run: the first request is due.
    pub begin: u64,
    /// Start of the measured part.
    pub measured: u64,
    /// End of the measured part: no request is due after it.
    pub end: u64,
    /// Length of a piece of the timeline.
    pub piece: u64,
}

impl Times {
    /// End of piece `index`. Replies that arrive shortly after the end of the run belong to the last piece.
    const fn over(&self, index: u64) -> u64 {
        let over = self.measured + (index + 1) * self.piece;
        if over == self.end { over + self.piece / 10 } else { over }
    }
}

/// Records the measurements of one thread.
pub struct Recorder {
    piece: Box<Piece>,
    times: Times,
    /// End of the current piece.
    until: u64,
    out: Sender<Message>,
    /// Empty pieces for reuse.
    spare: Receiver<Box<Piece>>,
    open: bool,
    /// Whether the first error has been reported.
    told: bool,
}

impl Recorder {
    /// Makes the recorder of one thread; `open` in an open loop.
    pub fn new(
        core: usize,
        operations: usize,
        open: bool,
        times: Times,
        out: Sender<Message>,
        spare: Receiver<Box<Piece>>,
    ) -> Self {
        let piece = Box::new(Piece::new(core, operations, open));
        Self { piece, times, until: times.over(0), out, spare, open, told: false }
    }

    /// Records that `count` requests, due and sent together, were answered at `now`.
    #[inline]
    pub fn answered(&mut self, operation: u8, count: u32, due: u64, sent: u64, now: u64) {
        if due < self.times.measured {
            return;
        }
        let Some(tally) = self.piece.tallies.get_mut(usize::from(operation)) else { return };
        // A clock read by two threads may seem to go backwards slightly.
        let latency = |from: u64| now.saturating_sub(from).clamp(1, LONGEST);
        // Both latencies are within bounds, so recording cannot fail.
        let _ = tally.due.record_n(latency(due), u64::from(count));
        if let Some(histogram) = &mut tally.sent {
            let _ = histogram.record_n(latency(sent), u64::from(count));
        }
        tally.requests += u64::from(count);
    }

    /// Reports an error that the server replied, if it is the first.
    pub fn error(&mut self, text: &[u8]) {
        if !std::mem::replace(&mut self.told, true) {
            self.tell(Message::FirstError(String::from_utf8_lossy(text).into_owned()));
        }
    }

    /// Records that one of the answered requests was answered with an error.
    pub fn failed(&mut self, operation: u8, due: u64) {
        if due >= self.times.measured
            && let Some(tally) = self.piece.tallies.get_mut(usize::from(operation))
        {
            tally.errors += 1;
        }
    }

    /// Records that requests were lost with their connection.
    pub fn lost(&mut self, count: u64, now: u64) {
        if now >= self.times.measured {
            self.piece.lost += count;
        }
    }

    /// Records, at the end, requests that were due but not answered.
    pub fn unanswered(&mut self, count: u64) {
        self.piece.unanswered += count;
    }

    /// Records that bytes were sent.
    #[inline]
    pub fn sent_bytes(&mut self, bytes: usize, now: u64) {
        if now >= self.times.measured {
            self.piece.sent_bytes += bytes as u64;
        }
    }

    /// Records that bytes were received, and commands answered.
    #[inline]
    pub fn received(&mut self, bytes: usize, commands: u64, now: u64) {
        if now >= self.times.measured {
            self.piece.received_bytes += bytes as u64;
            self.piece.commands += commands;
        }
    }

    /// Delivers the current piece if it is over.
    #[inline]
    pub fn tick(&mut self, now: u64) {
        if now >= self.until {
            self.hand_on();
            // If the thread did not run for a long time, the skipped pieces are empty.
            let passed = (now - self.times.measured) / self.times.piece;
            self.piece.index = passed as usize;
            self.until = self.times.over(passed);
        }
    }

    /// End of the current piece.
    pub const fn until(&self) -> u64 {
        self.until
    }

    /// Sends a message to the collector. Does nothing if the collector is gone.
    pub fn tell(&self, message: Message) {
        let _ = self.out.send(message);
    }

    /// Delivers what was recorded since the last delivery.
    pub fn hand_on(&mut self) {
        let (core, operations, open) = (self.piece.core, self.piece.tallies.len(), self.open);
        let empty = self.spare.try_recv().unwrap_or_else(|_| Box::new(Piece::new(core, operations, open)));
        let full = std::mem::replace(&mut self.piece, empty);
        self.tell(Message::Piece(full));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_what_was_due_in_the_measured_part_counts_and_pieces_follow_the_clock() {
        let (out, pieces) = mpsc::channel();
        let (_spare, spares) = mpsc::channel();
        let times = Times { begin: 0, measured: 100, end: 400, piece: 100 };
        let mut recorder = Recorder::new(3, 2, true, times, out, spares);
        recorder.answered(1, 5, 99, 99, 120);
        recorder.answered(1, 5, 110, 130, 150);
        recorder.failed(1, 110);
        recorder.tick(199);
        recorder.tick(310);
        recorder.answered(0, 1, 300, 300, 315);
        recorder.hand_on();
        let pieces: Vec<_> = pieces.try_iter().collect();
        let [Message::Piece(first), Message::Piece(second)] = pieces.as_slice() else { panic!("{pieces:?}") };
        assert_eq!((first.core, first.index, first.tallies[1].requests, first.tallies[1].errors), (3, 0, 5, 1));
        assert_eq!((first.tallies[1].due.max(), first.tallies[1].sent.as_ref().unwrap().max()), (40, 20));
        assert_eq!((second.index, second.tallies[0].requests), (2, 1));
    }
}
