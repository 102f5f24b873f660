//! From bytes to commands, to whoever executes them, and back to the client.

use super::clients::{Clients, Resolved};
use super::connection::{Closing, Hold, ReplyMode, Standing};
use super::session::{self, COMMANDS, Outcome, Visit};
use crate::commands::Spec;
use crate::commands::registry::Route;
use crate::encoding::resp::{Args, Limits, Reply, Requests};
use crate::encoding::slot::slot_of;
use crate::engine::{Engine, Merge, Submitted};
use crate::ids::Slot;
use crate::partition::Committed;
use crate::runtime::ring::Token;

/// Requests of one connection that are looked at together.
const BATCH: usize = 512;
/// Spare room that an empty input keeps.
const KEPT_INPUT: usize = 64 << 10;

/// Finds a request's command.
#[inline]
fn resolve(args: Args<'_>) -> Resolved {
    let spec = COMMANDS.registry.resolve(args).ok();
    let key = spec.filter(|s| s.route == Route::Key).and_then(|s| s.first_key(args));
    Resolved { spec, slot: key.map_or(Slot(0), slot_of) }
}

/// Whether a request is a line of HTTP. A web page can have its reader's browser post commands to a server that serves
/// only the reader's machine; the lines before them give it away, as in Redis.
fn is_http(args: Args<'_>) -> bool {
    args.get(0).is_some_and(|name| [&b"post"[..], b"host:"].iter().any(|line| name.eq_ignore_ascii_case(line)))
}

/// How to go on after a request.
enum Flow {
    /// Go on with the next request.
    Next,
    /// Not now: the request is not executed yet.
    Stall,
    /// Not now: the client waits for the reply of this one, or leaves.
    Stop,
}

impl Clients {
    /// Bytes have come in on a connection.
    pub(super) fn receive(&mut self, engine: &mut Engine, token: Token, bytes: &[u8]) {
        self.counts.received_bytes += bytes.len() as u64;
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.closing >= Closing::AfterReplies {
            return;
        }
        if connection.input.is_empty() && connection.hold == Hold::No {
            let done = self.run(engine, token, bytes);
            if let Some(connection) = self.connections.get_mut(token as usize)
                && connection.closing < Closing::AfterReplies
            {
                connection.input.extend_from_slice(&bytes[done..]);
            }
        } else {
            connection.input.extend_from_slice(bytes);
            self.go_on(engine, token);
        }
        self.bound_input(token);
    }

