//! From bytes to commands to the cores that execute them.

use std::sync::atomic::Ordering::Relaxed;

use super::connection::{Closing, Hold, ReplyMode, Standing};
use super::merge::Merge;
use super::message::{HeldAnswer, Origin, Task};
use super::replies::Ticket;
use super::session::{self, COMMANDS};
use super::worker::{Gate, Worker};
use crate::commands::registry::{Find, Gather, KeySpec, Route};
use crate::commands::{Context, Spec, scan};
use crate::encoding::resp::{Args, Reply, Requests};
use crate::encoding::slot::slot_of;
use crate::ids::{CoreId, Slot};
use crate::partition::Executed;
use crate::runtime::ring::Token;

/// Requests of one connection that are looked at together.
const BATCH: usize = 512;
/// Requests to one core that may be unanswered; beyond it connections wait.
const OUTSTANDING: usize = 32 * 1024;
/// Bytes of requests to one core that it has not executed; beyond it connections wait, too.
const MOST_FORWARDED: usize = 16 << 20;

/// A request's command, and the slot of its key if it has just one.
#[derive(Clone, Copy)]
pub(super) struct Resolved {
    /// `None`: it names no command, or not with as many arguments as it takes.
    spec: Option<&'static Spec>,
    slot: Slot,
}

impl Resolved {
    #[inline]
    fn of(args: Args<'_>) -> Self {
        let spec = COMMANDS.registry.resolve(args).ok();
        let key = spec.filter(|s| s.route == Route::Key).and_then(|s| s.first_key(args));
        Self { spec, slot: key.map_or(Slot(0), slot_of) }
    }
}

/// Whether a request is a line of HTTP. A web page can have its reader's browser post commands to a server that serves only the reader's
/// machine; the lines before them give it away, as in Redis.
fn is_http(args: Args<'_>) -> bool {
    args.get(0).is_some_and(|name| [&b"post"[..], b"host:"].iter().any(|line| name.eq_ignore_ascii_case(line)))
}

/// How to go on after a request.
pub(super) enum Flow {
    /// With the next one.
    Next,
    /// Not now: the request is not executed yet.
    Stall,
    /// Not now: the client waits for the reply of this one, or leaves.
    Stop,
}

