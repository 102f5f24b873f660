//! The model network: bytes take random times, and connections can break off at any moment. Bytes arrive in order or
//! not at all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::replication::link::LinkError;
use crate::replication::protocol::codec::Builder;
use crate::replication::protocol::wire::{Inbox, Kind, header};
use crate::replication::protocol::{BODY_LIMIT, Message, Received};
use crate::storage::model::{Process, World};

/// One direction of a connection: bytes on their way, each with the time at which they arrive.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<(Duration, Vec<u8>)>,
    /// When the reader learns that the connection has ended.
    ends_at: Option<Duration>,
    reader: Option<Waker>,
}

/// One end of a connection.
pub(super) struct Line {
    world: World,
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
    inbox: Inbox,
    builder: Builder,
    /// The process that has this end. A dead process sends nothing.
    pub(super) owner: Option<Process>,
    /// When bytes last arrived.
    pub(super) heard_at: Duration,
}

/// All connections, and whether the master listens.
#[derive(Clone)]
pub(super) struct Network {
    world: World,
    /// New connections that the master has not accepted yet.
    pub(super) accepted: Rc<RefCell<VecDeque<Line>>>,
    pipes: Rc<RefCell<Vec<Rc<RefCell<Pipe>>>>>,
    /// Whether nobody listens.
    pub(super) closed: Rc<RefCell<bool>>,
}

impl Network {
    pub(super) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            accepted: Rc::default(),
            pipes: Rc::default(),
            closed: Rc::new(RefCell::new(true)),
        }
    }

    /// Connects to the master, if it listens.
    pub(super) fn connect(&self, process: &Process) -> Result<Line, LinkError> {
        if *self.closed.borrow() {
            return Err(LinkError::Closed);
        }
        let (there, back) = (Rc::<RefCell<Pipe>>::default(), Rc::<RefCell<Pipe>>::default());
        self.pipes.borrow_mut().retain(|pipe| Rc::strong_count(pipe) > 1);
        self.pipes.borrow_mut().extend([there.clone(), back.clone()]);
        let line = |incoming: &Rc<RefCell<Pipe>>, outgoing: &Rc<RefCell<Pipe>>, owner| Line {
            world: self.world.clone(),
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            inbox: Inbox::default(),
            builder: Builder::default(),
            owner,
            heard_at: self.world.now(),
        };
        self.accepted.borrow_mut().push_back(line(&there, &back, None));
        Ok(line(&back, &there, Some(process.clone())))
    }

    /// Breaks off a random connection, or all. Either end learns of that after a delay of its own.
    pub(super) fn cut(&self, all: bool) {
        let pipes = self.pipes.borrow();
        if pipes.is_empty() {
            return;
        }
        let one = self.world.draw(|random| random.usize(0..pipes.len()));
        for (n, pipe) in pipes.iter().enumerate() {
            if all || n / 2 == one / 2 {
                // Bytes on their way are lost, from a random point on.
                let kept = self.world.draw(|random| random.usize(0..=pipe.borrow().bytes.len()));
                pipe.borrow_mut().bytes.truncate(kept);
                end(&self.world, pipe);
            }
        }
    }
}

/// Ends one direction of a connection; its reader learns of that after a random delay.
fn end(world: &World, pipe: &Rc<RefCell<Pipe>>) {
    // Mostly the other end learns of it within 5 ms; in a quarter of the cases, as if the machine were gone, it takes
    // up to 8 s.
    let delay = world.draw(|random| if random.u8(0..4) == 0 { random.u64(0..8_000) } else { random.u64(0..5) });
    let pipe = &mut *pipe.borrow_mut();
    let at = world.now() + Duration::from_millis(delay);
    pipe.ends_at = Some(pipe.ends_at.map_or(at, |before| before.min(at)));
    if let Some(reader) = pipe.reader.take() {
        reader.wake();
    }
}

impl Line {
    pub(super) const fn world(&self) -> &World {
        &self.world
    }

