//! Dealings with other cores: their requests, their answers, and what leaves for them at the end of a turn.

use std::sync::atomic::Ordering::Relaxed;

use super::connection::{Closing, Hold};
use super::message::{Batch, Call, HeldAnswer, Message, Origin, Task};
use super::session;
use super::worker::{Gate, Worker};
use crate::encoding::resp::{Args, Protocol, Reply};
use crate::ids::{CoreId, Lsn};
use crate::partition::Executed;

/// Empty batches of each kind that are kept to be filled again.
const SPARES: usize = 16;
/// Bytes of answers to one core after which a batch is interrupted until they have left.
const ENOUGH: usize = 1 << 20;
/// Bytes of answers that wait for the disk or the mirror beyond which no more requests of other cores are executed.
const MOST_HELD: usize = 16 << 20;
/// An answer of more bytes than this is worth a look at what its connection holds at once; the end of the turn looks in any case.
const LONG_ANSWER: usize = 4 << 10;

impl Worker {
    /// Takes in all messages from other cores.
    fn receive_messages(&mut self) {
        self.interrupted = false;
        let cores = self.placement.cores();
        for core in (self.first_core..cores).chain(0..self.first_core).map(CoreId) {
            if core == self.core() {
                continue;
            }
            let index = usize::from(core.0);
            if let Some((batch, from)) = self.parked[index].take() {
                self.execute_batch(core, batch, from);
            }
            while self.parked[index].is_none()
                && let Some(message) = self.endpoint.receive(core)
            {
                match message {
                    Message::Requests(batch) => self.execute_batch(core, batch, 0),
                    Message::Answers(mut answers) => {
                        for (origin, wrote, bytes) in answers.iter() {
                            self.outstanding[index] -= 1;
                            self.take_answer(core, origin, wrote, bytes);
                        }
                        answers.clear();
                        self.spare_answers.push(answers);
                    }
                }
            }
        }
    }

    /// Sends what has been collected for other cores.
    pub(super) fn send_messages(&mut self) {
        // What comes in is filled again and sent; no more is kept than a turn needs.
        self.spare_batches.truncate(SPARES);
        self.spare_answers.truncate(SPARES);
        for core in self.endpoint.others() {
            let index = usize::from(core.0);
            if self.outbox[index].len() > 0 {
                let empty = self.spare_batches.pop().unwrap_or_default();
                let batch = std::mem::replace(&mut self.outbox[index], empty);
                let forwarded = self.shared.forwarded(self.core(), core);
                forwarded.fetch_add(batch.bytes(), Relaxed);
                if let Err(Message::Requests(batch)) = self.endpoint.send(core, Message::Requests(batch)) {
                    forwarded.fetch_sub(batch.bytes(), Relaxed);
                    self.outbox[index] = batch;
                }
            }
            if !self.answers[index].is_empty() {
                let empty = self.spare_answers.pop().unwrap_or_default();
                let answers = std::mem::replace(&mut self.answers[index], empty);
                if let Err(Message::Answers(answers)) = self.endpoint.send(core, Message::Answers(answers)) {
                    self.answers[index] = answers;
                }
            }
        }
    }

    /// Whether something waits that only the next turn can do.
    pub(super) fn has_unsent(&self) -> bool {
        self.interrupted || self.outbox.iter().any(|b| b.len() > 0) || self.answers.iter().any(|a| !a.is_empty())
    }

