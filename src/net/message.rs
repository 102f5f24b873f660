//! What one core asks of another, and the answers: batches, one for each pair of cores and turn.

use super::replies::Ticket;
use crate::commands::Spec;
use crate::encoding::resp::{Args, Protocol, Span};
use crate::ids::{CoreId, Db, Lsn, Slot};
use crate::runtime::ring::Token;

/// Bytes of room that an empty batch keeps at most.
const KEPT: usize = 4 << 20;

/// A message between cores.
pub enum Message {
    /// Work for the receiver.
    Requests(Batch),
    /// Answers to the receiver's requests.
    Answers(Answers),
}

/// Which reply an answer belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The connection on its core.
    pub connection: Token,
    /// The client that had the connection; another one may have it by now.
    pub client: u64,
    /// The reply.
    pub ticket: Ticket,
    /// The part of the reply.
    pub part: u16,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// A command, with the batch's arguments.
    Command(Call),
    /// To be told when the core's edits are on disk up to this one; the commit is to start at once.
    Durable(Lsn),
    /// To be told when the checkpoint node has the core's edits up to this one; the commit is to start at once.
    Mirrored(Lsn),
}

/// A command that one core executes for another's client.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which one.
    pub spec: &'static Spec,
    /// The client's database.
    pub db: Db,
    /// The slot of its first key; any if it has none.
    pub slot: Slot,
    /// How the client wants its reply.
    pub protocol: Protocol,
    /// Whether it counts as a use of its keys.
    pub touch: bool,
}

/// Requests of one core to another.
#[derive(Default)]
pub struct Batch {
    items: Vec<Item>,
    spans: Vec<Span>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Item {
    origin: Origin,
    task: Task,
    first: usize,
    count: usize,
}

impl Batch {
    /// Number of requests.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of all arguments.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a request with arguments.
    pub fn push<'a>(&mut self, origin: Origin, task: Task, args: impl Iterator<Item = &'a [u8]>) {
        let first = self.spans.len();
        for arg in args {
            self.spans.push(Span { start: self.bytes.len() as u32, len: arg.len() as u32 });
            self.bytes.extend_from_slice(arg);
        }
        self.items.push(Item { origin, task, first, count: self.spans.len() - first });
    }

    /// The request at `index`.
    pub fn get(&self, index: usize) -> Option<(Origin, Task, Args<'_>)> {
        let item = self.items.get(index)?;
        Some((item.origin, item.task, Args::new(&self.bytes, &self.spans[item.first..][..item.count])))
    }

    /// Forgets all requests, for the batch to be filled again.
    pub fn clear(&mut self) {
        self.items.clear();
        self.spans.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }
}

/// Answers of one core to another.
#[derive(Default)]
pub struct Answers {
    items: Vec<Answer>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Answer {
    origin: Origin,
    start: usize,
    wrote: Lsn,
}

impl Answers {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all of them.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all answers, for the batch to be filled again. What rare long ones needed is given back.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }

    /// Adds an answer: what `write` appends. `wrote` is the last edit that it stands for, or 0.
    pub fn push(&mut self, origin: Origin, wrote: Lsn, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.items.push(Answer { origin, start, wrote });
    }

    /// Adds an answer, what `write` appends, unless it returns `None`.
    pub fn push_if(&mut self, origin: Origin, write: impl FnOnce(&mut Vec<u8>) -> Option<Lsn>) {
        let start = self.bytes.len();
        match write(&mut self.bytes) {
            Some(wrote) => self.items.push(Answer { origin, start, wrote }),
            None => self.bytes.truncate(start),
        }
    }

    /// Every answer: where it belongs, the edit it stands for, its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Lsn, &[u8])> {
        self.items.iter().enumerate().map(|(i, answer)| {
            let end = self.items.get(i + 1).map_or(self.bytes.len(), |next| next.start);
            (answer.origin, answer.wrote, &self.bytes[answer.start..end])
        })
    }
}

/// An answer that waits on its core until the edit behind it is safe.
pub struct HeldAnswer {
    /// The core that asked.
    pub to: CoreId,
    /// Where it belongs.
    pub origin: Origin,
    /// The last edit that it stands for, or 0.
    pub wrote: Lsn,
    /// The answer.
    pub bytes: Vec<u8>,
}
