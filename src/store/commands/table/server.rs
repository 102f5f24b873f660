//! Commands about the server as a whole.

use super::{Categories, Command, Flags, Gather, Group, KeyFlags, Route, Spec, key};

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const OPERATOR: Flags = ANY_TIME.and(Flags::ADMIN).and(Flags::NOSCRIPT);
const SAVES: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);
const EVERY_CORE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

const fn row(command: Command, name: &'static str, arity: i8, syntax: &'static str) -> Spec {
    Spec::new(command, Group::Server, name, arity, syntax)
}

pub(super) const ROWS: &[Spec] = &[
    row(Command::Bgsave, "bgsave", -1, "[SCHEDULE]").flags(SAVES, Categories::NONE).about(
        "1.0.0",
        "O(1)",
        "Asks for a checkpoint of all partitions, without waiting for it",
    ),
    row(Command::Command, "command", -1, "")
        .flags(ANY_TIME, Categories::CONNECTION)
        .tips(UNORDERED)
        .about("2.8.13", "O(N), N being the number of commands", "Describes all commands")
        .subcommands(COMMAND),
    row(Command::Config, "config", -2, "")
        .flags(Flags::NONE, Categories::NONE)
        .about("2.0.0", "Depends on the subcommand", "Looks at settings and changes them")
        .subcommands(CONFIG),
    row(Command::Dbsize, "dbsize", 1, "")
        .route(Route::EveryCore(Gather::Sum))
        .flags(Flags::READONLY.and(Flags::FAST), Categories::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .about("1.0.0", "O(1)", "Counts the keys of the database"),
    row(Command::Flushall, "flushall", -1, "[ASYNC|SYNC]")
        .route(Route::EveryCore(Gather::Ok))
        .flags(Flags::WRITE, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .tips(EVERY_CORE)
        .about("1.0.0", "O(N), N being the number of keys", "Deletes the keys of all databases"),
    row(Command::Flushdb, "flushdb", -1, "[ASYNC|SYNC]")
        .route(Route::EveryCore(Gather::Ok))
        .flags(Flags::WRITE, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .tips(EVERY_CORE)
        .about("1.0.0", "O(N), N being the number of keys", "Deletes the keys of the database"),
    row(Command::Info, "info", -1, "[section ...]")
        .flags(ANY_TIME, Categories::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .about("1.0.0", "O(1)", "Reports how the server is and what it has done"),
    row(Command::Lastsave, "lastsave", 1, "")
        .flags(ANY_TIME.and(Flags::FAST), Categories::ADMIN.and(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"])
        .about("1.0.0", "O(1)", "Tells when the last checkpoint was completed, as a Unix time"),
    row(Command::Memory, "memory", -2, "")
        .flags(Flags::NONE, Categories::NONE)
        .about("4.0.0", "Depends on the subcommand", "Tells what memory is used for")
        .subcommands(MEMORY),
    row(Command::Save, "save", 1, "").flags(SAVES.and(Flags::NO_MULTI), Categories::NONE).about(
        "1.0.0",
        "O(N), N being the number of keys",
        "Asks for a checkpoint of all partitions and waits for it",
    ),
    row(Command::Shutdown, "shutdown", -1, "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]")
        .flags(OPERATOR.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), Categories::NONE)
        .about(
            "1.0.0",
            "O(N), N being the bytes of the log not yet on disk",
            "Brings the log to disk and ends the server",
        ),
    row(Command::Swapdb, "swapdb", 3, "index1 index2")
        .route(Route::EveryCore(Gather::Ok))
        .flags(Flags::WRITE.and(Flags::FAST), Categories::KEYSPACE.and(Categories::DANGEROUS))
        .about("4.0.0", "O(N), N being the number of partitions", "Lets two databases change places"),
    row(Command::Time, "time", 1, "")
        .flags(ANY_TIME.and(Flags::FAST), Categories::NONE)
        .tips(&["nondeterministic_output"])
        .about("2.6.0", "O(1)", "Tells the server's time: seconds and microseconds"),
];

const COMMAND: &[Spec] = &[
    row(Command::CommandCount, "command|count", 2, "").flags(ANY_TIME, Categories::CONNECTION).about(
        "2.8.13",
        "O(1)",
        "Counts the commands",
    ),
    row(Command::CommandDocs, "command|docs", -2, "[command-name ...]")
        .flags(ANY_TIME, Categories::CONNECTION)
        .tips(UNORDERED)
        .about("7.0.0", "O(N), N being the number of commands asked for", "Documents commands"),
    row(Command::CommandGetkeys, "command|getkeys", -4, "command [arg ...]")
        .flags(ANY_TIME, Categories::CONNECTION)
        .about("2.8.13", "O(N), N being the number of arguments", "Tells which arguments of a request are keys"),
    row(Command::CommandGetkeysandflags, "command|getkeysandflags", -4, "command [arg ...]")
        .flags(ANY_TIME, Categories::CONNECTION)
        .about(
            "7.0.0",
            "O(N), N being the number of arguments",
            "Tells which arguments of a request are keys, and their use",
        ),
    row(Command::CommandHelp, "command|help", 2, "").flags(ANY_TIME, Categories::CONNECTION).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of COMMAND",
    ),
    row(Command::CommandInfo, "command|info", -2, "[command-name ...]")
        .flags(ANY_TIME, Categories::CONNECTION)
        .tips(UNORDERED)
        .about("2.8.13", "O(N), N being the number of commands asked for", "Describes commands"),
    row(
        Command::CommandList,
        "command|list",
        -2,
        "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    )
    .flags(ANY_TIME, Categories::CONNECTION)
    .tips(UNORDERED)
    .about("7.0.0", "O(N), N being the number of commands", "Names all commands, or those that fit a filter"),
];

const CONFIG: &[Spec] = &[
    row(Command::ConfigGet, "config|get", -3, "parameter ...").flags(OPERATOR, Categories::NONE).about(
        "2.0.0",
        "O(N), N being the number of settings",
        "Tells the values of settings whose names fit the patterns",
    ),
    row(Command::ConfigHelp, "config|help", 2, "").flags(ANY_TIME, Categories::NONE).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of CONFIG",
    ),
    row(Command::ConfigResetstat, "config|resetstat", 2, "")
        .flags(OPERATOR, Categories::NONE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .about("2.0.0", "O(1)", "Starts the counters of INFO again from zero"),
    row(Command::ConfigSet, "config|set", -4, "<parameter value> ...")
        .flags(OPERATOR, Categories::NONE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .about("2.0.0", "O(N), N being the number of settings given", "Changes settings until the server ends"),
];

const MEMORY: &[Spec] = &[
    row(Command::MemoryHelp, "memory|help", 2, "").flags(ANY_TIME, Categories::NONE).about(
        "4.0.0",
        "O(1)",
        "Lists the subcommands of MEMORY",
    ),
    row(Command::MemoryUsage, "memory|usage", -3, "key [SAMPLES count]")
        .route(Route::Key)
        .keys(&[key(2, KeyFlags::RO)])
        .flags(Flags::READONLY, Categories::NONE)
        .about("4.0.0", "O(1)", "Tells how many bytes of memory a key takes"),
];