    /// Executes another core's requests from the one at `from` on; parks them when the log is full, or when too much is held.
    fn execute_batch(&mut self, core: CoreId, mut batch: Batch, from: usize) {
        self.look_ahead_batch(&batch, from);
        let index = usize::from(core.0);
        // A batch that was interrupted was a large one; meanwhile some of those who wanted it may be gone.
        let broken = if from > 0 { self.shared.broken(core) } else { Vec::new() };
        // Most answers leave at once: they are written where they leave from.
        let mut answers = std::mem::take(&mut self.answers[index]);
        let mut parked = None;
        for request in from..batch.len() {
            let Some((origin, task, args)) = batch.get(request) else { continue };
            match task {
                Task::Command(call) if call.spec.is_write() && self.shard.is_full() => {
                    parked = Some(request);
                    break;
                }
                Task::Command(_) if self.held_bytes > MOST_HELD => {
                    parked = Some(request);
                    break;
                }
                Task::Command(_) if answers.bytes() > ENOUGH => {
                    parked = Some(request);
                    self.interrupted = true;
                    break;
                }
                Task::Command(call) if !call.spec.is_write() && broken.contains(&origin.client) => {
                    answers.push(origin, Lsn(0), |_| {});
                }
                Task::Command(call) => {
                    answers.push_if(origin, |out| self.answer_or_hold(core, origin, call, args, out))
                }
                Task::Durable(lsn) => self.await_edits(core, origin, Gate::Durable(lsn)),
                Task::Mirrored(lsn) => self.await_edits(core, origin, Gate::Mirrored(lsn)),
            }
        }
        // Answers to this core that were given meanwhile by other ways.
        for (origin, wrote, bytes) in std::mem::take(&mut self.answers[index]).iter() {
            answers.push(origin, wrote, |out| out.extend_from_slice(bytes));
        }
        self.answers[index] = answers;
        match parked {
            Some(request) => self.parked[index] = Some((batch, request)),
            None => {
                self.shared.forwarded(core, self.core()).fetch_sub(batch.bytes(), Relaxed);
                batch.clear();
                self.spare_batches.push(batch);
            }
        }
    }