    pub(super) fn send(&mut self, message: &Message<'_>) {
        let body = message.encode(&mut self.builder).to_vec();
        self.put(Kind::Message, &body);
    }

    pub(super) fn send_log(&mut self, run: &[u8]) {
        self.put(Kind::Log, run);
    }

    fn put(&mut self, kind: Kind, body: &[u8]) {
        let bytes = [&header(kind, body)[..], body].concat();
        let delay = self.world.draw(|r| if r.u8(..) < 6 { r.u64(1_000..400_000) } else { r.u64(20..600) });
        let mut pipe = self.outgoing.borrow_mut();
        if pipe.ends_at.is_some() || self.owner.as_ref().is_none_or(|owner| !owner.is_alive()) {
            return;
        }
        let first = self.world.now() + Duration::from_micros(delay);
        let due = pipe.bytes.back().map_or(first, |(before, _)| first.max(*before));
        // Bytes arrive in two pieces, split at random.
        let at = self.world.draw(|random| random.usize(0..=bytes.len()));
        pipe.bytes.push_back((due, bytes[..at].to_vec()));
        pipe.bytes.push_back((due, bytes[at..].to_vec()));
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
    }

    /// Ready when there is a whole message or run to take; an error when the connection has ended or the bytes are
    /// malformed.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Result<(), LinkError>> {
        loop {
            if self.inbox.is_ready(BODY_LIMIT)? {
                return Poll::Ready(Ok(()));
            }
            let now = self.world.now();
            let mut pipe = self.incoming.borrow_mut();
            let next = pipe.bytes.front().map(|(due, _)| *due);
            match next.filter(|due| *due <= now) {
                Some(_) => {
                    let (_, bytes) = pipe.bytes.pop_front().expect("there is one");
                    drop(pipe);
                    self.heard_at = now;
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let space = self.inbox.space();
                        let some = space.len().min(rest.len());
                        space[..some].copy_from_slice(&rest[..some]);
                        self.inbox.filled(some);
                        rest = &rest[some..];
                    }
                }
                None if next.is_none() && pipe.ends_at.is_some_and(|at| at <= now) => {
                    return Poll::Ready(Err(LinkError::Closed));
                }
                None => {
                    pipe.reader = Some(context.waker().clone());
                    let due = next.or(pipe.ends_at);
                    drop(pipe);
                    if let Some(due) = due {
                        self.world.wake_at(due, context.waker());
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes the next message or run, once [`Self::poll`] was ready.
    pub(super) fn take(&mut self) -> Result<Received<'_>, LinkError> {
        match self.inbox.next(BODY_LIMIT)?.ok_or(LinkError::OutOfTurn)? {
            (Kind::Log, run) => Ok(Received::Log(run)),
            (Kind::Message, body) => match Message::decode(body)? {
                Message::Refusal { reason, text } => Err(LinkError::Refused { reason, text: text.into_owned() }),
                message => Ok(Received::Message(message)),
            },
        }
    }

    /// Waits at most `time` for a message or run to take; `false` if there is none.
    pub(super) async fn wait(&mut self, time: Duration) -> Result<bool, LinkError> {
        let deadline = self.world.now() + time;
        std::future::poll_fn(|context| match self.poll(context) {
            Poll::Ready(ready) => Poll::Ready(ready.map(|()| true)),
            Poll::Pending if self.world.now() >= deadline => Poll::Ready(Ok(false)),
            Poll::Pending => {
                self.world.wake_at(deadline, context.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Waits for a message, for `SILENCE` at most.
    pub(super) async fn message(&mut self) -> Result<Message<'_>, LinkError> {
        if !self.wait(crate::replication::protocol::SILENCE).await? {
            return Err(LinkError::Silent);
        }
        match self.take()? {
            Received::Message(message) => Ok(message),
            Received::Log(_) => Err(LinkError::OutOfTurn),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        end(&self.world, &self.outgoing);
        end(&self.world, &self.incoming);
    }
}
