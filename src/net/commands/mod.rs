//! Commands that touch no data of a partition: about the connection, the server, and how safe edits are. One family a file.

use super::execute::Flow;
use super::ring::Token;
use super::worker::Worker;
use crate::encoding::resp::{Args, Reply};
use crate::store::commands::{Command, Spec};

/// Executes a command on the core of its connection.
pub(super) fn execute(worker: &mut Worker, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
    match spec.command {
        Command::Ping => {
            worker.reply_unless_muted(token, |r| match args.get(1) {
                Some(message) => r.bulk(message),
                None => r.simple("PONG"),
            });
            Flow::Next
        }
        _ => {
            worker.reply_unless_muted(token, |r| r.error("ERR not here yet"));
            Flow::Next
        }
    }
}

/// This core's part of a command that is about the connections of all cores (`CLIENT LIST`, `CLIENT KILL`).
/// Returns whether it is one.
pub(super) fn execute_on_every_core(
    _worker: &mut Worker,
    _asking_client: u64,
    _spec: &'static Spec,
    _args: Args<'_>,
    _reply: &mut Reply<'_>,
) -> bool {
    false
}
