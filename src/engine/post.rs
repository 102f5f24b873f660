//! Requests and answers between this core and the others: what leaves at the end of a turn, and what comes in.

use std::sync::atomic::Ordering::Relaxed;

use super::gates::Answer;
use super::mail::{Answers, Batch, Call, Mail, Origin};
use super::{Engine, Front};
use crate::commands::Spec;
use crate::commands::registry::Route;
use crate::encoding::resp::{Args, Protocol, Reply};
use crate::ids::{CoreId, Lsn};
use crate::partition::Committed;
use crate::runtime::mesh::Endpoint;
use crate::storage::Disk;

/// Empty batches of each kind that are kept to be filled again.
const SPARES: usize = 16;
/// Requests to one core that may be unanswered; beyond it there is no room for more.
const OUTSTANDING: usize = 32 * 1024;
/// Bytes of requests to one core that it has not executed; beyond it there is no room for more.
const MOST_FORWARDED: usize = 16 << 20;
/// Bytes of answers to one core after which a batch is interrupted until they have left.
const ENOUGH: usize = 1 << 20;
/// Bytes of answers behind their gates beyond which no more requests of other cores are executed.
const MOST_HELD: usize = 16 << 20;

/// What is on its way to and from the other cores.
pub(super) struct Post {
    endpoint: Endpoint<Mail>,
    /// By core: what goes there at the end of the turn.
    requests: Vec<Batch>,
    answers: Vec<Answers>,
    /// Emptied ones, to be filled again.
    spare_requests: Vec<Batch>,
    spare_answers: Vec<Answers>,
    /// By core: requests sent there and not yet answered.
    outstanding: Vec<usize>,
    /// By core: a batch from there that cannot go on for now, and how far it has come.
    parked: Vec<Option<(Batch, usize)>>,
    /// Such a batch can go on as soon as the answers to those before have left.
    is_interrupted: bool,
    /// The core that comes first this time, where the log has little room: each core in turn, this one too.
    first: u16,
}

impl Post {
    pub(super) fn new(endpoint: Endpoint<Mail>, cores: usize) -> Self {
        Self {
            endpoint,
            requests: (0..cores).map(|_| Batch::default()).collect(),
            answers: (0..cores).map(|_| Answers::default()).collect(),
            spare_requests: Vec::new(),
            spare_answers: Vec::new(),
            outstanding: vec![0; cores],
            parked: (0..cores).map(|_| None).collect(),
            is_interrupted: false,
            first: 0,
        }
    }

    /// Whether nothing has come in, and nothing waits that only the next turn can do.
    pub(super) fn is_idle(&self) -> bool {
        self.endpoint.is_idle()
            && !self.is_interrupted
            && self.requests.iter().all(Batch::is_empty)
            && self.answers.iter().all(Answers::is_empty)
    }

    /// Puts a request into the batch for another core.
    pub(super) fn request<'a>(
        &mut self,
        to: CoreId,
        origin: Origin,
        call: Call,
        words: impl Iterator<Item = &'a [u8]>,
    ) {
        self.requests[usize::from(to.0)].push(origin, call, words);
        self.outstanding[usize::from(to.0)] += 1;
    }
}

impl<D: Disk> Engine<D> {
    /// Whether `core` takes a command now.
    pub(super) fn has_room(&self, spec: &Spec, core: CoreId) -> bool {
        if core == self.core {
            return !(spec.is_write() && self.shard.is_full());
        }
        let index = usize::from(core.0);
        let waiting = self.post.requests[index].bytes() + self.cores.forwarded(self.core, core).load(Relaxed);
        self.post.outstanding[index] < OUTSTANDING && waiting < MOST_FORWARDED && !self.post.endpoint.is_full(core)
    }

    /// The next turn at what is scarce goes to another core. Returns whether it is this one's own clients who come
    /// first now.
    pub fn rotate(&mut self) -> bool {
        self.post.first = (self.post.first + 1) % self.placement.cores();
        self.post.first == self.core.0
    }

    /// Takes in all messages from other cores: executes their requests, hands their answers to the front.
    pub fn receive(&mut self, front: &mut impl Front<D>) {
        self.post.is_interrupted = false;
        let cores = self.placement.cores();
        for core in (self.post.first..cores).chain(0..self.post.first).map(CoreId) {
            if core == self.core {
                continue;
            }
            let index = usize::from(core.0);
            if let Some((batch, from)) = self.post.parked[index].take() {
                self.execute_batch(core, batch, from, front);
            }
            while self.post.parked[index].is_none()
                && let Some(message) = self.post.endpoint.receive(core)
            {
                match message {
                    Mail::Requests(batch) => self.execute_batch(core, batch, 0, front),
                    Mail::Answers(mut answers) => {
                        self.post.outstanding[index] -= answers.len();
                        for (origin, wrote, bytes) in answers.iter() {
                            self.take_answer(core, origin, wrote, bytes, front);
                        }
                        answers.clear();
                        self.post.spare_answers.push(answers);
                    }
                }
            }
        }
    }

