//! One core's loop: it looks at what is ready, takes a turn, and rests when there is nothing to do.
//!
//! A turn lets the worker execute what has come in, does a part of what is due by the clock, and sends. While there is traffic the loop
//! only yields between turns. When there is none, it rests: first for a moment in its own ring, which is cheap to enter and to leave,
//! and is all that ever happens under load; then in the executor, which costs a dozen system calls.
//!
//! The rule: *what is ready is looked at within a millisecond* ([`LOOK`]), be it a completion of the network's ring, of the log's, or
//! of the executor's, a message, an order, or a time that has come; unless a single request takes longer by itself. INFO shows the
//! longest that it has taken (`loop_max_us`). It holds because
//!
//! * the loop alone does the core's work. The other tasks of its executor write the log and time out clients' waits: they do little
//!   and then await the executor. None yields only to go on, for which the executor would neglect its own rings for 100 ms;
//! * work by the clock is done in slices, one in a turn: expiry, freeing, snapshots, statistics;
//! * the loop rests only if a look finds nothing ([`Server::is_idle`]), and what would end that state ends the rest: a completion of
//!   the network's ring and a bell, which signal the event that it waits for; the log's progress, a commit that begins, and the time
//!   of what is due, which end a sleep in the executor. While a commit is under way the loop does not sleep there but naps in its
//!   ring, which the commit's completion ends.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alarm::{Alarm, yield_now};
use super::connection::{Closing, Hold};
use super::shared::Order;
use super::worker::Worker;
use crate::config::Durability;
use crate::runtime::bell::Bell;
use crate::runtime::ring::{Event, ReceiveEnd, Ring, Token};
use crate::storage::{LocalBell, Log};

/// The longest that something is ready and not looked at. So often, too, a core that does not sleep has its executor look after timers
/// and file operations: it is what a flush may be late. The executor would do so by itself only every 100 ms; told to do it more often,
/// its preemption timer was seen to lose wake-ups.
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

/// One core's network.
pub struct Server {
    worker: Rc<RefCell<Worker>>,
    log: Log,
    ring: Ring,
    bell: Arc<Bell>,
    alarm: Alarm,
    listeners: Vec<OwnedFd>,
    events: Vec<Event>,
    /// The log or the mirror has moved since the last turn.
    progress: Rc<LocalBell>,
    /// When the last look was, or the rest after it ended.
    looked: Instant,
    /// When the executor must look at its rings and timers.
    breathe_at: Instant,
    /// When the periodic work is due; in the past while it is being done.
    tick_at: Instant,
    /// When the next slice of a snapshot is due, if one is being taken.
    capture_at: Option<Instant>,
    draining: Option<Instant>,
    /// Listeners that have stopped accepting, and when they are to go on: not at once, since what stopped them (no descriptor
    /// left) may last.
    stopped: Vec<Token>,
    /// It was for want of something that the last connection could not be accepted.
    exhausted: bool,
    rearm: Option<Instant>,
}

impl Server {
    /// Serves `worker`'s connections from `listeners`. Must be made on the core's own thread, in its executor.
    ///
    /// # Errors
    /// If the kernel refuses the ring.
    pub fn new(worker: Worker, bell: Arc<Bell>, listeners: Vec<OwnedFd>) -> io::Result<Self> {
        let alarm = Alarm::new(bell.sleep_event())?;
        let mut ring = Ring::new(bell.sleep_event())?;
        ring.watch(bell.nap_event());
        let log = worker.shard.log().clone();
        log.signal(bell.nap_event())?;
        let progress = Rc::new(LocalBell::default());
        log.on_progress({
            let progress = Rc::clone(&progress);
            Rc::new(move || progress.ring())
        });
        let worker = Rc::new(RefCell::new(worker));
        worker.borrow_mut().myself = Rc::downgrade(&worker);
        Ok(Self {
            worker,
            log,
            ring,
            bell,
            alarm,
            listeners,
            events: Vec::new(),
            progress,
            looked: Instant::now(),
            breathe_at: Instant::now(),
            tick_at: Instant::now(),
            capture_at: None,
            draining: None,
            stopped: Vec::new(),
            exhausted: false,
            rearm: None,
        })
    }