impl Worker {
    /// Executes requests of a connection from `bytes` as far as it may; returns the bytes that are done with.
    pub(super) fn run(&mut self, token: Token, bytes: &[u8]) -> usize {
        let usual = self.usual_limits();
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
                    let executed = self.run_batch(token, &requests, window, parsed);
                    done += executed;
                    if executed < parsed {
                        if let Some(connection) = self.connections.get_mut(token as usize) {
                            connection.partial = Default::default();
                        }
                        break;
                    }
                }
                Err(error) => {
                    self.reply(token, |r| r.error(&format!("ERR {error}")));
                    if let Some(connection) = self.connections.get_mut(token as usize) {
                        connection.close(Closing::AfterReplies);
                    }
                    done = bytes.len();
                }
            }
        }
        self.requests = requests;
        done
    }

    /// Executes a batch; returns the bytes that are done with, `parsed` if all are.
    fn run_batch(&mut self, token: Token, requests: &Requests, bytes: &[u8], parsed: usize) -> usize {
        let mut resolved = std::mem::take(&mut self.resolved);
        resolved.clear();
        resolved.extend((0..requests.len()).map(|i| Resolved::of(requests.args(i, bytes))));
        if requests.len() > 1 {
            self.look_ahead(token, requests, bytes, &resolved);
        }
        let mut done = parsed;
        for (i, resolved) in resolved.iter().enumerate() {
            let flow = self.request(token, requests.args(i, bytes), *resolved);
            if !matches!(flow, Flow::Stall) {
                self.stats.note_command(resolved.spec);
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

    /// Has all keys of a batch that are here looked up before the first is needed, so that the memory's latency is paid once.
    fn look_ahead(&mut self, token: Token, requests: &Requests, bytes: &[u8], resolved: &[Resolved]) {
        let Some(connection) = self.connections.get(token as usize) else { return };
        let db = connection.session.db;
        let store = self.shard.store();
        self.sought.clear();
        for (i, Resolved { spec, slot }) in resolved.iter().enumerate() {
            if let Some(spec) = spec.filter(|s| s.route == Route::Key)
                && self.placement.core_of_slot(*slot) == self.shard.core()
                && let Some(key) = spec.first_key(requests.args(i, bytes))
            {
                self.sought.push(store.seek(db, *slot, key));
            }
        }
        self.sought.iter().for_each(|sought| store.seek_bucket(sought));
        self.sought.iter().for_each(|sought| store.seek_record(sought));
    }

    /// Executes one request, or sends it where it belongs.
    fn request(&mut self, token: Token, args: Args<'_>, resolved: Resolved) -> Flow {
        let Some(connection) = self.connections.get_mut(token as usize) else { return Flow::Stop };
        let Some(spec) = resolved.spec else {
            if is_http(args) {
                tracing::warn!(client = connection.client, "disconnected: it speaks HTTP");
                self.break_off(token);
                return Flow::Stop;
            }
            if let Err(refusal) = COMMANDS.registry.resolve(args) {
                self.reply_unless_muted(token, |r| refusal.reply(r));
            }
            return Flow::Next;
        };
        connection.session.last_command = spec.name;
        let standing = connection.session.standing;
        if standing != Standing::Client
            && let Some(why) = standing.refusal(spec)
        {
            return self.refuse(token, standing, why);
        }
        match spec.route {
            Route::Session => session::execute(self, token, spec, args),
            Route::Key => self.on_core(token, spec, self.placement.core_of_slot(resolved.slot), resolved.slot, args),
            Route::OneCore => self.on_one_core(token, spec, args),
            Route::Scatter(gather) => self.scatter(token, spec, gather, args),
            Route::EveryCore(gather) => self.on_every_core(token, spec, merge_of(gather), args),
            Route::Random => {
                let random = self.random.u64(..);
                self.on_every_core(token, spec, Merge::Drawn(random), args)
            }
            Route::Cursor => {
                let slot = scan::cursor_slot(args.get(1).unwrap_or_default());
                self.on_core(token, spec, self.placement.core_of_slot(slot), slot, args)
            }
        }
    }

    /// Refuses a command to a client of this standing. A place for administrators that is used for something else is given back.
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

    /// Executes a command on the one core that it needs.
    fn on_core(&mut self, token: Token, spec: &'static Spec, core: CoreId, slot: Slot, args: Args<'_>) -> Flow {
        if !self.has_room(spec, core) {
            return self.stall(token);
        }
        if core == self.core() {
            return self.execute_here(token, spec, slot, args);
        } else if let Some(ticket) = self.expect(token, Merge::Only, 1) {
            self.send(token, ticket, 0, core, (spec, slot), args.from(0));
        }
        Flow::Next
    }

    /// Executes a command on the core of all its keys; refuses it if they are on several.
    fn on_one_core(&mut self, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
        let first = slot_of(spec.first_key(args).unwrap_or_default());
        let core = self.placement.core_of_slot(first);
        if spec.keys_of(args).any(|key| self.placement.core_of_slot(slot_of(key)) != core) {
            let name = spec.name.to_ascii_uppercase();
            self.reply_unless_muted(token, |r| {
                r.error(&format!("CROSSSLOT Keys of {name} live on different cores; give them a common {{tag}}"));
            });
            return Flow::Next;
        }
        self.on_core(token, spec, core, first, args)
    }

    /// Executes a command on every core that has one of its keys, with these keys only.
    fn scatter(&mut self, token: Token, spec: &'static Spec, gather: Gather, args: Args<'_>) -> Flow {
        let Some(KeySpec { find: Find::Range { step, .. }, .. }) = spec.keys.first() else { return Flow::Next };
        let step = usize::from(*step);
        if !(args.len() - 1).is_multiple_of(step) {
            // A key without its value: any core's plan says so.
            return self.on_core(token, spec, self.core(), Slot(0), args);
        }
        let core_of = |index: usize| self.placement.core_of_slot(slot_of(args.at(index)));
        let homes: Vec<CoreId> = spec.key_indices(args).map(core_of).collect();
        if homes.iter().all(|home| *home == homes[0]) {
            return self.on_core(token, spec, homes[0], slot_of(args.at(1)), args);
        }
        let mut cores = homes.clone();
        cores.sort_unstable();
        cores.dedup();
        if cores.iter().any(|core| !self.has_room(spec, *core)) {
            return self.stall(token);
        }
        let part_of = |home: &CoreId| cores.binary_search(home).unwrap_or_default() as u16;
        let how = match gather {
            Gather::ByKey => Merge::InOrder(homes.iter().map(part_of).collect()),
            other => merge_of(other),
        };
        let Some(ticket) = self.expect(token, how, cores.len()) else { return Flow::Stop };
        for (part, core) in (0u16..).zip(&cores) {
            let its_keys = homes.iter().enumerate().filter(|(_, home)| *home == core);
            let words = its_keys.flat_map(|(n, _)| (0..step).map(move |i| args.at(1 + n * step + i)));
            let words = std::iter::once(args.at(0)).chain(words);
            let first = homes.iter().position(|home| home == core).unwrap_or_default();
            let slot = slot_of(args.at(1 + first * step));
            if *core == self.core() {
                self.execute_part(token, ticket, part, (spec, slot), words);
            } else {
                self.send(token, ticket, part, *core, (spec, slot), words);
            }
        }
        self.release(token);
        self.bound_output(token);
        Flow::Next
    }

    /// Executes a command on every core.
    pub(super) fn on_every_core(&mut self, token: Token, spec: &'static Spec, how: Merge, args: Args<'_>) -> Flow {
        let cores = self.placement.cores();
        if cores == 1 && !matches!(spec.route, Route::Session | Route::Random) {
            return self.on_core(token, spec, self.core(), Slot(0), args);
        }
        if (0..cores).any(|core| !self.has_room(spec, CoreId(core))) {
            return self.stall(token);
        }
        let Some(ticket) = self.expect(token, how, usize::from(cores)) else { return Flow::Stop };
        for core in (0..cores).map(CoreId) {
            if core == self.core() {
                self.execute_part(token, ticket, core.0, (spec, Slot(0)), args.from(0));
            } else {
                self.send(token, ticket, core.0, core, (spec, Slot(0)), args.from(0));
            }
        }
        self.release(token);
        self.bound_output(token);
        Flow::Next
    }

    /// Executes a command on this core for a connection of this core.
    fn execute_here(&mut self, token: Token, spec: &'static Spec, slot: Slot, args: Args<'_>) -> Flow {
        let context = {
            let Some(connection) = self.connections.get(token as usize) else { return Flow::Stop };
            let session = &connection.session;
            self.context(session.db, slot, !session.no_touch)
        };
        let Some(connection) = self.connections.get_mut(token as usize) else { return Flow::Stop };
        let muted = connection.session.replies != ReplyMode::On;
        let direct = connection.replies.is_empty();
        let out = if direct { &mut connection.output } else { &mut self.spare };
        if !direct {
            out.clear();
        }
        let start = out.len();
        let mut reply = Reply::new(out, connection.session.protocol);
        let Executed { gate, wrote } = self.shard.execute(spec, &context, args, &mut reply);
        self.stats.note_reply(&out[start..]);
        if muted {
            out.truncate(start);
        }
        if wrote.0 > 0 {
            connection.note_write(self.shard.core(), wrote, self.placement.cores());
        }
        if !direct {
            connection.replies.push(&self.spare, gate);
        } else if gate > self.shard.safe() {
            connection.replies.push(&connection.output[start..], gate);
            connection.output.truncate(start);
        }
        let flooded = connection.output_bytes() > self.settings.limits.output_buffer_bytes;
        if muted {
            self.unmute_next(token);
        }
        if direct && gate.0 == 0 {
            self.touch(token)
        } else {
            self.release(token)
        }
        if flooded {
            self.bound_output(token);
            return Flow::Stop;
        }
        Flow::Next
    }

    /// Executes this core's part of a command that several cores execute.
    fn execute_part<'a>(
        &mut self,
        token: Token,
        ticket: Ticket,
        part: u16,
        command: (&'static Spec, Slot),
        words: impl Iterator<Item = &'a [u8]>,
    ) {
        let Some(connection) = self.connections.get(token as usize) else { return };
        let call = connection.call(command);
        let origin = Origin { connection: token, client: connection.client, ticket, part };
        let mut single = super::message::Batch::default();
        single.push(origin, Task::Command(call), words);
        let Some((_, _, args)) = single.get(0) else { return };
        let mut bytes = Vec::new();
        let executed = self.execute_for(origin, call, args, &mut bytes);
        self.hold_or_answer(executed, HeldAnswer { to: self.core(), origin, wrote: executed.wrote, bytes });
    }

    /// Puts an answer where it belongs once its edits are safe.
    pub(super) fn hold_or_answer(&mut self, executed: Executed, answer: HeldAnswer) {
        if executed.gate > self.shard.safe() {
            self.hold(Gate::Safe(executed.gate), answer);
        } else {
            self.answer(answer);
        }
    }

    /// What a plan must know.
    pub(super) fn context(&mut self, db: crate::ids::Db, slot: Slot, touch: bool) -> Context {
        Context {
            db,
            slot,
            now: self.wall,
            random: self.random.u64(..),
            touch,
            max_string: self.settings.limits.bulk_bytes as u64,
            max_reply: self.settings.limits.output_buffer_bytes,
            partitions: self.placement.partitions(),
            owned: self.placement.partitions_of(self.core()),
        }
    }

    /// Keeps a place in a connection's replies for one that other cores will give.
    pub(super) fn expect(&mut self, token: Token, how: Merge, parts: usize) -> Option<Ticket> {
        let connection = self.connections.get_mut(token as usize)?;
        let muted = connection.session.replies != ReplyMode::On;
        let ticket = connection.replies.expect(how, parts, connection.session.protocol, muted);
        if muted {
            self.unmute_next(token);
        }
        Some(ticket)
    }

    /// Sends part of a command to another core.
    fn send<'a>(
        &mut self,
        token: Token,
        ticket: Ticket,
        part: u16,
        core: CoreId,
        command: (&'static Spec, Slot),
        words: impl Iterator<Item = &'a [u8]>,
    ) {
        let Some(connection) = self.connections.get(token as usize) else { return };
        let task = Task::Command(connection.call(command));
        let origin = Origin { connection: token, client: connection.client, ticket, part };
        self.outbox[usize::from(core.0)].push(origin, task, words);
        self.outstanding[usize::from(core.0)] += 1;
        self.stats.forwarded += 1;
    }

    /// Whether `core` takes a command now.
    pub(super) fn has_room(&self, spec: &Spec, core: CoreId) -> bool {
        if core == self.core() {
            !(spec.is_write() && self.shard.is_full())
        } else {
            let waiting = self.outbox[usize::from(core.0)].bytes();
            self.outstanding[usize::from(core.0)] < OUTSTANDING
                && waiting + self.shared.forwarded(self.core(), core).load(Relaxed) < MOST_FORWARDED
                && !self.endpoint.is_full(core)
        }
    }

    /// Lets a connection wait until there is room.
    pub(super) fn stall(&mut self, token: Token) -> Flow {
        self.lists.stalled.push(token);
        self.stats.stalls += 1;
        self.put_off(token, Hold::Stalled)
    }

    /// Lets a connection wait, its request not being executed yet.
    pub(super) fn put_off(&mut self, token: Token, hold: Hold) -> Flow {
        if let Some(connection) = self.connections.get_mut(token as usize) {
            connection.hold = hold;
        }
        Flow::Stall
    }

    /// A reply of this core's own, unless the client does not want it.
    pub(super) fn reply_unless_muted(&mut self, token: Token, write: impl FnOnce(&mut Reply<'_>)) {
        let mode = self.connections.get(token as usize).map(|c| c.session.replies);
        if mode == Some(ReplyMode::On) {
            self.reply(token, write);
        } else {
            self.unmute_next(token);
        }
    }

    fn unmute_next(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token as usize)
            && connection.session.replies == ReplyMode::SkipNext
        {
            connection.session.replies = ReplyMode::On;
        }
    }
}

fn merge_of(gather: Gather) -> Merge {
    match gather {
        Gather::Ok => Merge::Ok,
        Gather::Sum => Merge::Sum,
        Gather::Concat | Gather::ByKey => Merge::Concat,
    }
}
