//! One core's loop: it looks at what is ready, takes a turn, and rests when there is nothing to do.
//!
//! A turn has the engine execute what has come in, does a part of what is due by the clock, and sends. While there is
//! traffic the loop only yields between turns. When there is none, it rests: first for a moment in its own ring, which
//! is cheap to enter and to leave, and is all that ever happens under load; then in the executor, which costs a dozen
//! system calls.
//!
//! The rule: *what is ready is looked at within a millisecond* ([`LOOK`]), be it a completion of the network's ring, of
//! the log's, or of the executor's, a message, an order, or a time that has come; unless a single request takes longer
//! by itself. INFO shows the longest that it has taken (`loop_max_us`). It holds because
//!
//! * the loop alone does the core's work. The other tasks of its executor write the log: they do little and then await
//!   the executor. None yields only to go on, for which the executor would neglect its own rings for 100 ms;
//! * work by the clock is done in slices, one in a turn: expiry, freeing, snapshots, statistics;
//! * the loop rests only if a look finds nothing ([`Server::is_idle`]), and what would end that state ends the rest: a
//!   completion of the network's ring and a bell, which signal the event that it waits for; the log's progress, a
//!   commit that begins, and the time of what is due, which end a sleep in the executor. While a commit is under way
//!   the loop does not sleep there but naps in its ring, which the commit's completion ends.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::Clients;
use super::connection::{Closing, Hold};
use super::service::Service;
use crate::config::Durability;
use crate::engine::Engine;
use crate::partition::order::Order;
use crate::runtime::alarm::{Alarm, yield_now};
use crate::runtime::bell::Bell;
use crate::runtime::ring::{Event, ReceiveEnd, Ring, Token};

/// The longest that something is ready and not looked at. So often, too, a core that does not sleep has its executor
/// look after timers and file operations: it is what a flush may be late. The executor would do so by itself only every
/// 100 ms; told to do it more often, its preemption timer was seen to lose wake-ups.
const LOOK: Duration = Duration::from_millis(1);
/// The longest rest in the ring.
const NAP: Duration = Duration::from_micros(500);
/// What makes the executor look: the shortest sleep.
const BLINK: Duration = Duration::from_micros(1);
/// Pause between turns while the last clients leave.
const DRAINING_TURN: Duration = Duration::from_micros(200);
/// How often a core does its periodic work.
const TICK: Duration = Duration::from_millis(100);
/// How long answers may take to leave at a shutdown.
const DRAIN: Duration = Duration::from_secs(3);
/// Token of the first listener; connections are far below.
const LISTENER: Token = 1 << 30;

/// One core of the server: its loop, with its engine and its clients.
pub struct Server {
    engine: Engine,
    clients: Clients,
    ring: Ring,
    bell: Arc<Bell>,
    alarm: Alarm,
    listeners: Vec<OwnedFd>,
    events: Vec<Event>,
    /// When the last look was, or the rest after it ended.
    looked: Instant,
    /// When the executor must look at its rings and timers.
    breathe_at: Instant,
    /// When the clients are to be looked after.
    tick_at: Instant,
    draining: Option<Instant>,
    /// Listeners that have stopped accepting, and when they are to go on: not at once, since what stopped them (no
    /// descriptor left) may last.
    stopped: Vec<Token>,
    /// It was for want of something that the last connection could not be accepted.
    exhausted: bool,
    rearm: Option<Instant>,
}

impl Server {
    /// Serves clients from `listeners` with `engine`. Must be made on the core's own thread, in its executor.
    ///
    /// # Errors
    /// If the kernel refuses the ring.
    pub fn new(engine: Engine, service: Arc<Service>, bell: Arc<Bell>, listeners: Vec<OwnedFd>) -> io::Result<Self> {
        let alarm = Alarm::new(bell.sleep_event())?;
        let mut ring = Ring::new(bell.sleep_event())?;
        ring.watch(bell.nap_event());
        engine.signal(bell.nap_event())?;
        Ok(Self {
            clients: Clients::new(engine.core(), service),
            engine,
            ring,
            bell,
            alarm,
            listeners,
            events: Vec::new(),
            looked: Instant::now(),
            breathe_at: Instant::now(),
            tick_at: Instant::now(),
            draining: None,
            stopped: Vec::new(),
            exhausted: false,
            rearm: None,
        })
    }

