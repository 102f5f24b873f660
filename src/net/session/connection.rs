//! PING, ECHO, SELECT, QUIT, RESET.

use super::{Done, Outcome, Row, Visit, row};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::commands::{Refused, parse};
use crate::encoding::resp::{Args, Protocol, Reply};
use crate::ids::Db;
use crate::net::connection::{ReplyMode, Standing};

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
fn ping(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match (args.len(), args.get(1)) {
        (3.., _) => Refused::Arity("ping").reply(reply),
        (_, Some(message)) => reply.bulk(message),
        (_, None) => reply.simple("PONG"),
    }
    Ok(Outcome::Answered)
}

/// `ECHO message`
fn echo(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk(args.at(1));
    Ok(Outcome::Answered)
}

/// `SELECT index`
fn select(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match parse::database(args.at(1)) {
        Ok(db) => {
            visit.connection.session.db = db;
            reply.ok();
        }
        Err(refused) => refused.reply(reply),
    }
    Ok(Outcome::Answered)
}

/// `QUIT`
fn quit(_: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.ok();
    Ok(Outcome::Last)
}

/// `RESET`
fn reset(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let session = &mut visit.connection.session;
    session.db = Db(0);
    session.protocol = Protocol::Resp2;
    session.standing = Standing::Unauthenticated;
    session.unauthenticated_since = visit.now;
    if visit.settings.password.is_none() {
        session.admit();
    }
    session.name.clear();
    session.replies = ReplyMode::On;
    (session.no_evict, session.no_touch) = (false, false);
    reply.simple("RESET");
    Ok(Outcome::Answered)
}
