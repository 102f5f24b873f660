//! One thread of the generator: a ring, its connections, and a loop.
//!
//! Each turn of the loop sends what is due, waits in the ring, and processes replies. The thread does nothing else, so
//! that it can wait in the ring itself: sending, waiting and receiving are one system call per turn. (An executor that
//! slept on the ring's event instead would need three.) Shortly before a request is due, the thread polls instead of
//! sleeping, because a sleeper wakes up late, and the delay would be counted as the server's.
//!
//! *Closed loop*: a connection sends a batch of `pipeline` requests when the previous batch is answered, as
//! redis-benchmark does, so that the server sees the same batches. *Open loop*: requests are due by a [`Schedule`];
//! requests for which a connection has no room wait, and their latency counts from when they were due.

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

/// Longest sleep, and so the longest delay before an interrupt (Ctrl-C) takes effect.
const NAP: Duration = Duration::from_millis(50);
/// Time before a request is due during which the thread polls instead of sleeping, in nanoseconds.
const AWAKE: u64 = 30_000;
/// Maximum time to wait for replies after the end, in nanoseconds.
const DRAIN: u64 = 2_000_000_000;
/// Delay between attempts to reconnect to a lost server, in nanoseconds.
const RETRY: u64 = 10_000_000;
/// Timeout of one attempt to reconnect.
const TRY: Duration = Duration::from_millis(250);

/// Clock of a run, in nanoseconds since its start; shared by all threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts the clock.
    #[expect(clippy::new_without_default, reason = "two clocks are not alike")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Current time in nanoseconds.
    #[inline]
    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Instructions for all threads of a run.
pub struct Order {
    /// The workload, which generates the requests.
    pub workload: Arc<Workload>,
    /// The server.
    pub target: Target,
    /// Clock of the run.
    pub clock: Clock,
    /// When the parts of the run begin and end.
    pub times: Times,
    /// Maximum number of requests in progress on a connection.
    pub pipeline: usize,
    /// Whether to load records until none is left, regardless of the end time.
    pub loading: bool,
    /// Whether to reconnect lost connections.
    pub reconnect: bool,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
}

/// One thread of the generator.
pub struct Driver {
    order: Arc<Order>,
    ring: Ring,
    connections: Vec<Connection>,
    recorder: Recorder,
    events: Vec<Event>,
    /// Connections that may have something to send.
    ready: Vec<Token>,
    /// Empty output buffers for reuse. The one freed last is used first, because it is still in the cache.
    outputs: Vec<Vec<u8>>,
    /// Schedule of due requests, in an open loop, and the number of requests that have been due.
    schedule: Option<Schedule>,
    arrived: u64,
    end: u64,
    /// Number of unusable connections.
    down: usize,
    retry_at: u64,
}

impl Driver {
    /// Makes a thread's driver with these connections, not all of which need be connected. Must be called on the thread
    /// itself.
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

    /// Runs to the end. Returns the connections with their ledgers.
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

    /// Handles interrupts and lost connections.
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

    /// Time until the next known work.
    fn rest(&self, now: u64) -> Duration {
        let due = self.schedule.as_ref().map_or(u64::MAX, |schedule| schedule.due(self.arrived).saturating_sub(AWAKE));
        let end = if self.end > now { self.end } else { u64::MAX };
        let retry = if self.down > 0 { self.retry_at } else { u64::MAX };
        let next = due.min(end).min(retry).min(self.recorder.until());
        Duration::from_nanos(next.saturating_sub(now)).min(NAP)
    }

    /// Writes and sends the requests that are due.
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

    /// Adds requests that have become due to the connections' backlogs.
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

    /// Open loop: writes requests of the backlog, as far as the pipeline has room.
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

    /// Closed loop: writes the next batch if the previous one is answered.
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

    /// Submits the written requests for sending.
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

    /// Closes a broken connection once no ring operation refers to it.
    fn close_broken(&mut self, token: Token, now: u64) -> Result<(), BenchError> {
        let Some((lost, why)) = self.connections[token as usize].close_if_quiet() else { return Ok(()) };
        self.recorder.lost(lost as u64, now);
        if self.order.loading {
            // Replies come in the order of the requests, so the lost requests are the last ones.
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

    /// Tries to reconnect all connections that are down.
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

    /// Whether a ring operation still refers to a connection.
    fn is_named(&self, token: usize) -> bool {
        self.connections[token].sending || self.connections[token].receiving
    }
}

/// Number of receive buffers: enough for all connections to receive at once, but few enough to stay in the cache.
fn buffers(connections: usize) -> u16 {
    (connections * 2).clamp(64, 512).next_power_of_two() as u16
}

/// Connects to a server that is ready. A starting server may accept connections and then reply that it is loading.
fn try_connect(target: &Target) -> Option<OwnedFd> {
    let mut client = target.connect_within(TRY, Some(TRY)).ok()?;
    let answer = client.call(&[b"PING"]).ok()?;
    (answer == Value::Text(b"PONG".to_vec())).then(|| client.into_socket().into())
}
