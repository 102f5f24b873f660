//! Commands on strings.

use super::{Categories, Command, Flags, Gather, Group, KeyFlags, KeySpec, Route, Spec, key, run};

const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const PUT: Flags = Flags::WRITE.and(Flags::DENYOOM);
const PUT_FAST: Flags = PUT.and(Flags::FAST);

const LENGTH_OF: &[KeySpec] = &[key(1, KeyFlags::RO)];
const READ_FROM: &[KeySpec] = &[key(1, KeyFlags::RO.and(KeyFlags::ACCESS))];
const OVERWRITTEN: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::UPDATE))];
const INSERTED: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::INSERT))];
const READ_AND_CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))];

/// A command on one key.
const fn one(command: Command, name: &'static str, arity: i8, syntax: &'static str, flags: Flags) -> Spec {
    many(command, name, arity, syntax, flags).route(Route::Key)
}

const fn many(command: Command, name: &'static str, arity: i8, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(command, Group::String, name, arity, syntax).flags(flags, Categories::STRING)
}

pub(super) const ROWS: &[Spec] = &[
    one(Command::Append, "append", 3, "key value", PUT_FAST).keys(&[key(1, KeyFlags::RW.and(KeyFlags::INSERT))]).about(
        "2.0.0",
        "O(1), mostly",
        "Adds to the end of a string and tells its length",
    ),
    one(Command::Decr, "decr", 2, "key", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Takes one from a number",
    ),
    one(Command::Decrby, "decrby", 3, "key decrement", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Takes so much from a number",
    ),
    one(Command::Get, "get", 2, "key", READ_FAST).keys(READ_FROM).about("1.0.0", "O(1)", "Tells a key's string"),
    one(Command::Getdel, "getdel", 2, "key", Flags::WRITE.and(Flags::FAST))
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))])
        .about("6.2.0", "O(1)", "Tells a key's string and deletes the key"),
    one(
        Command::Getex,
        "getex",
        -2,
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        Flags::WRITE.and(Flags::FAST),
    )
    .keys(READ_AND_CHANGED)
    .about("6.2.0", "O(1)", "Tells a key's string and changes when the key expires"),
    one(Command::Getrange, "getrange", 4, "key start end", Flags::READONLY).keys(READ_FROM).about(
        "2.4.0",
        "O(N), N being the bytes returned",
        "Tells a part of a string",
    ),
    one(Command::Getset, "getset", 3, "key value", PUT_FAST)
        .keys(READ_AND_CHANGED)
        .deprecated("6.2.0", "`SET` with the `GET` option")
        .about("1.0.0", "O(1)", "Replaces a key's string and tells the old one"),
    one(Command::Incr, "incr", 2, "key", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Adds one to a number",
    ),
    one(Command::Incrby, "incrby", 3, "key increment", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.0.0",
        "O(1)",
        "Adds so much to a number",
    ),
    one(Command::Incrbyfloat, "incrbyfloat", 3, "key increment", PUT_FAST).keys(READ_AND_CHANGED).about(
        "2.6.0",
        "O(1)",
        "Adds so much to a number with a fraction",
    ),
    many(Command::Mget, "mget", -2, "key ...", READ_FAST)
        .route(Route::Scatter(Gather::ByKey))
        .keys(&[run(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .tips(&["request_policy:multi_shard"])
        .about("1.0.0", "O(N), N being the number of keys", "Tells the strings of several keys"),
    many(Command::Mset, "mset", -3, "<key value> ...", PUT)
        .route(Route::Scatter(Gather::Ok))
        .keys(&[run(1, -1, 2, KeyFlags::OW.and(KeyFlags::UPDATE))])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .about("1.0.1", "O(N), N being the number of keys", "Sets the strings of several keys"),
    many(Command::Msetnx, "msetnx", -3, "<key value> ...", PUT)
        .route(Route::OneCore)
        .keys(&[run(1, -1, 2, KeyFlags::OW.and(KeyFlags::INSERT))])
        .about("1.0.1", "O(N), N being the number of keys", "Sets the strings of several keys, if none of them exists"),
    one(Command::Psetex, "psetex", 4, "key milliseconds value", PUT)
        .keys(OVERWRITTEN)
        .deprecated("2.6.12", "`SET` with the `PX` option")
        .about("2.6.0", "O(1)", "Sets a key's string and lets the key expire in so many milliseconds"),
    one(
        Command::Set,
        "set",
        -3,
        "key value [NX | XX | IFEQ comparison-value] [GET] \
         [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        PUT,
    )
    .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE))])
    .about("1.0.0", "O(1)", "Sets a key's string, on conditions if need be"),
    one(Command::Setex, "setex", 4, "key seconds value", PUT)
        .keys(OVERWRITTEN)
        .deprecated("2.6.12", "`SET` with the `EX` option")
        .about("2.0.0", "O(1)", "Sets a key's string and lets the key expire in so many seconds"),
    one(Command::Setnx, "setnx", 3, "key value", PUT_FAST)
        .keys(INSERTED)
        .deprecated("2.6.12", "`SET` with the `NX` option")
        .about("1.0.0", "O(1)", "Sets a key's string, if the key does not exist"),
    one(Command::Setrange, "setrange", 4, "key offset value", PUT)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::UPDATE))])
        .about("2.2.0", "O(N), N being the bytes given", "Overwrites a part of a string"),
    one(Command::Strlen, "strlen", 2, "key", READ_FAST).keys(LENGTH_OF).about(
        "2.2.0",
        "O(1)",
        "Tells the length of a string",
    ),
    one(Command::Substr, "substr", 4, "key start end", Flags::READONLY)
        .keys(READ_FROM)
        .deprecated("2.0.0", "`GETRANGE`")
        .about("1.0.0", "O(N), N being the bytes returned", "Tells a part of a string"),
];
