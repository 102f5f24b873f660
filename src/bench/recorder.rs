//! What one thread measures: histograms of its own, handed on piece by piece.
//!
//! A piece of the timeline is recorded without any synchronisation and then sent to the collector
//! ([`collector`](super::collector)), which sends emptied ones back, so that no thread allocates or clears a histogram while it measures.

use std::sync::mpsc::{Receiver, Sender};

use hdrhistogram::Histogram;

use super::error::BenchError;

/// The longest latency that is told from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Decimal digits that are kept of each latency.
const DIGITS: u8 = 3;

/// An empty histogram of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds and precision are valid")
}

/// One kind of operation in one piece.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From the instant at which each request was due.
    pub due: Histogram<u64>,
    /// From the instant at which it was sent. In a closed loop the two are one, and this is empty.
    pub sent: Option<Histogram<u64>>,
    /// Requests answered.
    pub requests: u64,
    /// Those answered with an error.
    pub errors: u64,
}

/// A piece of the timeline as one thread saw it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Which thread.
    pub core: usize,
    /// Which piece: 0 is the first after the warm-up.
    pub index: usize,
    /// By operation.
    pub tallies: Vec<Tally>,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Commands answered: a request is one or several.
    pub commands: u64,
    /// Requests whose connection was lost.
    pub lost: u64,
    /// Requests that were due and not answered when the thread ended.
    pub unanswered: u64,
}

impl Piece {
    /// An empty piece for so many operations.
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

    /// Empties it.
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

/// What a thread tells the collector.
#[derive(Debug)]
pub enum Message {
    /// A piece is over.
    Piece(Box<Piece>),
    /// At this instant, in nanoseconds of the run's clock, the thread has lost its last connection.
    Lost(u64),
    /// At this instant it has one again.
    Back(u64),
    /// The server has answered with an error, the first that this thread saw.
    FirstError(String),
    /// The thread has ended, if not well then for this reason.
    Ended(Option<BenchError>),
}

/// When things are measured, in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The run begins: the first request is due.
    pub begin: u64,
    /// The measured part begins.
    pub measured: u64,
    /// It ends: no request is due any more.
    pub end: u64,
    /// Length of a piece.
    pub piece: u64,
}

impl Times {
    /// When piece number `index` is over. What is answered right after the end belongs to the last piece.
    const fn over(&self, index: u64) -> u64 {
        let over = self.measured + (index + 1) * self.piece;
        if over == self.end { over + self.piece / 10 } else { over }
    }
}

/// One thread's measurements.
pub struct Recorder {
    piece: Box<Piece>,
    times: Times,
    /// When the current piece is over.
    until: u64,
    out: Sender<Message>,
    /// Emptied pieces.
    spare: Receiver<Box<Piece>>,
    open: bool,
    /// The first error was told of.
    told: bool,
}

impl Recorder {
    /// Of one thread; `open` in an open loop.
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

    /// `count` requests that were due and sent together were answered at `now`.
    #[inline]
    pub fn answered(&mut self, operation: u8, count: u32, due: u64, sent: u64, now: u64) {
        if due < self.times.measured {
            return;
        }
        let Some(tally) = self.piece.tallies.get_mut(usize::from(operation)) else { return };
        // A clock that two threads read may seem to go backwards by a hair.
        let latency = |from: u64| now.saturating_sub(from).clamp(1, LONGEST);
        // Both are within bounds; recording cannot fail.
        let _ = tally.due.record_n(latency(due), u64::from(count));
        if let Some(histogram) = &mut tally.sent {
            let _ = histogram.record_n(latency(sent), u64::from(count));
        }
        tally.requests += u64::from(count);
    }

    /// The server has answered with this error.
    pub fn error(&mut self, text: &[u8]) {
        if !std::mem::replace(&mut self.told, true) {
            self.tell(Message::FirstError(String::from_utf8_lossy(text).into_owned()));
        }
    }

    /// One of the requests that were answered was answered with an error.
    pub fn failed(&mut self, operation: u8, due: u64) {
        if due >= self.times.measured
            && let Some(tally) = self.piece.tallies.get_mut(usize::from(operation))
        {
            tally.errors += 1;
        }
    }

    /// Requests were lost with their connection.
    pub fn lost(&mut self, count: u64, now: u64) {
        if now >= self.times.measured {
            self.piece.lost += count;
        }
    }

    /// At the end, requests that were due were not answered.
    pub fn unanswered(&mut self, count: u64) {
        self.piece.unanswered += count;
    }

    /// Bytes have left.
    #[inline]
    pub fn sent_bytes(&mut self, bytes: usize, now: u64) {
        if now >= self.times.measured {
            self.piece.sent_bytes += bytes as u64;
        }
    }

    /// Bytes have come in, and commands were answered.
    #[inline]
    pub fn received(&mut self, bytes: usize, commands: u64, now: u64) {
        if now >= self.times.measured {
            self.piece.received_bytes += bytes as u64;
            self.piece.commands += commands;
        }
    }

    /// Hands the current piece on if it is over.
    #[inline]
    pub fn tick(&mut self, now: u64) {
        if now >= self.until {
            self.hand_on();
            // After a long time without a turn, pieces were left out: they are empty.
            let passed = (now - self.times.measured) / self.times.piece;
            self.piece.index = passed as usize;
            self.until = self.times.over(passed);
        }
    }

    /// When the current piece is over.
    pub const fn until(&self) -> u64 {
        self.until
    }

    /// Tells the collector something. If it is gone, so is whoever wanted to know.
    pub fn tell(&self, message: Message) {
        let _ = self.out.send(message);
    }

    /// Hands on what was recorded since.
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
