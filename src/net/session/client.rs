//! CLIENT, as far as it is about the client's own connection: ID, INFO, GETNAME, SETNAME, SETINFO, REPLY, NO-EVICT, NO-TOUCH.

use super::{Refusal, SYNTAX, answer, clients, shown};
use super::{Row, help, parent, row};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::encoding::resp::Args;
use crate::net::connection::{ReplyMode, Session};
use crate::net::execute::Flow;
use crate::net::worker::Worker;
use crate::runtime::ring::Token;

const CATEGORY: Categories = Categories::CONNECTION;
const SUB: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const SUB_ADMIN: Flags = SUB.and(Flags::ADMIN);

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[parent(
    Spec::new(Group::Connection, "client", -2, "").flags(Flags::NONE, Categories::NONE).about(
        "2.4.0",
        "Depends on the subcommand",
        "Looks at connections and changes them",
    ),
    SUBCOMMANDS,
)];

const SUBCOMMANDS: &[Row] = &[
    row(Spec::new(Group::Connection, "client|getname", 2, "").flags(SUB, CATEGORY).about(
        "2.6.9",
        "O(1)",
        "Tells the name of the connection",
    ), getname),
    help(Spec::new(Group::Connection, "client|help", 2, "").flags(ANY_TIME, CATEGORY).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of CLIENT",
    )),
    row(Spec::new(Group::Connection, "client|id", 2, "").flags(SUB, CATEGORY).about(
        "5.0.0",
        "O(1)",
        "Tells the number of the connection",
    ), id),
    row(Spec::new(Group::Connection, "client|info", 2, "").flags(SUB, CATEGORY).tips(&["nondeterministic_output"]).about(
        "6.2.0",
        "O(1)",
        "Describes this connection",
    ), info),
    row(Spec::new(Group::Connection, "client|kill",
        -3,
        "<ip:port | <[ID client-id] | [TYPE <NORMAL|MASTER|SLAVE|REPLICA|PUBSUB>] | [USER username] | [ADDR ip:port] | \
         [LADDR ip:port] | [SKIPME yes/no]> ...>",
    )
    .flags(SUB_ADMIN, CATEGORY)
    .about("2.4.0", "O(N), N being the number of connections", "Closes the connections that fit the filters"), clients::kill).part(clients::kill_here),
    row(Spec::new(Group::Connection, "client|list", -2, "[TYPE <NORMAL|MASTER|REPLICA|PUBSUB>] [ID client-id ...]")
        .flags(SUB_ADMIN, CATEGORY)
        .tips(&["nondeterministic_output"])
        .about("2.4.0", "O(N), N being the number of connections", "Describes connections, one a line"), clients::list).part(clients::list_here),
    row(Spec::new(Group::Connection, "client|no-evict", 3, "<ON|OFF>").flags(SUB_ADMIN, CATEGORY).about(
        "7.0.0",
        "O(1)",
        "Exempts the connection from being closed when buffers take too much memory",
    ), no_evict),
    row(Spec::new(Group::Connection, "client|no-touch", 3, "<ON|OFF>").flags(SUB, CATEGORY).about(
        "7.2.0",
        "O(1)",
        "Lets the connection's commands leave the keys' times of last use alone",
    ), no_touch),
    row(Spec::new(Group::Connection, "client|reply", 3, "<ON|OFF|SKIP>").flags(SUB, CATEGORY).about(
        "3.2.0",
        "O(1)",
        "Turns the replies on this connection off and on",
    ), reply),
    row(Spec::new(Group::Connection, "client|setinfo", 4, "<LIB-NAME libname | LIB-VER libver>")
        .flags(SUB, CATEGORY)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .about("7.2.0", "O(1)", "Notes the name or version of the client's library"), setinfo),
    row(Spec::new(Group::Connection, "client|setname", 3, "connection-name")
        .flags(SUB, CATEGORY)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .about("2.6.9", "O(1)", "Names the connection"), setname),
];

/// `CLIENT ID`
fn id(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let client = worker.connections.get(token as usize).map_or(0, |c| c.client);
    worker.reply_unless_muted(token, |r| r.int(client as i64));
    Flow::Next
}

/// `CLIENT INFO`
fn info(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let line = worker.connections.get(token as usize).map(|c| clients::describe(c, worker.now)).unwrap_or_default();
    worker.reply_unless_muted(token, |r| r.text(&line));
    Flow::Next
}

/// `CLIENT GETNAME`
fn getname(worker: &mut Worker, token: Token, _: &'static Spec, _: Args<'_>) -> Flow {
    let name = worker.connections.get(token as usize).map(|c| c.session.name.clone()).unwrap_or_default();
    worker.reply_unless_muted(token, |r| r.bulk_or_null(Some(name.as_slice()).filter(|n| !n.is_empty())));
    Flow::Next
}

/// `CLIENT SETNAME connection-name`
fn setname(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    change(worker, token, |session| {
        check_name(args.at(2))?;
        session.name = args.at(2).to_vec();
        Ok(())
    })
}

/// `CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>`
fn setinfo(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
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

/// `CLIENT NO-EVICT <ON|OFF>`
fn no_evict(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    change(worker, token, |session| {
        session.no_evict = on_or_off(args.at(2))?;
        Ok(())
    })
}

/// `CLIENT NO-TOUCH <ON|OFF>`
fn no_touch(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    change(worker, token, |session| {
        session.no_touch = on_or_off(args.at(2))?;
        Ok(())
    })
}

/// `CLIENT REPLY <ON|OFF|SKIP>`: only ON is itself answered.
fn reply(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
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
