//! PING, ECHO, SELECT, QUIT, RESET.

use crate::encoding::resp::{Args, Protocol};
use crate::ids::Db;
use crate::net::connection::{Closing, ReplyMode, Standing};
use crate::net::execute::Flow;
use crate::net::ring::Token;
use crate::net::worker::Worker;
use crate::store::commands::{Refused, parse};

/// `PING [message]`
pub(super) fn ping(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
    worker.reply_unless_muted(token, |r| match (args.len(), args.get(1)) {
        (3.., _) => Refused::Arity("ping").reply(r),
        (_, Some(message)) => r.bulk(message),
        (_, None) => r.simple("PONG"),
    });
    Flow::Next
}

/// `ECHO message`
pub(super) fn echo(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
    worker.reply_unless_muted(token, |r| r.bulk(args.at(1)));
    Flow::Next
}

/// `SELECT index`
pub(super) fn select(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
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
pub(super) fn quit(worker: &mut Worker, token: Token) -> Flow {
    worker.reply_unless_muted(token, |r| r.ok());
    if let Some(connection) = worker.connections.get_mut(token as usize) {
        connection.close(Closing::AfterReplies);
    }
    worker.touch(token);
    Flow::Stop
}

/// `RESET`
pub(super) fn reset(worker: &mut Worker, token: Token) -> Flow {
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
