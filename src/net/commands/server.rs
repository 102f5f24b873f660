//! TIME, LASTSAVE, SAVE, BGSAVE, SHUTDOWN.

use super::{Refusal, SYNTAX, answer};
use crate::encoding::resp::Args;
use crate::net::connection::Hold;
use crate::net::execute::Flow;
use crate::net::merge::Merge;
use crate::net::ring::Token;
use crate::net::shared::Awaited;
use crate::net::worker::Worker;
use crate::runtime::clock;

/// `TIME`
pub(super) fn time(worker: &mut Worker, token: Token) -> Flow {
    let now = clock::unix_micros();
    worker.reply_unless_muted(token, |r| {
        r.array(2);
        r.bulk((now / 1_000_000).to_string().as_bytes());
        r.bulk((now % 1_000_000).to_string().as_bytes());
    });
    Flow::Next
}

/// `LASTSAVE`
pub(super) fn lastsave(worker: &mut Worker, token: Token) -> Flow {
    let at = (worker.shared.process.checkpoints)(()).last_save;
    worker.reply_unless_muted(token, |r| r.int(at as i64));
    Flow::Next
}

/// `SAVE`: answered when everything that has changed is checkpointed.
pub(super) fn save(worker: &mut Worker, token: Token) -> Flow {
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
pub(super) fn bgsave(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
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
pub(super) fn shutdown(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
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
    use super::super::testing::request;
    use super::*;

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