    /// Executes a command for another core's client. The answer goes to the end of `out`, unless its edits must become safe first.
    fn answer_or_hold(
        &mut self,
        core: CoreId,
        origin: Origin,
        call: Call,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Lsn> {
        let start = out.len();
        let Executed { gate, wrote } = self.execute_for(origin, call, args, out);
        if gate <= self.shard.safe() {
            return Some(wrote);
        }
        self.hold(Gate::Safe(gate), HeldAnswer { to: core, origin, wrote, bytes: out[start..].to_vec() });
        None
    }

    /// Has the keys of a batch looked up before the first is needed.
    fn look_ahead_batch(&mut self, batch: &Batch, from: usize) {
        let store = self.shard.store();
        self.sought.clear();
        for request in from..batch.len() {
            if let Some((_, Task::Command(call), args)) = batch.get(request)
                && let Some(key) = call.spec.first_key(args)
            {
                self.sought.push(store.seek(call.db, call.slot, key));
            }
        }
        self.sought.iter().for_each(|sought| store.seek_bucket(sought));
        self.sought.iter().for_each(|sought| store.seek_record(sought));
    }

    /// Executes a command for a connection that may be another core's.
    pub(super) fn execute_for(&mut self, origin: Origin, call: Call, args: Args<'_>, out: &mut Vec<u8>) -> Executed {
        let start = out.len();
        let mut reply = Reply::new(out, call.protocol);
        if session::execute_part(self, origin.client, call.spec, args, &mut reply) {
            return Executed::default();
        }
        let context = self.context(call.db, call.slot, call.touch);
        let executed = self.shard.execute(call.spec, &context, args, &mut reply);
        self.stats.note_reply(&out[start..]);
        executed
    }

    /// Answers once the edits that the gate names are there; starts their commit now.
    pub(super) fn await_edits(&mut self, to: CoreId, origin: Origin, gate: Gate) {
        self.shard.log().commit_now();
        let answer = HeldAnswer { to, origin, wrote: Lsn(0), bytes: b":1\r\n".to_vec() };
        self.pass(gate, answer);
    }

    /// Lets go what has become safe.
    pub(super) fn release_gated(&mut self) {
        let held_up = self.held_bytes > MOST_HELD;
        self.held_bytes = 0;
        for (gate, answer) in std::mem::take(&mut self.held) {
            self.pass(gate, answer);
        }
        // What was parked meanwhile is to be taken up at once.
        self.interrupted |= held_up && self.held_bytes <= MOST_HELD;
        let poisoned = self.shard.log().is_poisoned().is_some();
        for token in std::mem::take(&mut self.lists.gated) {
            if let Some(connection) = self.connections.get_mut(token as usize) {
                connection.gated = false;
                self.release(token);
                // What such a client waits for will never be safe, and what became of it nobody knows: that is what a lost
                // connection tells it.
                if poisoned && self.connections.get(token as usize).is_some_and(|c| c.gated) {
                    self.break_off(token);
                }
            }
        }
    }

    /// Whether somebody waits for edits to become safe although the log has failed: nothing will ever announce progress to them.
    pub(super) fn waits_in_vain(&self) -> bool {
        let waits = !self.held.is_empty() || !self.lists.gated.is_empty();
        waits && self.shard.log().is_poisoned().is_some()
    }

    /// Takes in what waits for room, and what comes from other cores. Where the log has little room, who comes first takes it: this
    /// core's clients and those of each other core do so by turns.
    pub(super) fn take_in(&mut self) {
        self.first_core = (self.first_core + 1) % self.placement.cores();
        if self.first_core == self.core().0 {
            self.retry_stalled();
            self.receive_messages();
        } else {
            self.receive_messages();
            self.retry_stalled();
        }
    }

    /// Lets connections go on that waited for room.
    fn retry_stalled(&mut self) {
        for token in std::mem::take(&mut self.lists.stalled) {
            if let Some(connection) = self.connections.get_mut(token as usize)
                && connection.hold == Hold::Stalled
            {
                connection.hold = Hold::No;
                if connection.closing < Closing::AfterReplies {
                    self.go_on(token);
                }
            }
        }
        // Who was first is last the next time.
        if self.lists.stalled.len() > 1 {
            self.lists.stalled.rotate_left(1);
        }
    }

    /// Gives an answer to the core that asked.
    pub(super) fn answer(&mut self, answer: HeldAnswer) {
        if answer.to == self.core() {
            self.take_answer(answer.to, answer.origin, answer.wrote, &answer.bytes);
        } else {
            let answers = &mut self.answers[usize::from(answer.to.0)];
            answers.push(answer.origin, answer.wrote, |out| out.extend_from_slice(&answer.bytes));
        }
    }

    fn take_answer(&mut self, core: CoreId, origin: Origin, wrote: Lsn, bytes: &[u8]) {
        let cores = self.placement.cores();
        let Some(connection) = self.connections.get_mut(origin.connection as usize) else { return };
        if connection.client != origin.client || connection.closing == Closing::Now {
            return;
        }
        if wrote.0 > 0 {
            connection.note_write(core, wrote, cores);
        }
        if connection.replies.answer(origin.ticket, origin.part, bytes, &mut connection.output) {
            self.unblock(origin.connection, origin.ticket);
        }
        if bytes.len() > LONG_ANSWER {
            self.bound_output(origin.connection);
        }
    }

    /// Gives an answer if its gate is open, or keeps it; if the gate will never open, says so instead.
    fn pass(&mut self, gate: Gate, mut answer: HeldAnswer) {
        if self.is_open(gate) {
            self.answer(answer);
        } else if let Some(why) = self.why_shut(gate) {
            answer.bytes.clear();
            Reply::new(&mut answer.bytes, Protocol::Resp2).error(&format!("MISCONF the log cannot be written: {why}"));
            self.answer(answer);
        } else {
            self.hold(gate, answer);
        }
    }

    /// Keeps an answer until its gate is open.
    pub(super) fn hold(&mut self, gate: Gate, answer: HeldAnswer) {
        self.held_bytes += answer.bytes.len();
        self.held.push_back((gate, answer));
    }

    /// Why a client that asks for edits to be safe will never hear that they are.
    fn why_shut(&self, gate: Gate) -> Option<std::rc::Rc<str>> {
        let (Gate::Safe(lsn) | Gate::Durable(lsn) | Gate::Mirrored(lsn)) = gate;
        let log = self.shard.log();
        log.is_poisoned().filter(|_| lsn > log.durable())
    }

    fn is_open(&self, gate: Gate) -> bool {
        match gate {
            Gate::Safe(lsn) => lsn <= self.shard.safe(),
            Gate::Durable(lsn) => lsn <= self.shard.log().durable(),
            Gate::Mirrored(lsn) => lsn <= self.shard.log().marks().mirrored(),
        }
    }
}