    /// The client will send no more. Most likely it is gone, but it may have closed its half only and wait for its
    /// replies.
    pub(super) fn end_of_input(&mut self, engine: &mut Engine, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize) {
            connection.alone_since = Some(self.now);
            connection.close(Closing::AfterInput);
            self.go_on(engine, token);
            self.touch(token);
        }
    }

    /// Executes what a connection has sent and what was not executed yet, as far as it may.
    pub(super) fn go_on(&mut self, engine: &mut Engine, token: Token) {
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.hold == Hold::No && connection.input.len() >= connection.partial.needed().max(1) {
            let mut input = std::mem::take(&mut connection.input);
            let done = self.run(engine, token, &input);
            if let Some(connection) = self.connections.get_mut(token as usize) {
                if done > 0 {
                    connection.note_progress(self.now);
                }
                input.drain(..done);
                if input.is_empty() && input.capacity() > KEPT_INPUT {
                    input = Vec::new();
                }
                connection.input = input;
            }
        }
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        if connection.hold == Hold::No {
            if connection.closing == Closing::AfterInput {
                connection.close(Closing::AfterReplies);
                self.touch(token);
            } else if !connection.receiving {
                self.lists.resume.push(token);
            }
        }
    }

    /// Lets connections go on that waited for room. Who was first is last the next time.
    pub(super) fn retry_stalled(&mut self, engine: &mut Engine) {
        for token in std::mem::take(&mut self.lists.stalled) {
            if let Some(connection) = self.connections.get_mut(token as usize)
                && connection.hold == Hold::Stalled
            {
                connection.hold = Hold::No;
                if connection.closing < Closing::AfterReplies {
                    self.go_on(engine, token);
                }
            }
        }
        if self.lists.stalled.len() > 1 {
            self.lists.stalled.rotate_left(1);
        }
    }

    /// Sees to connections that have got replies which were under way: lets these leave, and the clients go on that
    /// waited for them.
    pub(super) fn take_answers(&mut self, engine: &mut Engine) {
        for token in std::mem::take(&mut self.lists.answered) {
            let Some(connection) = self.connections.get_mut(token as usize) else { continue };
            connection.answered = false;
            self.release(token, engine.safe());
            let Some(connection) = self.connections.get_mut(token as usize) else { continue };
            if connection.hold == Hold::Settling && !connection.replies.has_pending() {
                connection.hold = Hold::No;
            }
            if connection.hold == Hold::No {
                self.go_on(engine, token);
            }
        }
    }

    /// Executes requests of a connection from `bytes` as far as it may; returns the bytes that are done with.
    fn run(&mut self, engine: &mut Engine, token: Token, bytes: &[u8]) -> usize {
        let limits = &self.settings.limits;
        let usual = Limits { args: limits.args, bulk_bytes: limits.bulk_bytes, unauthenticated: false };
        let mut requests = std::mem::take(&mut self.requests);
        let mut done = 0;
        while let Some(connection) = self.connections.get_mut(token as usize).filter(|c| c.is_executing()) {
            let limits = connection.limits(usual);
            // What a client may send changes when it authenticates, so until then requests are taken one by one.
            let most = if limits.unauthenticated { 1 } else { BATCH };
            let window = &bytes[done..];
            match requests.parse(window, &mut connection.partial, &limits, most) {
                Ok(0) => break,
                Ok(parsed) => {
                    connection.session.last_request = self.now;
                    let executed = self.run_batch(engine, token, &requests, window, parsed);
                    done += executed;
                    if executed < parsed {
                        if let Some(connection) = self.connections.get_mut(token as usize) {
                            connection.partial = Default::default();
                        }
                        break;
                    }
                }
                Err(error) => {
                    self.part_with(token, &format!("ERR {error}"));
                    done = bytes.len();
                }
            }
        }
        self.requests = requests;
        done
    }

    /// Executes a batch; returns the bytes that are done with, `parsed` if all are.
    fn run_batch(
        &mut self,
        engine: &mut Engine,
        token: Token,
        requests: &Requests,
        bytes: &[u8],
        parsed: usize,
    ) -> usize {
        let mut resolved = std::mem::take(&mut self.resolved);
        resolved.clear();
        resolved.extend((0..requests.len()).map(|i| resolve(requests.args(i, bytes))));
        if requests.len() > 1
            && let Some(connection) = self.connections.get(token as usize)
        {
            let db = connection.session.db;
            engine.look_ahead(resolved.iter().enumerate().filter_map(|(i, Resolved { spec, slot })| {
                let spec = spec.filter(|spec| spec.route == Route::Key)?;
                Some((db, *slot, spec.first_key(requests.args(i, bytes))?))
            }));
        }
        let mut done = parsed;
        for (i, resolved) in resolved.iter().enumerate() {
            let flow = self.request(engine, token, requests.args(i, bytes), *resolved);
            if !matches!(flow, Flow::Stall) {
                self.counts.note_command(resolved.spec);
            }
            match flow {
                Flow::Next => {}
                Flow::Stall => {
                    done = if i == 0 { 0 } else { requests.end(i - 1) };
                    break;
                }
                Flow::Stop => {
                    done = if i + 1 == requests.len() { parsed } else { requests.end(i) };
                    break;
                }
            }
        }
        self.resolved = resolved;
        done
    }

    /// Executes one request, or sees to it that others do.
    fn request(&mut self, engine: &mut Engine, token: Token, args: Args<'_>, resolved: Resolved) -> Flow {
        let Some(connection) = self.connections.get_mut(token as usize) else { return Flow::Stop };
        let Some(spec) = resolved.spec else { return self.refuse_unknown(token, args) };
        connection.session.last_command = spec.name;
        let standing = connection.session.standing;
        if standing != Standing::Client
            && let Some(why) = standing.refusal(spec)
        {
            return self.refuse(token, standing, why);
        }
        match spec.route {
            Route::Session => self.on_session(engine, token, spec, args),
            _ => self.on_data(engine, token, spec, resolved.slot, args),
        }
    }

    /// Answers a request that names no command, or not as it must be used.
    #[cold]
    fn refuse_unknown(&mut self, token: Token, args: Args<'_>) -> Flow {
        if is_http(args) {
            tracing::warn!(token, "disconnected: it speaks HTTP");
            self.break_off(token);
            return Flow::Stop;
        }
        if let Err(refusal) = COMMANDS.registry.resolve(args) {
            self.reply_unless_muted(token, |r| refusal.reply(r));
        }
        Flow::Next
    }

    /// Refuses a command to a client of this standing. A place for administrators that is used for something else is
    /// given back.
    #[cold]
    fn refuse(&mut self, token: Token, standing: Standing, why: &str) -> Flow {
        self.reply_unless_muted(token, |r| r.error(why));
        match self.connections.get_mut(token as usize) {
            Some(connection) if standing == Standing::Administrator => {
                connection.close(Closing::AfterReplies);
                Flow::Stop
            }
            _ => Flow::Next,
        }
    }

    /// Has the engine execute a command on data.
    #[inline]
    fn on_data(&mut self, engine: &mut Engine, token: Token, spec: &'static Spec, slot: Slot, args: Args<'_>) -> Flow {
        let Some(connection) = self.connections.get_mut(token as usize) else { return Flow::Stop };
        let is_muted = connection.session.replies != ReplyMode::On;
        let is_direct = connection.replies.is_empty();
        let (caller, call) = (connection.caller(token), connection.call(spec, slot));
        let out = if is_direct { &mut connection.output } else { &mut self.spare };
        if !is_direct {
            out.clear();
        }
        let start = out.len();
        let Committed { gate, wrote } = match engine.submit(caller, call, args, out) {
            Submitted::Done(committed) => committed,
            Submitted::UnderWay { wrote, kept } => {
                connection.expect(engine.core(), wrote, kept, engine.cores().placement.cores());
                return Flow::Next;
            }
            Submitted::NoRoom => return self.stall(token),
        };
        if is_muted {
            out.truncate(start);
            connection.session.unmute_next();
        }
        if wrote.0 > 0 {
            connection.note_write(engine.core(), wrote, engine.cores().placement.cores());
        }
        if !is_direct {
            connection.replies.push(&self.spare, gate);
        } else if gate.0 > 0 && gate > engine.safe() {
            connection.replies.push(&connection.output[start..], gate);
            connection.output.truncate(start);
        }
        let is_flooded = connection.output_bytes() > self.settings.limits.output_buffer_bytes;
        if is_direct && gate.0 == 0 {
            self.touch(token);
        } else {
            self.release(token, engine.safe());
        }
        if is_flooded {
            self.bound_output(token);
            return Flow::Stop;
        }
        Flow::Next
    }

    /// Executes a command of the session.
    fn on_session(&mut self, engine: &mut Engine, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
        let Some(connection) = self.connections.get_mut(token as usize) else { return Flow::Stop };
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let mut reply = Reply::new(&mut bytes, connection.session.protocol);
        let mut visit = Visit {
            spec,
            token,
            connection,
            engine,
            service: &self.service,
            settings: &mut self.settings,
            counts: &mut self.counts,
            now: self.now,
        };
        let outcome = session::execute(&mut visit, args, &mut reply);
        let flow = self.conclude(engine, token, spec, args, outcome, &bytes);
        self.spare = bytes;
        flow
    }

    /// Does what a command of the session comes to; `reply` is what it has written.
    fn conclude(
        &mut self,
        engine: &mut Engine,
        token: Token,
        spec: &'static Spec,
        args: Args<'_>,
        outcome: Outcome,
        reply: &[u8],
    ) -> Flow {
        match outcome {
            Outcome::Answered | Outcome::Last => {
                match self.connections.get_mut(token as usize) {
                    Some(connection) if connection.session.replies == ReplyMode::On => self.put_reply(token, reply),
                    Some(connection) => connection.session.unmute_next(),
                    None => return Flow::Stop,
                }
                if matches!(outcome, Outcome::Answered) {
                    return Flow::Next;
                }
                if let Some(connection) = self.connections.get_mut(token as usize) {
                    connection.close(Closing::AfterReplies);
                }
                self.touch(token);
                Flow::Stop
            }
            Outcome::Unanswered => Flow::Next,
            Outcome::Ending => {
                self.hold(token, Hold::Ending);
                Flow::Stop
            }
            Outcome::Awaited(wait) => {
                if let Some(connection) = self.connections.get_mut(token as usize) {
                    let request = connection.expect_reply();
                    connection.hold = Hold::Blocked(request, wait);
                }
                Flow::Stop
            }
            Outcome::Wait(until) => {
                self.lists.waiting.push_back(token);
                self.hold(token, Hold::Waiting(until));
                Flow::Stall
            }
            Outcome::Settle => {
                self.hold(token, Hold::Settling);
                Flow::Stall
            }
            Outcome::OnData(spec) => {
                let slot = spec.first_key(args).map_or(Slot(0), slot_of);
                self.on_data(engine, token, spec, slot, args)
            }
            Outcome::Everywhere(how) => self.everywhere(engine, token, spec, args, how),
            Outcome::AfterCounts => match self.everywhere(engine, token, spec, args, Merge::Nothing) {
                Flow::Next => {
                    if let Some(connection) = self.connections.get_mut(token as usize) {
                        connection.counts_asked_for = true;
                    }
                    self.hold(token, Hold::Settling);
                    Flow::Stall
                }
                flow => flow,
            },
        }
    }

    /// Has every core do its part of a command of the session.
    fn everywhere(
        &mut self,
        engine: &mut Engine,
        token: Token,
        spec: &'static Spec,
        args: Args<'_>,
        how: Merge,
    ) -> Flow {
        let Some(connection) = self.connections.get(token as usize) else { return Flow::Stop };
        let (caller, call) = (connection.caller(token), connection.call(spec, Slot(0)));
        let mut reply = Vec::new();
        match engine.broadcast(how, caller, call, args, &mut reply, self) {
            Submitted::NoRoom => return self.stall(token),
            Submitted::Done(_) => self.reply_unless_muted(token, |r| r.raw(&reply)),
            Submitted::UnderWay { wrote, kept } => {
                if let Some(connection) = self.connections.get_mut(token as usize) {
                    connection.expect(engine.core(), wrote, kept, engine.cores().placement.cores());
                }
            }
        }
        // It may have been this connection that the command was to close.
        match self.connections.get(token as usize) {
            Some(connection) if connection.closing < Closing::AfterReplies => Flow::Next,
            _ => Flow::Stop,
        }
    }

    /// Lets a connection wait until there is room.
    fn stall(&mut self, token: Token) -> Flow {
        self.lists.stalled.push(token);
        self.counts.stalls += 1;
        self.hold(token, Hold::Stalled);
        Flow::Stall
    }

    fn hold(&mut self, token: Token, hold: Hold) {
        if let Some(connection) = self.connections.get_mut(token as usize) {
            connection.hold = hold;
        }
    }

    /// Makes attempts to authenticate again whose time has come.
    pub(super) fn retry_waiting(&mut self, engine: &mut Engine) {
        for _ in 0..self.lists.waiting.len() {
            let Some(token) = self.lists.waiting.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(token as usize) else { continue };
            match connection.hold {
                Hold::Waiting(until) if until <= self.now => {
                    connection.hold = Hold::No;
                    if connection.closing < Closing::AfterReplies {
                        self.go_on(engine, token);
                    }
                }
                Hold::Waiting(_) => self.lists.waiting.push_back(token),
                // Another connection has the token by now.
                _ => {}
            }
        }
    }
}
