//! Commands on keys of whatever type.

use super::{Categories, Command, Flags, Gather, Group, KeyFlags, KeySpec, Route, Spec, key, run};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const KEYSPACE: Categories = Categories::KEYSPACE;

const LOOKED_AT: &[KeySpec] = &[key(1, KeyFlags::RO)];
const READ_FROM: &[KeySpec] = &[key(1, KeyFlags::RO.and(KeyFlags::ACCESS))];
const CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::UPDATE))];
const MANY_LOOKED_AT: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RO)];
const MANY_REMOVED: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))];
const RENAMED_FROM: KeySpec = key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE));
const SUBJECT: &[KeySpec] = &[key(2, KeyFlags::RO)];

const SUM_OF_KEYS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(command: Command, name: &'static str, arity: i8, syntax: &'static str) -> Spec {
    Spec::new(command, Group::Generic, name, arity, syntax)
}

/// A command on one key.
const fn one(command: Command, name: &'static str, arity: i8, syntax: &'static str) -> Spec {
    row(command, name, arity, syntax).route(Route::Key)
}

pub(super) const ROWS: &[Spec] = &[
    row(Command::Copy, "copy", -3, "source destination [DB destination-db] [REPLACE]")
        .route(Route::OneCore)
        .keys(&[key(1, KeyFlags::RO.and(KeyFlags::ACCESS)), key(2, KeyFlags::OW.and(KeyFlags::UPDATE))])
        .flags(Flags::WRITE.and(Flags::DENYOOM), KEYSPACE)
        .about("6.2.0", "O(N), N being the size of the value", "Copies a key's value and expiry to another key"),
    row(Command::Del, "del", -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_REMOVED)
        .flags(Flags::WRITE, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about("1.0.0", "O(N), N being the number of keys and of their fields", "Deletes keys"),
    row(Command::Exists, "exists", -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_LOOKED_AT)
        .flags(READ_FAST, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about("1.0.0", "O(N), N being the number of keys", "Counts those of the keys that exist"),
    one(Command::Expire, "expire", -3, "key seconds [NX|XX|GT|LT]").keys(CHANGED).flags(WRITE_FAST, KEYSPACE).about(
        "1.0.0",
        "O(1)",
        "Lets a key expire in so many seconds",
    ),
    one(Command::Expireat, "expireat", -3, "key unix-time-seconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.2.0", "O(1)", "Lets a key expire at a time, in seconds"),
    one(Command::Expiretime, "expiretime", 2, "key").keys(READ_FROM).flags(READ_FAST, KEYSPACE).about(
        "7.0.0",
        "O(1)",
        "Tells the time at which a key expires, in seconds",
    ),
    row(Command::Keys, "keys", 2, "pattern")
        .route(Route::EveryCore(Gather::Concat))
        .flags(READ, KEYSPACE.and(Categories::DANGEROUS))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .about("1.0.0", "O(N), N being the number of keys in the database", "Names all keys that fit a pattern"),
    one(Command::Move, "move", 3, "key db")
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))])
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.0.0", "O(N), N being the size of the value", "Moves a key to another database"),
    row(Command::Object, "object", -2, "")
        .flags(Flags::NONE, Categories::NONE)
        .about("2.2.3", "Depends on the subcommand", "Tells how a key's value is kept")
        .subcommands(OBJECT),
    one(Command::Persist, "persist", 2, "key").keys(CHANGED).flags(WRITE_FAST, KEYSPACE).about(
        "2.2.0",
        "O(1)",
        "Keeps a key from expiring",
    ),
    one(Command::Pexpire, "pexpire", -3, "key milliseconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("2.6.0", "O(1)", "Lets a key expire in so many milliseconds"),
    one(Command::Pexpireat, "pexpireat", -3, "key unix-time-milliseconds [NX|XX|GT|LT]")
        .keys(CHANGED)
        .flags(WRITE_FAST, KEYSPACE)
        .about("2.6.0", "O(1)", "Lets a key expire at a time, in milliseconds"),
    one(Command::Pexpiretime, "pexpiretime", 2, "key").keys(READ_FROM).flags(READ_FAST, KEYSPACE).about(
        "7.0.0",
        "O(1)",
        "Tells the time at which a key expires, in milliseconds",
    ),
    one(Command::Pttl, "pttl", 2, "key").keys(READ_FROM).flags(READ_FAST, KEYSPACE).tips(VARIES).about(
        "2.6.0",
        "O(1)",
        "Tells how many milliseconds a key has left",
    ),
    row(Command::Randomkey, "randomkey", 1, "")
        .route(Route::Random)
        .flags(READ, KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .about("1.0.0", "O(1)", "Names a key, chosen at random"),
    row(Command::Rename, "rename", 3, "key newkey")
        .route(Route::OneCore)
        .keys(&[RENAMED_FROM, key(2, KeyFlags::OW.and(KeyFlags::UPDATE))])
        .flags(Flags::WRITE, KEYSPACE)
        .about("1.0.0", "O(N), N being the size of the value", "Gives a key another name, replacing what bore it"),
    row(Command::Renamenx, "renamenx", 3, "key newkey")
        .route(Route::OneCore)
        .keys(&[RENAMED_FROM, key(2, KeyFlags::OW.and(KeyFlags::INSERT))])
        .flags(WRITE_FAST, KEYSPACE)
        .about("1.0.0", "O(N), N being the size of the value", "Gives a key another name, unless something bears it"),
    row(Command::Scan, "scan", -2, "cursor [MATCH pattern] [COUNT count] [TYPE type]")
        .route(Route::Cursor)
        .flags(READ, KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .about("2.8.0", "O(1) a call, O(N) for all N keys", "Names some keys, and where to go on"),
    row(Command::Touch, "touch", -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_LOOKED_AT)
        .flags(READ_FAST, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about(
            "3.2.1",
            "O(N), N being the number of keys",
            "Notes that keys were used just now and counts those that exist",
        ),
    one(Command::Ttl, "ttl", 2, "key").keys(READ_FROM).flags(READ_FAST, KEYSPACE).tips(VARIES).about(
        "1.0.0",
        "O(1)",
        "Tells how many seconds a key has left",
    ),
    one(Command::Type, "type", 2, "key").keys(LOOKED_AT).flags(READ_FAST, KEYSPACE).about(
        "1.0.0",
        "O(1)",
        "Tells the type of a key's value",
    ),
    row(Command::Unlink, "unlink", -2, "key ...")
        .route(Route::Scatter(Gather::Sum))
        .keys(MANY_REMOVED)
        .flags(WRITE_FAST, KEYSPACE)
        .tips(SUM_OF_KEYS)
        .about("4.0.0", "O(N), N being the number of keys and of their fields", "Deletes keys"),
    row(Command::Wait, "wait", 3, "numreplicas timeout")
        .flags(Flags::NOSCRIPT, Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .about("3.0.0", "O(1)", "Waits until the checkpoint node has this connection's writes"),
    row(Command::Waitaof, "waitaof", 4, "numlocal numreplicas timeout")
        .flags(Flags::NOSCRIPT, Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .about("7.2.0", "O(1)", "Waits until this connection's writes are on disk, and the checkpoint node has them"),
];

const OBJECT: &[Spec] = &[
    one(Command::ObjectEncoding, "object|encoding", 3, "key").keys(SUBJECT).flags(READ, KEYSPACE).tips(VARIES).about(
        "2.2.3",
        "O(1)",
        "Tells how a value is laid out in memory",
    ),
    one(Command::ObjectFreq, "object|freq", 3, "key").keys(SUBJECT).flags(READ, KEYSPACE).tips(VARIES).about(
        "4.0.0",
        "O(1)",
        "Tells how often a key is used, where that is counted",
    ),
    row(Command::ObjectHelp, "object|help", 2, "").flags(Flags::LOADING.and(Flags::STALE), KEYSPACE).about(
        "6.2.0",
        "O(1)",
        "Lists the subcommands of OBJECT",
    ),
    one(Command::ObjectIdletime, "object|idletime", 3, "key").keys(SUBJECT).flags(READ, KEYSPACE).tips(VARIES).about(
        "2.2.3",
        "O(1)",
        "Tells how many seconds ago a key was last used",
    ),
    one(Command::ObjectRefcount, "object|refcount", 3, "key").keys(SUBJECT).flags(READ, KEYSPACE).tips(VARIES).about(
        "2.2.3",
        "O(1)",
        "Tells how many references to a value there are: 1",
    ),
];
