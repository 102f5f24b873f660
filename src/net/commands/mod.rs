//! Commands that touch no data of a partition: about the connection, the server, and how safe edits are. One family a file.
//!
//! | file | commands |
//! |---|---|
//! | `connection` | PING, ECHO, SELECT, QUIT, RESET |
//! | `authentication` | AUTH, HELLO |
//! | `client`, `clients` | CLIENT: about the own connection; about all of them |
//! | `config` | CONFIG |
//! | `info` | INFO |
//! | `server` | TIME, LASTSAVE, SAVE, BGSAVE, SHUTDOWN |
//! | `wait` | WAIT, WAITAOF |
//!
//! COMMAND and the HELP of all are answered out of the table of commands (`store::commands::docs`).

mod authentication;
mod client;
mod clients;
mod config;
mod connection;
mod info;
mod server;
#[cfg(test)]
mod testing;
mod usage;
mod wait;

use std::borrow::Cow;

use super::execute::Flow;
use super::merge::Merge;
use super::ring::Token;
use super::worker::Worker;
use crate::encoding::resp::{Args, Reply};
use crate::store::commands::{Command, Spec, docs};

/// Why a command does nothing: the text of an error reply.
type Refusal = Cow<'static, str>;

const SYNTAX: Refusal = Cow::Borrowed("ERR syntax error");
const NOT_INTEGER: Refusal = Cow::Borrowed("ERR value is not an integer or out of range");

/// Executes a command on the core of its connection.
pub(super) fn execute(worker: &mut Worker, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
    match spec.command {
        Command::Ping => connection::ping(worker, token, args),
        Command::Echo => connection::echo(worker, token, args),
        Command::Select => connection::select(worker, token, args),
        Command::Quit => connection::quit(worker, token),
        Command::Reset => connection::reset(worker, token),
        Command::Auth => authentication::auth(worker, token, args),
        Command::Hello => authentication::hello(worker, token, args),
        Command::ClientId => client::id(worker, token),
        Command::ClientInfo => client::info(worker, token),
        Command::ClientGetname => client::getname(worker, token),
        Command::ClientSetname => client::setname(worker, token, args),
        Command::ClientSetinfo => client::setinfo(worker, token, args),
        Command::ClientReply => client::reply(worker, token, args),
        Command::ClientNoEvict | Command::ClientNoTouch => client::switch(worker, token, spec, args),
        Command::ClientList => clients::list(worker, token, spec, args),
        Command::ClientKill => clients::kill(worker, token, spec, args),
        Command::ConfigGet => config::get(worker, token, args),
        Command::ConfigSet => config::set(worker, token, args),
        Command::ConfigResetstat => worker.on_every_core(token, spec, Merge::Ok, args),
        Command::Info => info::info(worker, token, spec, args),
        Command::Time => server::time(worker, token),
        Command::Lastsave => server::lastsave(worker, token),
        Command::Save => server::save(worker, token),
        Command::Bgsave => server::bgsave(worker, token, args),
        Command::Shutdown => server::shutdown(worker, token, args),
        Command::Wait => wait::wait(worker, token, spec, args),
        Command::Waitaof => wait::waitaof(worker, token, spec, args),
        _ => {
            worker.reply_unless_muted(token, |r| {
                if !docs::answer(spec, args, r) {
                    // A command without subcommand, such as CLIENT, needs one.
                    r.error(&format!("ERR wrong number of arguments for '{}' command", spec.name));
                }
            });
            Flow::Next
        }
    }
}

/// This core's part of a command that is about all cores (`CLIENT LIST`, `CLIENT KILL`, `CONFIG RESETSTAT`, `INFO`).
/// Returns whether it is one.
pub(super) fn execute_on_every_core(
    worker: &mut Worker,
    asking_client: u64,
    spec: &'static Spec,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> bool {
    match spec.command {
        Command::ClientList => clients::list_here(worker, args, reply),
        Command::ClientKill => clients::kill_here(worker, asking_client, args, reply),
        Command::Info => {
            worker.publish();
            reply.ok();
        }
        Command::ConfigResetstat => {
            worker.stats.reset();
            worker.publish();
            reply.ok();
        }
        _ => return false,
    }
    true
}

/// Answers OK, or why not.
fn answer(worker: &mut Worker, token: Token, outcome: Result<(), Refusal>) -> Flow {
    worker.reply_unless_muted(token, |r| match outcome {
        Ok(()) => r.ok(),
        Err(why) => r.error(&why),
    });
    Flow::Next
}

/// A client's words, to be repeated in an error.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    const MOST: usize = 128;
    String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)])
}
