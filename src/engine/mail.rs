//! What one core asks of another, and the answers: batches, one for each pair of cores and turn.

use crate::commands::Spec;
use crate::encoding::resp::{Args, Protocol, Span};
use crate::ids::{Caller, Db, Lsn, Slot};

/// Bytes of room that an empty batch keeps at most.
const KEPT: usize = 4 << 20;

/// A message between cores.
pub enum Mail {
    /// Requests that the receiver is to execute.
    Requests(Batch),
    /// Answers to the receiver's requests.
    Answers(Answers),
}

/// Where an answer belongs.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Request of a client that the reply belongs to.
    pub caller: Caller,
    /// Which part of the reply the answer is; `None` if it is all of it.
    pub part: Option<Part>,
}

/// One part of a reply that several cores give.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where the caller's core puts the parts together.
    pub gathering: u32,
    /// Which of the parts, from 0 on.
    pub index: u16,
}

/// A command as a core executes it, whoever asks.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Row of the command in the registry.
    pub spec: &'static Spec,
    /// Database that the client has selected.
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
    call: Call,
    first: usize,
    count: usize,
}

impl Batch {
    /// Number of requests in the batch.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the batch holds no request.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all arguments in the batch.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a request with arguments.
    pub fn push<'a>(&mut self, origin: Origin, call: Call, args: impl Iterator<Item = &'a [u8]>) {
        let first = self.spans.len();
        for arg in args {
            self.spans.push(Span { start: self.bytes.len() as u32, len: arg.len() as u32 });
            self.bytes.extend_from_slice(arg);
        }
        self.items.push(Item { origin, call, first, count: self.spans.len() - first });
    }

    /// Origin, command and arguments of the request at `index`.
    pub fn get(&self, index: usize) -> Option<(Origin, Call, Args<'_>)> {
        let item = self.items.get(index)?;
        Some((item.origin, item.call, Args::new(&self.bytes, &self.spans[item.first..][..item.count])))
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
    /// Whether the batch holds no answer.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of answers in the batch.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of all answers in the batch.
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
