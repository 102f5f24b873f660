//! One core's tasks: the network turn, and what comes round by the clock.
//!
//! A turn polls the ring, lets the worker execute, and sends. While there is traffic the task only yields between turns. When there is
//! none, it rests: first for a moment in its own ring, which is cheap to enter and to leave, and is all that ever happens under load;
//! then in the executor, which costs a dozen system calls and lets other tasks be woken, too. Either way a completion, the bell, which
//! other cores ring, or the log ends it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::alarm::{Alarm, yield_now};
use super::capture::capturing;
use super::connection::{Closing, Hold};
use super::ring::{Event, ReceiveEnd, Ring, Token};
use super::shared::Order;
use super::worker::Worker;
use crate::config::Durability;
use crate::runtime::bell::Bell;
use crate::storage::{LocalBell, Log};

/// The longest rest in the ring. The executor's timers and file operations, other than commits, wait for its end.
const NAP: Duration = Duration::from_micros(500);
/// How often a busy core has its executor look after timers and file operations: what a flush may be late. The executor would do so
/// by itself only every 100 ms; told to do it more often, its preemption timer was seen to lose wake-ups.
const BREATH: Duration = Duration::from_millis(2);
/// What makes it do so: the shortest sleep.
const BLINK: Duration = Duration::from_micros(1);
/// Pause between turns while the last clients leave.
const DRAINING_TURN: Duration = Duration::from_micros(200);
/// How often a core does what comes round by the clock.
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
    /// A snapshot has been begun.
    captures: Rc<LocalBell>,
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
            captures: Rc::default(),
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
        let clockwork = glommio::spawn_local(clockwork(Rc::clone(&self.worker), Arc::clone(&self.bell)));
        let captures = glommio::spawn_local(capturing(Rc::clone(&self.worker), Rc::clone(&self.captures)));
        let mut napped = false;
        let mut breath = Instant::now();
        loop {
            self.ring.poll(&mut self.events)?;
            let committed = self.log.poll();
            let worked = self.turn()?;
            if self.has_drained() {
                break;
            }
            if worked || committed {
                napped = false;
            } else if self.draining.is_some() {
                glommio::timer::sleep(DRAINING_TURN).await;
            } else {
                self.rest(napped).await?;
                napped = true;
            }
            if breath.elapsed() < BREATH {
                yield_now().await;
            } else {
                glommio::timer::sleep(BLINK).await;
                breath = Instant::now();
            }
        }
        clockwork.cancel().await;
        captures.cancel().await;
        self.alarm.disarm().await?;
        self.log.close().await.map_err(|why| ServeError::Log(why.to_string()))?;
        self.worker.borrow_mut().publish();
        Ok(())
    }

    /// Waits until there is something to do: in the ring for a moment, or, if it has `napped` already and the log is at rest, in the
    /// executor.
    async fn rest(&mut self, napped: bool) -> io::Result<()> {
        if napped && !self.log.is_committing() {
            self.bell.about_to_sleep();
            self.ring.set_alert(true);
            if self.is_idle() {
                self.sleep().await?;
            }
            self.ring.set_alert(false);
        } else {
            self.bell.about_to_nap();
            self.log.set_alert(true);
            if self.is_idle() {
                self.ring.wait(NAP, &mut self.events)?;
            }
            self.log.set_alert(false);
        }
        self.bell.awake();
        Ok(())
    }

    /// Waits in the executor for the alarm or for progress.
    async fn sleep(&mut self) -> io::Result<()> {
        let (alarm, progress) = (&mut self.alarm, &self.progress);
        poll_fn(|context| {
            if progress.is_rung() {
                return Poll::Ready(Ok(()));
            }
            progress.listen(context);
            alarm.poll(context)
        })
        .await
    }

    fn is_idle(&mut self) -> bool {
        let worker = self.worker.borrow();
        self.ring.is_idle()
            && self.log.is_idle()
            && !self.progress.is_rung()
            && worker.is_idle()
            && worker.shared.inboxes[usize::from(worker.core().0)].is_empty()
    }

    /// One turn; whether there was anything to do.
    fn turn(&mut self) -> io::Result<bool> {
        let cell = Rc::clone(&self.worker);
        let worker = &mut *cell.borrow_mut();
        let progress = self.progress.take() | worker.take_mirror_progress();
        let orders = worker.orders();
        let quiet = worker.is_idle() && worker.lists.dirty.is_empty() && self.rearm.is_none();
        if quiet && self.events.is_empty() && !progress && orders.is_empty() {
            return Ok(false);
        }
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
        if progress || worker.waits_in_vain() {
            worker.release_gated();
        }
        worker.send_messages();
        self.settle(worker)?;
        Ok(true)
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
                self.captures.ring();
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

/// What comes round by the clock: expiry, counts, clients that have been silent for too long.
async fn clockwork(worker: Rc<RefCell<Worker>>, bell: Arc<Bell>) {
    loop {
        glommio::timer::sleep(TICK).await;
        while !worker.borrow_mut().tick() {
            bell.ring();
            glommio::executor().yield_task_queue_now().await;
        }
        bell.ring();
    }
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
