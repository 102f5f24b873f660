//! PING, ECHO, SELECT, QUIT, RESET.

use super::{Row, row};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::commands::{Refused, parse};
use crate::encoding::resp::{Args, Protocol};
use crate::ids::Db;
use crate::net::connection::{Closing, ReplyMode, Standing};
use crate::net::execute::Flow;
use crate::net::worker::Worker;
use crate::runtime::ring::Token;

const CATEGORY: Categories = Categories::CONNECTION;
/// Allowed before authentication.
const EARLY: Flags = ANY_TIME.and(Flags::NOSCRIPT).and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[
    row(
        Spec::new(Group::Connection, "ping", -1, "[message]")
            .flags(Flags::FAST, CATEGORY)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .about(
                "1.0.0",
                "O(1)",
                "Answers PONG, or with the message, so that a client knows that the server is there",
            ),
        ping,
    ),
    row(
        Spec::new(Group::Connection, "echo", 2, "message").flags(ANY_TIME.and(Flags::FAST), CATEGORY).about(
            "1.0.0",
            "O(1)",
            "Answers with the message",
        ),
        echo,
    ),
    row(
        Spec::new(Group::Connection, "select", 2, "index").flags(ANY_TIME.and(Flags::FAST), CATEGORY).about(
            "1.0.0",
            "O(1)",
            "Chooses the database that later commands of this connection use",
        ),
        select,
    ),
    row(
        Spec::new(Group::Connection, "quit", -1, "")
            .flags(EARLY, CATEGORY)
            .deprecated("7.2.0", "just closing the connection")
            .about("1.0.0", "O(1)", "Closes the connection once all replies are sent"),
        quit,
    ),
    row(
        Spec::new(Group::Connection, "reset", 1, "").flags(EARLY, CATEGORY).about(
            "6.2.0",
            "O(1)",
            "Takes the connection back to the state of a new one",
        ),
        reset,
    ),
];

/// `PING [message]`
fn ping(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    worker.reply_unless_muted(token, |r| match (args.len(), args.get(1)) {
        (3.., _) => Refused::Arity("ping").reply(r),
        (_, Some(message)) => r.bulk(message),
        (_, None) => r.simple("PONG"),
    });
    Flow::Next
}

/// `ECHO message`
fn echo(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    worker.reply_unless_muted(token, |r| r.bulk(args.at(1)));
    Flow::Next
}

/// `SELECT index`
fn select(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    let chosen = parse::database(args.at(1));
    if let (Ok(db), Some(connection)) = (&chosen, worker.connections.get_mut(token as usize)) {
        connection.session.db = *db;
    }
    worker.reply_unless_muted(token, |r| match chosen {
        Ok(_) => r.ok(),
        Err(refused) => refused.reply(r),
    });
    Flow::Next
}

/// `QUIT`
fn quit(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    worker.reply_unless_muted(token, |r| r.ok());
    if let Some(connection) = worker.connections.get_mut(token as usize) {
        connection.close(Closing::AfterReplies);
    }
    worker.touch(token);
    Flow::Stop
}

/// `RESET`
fn reset(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let now = worker.now;
    let open = worker.settings.password.is_none();
    if let Some(connection) = worker.connections.get_mut(token as usize) {
        let session = &mut connection.session;
        session.db = Db(0);
        session.protocol = Protocol::Resp2;
        session.standing = Standing::Stranger;
        session.stranger_since = now;
        if open {
            session.admit();
        }
        session.name.clear();
        session.replies = ReplyMode::On;
        (session.no_evict, session.no_touch) = (false, false);
    }
    worker.reply_unless_muted(token, |r| r.simple("RESET"));
    Flow::Next
}
