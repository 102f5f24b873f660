//! One thread of the generator: a ring, its connections, and a turn that goes round.
//!
//! A turn sends what is due, waits in the ring, and counts what has come in. The thread has nothing to do but this, so that it waits in the
//! ring itself: sending, waiting and receiving of a turn are one system call. (An executor that slept on the ring's event instead would
//! need three.) Shortly before a request is due the thread no longer sleeps but looks, because a sleeper wakes up late, and that would be
//! counted as the server's.
//!
//! *Closed loop*: a connection sends a batch of `pipeline` requests when the one before is answered, as redis-benchmark does; so the server
//! sees the same batches. *Open loop*: requests are due by a [`Schedule`]; what a connection has no room for waits, and its latency counts
//! from when it was due.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{Target, Value};
use super::connection::Connection;
use super::error::BenchError;
use super::recorder::{Message, Recorder, Times};
use super::schedule::Schedule;
use super::workload::Workload;
use crate::runtime::ring::{Event, ReceiveEnd, Ring, Token};

/// The longest sleep: so late at most is noticed that the run was interrupted.
const NAP: Duration = Duration::from_millis(50);
/// So long before a request is due the thread no longer sleeps.
const AWAKE: u64 = 30_000;
/// How long answers are waited for after the end.
const DRAIN: u64 = 2_000_000_000;
/// How often a lost server is tried again.
const RETRY: u64 = 10_000_000;
/// How long such a try may take.
const TRY: Duration = Duration::from_millis(250);

/// Nanoseconds since the run began; all threads have the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// It begins now.
    #[expect(clippy::new_without_default, reason = "two clocks are not alike")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What all threads of a run are to do.
pub struct Order {
    /// What is asked for.
    pub workload: Arc<Workload>,
    /// Whom.
    pub target: Target,
    /// The time.
    pub clock: Clock,
    /// When what begins and ends.
    pub times: Times,
    /// Requests under way at once on a connection.
    pub pipeline: usize,
    /// Records are loaded until none is left; the end does not matter then.
    pub loading: bool,
    /// Lost connections are made anew.
    pub reconnect: bool,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
}

/// One thread.
pub struct Driver {
    order: Arc<Order>,
    ring: Ring,
    connections: Vec<Connection>,
    recorder: Recorder,
    events: Vec<Event>,
    /// Connections that may have something to send.
    ready: Vec<Token>,
    /// Emptied outputs. The last one emptied is taken first: it is still in the cache.
    outputs: Vec<Vec<u8>>,
    /// In an open loop: when requests are due, and how many were.
    schedule: Option<Schedule>,
    arrived: u64,
    end: u64,
    /// Connections that cannot be used.
    down: usize,
    retry_at: u64,
}

impl Driver {
    /// A thread with these connections, not all of which need be connected. Must be made on the thread itself.
    ///
    /// # Errors
    /// If the kernel refuses the ring.
    pub fn new(
        order: Arc<Order>,
        connections: Vec<Connection>,
        schedule: Option<Schedule>,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let end = if order.loading { u64::MAX } else { order.times.end };
        let down = connections.iter().filter(|connection| !connection.is_up()).count();
        Ok(Self {
            ring: Ring::silent(buffers(connections.len()))?,
            ready: (0..connections.len() as Token).collect(),
            connections,
            recorder,
            events: Vec::new(),
            outputs: Vec::new(),
            schedule,
            arrived: 0,
            end,
            down,
            retry_at: 0,
            order,
        })
    }

    /// Runs to the end, and gives the connections back for what they know.
    pub fn run(mut self) -> Vec<Connection> {
        let failure = self.drive().err();
        let unanswered: u64 = self.connections.iter().map(|c| c.backlog + c.under_way() as u64).sum();
        self.recorder.unanswered(if self.order.loading { 0 } else { unanswered });
        self.recorder.hand_on();
        self.recorder.tell(Message::Ended(failure));
        self.connections
    }

    fn drive(&mut self) -> Result<(), BenchError> {
        let ring = || BenchError::system("the ring for the network fails");
        for token in 0..self.connections.len() as Token {
            self.listen(token).map_err(ring())?;
        }
        let begin = self.order.times.begin.saturating_sub(self.order.clock.now());
        std::thread::sleep(Duration::from_nanos(begin));
        if self.down == self.connections.len() {
            self.recorder.tell(Message::Lost(self.order.clock.now()));
        }
        loop {
            let now = self.order.clock.now();
            self.look_up(now)?;
            self.send_due(now).map_err(ring())?;
            if self.is_over(now) {
                return Ok(());
            }
            let rest = self.rest(now);
            let waited = match rest {
                Duration::ZERO => self.ring.poll(&mut self.events),
                rest => self.ring.wait(rest, &mut self.events),
            };
            waited.map_err(ring())?;
            let now = self.order.clock.now();
            self.handle_all(now)?;
            self.recorder.tick(now);
        }
    }