    /// Serves until the order to shut down; then the log is closed: everything acknowledged is on disk.
    ///
    /// # Errors
    /// If the ring fails, or the log could not be closed in good order.
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
        self.log.close().await.map_err(|why| ServeError::Log(why.to_string()))?;
        self.worker.borrow_mut().publish();
        Ok(())
    }

    /// Collects what the network's ring and the log's have completed. Returns whether a commit has ended.
    fn look(&mut self) -> io::Result<bool> {
        let before = std::mem::replace(&mut self.looked, Instant::now());
        self.worker.borrow_mut().stats.note_look(self.looked - before);
        self.ring.poll(&mut self.events)?;
        Ok(self.log.poll())
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

    /// Waits until there is something to do: in the ring for a moment, or, if it has `napped` already and the log is at rest, in the
    /// executor.
    async fn rest(&mut self, napped: bool) -> io::Result<()> {
        if napped && !self.log.is_committing() {
            self.bell.about_to_sleep();
            self.ring.set_alert(true);
            if self.is_idle() {
                let due = self.next_due();
                self.alarm.sleep(&self.progress, &self.log, due).await?;
                self.looked = Instant::now();
                self.breathe_at = self.looked + LOOK;
                self.worker.borrow_mut().stats.note_look(self.looked.saturating_duration_since(due));
            }
            self.ring.set_alert(false);
        } else {
            self.bell.about_to_nap();
            self.log.set_alert(true);
            if self.is_idle() {
                let nap = NAP.min(self.breathe_at.saturating_duration_since(self.looked));
                self.ring.wait(nap, &mut self.events)?;
                self.looked = Instant::now();
            }
            self.log.set_alert(false);
        }
        self.bell.awake();
        Ok(())
    }

    /// Whether a look would find nothing: nothing has happened, and there is no turn to take.
    fn is_idle(&mut self) -> bool {
        self.ring.is_idle() && self.log.is_idle() && !self.has_traffic() && !self.is_due()
    }

    /// Whether something has come that a turn must see to.
    fn has_traffic(&self) -> bool {
        !self.events.is_empty() || self.progress.is_rung() || !self.worker.borrow().is_idle()
    }

    /// Whether a turn has something to do by the clock.
    fn is_due(&self) -> bool {
        self.next_due() <= self.looked
    }

    /// When there is something to do by the clock.
    fn next_due(&self) -> Instant {
        let others = [self.capture_at, self.rearm];
        others.into_iter().flatten().fold(self.tick_at, Instant::min)
    }

    /// Takes a turn if there is one to take. Returns whether there was traffic.
    fn turn(&mut self) -> io::Result<bool> {
        let traffic = self.has_traffic();
        if !traffic && !self.is_due() {
            return Ok(false);
        }
        let cell = Rc::clone(&self.worker);
        let worker = &mut *cell.borrow_mut();
        let progress = self.progress.take() | worker.take_mirror_progress();
        let orders = worker.orders();
        worker.begin_turn();
        self.accept_again(worker.now)?;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.handle(worker, event)?;
        }
        self.events = events;
        for order in orders {
            self.obey(worker, order)?;
        }
        worker.take_in();
        self.work_by_the_clock(worker);
        if progress || worker.waits_in_vain() {
            worker.release_gated();
        }
        worker.send_messages();
        self.settle(worker)?;
        Ok(traffic)
    }

    /// Does one slice of what is due by the clock.
    fn work_by_the_clock(&mut self, worker: &mut Worker) {
        if self.capture_at.is_some_and(|at| at <= worker.now) {
            // It pauses after each slice, so that the periodic work is not kept waiting.
            self.capture_at = worker.capture_slice().map(|pause| Instant::now() + pause);
        } else if self.tick_at <= worker.now && worker.tick() {
            self.tick_at = worker.now + TICK;
        }
    }

    /// Lets listeners that have stopped go on when it is time.
    fn accept_again(&mut self, now: Instant) -> io::Result<()> {
        if self.draining.is_none() && self.rearm.is_some_and(|at| at <= now) {
            self.rearm = None;
            for token in std::mem::take(&mut self.stopped) {
                let listener = &self.listeners[(token - LISTENER) as usize];
                self.ring.accept(token, listener.as_fd())?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, worker: &mut Worker, event: Event) -> io::Result<()> {
        match event {
            Event::Accepted(Ok(descriptor)) => {
                // SAFETY: the kernel has just made the descriptor for us; nothing else owns it.
                let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
                if self.draining.is_none()
                    && let Some(token) = worker.connect(socket)
                {
                    worker.lists.resume.push(token);
                }
            }
            Event::Accepted(Err(error)) => {
                tracing::debug!(%error, "a connection could not be accepted");
                self.exhausted |= is_exhaustion(&error);
            }
            Event::AcceptEnded(token) => {
                // What is wrong with one connection keeps no other out; what the machine lacks will be lacking for a while.
                let pause = if std::mem::take(&mut self.exhausted) { TICK } else { Duration::ZERO };
                if !pause.is_zero() {
                    worker.stats.exhausted += 1;
                }
                self.stopped.push(token);
                self.rearm = Some(worker.now + pause);
            }
            Event::Received(token, chunk) => {
                worker.receive(token, self.ring.bytes(&chunk));
                self.ring.give_back(chunk);
            }
            Event::ReceiveEnded(token, end) => {
                if let Some(connection) = worker.connections.get_mut(token as usize) {
                    connection.receiving = false;
                    // A connection that was to pause may have gone on before it did.
                    let wanted = !std::mem::take(&mut connection.pausing) || connection.hold == Hold::No;
                    match end {
                        ReceiveEnd::Paused if wanted => worker.lists.resume.push(token),
                        ReceiveEnd::Paused => {}
                        ReceiveEnd::Closed => worker.end_of_input(token),
                        ReceiveEnd::Broken(error) => {
                            tracing::debug!(%error, "a connection broke");
                            worker.break_off(token);
                        }
                    }
                    worker.touch(token);
                }
            }
            Event::Sent(token, outcome) => {
                if let Some(connection) = worker.connections.get_mut(token as usize) {
                    worker.stats.sent_bytes += connection.sending.take().unwrap_or(0) as u64;
                    connection.note_progress(worker.now);
                    match outcome {
                        Ok(()) => worker.touch(token),
                        Err(_) => worker.break_off(token),
                    }
                }
            }
        }
        Ok(())
    }

    fn obey(&mut self, worker: &mut Worker, order: Order) -> io::Result<()> {
        match order {
            Order::Barrier { partition, checkpoint } => {
                if let Some(barrier) = worker.shard.barrier(partition, checkpoint) {
                    (worker.shared.process.barrier_placed)(barrier);
                }
            }
            Order::Capture(partition) => {
                worker.begin_capture(partition);
                self.capture_at.get_or_insert(worker.now);
            }
            Order::LogUsedUp(used_up) => worker.shard.set_log_used_up(used_up),
            Order::Reply(to, reply) => worker.finish(to.connection, to.client, to.ticket, &reply),
            Order::Shutdown if self.draining.is_none() => {
                self.draining = Some(worker.now + DRAIN);
                for token in (LISTENER..).take(self.listeners.len()) {
                    self.ring.cancel_accept(token)?;
                }
                worker.let_all_go();
            }
            Order::Shutdown => {}
        }
        Ok(())
    }

    /// Sends, receives, pauses and drops what the turn has left to be.
    fn settle(&mut self, worker: &mut Worker) -> io::Result<()> {
        for token in std::mem::take(&mut worker.lists.pause) {
            self.ring.cancel_receive(token)?;
        }
        for token in std::mem::take(&mut worker.lists.resume) {
            if let Some(connection) = worker.connections.get_mut(token as usize)
                && !connection.receiving
                && connection.closing == Closing::No
            {
                connection.receiving = true;
                self.ring.receive(token, connection.socket())?;
            }
        }
        let mut dirty = std::mem::take(&mut worker.lists.dirty);
        for token in dirty.drain(..) {
            self.settle_connection(worker, token)?;
        }
        if worker.lists.dirty.is_empty() {
            worker.lists.dirty = dirty;
        }
        Ok(())
    }

    fn settle_connection(&mut self, worker: &mut Worker, token: Token) -> io::Result<()> {
        worker.bound_output(token);
        let Some(connection) = worker.connections.get_mut(token as usize) else { return Ok(()) };
        connection.dirty = false;
        // Other cores answer at once, unless they wait for the disk.
        let gathers = worker.settings.durability == Durability::Async && connection.expects_more();
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
            worker.disconnect(token);
        }
        Ok(())
    }

    /// Whether the server may end: all clients are gone, or their time is up.
    fn has_drained(&self) -> bool {
        let Some(until) = self.draining else { return false };
        self.worker.borrow_mut().has_drained() || Instant::now() > until
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
    /// The log could not be closed.
    #[error("the log could not be closed: {0}")]
    Log(String),
}
