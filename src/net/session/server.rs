//! TIME, LASTSAVE, SAVE, BGSAVE, SHUTDOWN.

use super::{Refusal, SYNTAX, answer};
use super::{Row, row};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::encoding::resp::Args;
use crate::net::connection::Hold;
use crate::net::execute::Flow;
use crate::net::merge::Merge;
use crate::net::shared::Awaited;
use crate::net::worker::Worker;
use crate::runtime::ring::Token;
use crate::time;

const OPERATOR: Flags = ANY_TIME.and(Flags::ADMIN).and(Flags::NOSCRIPT);
const SAVES: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[
    row(
        Spec::new(Group::Server, "time", 1, "")
            .flags(ANY_TIME.and(Flags::FAST), Categories::NONE)
            .tips(&["nondeterministic_output"])
            .about("2.6.0", "O(1)", "Tells the server's time: seconds and microseconds"),
        time,
    ),
    row(
        Spec::new(Group::Server, "lastsave", 1, "")
            .flags(ANY_TIME.and(Flags::FAST), Categories::ADMIN.and(Categories::DANGEROUS))
            .tips(&["nondeterministic_output"])
            .about("1.0.0", "O(1)", "Tells when the last checkpoint was completed, as a Unix time"),
        lastsave,
    ),
    row(
        Spec::new(Group::Server, "save", 1, "").flags(SAVES.and(Flags::NO_MULTI), Categories::NONE).about(
            "1.0.0",
            "O(N), N being the number of keys",
            "Asks for a checkpoint of all partitions and waits for it",
        ),
        save,
    ),
    row(
        Spec::new(Group::Server, "bgsave", -1, "[SCHEDULE]").flags(SAVES, Categories::NONE).about(
            "1.0.0",
            "O(1)",
            "Asks for a checkpoint of all partitions, without waiting for it",
        ),
        bgsave,
    ),
    row(
        Spec::new(Group::Server, "shutdown", -1, "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]")
            .flags(OPERATOR.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), Categories::NONE)
            .about(
                "1.0.0",
                "O(N), N being the bytes of the log not yet on disk",
                "Brings the log to disk and ends the server",
            ),
        shutdown,
    ),
];

/// `TIME`
fn time(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let now = time::unix_micros();
    worker.reply_unless_muted(token, |r| {
        r.array(2);
        r.bulk((now / 1_000_000).to_string().as_bytes());
        r.bulk((now % 1_000_000).to_string().as_bytes());
    });
    Flow::Next
}

/// `LASTSAVE`
fn lastsave(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let at = (worker.shared.process.checkpoints)(()).last_save;
    worker.reply_unless_muted(token, |r| r.int(at as i64));
    Flow::Next
}

/// `SAVE`: answered when everything that has changed is checkpointed.
fn save(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let Some(ticket) = worker.expect(token, Merge::Only, 1) else { return Flow::Stop };
    let Some(connection) = worker.connections.get_mut(token as usize) else { return Flow::Stop };
    let client = connection.client;
    connection.hold = Hold::Blocked(ticket);
    let awaited = Awaited { core: worker.core(), connection: token, client, ticket };
    let Err(why) = (worker.shared.process.checkpoint)(Some(awaited)) else { return Flow::Stop };
    if let Some(connection) = worker.connections.get_mut(token as usize) {
        connection.hold = Hold::No;
    }
    worker.finish(token, client, ticket, &error(&why));
    Flow::Next
}

/// `BGSAVE [SCHEDULE]`
fn bgsave(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    let schedule = args.get(1).is_none_or(|word| word.eq_ignore_ascii_case(b"SCHEDULE"));
    if args.len() > 2 || !schedule {
        return answer(worker, token, Err(SYNTAX));
    }
    let outcome = (worker.shared.process.checkpoint)(None);
    worker.reply_unless_muted(token, |r| match &outcome {
        Ok(()) => r.simple("Background saving started"),
        Err(why) => r.error(why),
    });
    Flow::Next
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`: not answered; the connection closes when the server ends.
fn shutdown(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    match may_shut_down(args) {
        Ok(()) => {
            if let Some(connection) = worker.connections.get_mut(token as usize) {
                connection.hold = Hold::Ending;
            }
            (worker.shared.process.shutdown)(());
            Flow::Stop
        }
        Err(why) => answer(worker, token, Err(why)),
    }
}

/// Whether the server is to end. It always brings its log to disk first and needs no snapshot for that, so that the options that
/// choose a way make no difference.
fn may_shut_down(args: Args<'_>) -> Result<(), Refusal> {
    let (mut save, mut no_save, mut abort) = (false, false, false);
    for option in args.from(1) {
        match option.to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => no_save = true,
            b"ABORT" => abort = true,
            b"NOW" | b"FORCE" => {}
            _ => return Err(SYNTAX),
        }
    }
    match abort {
        true if args.len() > 2 => Err(SYNTAX),
        true => Err("ERR No shutdown in progress.".into()),
        false if save && no_save => Err(SYNTAX),
        false => Ok(()),
    }
}

fn error(why: &str) -> Vec<u8> {
    let mut reply = Vec::new();
    crate::encoding::resp::Reply::new(&mut reply, Default::default()).error(why);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    #[test]
    fn shutdown_takes_the_options_of_redis() {
        let outcome = |text: &str| request(text, |args| may_shut_down(args).err().unwrap_or_default().into_owned());
        for text in ["SHUTDOWN", "SHUTDOWN nosave", "SHUTDOWN SAVE NOW", "SHUTDOWN now force"] {
            assert_eq!(outcome(text), "", "{text}");
        }
        for text in ["SHUTDOWN SAVE NOSAVE", "SHUTDOWN foo", "SHUTDOWN NOW ABORT"] {
            assert_eq!(outcome(text), "ERR syntax error", "{text}");
        }
        assert_eq!(outcome("SHUTDOWN abort"), "ERR No shutdown in progress.");
    }
}
