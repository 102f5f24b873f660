//! CLIENT, as far as it is about the client's own connection: ID, INFO, GETNAME, SETNAME, SETINFO, REPLY, NO-EVICT, NO-TOUCH.

use super::{Refusal, SYNTAX, answer, clients, shown};
use crate::encoding::resp::Args;
use crate::net::connection::{ReplyMode, Session};
use crate::net::execute::Flow;
use crate::net::ring::Token;
use crate::net::worker::Worker;
use crate::store::commands::{Command, Spec};

/// `CLIENT ID`
pub(super) fn id(worker: &mut Worker, token: Token) -> Flow {
    let client = worker.connections.get(token as usize).map_or(0, |c| c.client);
    worker.reply_unless_muted(token, |r| r.int(client as i64));
    Flow::Next
}

/// `CLIENT INFO`
pub(super) fn info(worker: &mut Worker, token: Token) -> Flow {
    let line = worker.connections.get(token as usize).map(|c| clients::describe(c, worker.now)).unwrap_or_default();
    worker.reply_unless_muted(token, |r| r.text(&line));
    Flow::Next
}

/// `CLIENT GETNAME`
pub(super) fn getname(worker: &mut Worker, token: Token) -> Flow {
    let name = worker.connections.get(token as usize).map(|c| c.session.name.clone()).unwrap_or_default();
    worker.reply_unless_muted(token, |r| r.bulk_or_null(Some(name.as_slice()).filter(|n| !n.is_empty())));
    Flow::Next
}

/// `CLIENT SETNAME connection-name`
pub(super) fn setname(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
    change(worker, token, |session| {
        check_name(args.at(2))?;
        session.name = args.at(2).to_vec();
        Ok(())
    })
}

/// `CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>`
pub(super) fn setinfo(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
    change(worker, token, |session| {
        let (option, value) = (args.at(2), args.at(3));
        let place = match option {
            o if o.eq_ignore_ascii_case(b"LIB-NAME") => &mut session.library_name,
            o if o.eq_ignore_ascii_case(b"LIB-VER") => &mut session.library_version,
            _ => return Err(format!("ERR Unrecognized option '{}'", shown(option)).into()),
        };
        if !is_plain(value) {
            let option = shown(option);
            return Err(format!("ERR {option} cannot contain spaces, newlines or special characters.").into());
        }
        *place = value.to_vec();
        Ok(())
    })
}

/// `CLIENT NO-EVICT <ON|OFF>`, `CLIENT NO-TOUCH <ON|OFF>`
pub(super) fn switch(worker: &mut Worker, token: Token, spec: &Spec, args: Args<'_>) -> Flow {
    change(worker, token, |session| {
        let on = on_or_off(args.at(2))?;
        if spec.command == Command::ClientNoTouch {
            session.no_touch = on
        } else {
            session.no_evict = on
        }
        Ok(())
    })
}

/// `CLIENT REPLY <ON|OFF|SKIP>`: only ON is itself answered.
pub(super) fn reply(worker: &mut Worker, token: Token, args: Args<'_>) -> Flow {
    let mode = match args.at(2) {
        m if m.eq_ignore_ascii_case(b"ON") => ReplyMode::On,
        m if m.eq_ignore_ascii_case(b"OFF") => ReplyMode::Off,
        m if m.eq_ignore_ascii_case(b"SKIP") => ReplyMode::SkipNext,
        _ => return answer(worker, token, Err(SYNTAX)),
    };
    let Some(connection) = worker.connections.get_mut(token as usize) else { return Flow::Stop };
    let replies = &mut connection.session.replies;
    if (mode, *replies) != (ReplyMode::SkipNext, ReplyMode::Off) {
        *replies = mode;
    }
    if mode == ReplyMode::On { answer(worker, token, Ok(())) } else { Flow::Next }
}

/// Whether a client may call itself so.
pub(super) fn check_name(name: &[u8]) -> Result<(), Refusal> {
    let why = "ERR Client names cannot contain spaces, newlines or special characters.";
    if is_plain(name) { Ok(()) } else { Err(why.into()) }
}

/// Whether a text leaves the lines of `CLIENT LIST` readable.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

fn on_or_off(word: &[u8]) -> Result<bool, Refusal> {
    match word {
        w if w.eq_ignore_ascii_case(b"ON") => Ok(true),
        w if w.eq_ignore_ascii_case(b"OFF") => Ok(false),
        _ => Err(SYNTAX),
    }
}

fn change(worker: &mut Worker, token: Token, how: impl FnOnce(&mut Session) -> Result<(), Refusal>) -> Flow {
    let outcome = worker.connections.get_mut(token as usize).map_or(Ok(()), |c| how(&mut c.session));
    answer(worker, token, outcome)
}
