//! CLIENT, as far as it is about the client's own connection: ID, INFO, GETNAME, SETNAME, SETINFO, REPLY, NO-EVICT,
//! NO-TOUCH.

use super::{Done, Outcome, Refusal, Row, SYNTAX, Visit, clients, help, ok, parent, row, shown};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::encoding::resp::{Args, Reply};
use crate::net::connection::ReplyMode;

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

const KILL_SYNTAX: &str = "<ip:port | <[ID client-id] | [TYPE <NORMAL|MASTER|SLAVE|REPLICA|PUBSUB>] | \
    [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no]> ...>";

const SUBCOMMANDS: &[Row] = &[
    row(
        Spec::new(Group::Connection, "client|getname", 2, "").flags(SUB, CATEGORY).about(
            "2.6.9",
            "O(1)",
            "Tells the name of the connection",
        ),
        getname,
    ),
    help(Spec::new(Group::Connection, "client|help", 2, "").flags(ANY_TIME, CATEGORY).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of CLIENT",
    )),
    row(
        Spec::new(Group::Connection, "client|id", 2, "").flags(SUB, CATEGORY).about(
            "5.0.0",
            "O(1)",
            "Tells the number of the connection",
        ),
        id,
    ),
    row(
        Spec::new(Group::Connection, "client|info", 2, "")
            .flags(SUB, CATEGORY)
            .tips(&["nondeterministic_output"])
            .about("6.2.0", "O(1)", "Describes this connection"),
        info,
    ),
    row(
        Spec::new(Group::Connection, "client|kill", -3, KILL_SYNTAX).flags(SUB_ADMIN, CATEGORY).about(
            "2.4.0",
            "O(N), N being the number of connections",
            "Closes the connections that fit the filters",
        ),
        clients::kill,
    )
    .part(clients::kill_here),
    row(
        Spec::new(Group::Connection, "client|list", -2, "[TYPE <NORMAL|MASTER|REPLICA|PUBSUB>] [ID client-id ...]")
            .flags(SUB_ADMIN, CATEGORY)
            .tips(&["nondeterministic_output"])
            .about("2.4.0", "O(N), N being the number of connections", "Describes connections, one a line"),
        clients::list,
    )
    .part(clients::list_here),
    row(
        Spec::new(Group::Connection, "client|no-evict", 3, "<ON|OFF>").flags(SUB_ADMIN, CATEGORY).about(
            "7.0.0",
            "O(1)",
            "Exempts the connection from being closed when buffers take too much memory",
        ),
        no_evict,
    ),
    row(
        Spec::new(Group::Connection, "client|no-touch", 3, "<ON|OFF>").flags(SUB, CATEGORY).about(
            "7.2.0",
            "O(1)",
            "Lets the connection's commands leave the keys' times of last use alone",
        ),
        no_touch,
    ),
    row(
        Spec::new(Group::Connection, "client|reply", 3, "<ON|OFF|SKIP>").flags(SUB, CATEGORY).about(
            "3.2.0",
            "O(1)",
            "Turns the replies on this connection off and on",
        ),
        reply_mode,
    ),
    row(
        Spec::new(Group::Connection, "client|setinfo", 4, "<LIB-NAME libname | LIB-VER libver>")
            .flags(SUB, CATEGORY)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .about("7.2.0", "O(1)", "Notes the name or version of the client's library"),
        setinfo,
    ),
    row(
        Spec::new(Group::Connection, "client|setname", 3, "connection-name")
            .flags(SUB, CATEGORY)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .about("2.6.9", "O(1)", "Names the connection"),
        setname,
    ),
];

/// `CLIENT ID`
fn id(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(visit.connection.client as i64);
    Ok(Outcome::Answered)
}

/// `CLIENT INFO`
fn info(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.text(&clients::describe(visit.connection, visit.now));
    Ok(Outcome::Answered)
}

/// `CLIENT GETNAME`
fn getname(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk_or_null(Some(visit.connection.session.name.as_slice()).filter(|name| !name.is_empty()));
    Ok(Outcome::Answered)
}

/// `CLIENT SETNAME connection-name`
fn setname(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    check_name(args.at(2))?;
    visit.connection.session.name = args.at(2).to_vec();
    ok(reply)
}

/// `CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>`
fn setinfo(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let session = &mut visit.connection.session;
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
    ok(reply)
}

/// `CLIENT NO-EVICT <ON|OFF>`
fn no_evict(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    visit.connection.session.no_evict = on_or_off(args.at(2))?;
    ok(reply)
}

/// `CLIENT NO-TOUCH <ON|OFF>`
fn no_touch(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    visit.connection.session.no_touch = on_or_off(args.at(2))?;
    ok(reply)
}

/// `CLIENT REPLY <ON|OFF|SKIP>`: only ON is itself answered.
fn reply_mode(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mode = match args.at(2) {
        m if m.eq_ignore_ascii_case(b"ON") => ReplyMode::On,
        m if m.eq_ignore_ascii_case(b"OFF") => ReplyMode::Off,
        m if m.eq_ignore_ascii_case(b"SKIP") => ReplyMode::SkipNext,
        _ => return Err(SYNTAX),
    };
    let replies = &mut visit.connection.session.replies;
    if (mode, *replies) != (ReplyMode::SkipNext, ReplyMode::Off) {
        *replies = mode;
    }
    if mode == ReplyMode::On { ok(reply) } else { Ok(Outcome::Unanswered) }
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
