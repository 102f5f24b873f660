//! Commands about the client's own connection.

use super::{Categories, Command, Flags, Group, Spec};

const CATEGORY: Categories = Categories::CONNECTION;
const SUB: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const SUB_ADMIN: Flags = SUB.and(Flags::ADMIN);
const EARLY: Flags = SUB.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);
const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);

const fn row(command: Command, name: &'static str, arity: i8, syntax: &'static str) -> Spec {
    Spec::new(command, Group::Connection, name, arity, syntax)
}

pub(super) const ROWS: &[Spec] = &[
    row(Command::Auth, "auth", -2, "[username] password").flags(EARLY, CATEGORY).about(
        "1.0.0",
        "O(N), N being the number of passwords",
        "Proves that the client knows the password",
    ),
    row(Command::Client, "client", -2, "")
        .flags(Flags::NONE, Categories::NONE)
        .about("2.4.0", "Depends on the subcommand", "Looks at connections and changes them")
        .subcommands(CLIENT),
    row(Command::Echo, "echo", 2, "message").flags(ANY_TIME.and(Flags::FAST), CATEGORY).about(
        "1.0.0",
        "O(1)",
        "Answers with the message",
    ),
    row(Command::Hello, "hello", -1, "[protover [AUTH username password] [SETNAME clientname]]")
        .flags(EARLY, CATEGORY)
        .about("6.0.0", "O(1)", "Agrees on the version of the protocol and describes the server"),
    row(Command::Ping, "ping", -1, "[message]")
        .flags(Flags::FAST, CATEGORY)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .about("1.0.0", "O(1)", "Answers PONG, or with the message, so that a client knows that the server is there"),
    row(Command::Quit, "quit", -1, "").flags(EARLY, CATEGORY).deprecated("7.2.0", "just closing the connection").about(
        "1.0.0",
        "O(1)",
        "Closes the connection once all replies are sent",
    ),
    row(Command::Reset, "reset", 1, "").flags(EARLY, CATEGORY).about(
        "6.2.0",
        "O(1)",
        "Takes the connection back to the state of a new one",
    ),
    row(Command::Select, "select", 2, "index").flags(ANY_TIME.and(Flags::FAST), CATEGORY).about(
        "1.0.0",
        "O(1)",
        "Chooses the database that later commands of this connection use",
    ),
];

const CLIENT: &[Spec] = &[
    row(Command::ClientGetname, "client|getname", 2, "").flags(SUB, CATEGORY).about(
        "2.6.9",
        "O(1)",
        "Tells the name of the connection",
    ),
    row(Command::ClientHelp, "client|help", 2, "").flags(ANY_TIME, CATEGORY).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of CLIENT",
    ),
    row(Command::ClientId, "client|id", 2, "").flags(SUB, CATEGORY).about(
        "5.0.0",
        "O(1)",
        "Tells the number of the connection",
    ),
    row(Command::ClientInfo, "client|info", 2, "").flags(SUB, CATEGORY).tips(&["nondeterministic_output"]).about(
        "6.2.0",
        "O(1)",
        "Describes this connection",
    ),
    row(
        Command::ClientKill,
        "client|kill",
        -3,
        "<ip:port | <[ID client-id] | [TYPE <NORMAL|MASTER|SLAVE|REPLICA|PUBSUB>] | [USER username] | [ADDR ip:port] | \
         [LADDR ip:port] | [SKIPME yes/no]> ...>",
    )
    .flags(SUB_ADMIN, CATEGORY)
    .about("2.4.0", "O(N), N being the number of connections", "Closes the connections that fit the filters"),
    row(Command::ClientList, "client|list", -2, "[TYPE <NORMAL|MASTER|REPLICA|PUBSUB>] [ID client-id ...]")
        .flags(SUB_ADMIN, CATEGORY)
        .tips(&["nondeterministic_output"])
        .about("2.4.0", "O(N), N being the number of connections", "Describes connections, one a line"),
    row(Command::ClientNoEvict, "client|no-evict", 3, "<ON|OFF>").flags(SUB_ADMIN, CATEGORY).about(
        "7.0.0",
        "O(1)",
        "Exempts the connection from being closed when buffers take too much memory",
    ),
    row(Command::ClientNoTouch, "client|no-touch", 3, "<ON|OFF>").flags(SUB, CATEGORY).about(
        "7.2.0",
        "O(1)",
        "Lets the connection's commands leave the keys' times of last use alone",
    ),
    row(Command::ClientReply, "client|reply", 3, "<ON|OFF|SKIP>").flags(SUB, CATEGORY).about(
        "3.2.0",
        "O(1)",
        "Turns the replies on this connection off and on",
    ),
    row(Command::ClientSetinfo, "client|setinfo", 4, "<LIB-NAME libname | LIB-VER libver>")
        .flags(SUB, CATEGORY)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .about("7.2.0", "O(1)", "Notes the name or version of the client's library"),
    row(Command::ClientSetname, "client|setname", 3, "connection-name")
        .flags(SUB, CATEGORY)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .about("2.6.9", "O(1)", "Names the connection"),
];