    /// Looks after what is not the network's: an interruption, lost connections.
    fn look_up(&mut self, now: u64) -> Result<(), BenchError> {
        if self.end > now && self.order.stop.load(Ordering::Relaxed) {
            self.end = now;
        }
        if self.down > 0 && now >= self.retry_at && now < self.end {
            self.reconnect(now)?;
        }
        Ok(())
    }

    fn is_over(&self, now: u64) -> bool {
        if self.order.loading {
            let interrupted = self.end <= now;
            let mut connections = self.connections.iter();
            return connections.all(|c| c.under_way() == 0 && (c.done || interrupted));
        }
        let quiet = || self.connections.iter().all(|c| c.under_way() == 0 && c.backlog == 0);
        now >= self.end && (now >= self.end + DRAIN || quiet())
    }

    /// How long nothing needs to be done, as far as one can know.
    fn rest(&self, now: u64) -> Duration {
        let due = self.schedule.as_ref().map_or(u64::MAX, |schedule| schedule.due(self.arrived).saturating_sub(AWAKE));
        let end = if self.end > now { self.end } else { u64::MAX };
        let retry = if self.down > 0 { self.retry_at } else { u64::MAX };
        let next = due.min(end).min(retry).min(self.recorder.until());
        Duration::from_nanos(next.saturating_sub(now)).min(NAP)
    }

    /// Writes the requests that are due and sends them.
    fn send_due(&mut self, now: u64) -> io::Result<()> {
        if let Some(schedule) = self.schedule {
            self.arrive(schedule, now);
        }
        let mut ready = std::mem::take(&mut self.ready);
        for token in ready.drain(..) {
            let connection = &mut self.connections[token as usize];
            if connection.output.capacity() == 0 {
                connection.output = self.outputs.pop().unwrap_or_default();
            }
            if self.schedule.is_some() {
                self.catch_up(token, now);
            } else if now < self.end {
                self.refill(token, now);
            }
            self.flush(token, now)?;
        }
        self.ready = ready;
        Ok(())
    }

    /// Requests have become due.
    fn arrive(&mut self, schedule: Schedule, now: u64) {
        let until = now.min(self.end.saturating_sub(1));
        let count = self.connections.len() as u64;
        while schedule.due(self.arrived) <= until {
            let token = (self.arrived % count) as Token;
            self.connections[token as usize].backlog += 1;
            self.ready.push(token);
            self.arrived += 1;
        }
    }

    /// Open loop: writes what has waited, as far as there is room.
    fn catch_up(&mut self, token: Token, now: u64) {
        let (Some(schedule), count) = (self.schedule, self.connections.len() as u64) else { return };
        let connection = &mut self.connections[token as usize];
        while connection.backlog > 0 && connection.under_way() < self.order.pipeline && connection.is_up() {
            let due = schedule.due(u64::from(token) + connection.taken * count);
            connection.issue(&self.order.workload, due, now);
            connection.taken += 1;
            connection.backlog -= 1;
        }
    }

    /// Closed loop: writes the next batch if the one before is answered.
    fn refill(&mut self, token: Token, now: u64) {
        let connection = &mut self.connections[token as usize];
        if connection.under_way() > 0 || !connection.is_up() {
            return;
        }
        if self.order.loading {
            while connection.under_way() < self.order.pipeline && !connection.done {
                connection.issue_load(&self.order.workload, now);
            }
        } else {
            (0..self.order.pipeline).for_each(|_| connection.issue(&self.order.workload, now, now));
        }
    }

    /// Sends what was written.
    fn flush(&mut self, token: Token, now: u64) -> io::Result<()> {
        let connection = &mut self.connections[token as usize];
        if connection.sending || connection.output.is_empty() || !connection.is_up() {
            return Ok(());
        }
        let mut output = std::mem::take(&mut connection.output);
        self.recorder.sent_bytes(output.len(), now);
        if let Some(socket) = connection.socket() {
            self.ring.send(token, socket, &mut output)?;
            connection.sending = true;
        }
        connection.output = output;
        Ok(())
    }