    /// Sends what has been collected for other cores.
    pub(super) fn send(&mut self) {
        let post = &mut self.post;
        // What comes in is filled again and sent; no more is kept than a turn needs.
        post.spare_requests.truncate(SPARES);
        post.spare_answers.truncate(SPARES);
        for core in post.endpoint.others() {
            let index = usize::from(core.0);
            if !post.requests[index].is_empty() {
                let empty = post.spare_requests.pop().unwrap_or_default();
                let batch = std::mem::replace(&mut post.requests[index], empty);
                let forwarded = self.cores.forwarded(self.core, core);
                forwarded.fetch_add(batch.bytes(), Relaxed);
                if let Err(Mail::Requests(batch)) = post.endpoint.send(core, Mail::Requests(batch)) {
                    forwarded.fetch_sub(batch.bytes(), Relaxed);
                    post.requests[index] = batch;
                }
            }
            if !post.answers[index].is_empty() {
                let empty = post.spare_answers.pop().unwrap_or_default();
                let answers = std::mem::replace(&mut post.answers[index], empty);
                if let Err(Mail::Answers(answers)) = post.endpoint.send(core, Mail::Answers(answers)) {
                    post.answers[index] = answers;
                }
            }
        }
    }

    /// Executes another core's requests from the one at `from` on; parks them when the log is full, or when too much is
    /// held.
    fn execute_batch(&mut self, core: CoreId, mut batch: Batch, from: usize, front: &mut impl Front<D>) {
        self.look_ahead((from..batch.len()).filter_map(|request| {
            let (_, call, args) = batch.get(request)?;
            Some((call.db, call.slot, call.spec.first_key(args)?))
        }));
        let index = usize::from(core.0);
        // A batch that was interrupted was a large one; meanwhile some of those who wanted it may be gone.
        let gone = if from > 0 { self.cores.gone(core) } else { Vec::new() };
        // Most answers leave at once: they are written where they leave from.
        let mut answers = std::mem::take(&mut self.post.answers[index]);
        let mut parked = None;
        for request in from..batch.len() {
            let Some((origin, call, args)) = batch.get(request) else { continue };
            let is_crowded = answers.bytes() > ENOUGH;
            if is_crowded || self.held.bytes() > MOST_HELD || (call.spec.is_write() && self.shard.is_full()) {
                self.post.is_interrupted |= is_crowded;
                parked = Some(request);
                break;
            }
            if !call.spec.is_write() && gone.contains(&origin.caller.client) {
                answers.push(origin, Lsn(0), |_| {});
            } else {
                answers.push_if(origin, |out| self.answer_or_hold(core, origin, call, args, out, front));
            }
        }
        self.post.answers[index] = answers;
        match parked {
            Some(request) => self.post.parked[index] = Some((batch, request)),
            None => {
                self.cores.forwarded(core, self.core).fetch_sub(batch.bytes(), Relaxed);
                batch.clear();
                self.post.spare_requests.push(batch);
            }
        }
    }

    /// Executes a command for another core's client. The answer goes to the end of `out`, unless its edits must become
    /// safe first.
    fn answer_or_hold(
        &mut self,
        core: CoreId,
        origin: Origin,
        call: Call,
        args: Args<'_>,
        out: &mut Vec<u8>,
        front: &mut impl Front<D>,
    ) -> Option<Lsn> {
        let start = out.len();
        if call.spec.route == Route::Session {
            let mut reply = Reply::new(out, call.protocol);
            front.perform(self, origin.caller.client, call.spec, args, &mut reply);
            return Some(Lsn(0));
        }
        let Committed { gate, wrote } = self.execute(call, args, out);
        if gate <= self.shard.safe() {
            return Some(wrote);
        }
        self.held.push(gate, Answer { to: core, origin, wrote, bytes: out[start..].to_vec() });
        None
    }

    /// Lets go what has become safe; says of what never will be that it will not.
    pub(super) fn release_held(&mut self, front: &mut impl Front<D>) {
        let was_crowded = self.held.bytes() > MOST_HELD;
        while let Some(answer) = self.held.pop(self.shard.safe()) {
            self.give(answer, front);
        }
        if let Some(why) = self.shard.log().is_poisoned() {
            for mut answer in self.held.take_beyond(self.shard.log().durable()) {
                answer.bytes.clear();
                let text = format!("MISCONF the log cannot be written: {why}");
                Reply::new(&mut answer.bytes, Protocol::Resp2).error(&text);
                self.give(answer, front);
            }
        }
        // What was parked meanwhile is to be taken up at once.
        self.post.is_interrupted |= was_crowded && self.held.bytes() <= MOST_HELD;
    }

    /// Gives an answer to the core that asked.
    pub(super) fn give(&mut self, answer: Answer, front: &mut impl Front<D>) {
        let Answer { to, origin, wrote, bytes } = answer;
        if to == self.core {
            self.take_answer(to, origin, wrote, &bytes, front);
        } else {
            self.post.answers[usize::from(to.0)].push(origin, wrote, |out| out.extend_from_slice(&bytes));
        }
    }

    /// Takes in what `core` answers to a client of this one.
    fn take_answer(&mut self, core: CoreId, origin: Origin, wrote: Lsn, bytes: &[u8], front: &mut impl Front<D>) {
        let wrote = (wrote.0 > 0).then_some((core, wrote));
        let Some(part) = origin.part else { return front.answer(origin.caller, wrote, bytes) };
        match self.gatherings.put(origin.caller, part, bytes) {
            Some(reply) => front.answer(origin.caller, wrote, &reply),
            None => front.part(origin.caller, wrote, bytes.len()),
        }
    }
}