    /// Serves until the order to shut down; then the log is closed: everything acknowledged is on disk.
    ///
    /// # Errors
    /// If the ring fails, the log could not be closed in good order, or the data has proved wrong.
    pub async fn run(mut self) -> Result<(), ServeError> {
        for (token, listener) in (LISTENER..).zip(&self.listeners) {
            self.ring.accept(token, listener.as_fd())?;
        }
        self.looked = Instant::now();
        let mut napped = false;
        loop {
            let committed = self.look()?;
            let traffic = self.turn()?;
            if self.has_drained() {
                break;
            }
            self.breathe().await;
            if traffic || committed {
                napped = false;
            } else if self.draining.is_some() {
                glommio::timer::sleep(DRAINING_TURN).await;
                self.looked = Instant::now();
            } else {
                self.rest(napped).await?;
                napped = true;
            }
        }
        self.alarm.disarm().await?;
        self.engine.close().await.map_err(ServeError::Log)?;
        self.clients.publish(self.engine.counts());
        Ok(())
    }

    /// Collects what the network's ring and the log's have completed. Returns whether a commit has ended.
    fn look(&mut self) -> io::Result<bool> {
        let before = std::mem::replace(&mut self.looked, Instant::now());
        self.clients.counts.note_look(self.looked - before);
        self.ring.poll(&mut self.events)?;
        Ok(self.engine.poll())
    }

    /// Lets other tasks run, and now and then the executor look at its own rings.
    async fn breathe(&mut self) {
        if self.looked < self.breathe_at {
            yield_now().await;
        } else {
            glommio::timer::sleep(BLINK).await;
            self.breathe_at = self.looked + LOOK;
        }
    }

    /// Waits until there is something to do: in the ring for a moment, or, if it has `napped` already and the log is at
    /// rest, in the executor.
    async fn rest(&mut self, napped: bool) -> io::Result<()> {
        if napped && !self.engine.is_committing() {
            self.bell.about_to_sleep();
            self.ring.set_alert(true);
            if self.is_idle() {
                let due = self.next_due();
                self.alarm.sleep(|context| self.engine.poll_log(context), due).await?;
                self.looked = Instant::now();
                self.breathe_at = self.looked + LOOK;
                self.clients.counts.note_look(self.looked.saturating_duration_since(due));
            }
            self.ring.set_alert(false);
        } else {
            self.bell.about_to_nap();
            self.engine.set_alert(true);
            if self.is_idle() {
                let nap = NAP.min(self.breathe_at.saturating_duration_since(self.looked));
                self.ring.wait(nap, &mut self.events)?;
                self.looked = Instant::now();
            }
            self.engine.set_alert(false);
        }
        self.bell.awake();
        Ok(())
    }

    /// Whether a look would find nothing: nothing has happened, and there is no turn to take.
    fn is_idle(&mut self) -> bool {
        self.ring.is_idle() && !self.engine.has_completions() && !self.has_traffic() && !self.is_due()
    }

    /// Whether something has come that a turn must see to.
    fn has_traffic(&self) -> bool {
        !self.events.is_empty() || !self.engine.is_idle() || !self.clients.lists.dirty.is_empty()
    }

    /// Whether a turn has something to do by the clock.
    fn is_due(&self) -> bool {
        self.next_due() <= self.looked
    }

    /// When there is something to do by the clock.
    fn next_due(&self) -> Instant {
        self.rearm.into_iter().fold(self.tick_at.min(self.engine.next_due()), Instant::min)
    }

