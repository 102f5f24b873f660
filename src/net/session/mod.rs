//! Commands of the session: they touch no data of a partition, but the connection, the server, and how safe edits are.
//! One family a file: its rows in the registry, its functions, its tests.
//!
//! | file | commands |
//! |---|---|
//! | `connection` | PING, ECHO, SELECT, QUIT, RESET |
//! | `authentication` | AUTH, HELLO |
//! | `client`, `clients` | CLIENT: about the own connection; about all of them |
//! | `command` | COMMAND |
//! | `config` | CONFIG |
//! | `debug` | DEBUG, except what looks at keys |
//! | `info` | INFO |
//! | `memory` | MEMORY, except what looks at keys |
//! | `server` | TIME, LASTSAVE, SAVE, BGSAVE, SHUTDOWN |
//! | `wait` | WAIT, WAITAOF |
//!
//! HELP of every command is answered out of the registry.

mod authentication;
mod client;
mod clients;
mod command;
mod config;
mod connection;
mod debug;
mod info;
mod memory;
mod server;
mod usage;
mod wait;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use super::clients::Clients;
use super::connection::Connection;
use super::counts::ClientCounts;
use super::service::Service;
use crate::commands::registry::Registry;
use crate::commands::{FAMILIES, Spec, docs};
use crate::config::Settings;
use crate::encoding::resp::{Args, Reply};
use crate::engine::{Engine, Merge, WaitId};
use crate::ids::Caller;
use crate::runtime::ring::Token;

/// What a command of the session may look at and change.
pub(super) struct Visit<'v> {
    /// Row of the command in the registry.
    pub spec: &'static Spec,
    /// Connection of the client that sent the command.
    pub connection: &'v mut Connection,
    /// Number of the connection on its core.
    pub token: Token,
    /// Engine of the connection's core.
    pub engine: &'v mut Engine,
    /// What the networks of all cores share.
    pub service: &'v Service,
    /// Settings that can change while the server runs, as they are now.
    pub settings: &'v mut Arc<Settings>,
    /// Counts of this core's clients.
    pub counts: &'v mut ClientCounts,
    /// Monotonic time at which this turn began.
    pub now: Instant,
}

impl Visit<'_> {
    /// Who is to get a reply that somebody else gives.
    fn caller(&self) -> Caller {
        self.connection.caller(self.token)
    }
}

/// What a command of the session comes to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The reply is written.
    Answered,
    /// Its reply is written, and is the last one of the connection.
    Last,
    /// There is no reply to it, whichever replies the client wants.
    Unanswered,
    /// There is no reply, and no more requests are executed: the server ends.
    Ending,
    /// Somebody else gives the reply, and the client waits for it; the engine, if it is a wait.
    Awaited(Option<WaitId>),
    /// Not now: it is to be executed again then.
    Wait(Instant),
    /// Not now: it is to be executed again when all replies before it are there.
    Settle,
    /// Every core does its part, and the parts come to the reply.
    Everywhere(Merge),
    /// It is executed as this command on data.
    OnData(&'static Spec),
    /// Not now: it is to be executed again when all cores have published their counts.
    AfterCounts,
}

/// What a command comes to, or why it does nothing: the text of an error reply.
type Done = Result<Outcome, Refusal>;
/// Executes a command on the core of its connection.
type SessionFn = fn(&mut Visit<'_>, Args<'_>, &mut Reply<'_>) -> Done;
/// One core's part of a command that concerns all cores, for the client with this number.
type PartFn = fn(&mut Clients, &mut Engine, u64, Args<'_>, &mut Reply<'_>);

/// A row of the registry with the functions that are this layer's.
struct Row {
    spec: Spec,
    run: SessionFn,
    part: Option<PartFn>,
    subcommands: &'static [Self],
}

impl Row {
    const fn part(mut self, part: PartFn) -> Self {
        self.part = Some(part);
        self
    }

    const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }
}

