//! Commands of the session: they touch no data of a partition, but the connection, the server, and how safe edits are. One family a file:
//! its rows in the registry, its functions, its tests.
//!
//! | file | commands |
//! |---|---|
//! | `connection` | PING, ECHO, SELECT, QUIT, RESET |
//! | `authentication` | AUTH, HELLO |
//! | `client`, `clients` | CLIENT: about the own connection; about all of them |
//! | `command` | COMMAND |
//! | `config` | CONFIG |
//! | `info` | INFO |
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
mod info;
mod server;
mod usage;
mod wait;

use std::borrow::Cow;
use std::sync::LazyLock;

use super::execute::Flow;
use super::worker::Worker;
use crate::commands::registry::Registry;
use crate::commands::{FAMILIES, Spec, docs};
use crate::encoding::resp::{Args, Reply};
use crate::runtime::ring::Token;

/// Executes a command on the core of its connection.
type SessionFn = fn(&mut Worker, Token, &'static Spec, Args<'_>) -> Flow;
/// One core's part of a command that concerns all cores, for the client with this number.
type PartFn = fn(&mut Worker, u64, Args<'_>, &mut Reply<'_>);

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

/// A command and its function.
const fn row(spec: Spec, run: SessionFn) -> Row {
    Row { spec, run, part: None, subcommands: &[] }
}

/// A command that is nothing without a subcommand.
const fn parent(spec: Spec, subcommands: &'static [Row]) -> Row {
    row(spec, lacks_subcommand).subcommands(subcommands)
}

/// HELP of a command.
const fn help(spec: Spec) -> Row {
    row(spec, tell_help)
}

/// All commands of the server, and the functions of those that are this layer's.
pub static COMMANDS: LazyLock<Commands> = LazyLock::new(Commands::new);

/// All commands of the server.
pub struct Commands {
    /// Their rows.
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
            info::ROWS,
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
pub(super) fn execute(worker: &mut Worker, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
    (COMMANDS.functions[usize::from(spec.id.0)].0)(worker, token, spec, args)
}

/// Executes this core's part of a command that concerns all cores. Returns whether it is one.
pub(super) fn execute_part(
    worker: &mut Worker,
    asking_client: u64,
    spec: &'static Spec,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> bool {
    let Some(part) = COMMANDS.functions[usize::from(spec.id.0)].1 else { return false };
    part(worker, asking_client, args, reply);
    true
}

fn answer_from_registry(worker: &mut Worker, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
    if spec.short_name() == "help" {
        tell_help(worker, token, spec, args)
    } else {
        lacks_subcommand(worker, token, spec, args)
    }
}

/// `COMMAND HELP`, whatever the command.
fn tell_help(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    answer_with(worker, token, |r| {
        if let Some(parent) = COMMANDS.registry.lookup(args.at(0)) {
            docs::help(parent, r);
        }
    })
}

fn lacks_subcommand(worker: &mut Worker, token: Token, spec: &'static Spec, _: Args<'_>) -> Flow {
    answer_with(worker, token, |r| r.error(&format!("ERR wrong number of arguments for '{}' command", spec.name)))
}

/// Why a command does nothing: the text of an error reply.
type Refusal = Cow<'static, str>;

const SYNTAX: Refusal = Cow::Borrowed("ERR syntax error");
const NOT_INTEGER: Refusal = Cow::Borrowed("ERR value is not an integer or out of range");

/// Answers at once.
fn answer_with(worker: &mut Worker, token: Token, write: impl FnOnce(&mut Reply<'_>)) -> Flow {
    worker.reply_unless_muted(token, write);
    Flow::Next
}

/// Answers OK, or why not.
fn answer(worker: &mut Worker, token: Token, outcome: Result<(), Refusal>) -> Flow {
    answer_with(worker, token, |r| match outcome {
        Ok(()) => r.ok(),
        Err(why) => r.error(&why),
    })
}

/// A client's words, to be repeated in an error.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    const MOST: usize = 128;
    String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)])
}