    fn handle_all(&mut self, now: u64) -> Result<(), BenchError> {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.handle(event, now)?;
        }
        self.events = events;
        Ok(())
    }

    fn handle(&mut self, event: Event, now: u64) -> Result<(), BenchError> {
        match event {
            Event::Received(token, chunk) => {
                let connection = &mut self.connections[token as usize];
                let outcome = connection.receive(self.ring.bytes(&chunk), &mut self.recorder, now);
                self.ring.give_back(chunk);
                outcome.map_err(|why| BenchError::Protocol { address: self.order.target.name.clone(), why })?;
                self.ready.push(token);
            }
            Event::Sent(token, outcome) => {
                let connection = &mut self.connections[token as usize];
                connection.sending = false;
                self.outputs.push(self.ring.take_sent(token));
                match outcome {
                    Ok(()) if connection.output.is_empty() => {}
                    Ok(()) => self.ready.push(token),
                    Err(why) => connection.break_off(why.to_string()),
                }
                self.close_broken(token, now)?;
            }
            Event::ReceiveEnded(token, end) => {
                let connection = &mut self.connections[token as usize];
                connection.receiving = false;
                match end {
                    ReceiveEnd::Paused if connection.is_up() => {
                        self.listen(token).map_err(BenchError::system("the ring for the network fails"))?;
                    }
                    ReceiveEnd::Paused => {}
                    ReceiveEnd::Closed => connection.break_off("end of stream".to_owned()),
                    ReceiveEnd::Broken(why) => connection.break_off(why.to_string()),
                }
                self.close_broken(token, now)?;
            }
            Event::Accepted(_) | Event::AcceptEnded(_) => {}
        }
        Ok(())
    }

    fn listen(&mut self, token: Token) -> io::Result<()> {
        let connection = &mut self.connections[token as usize];
        if let Some(socket) = connection.socket() {
            self.ring.receive(token, socket)?;
            connection.receiving = true;
        }
        Ok(())
    }

    /// Closes a connection that is broken, once the ring has let go of it.
    fn close_broken(&mut self, token: Token, now: u64) -> Result<(), BenchError> {
        let Some((lost, why)) = self.connections[token as usize].close_if_quiet() else { return Ok(()) };
        self.recorder.lost(lost as u64, now);
        if self.order.loading {
            // Answers come in the order of the requests, so that these are the last ones.
            self.connections[token as usize].load_again(lost);
        }
        self.down += 1;
        if !self.order.reconnect {
            return Err(BenchError::Lost { address: self.order.target.name.clone(), why });
        }
        if self.down == self.connections.len() {
            self.recorder.tell(Message::Lost(now));
            self.connections.iter_mut().filter_map(|c| c.ledger.as_mut()).for_each(|ledger| ledger.excuse(now));
        }
        self.retry_at = now + RETRY;
        Ok(())
    }

    /// Tries to connect whatever is not.
    fn reconnect(&mut self, now: u64) -> Result<(), BenchError> {
        self.retry_at = now + RETRY;
        for token in 0..self.connections.len() {
            if self.connections[token].is_up() || self.connections[token].broken.is_some() && self.is_named(token) {
                continue;
            }
            let Some(socket) = try_connect(&self.order.target) else { return Ok(()) };
            if self.down == self.connections.len() {
                self.recorder.tell(Message::Back(self.order.clock.now()));
            }
            self.connections[token].attach(socket);
            self.down -= 1;
            self.listen(token as Token).map_err(BenchError::system("the ring for the network fails"))?;
            self.ready.push(token as Token);
        }
        Ok(())
    }

    /// Whether an operation of the ring still names a connection.
    fn is_named(&self, token: usize) -> bool {
        self.connections[token].sending || self.connections[token].receiving
    }
}

/// Buffers to receive into: enough for all to receive at once, and not so many that none of them is in the cache when its turn comes.
fn buffers(connections: usize) -> u16 {
    (connections * 2).clamp(64, 512).next_power_of_two() as u16
}

/// A connection to a server that serves: one that is still starting may accept and then say that it is loading.
fn try_connect(target: &Target) -> Option<OwnedFd> {
    let mut client = target.connect_within(TRY, Some(TRY)).ok()?;
    let answer = client.call(&[b"PING"]).ok()?;
    (answer == Value::Text(b"PONG".to_vec())).then(|| client.into_socket().into())
}