/// Row of a command that is executed by `run`.
const fn row(spec: Spec, run: SessionFn) -> Row {
    Row { spec, run, part: None, subcommands: &[] }
}

/// A command that is nothing without a subcommand.
const fn parent(spec: Spec, subcommands: &'static [Row]) -> Row {
    row(spec, lacks_subcommand).subcommands(subcommands)
}

/// Row of a HELP subcommand, which is answered out of the registry.
const fn help(spec: Spec) -> Row {
    row(spec, tell_help)
}

/// All commands of the server, and the functions of those that are this layer's.
pub static COMMANDS: LazyLock<Commands> = LazyLock::new(Commands::new);

/// All commands of the server.
pub struct Commands {
    /// Rows of all commands, those of the data included.
    pub registry: Registry,
    /// By id: the function of a command of the session, and its part on each core.
    functions: Vec<(SessionFn, Option<PartFn>)>,
}

impl Commands {
    fn new() -> Self {
        let rows = [
            connection::ROWS,
            authentication::ROWS,
            client::ROWS,
            command::ROWS,
            config::ROWS,
            debug::ROWS,
            info::ROWS,
            memory::ROWS,
            server::ROWS,
            wait::ROWS,
        ];
        let session: Vec<Spec> = rows.iter().copied().flatten().map(with_subcommands).collect();
        let registry = Registry::new(FAMILIES.iter().copied().chain([&session[..]]));
        // A command without subcommand, or the HELP of a command that touches data.
        let mut functions: Vec<(SessionFn, Option<PartFn>)> = vec![(answer_from_registry, None); registry.count()];
        for row in rows.iter().copied().flatten() {
            let Some(spec) = registry.lookup(row.spec.name.as_bytes()) else { continue };
            functions[usize::from(spec.id.0)] = (row.run, row.part);
            for (sub, spec) in row.subcommands.iter().zip(spec.subcommands) {
                functions[usize::from(spec.id.0)] = (sub.run, sub.part);
            }
        }
        Self { registry, functions }
    }
}

fn with_subcommands(row: &Row) -> Spec {
    let subcommands: Vec<Spec> = row.subcommands.iter().map(with_subcommands).collect();
    row.spec.clone().subcommands(Vec::leak(subcommands))
}

/// Executes a command on the core of its connection.
pub(super) fn execute(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    (COMMANDS.functions[usize::from(visit.spec.id.0)].0)(visit, args, reply).unwrap_or_else(|why| {
        reply.error(&why);
        Outcome::Answered
    })
}

/// Executes this core's part of a command that concerns all cores.
pub(super) fn perform(
    clients: &mut Clients,
    engine: &mut Engine,
    asking_client: u64,
    spec: &'static Spec,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) {
    match COMMANDS.functions[usize::from(spec.id.0)].1 {
        Some(part) => part(clients, engine, asking_client, args, reply),
        None => reply.error("ERR this command has no parts"),
    }
}

fn answer_from_registry(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if visit.spec.short_name() == "help" { tell_help(visit, args, reply) } else { lacks_subcommand(visit, args, reply) }
}

/// `COMMAND HELP`, whatever the command.
fn tell_help(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if let Some(parent) = COMMANDS.registry.lookup(args.at(0)) {
        docs::help(parent, reply);
    }
    Ok(Outcome::Answered)
}

fn lacks_subcommand(visit: &mut Visit<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Done {
    Err(format!("ERR wrong number of arguments for '{}' command", visit.spec.name).into())
}

/// Why a command does nothing: the text of an error reply.
type Refusal = Cow<'static, str>;

const SYNTAX: Refusal = Cow::Borrowed("ERR syntax error");
const NOT_INTEGER: Refusal = Cow::Borrowed("ERR value is not an integer or out of range");

/// Writes `+OK` as the reply.
fn ok(reply: &mut Reply<'_>) -> Done {
    reply.ok();
    Ok(Outcome::Answered)
}

/// A client's words, to be repeated in an error.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    const MOST: usize = 128;
    String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)])
}