    /// Takes a turn if there is one to take. Returns whether there was traffic.
    fn turn(&mut self) -> Result<bool, ServeError> {
        let traffic = self.has_traffic();
        if !traffic && !self.is_due() {
            return Ok(false);
        }
        let is_changed = self.engine.begin_turn();
        self.clients.now = self.engine.now();
        if is_changed {
            self.clients.take_settings();
        }
        self.accept_again()?;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.handle(event)?;
        }
        self.events = events;
        for order in self.engine.orders() {
            match order {
                Order::Shutdown => self.drain()?,
                order => self.engine.obey(order, &mut self.clients),
            }
        }
        self.take_in();
        self.work_by_the_clock();
        let has_moved = self.engine.take_progress(&mut self.clients);
        let has_failed = self.engine.has_failed();
        // What waited for more than is asked for since a setting changed need not wait.
        if has_moved || is_changed || has_failed {
            self.clients.release_gated(self.engine.safe(), has_failed);
        }
        self.clients.take_answers(&mut self.engine);
        self.engine.end_turn().map_err(ServeError::Contradiction)?;
        self.settle()?;
        Ok(traffic)
    }

    /// Takes in what waits for room, and what comes from other cores. Where the log has little room, who comes first
    /// takes it: this core's clients and those of each other core do so by turns.
    fn take_in(&mut self) {
        let own_first = self.engine.rotate();
        if own_first {
            self.clients.retry_stalled(&mut self.engine);
        }
        self.engine.receive(&mut self.clients);
        self.clients.take_answers(&mut self.engine);
        if !own_first {
            self.clients.retry_stalled(&mut self.engine);
        }
    }

    /// Does one slice of what is due by the clock.
    fn work_by_the_clock(&mut self) {
        self.engine.work_by_the_clock();
        if self.tick_at <= self.engine.now() {
            self.tick_at = self.engine.now() + TICK;
            self.clients.retry_waiting(&mut self.engine);
            self.clients.look_after();
            self.clients.publish(self.engine.counts());
        }
    }

    /// Takes no more clients, and lets those go that are there.
    fn drain(&mut self) -> io::Result<()> {
        if self.draining.is_none() {
            self.draining = Some(self.engine.now() + DRAIN);
            for token in (LISTENER..).take(self.listeners.len()) {
                self.ring.cancel_accept(token)?;
            }
            self.engine.end_waits(&mut self.clients);
            self.clients.let_all_go();
            self.engine.commit_now();
        }
        Ok(())
    }

    /// Lets listeners that have stopped go on when it is time.
    fn accept_again(&mut self) -> io::Result<()> {
        if self.draining.is_none() && self.rearm.is_some_and(|at| at <= self.engine.now()) {
            self.rearm = None;
            for token in std::mem::take(&mut self.stopped) {
                let listener = &self.listeners[(token - LISTENER) as usize];
                self.ring.accept(token, listener.as_fd())?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Accepted(Ok(descriptor)) => {
                // SAFETY: the kernel has just made the descriptor for us; nothing else owns it.
                let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
                if self.draining.is_none()
                    && let Some(token) = self.clients.connect(socket)
                {
                    self.clients.lists.resume.push(token);
                }
            }
            Event::Accepted(Err(error)) => {
                tracing::debug!(%error, "a connection could not be accepted");
                self.exhausted |= is_exhaustion(&error);
            }
            Event::AcceptEnded(token) => {
                // What is wrong with one connection keeps no other out; what the machine lacks will be lacking for a
                // while.
                let pause = if std::mem::take(&mut self.exhausted) { TICK } else { Duration::ZERO };
                if !pause.is_zero() {
                    self.clients.counts.exhausted += 1;
                }
                self.stopped.push(token);
                self.rearm = Some(self.clients.now + pause);
            }
            Event::Received(token, chunk) => {
                self.clients.receive(&mut self.engine, token, self.ring.bytes(&chunk));
                self.ring.give_back(chunk);
            }
            Event::ReceiveEnded(token, end) => {
                if let Some(connection) = self.clients.connections.get_mut(token as usize) {
                    connection.receiving = false;
                    // A connection that was to pause may have gone on before it did.
                    let wanted = !std::mem::take(&mut connection.pausing) || connection.hold == Hold::No;
                    match end {
                        ReceiveEnd::Paused if wanted => self.clients.lists.resume.push(token),
                        ReceiveEnd::Paused => {}
                        ReceiveEnd::Closed => self.clients.end_of_input(&mut self.engine, token),
                        ReceiveEnd::Broken(error) => {
                            tracing::debug!(%error, "a connection broke");
                            self.clients.break_off(token);
                        }
                    }
                    self.clients.touch(token);
                }
            }
            Event::Sent(token, outcome) => {
                if let Some(connection) = self.clients.connections.get_mut(token as usize) {
                    self.clients.counts.sent_bytes += connection.sending.take().unwrap_or(0) as u64;
                    connection.note_progress(self.clients.now);
                    match outcome {
                        Ok(()) => self.clients.touch(token),
                        Err(_) => self.clients.break_off(token),
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends, receives, pauses and drops what the turn has left to be.
    fn settle(&mut self) -> io::Result<()> {
        for token in std::mem::take(&mut self.clients.lists.pause) {
            self.ring.cancel_receive(token)?;
        }
        for token in std::mem::take(&mut self.clients.lists.resume) {
            if let Some(connection) = self.clients.connections.get_mut(token as usize)
                && !connection.receiving
                && connection.closing == Closing::No
            {
                connection.receiving = true;
                self.ring.receive(token, connection.socket())?;
            }
        }
        let mut dirty = std::mem::take(&mut self.clients.lists.dirty);
        for token in dirty.drain(..) {
            self.settle_connection(token)?;
        }
        if self.clients.lists.dirty.is_empty() {
            self.clients.lists.dirty = dirty;
        }
        Ok(())
    }

    fn settle_connection(&mut self, token: Token) -> io::Result<()> {
        self.clients.bound_output(token);
        let Some(connection) = self.clients.connections.get_mut(token as usize) else { return Ok(()) };
        connection.dirty = false;
        // Other cores answer at once, unless they wait for the disk.
        let gathers = self.clients.settings.durability == Durability::Async && connection.expects_more();
        let send = connection.closing != Closing::Now && !gathers;
        if send && connection.sending.is_none() && !connection.output.is_empty() {
            connection.sending = Some(connection.output.len());
            let mut output = std::mem::take(&mut connection.output);
            self.ring.send(token, connection.socket(), &mut output)?;
            connection.output = output;
        }
        let said_all = connection.output_bytes() == 0 && connection.replies.is_empty();
        if connection.closing == Closing::AfterReplies && said_all {
            connection.close(Closing::Now);
        }
        if connection.closing == Closing::Now && connection.is_quiet() {
            let waited = self.clients.disconnect(token);
            waited.into_iter().for_each(|(wait, client)| self.engine.cancel_wait(wait, client));
        }
        Ok(())
    }

    /// Whether the server may end: all clients are gone, or their time is up.
    fn has_drained(&mut self) -> bool {
        let Some(until) = self.draining else { return false };
        self.clients.have_drained() || Instant::now() > until
    }
}

/// Whether a connection could not be accepted because the process or the machine has no more of something.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Why a core has stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The network's ring has failed.
    #[error("the network ring has failed: {0}")]
    Ring(#[from] io::Error),
    /// The log could not be closed in good order.
    #[error("the log could not be closed: {0}")]
    Log(String),
    /// The data is wrong, or what was to be done to it; nothing that has come of it was shown to anybody.
    #[error("the server ends rather than go on wrong: {0}")]
    Contradiction(String),
}
