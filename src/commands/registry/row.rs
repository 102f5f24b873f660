//! Building blocks shared by the rows of several families: constructors of rows, and common flags and key
//! specifications.

use super::{Categories, Flags, Group, KeyFlags, KeySpec, PlanFn, Route, Spec};

/// Flags of commands that read data.
pub const READ: Flags = Flags::READONLY;
/// Flags of commands that read data at a cost independent of its amount.
pub const READ_FAST: Flags = READ.and(Flags::FAST);
/// Flags of commands that change data without needing memory, at a cost independent of its amount.
pub const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
/// Flags of commands that change data and may need memory for it.
pub const PUT: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// Like [`PUT`], at a cost independent of the amount of data.
pub const PUT_FAST: Flags = PUT.and(Flags::FAST);
/// Flags of commands that touch no data and are answered in every state of the server.
pub const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);

/// Categories of commands on keys of any type.
pub const KEYSPACE: Categories = Categories::KEYSPACE;

/// Argument 1 is a key of which only metadata is returned.
pub const LOOKED_AT: &[KeySpec] = &[key(1, KeyFlags::RO)];
/// Argument 1 is a key whose value is returned.
pub const READ_FROM: &[KeySpec] = &[key(1, KeyFlags::RO.and(KeyFlags::ACCESS))];
/// Argument 1 is a key whose value is changed.
pub const CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::UPDATE))];
/// Argument 1 is a key whose value is returned and changed.
pub const READ_AND_CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))];
/// Argument 1 is a key that is overwritten.
pub const OVERWRITTEN: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::UPDATE))];
/// Argument 1 is a key that is created.
pub const INSERTED: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::INSERT))];
/// All arguments are keys of which only metadata is returned.
pub const MANY_LOOKED_AT: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RO)];
/// All arguments are keys that are deleted.
pub const MANY_REMOVED: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))];
/// Argument 1 is a key whose value is returned and that is deleted.
pub const RENAMED_FROM: KeySpec = key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE));
/// The argument after the subcommand is a key of which only metadata is returned.
pub const SUBJECT: &[KeySpec] = &[key(2, KeyFlags::RO)];

/// Tips for a command on several keys whose integer replies add up.
pub const SUM_OF_KEYS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
/// Tips for a command that runs on every core and replies OK.
pub const EVERY_CORE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
/// Tips for a command whose reply may differ each time.
pub const VARIES: &[&str] = &["nondeterministic_output"];
/// Tips for a command whose reply has a varying order.
pub const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// One key, at a fixed position.
pub const fn key(at: u8, flags: KeyFlags) -> KeySpec {
    KeySpec::one(at, flags)
}

/// Several keys at regular positions, see [`KeySpec::range`].
pub const fn run(first: u8, last: i8, step: u8, flags: KeyFlags) -> KeySpec {
    KeySpec::range(first, last, step, flags)
}

/// Row of a command on one string.
pub const fn string(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    strings(name, plan, arity, syntax, flags).route(Route::Key)
}

/// Row of a command on several strings; the caller adds the route.
pub const fn strings(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::String, name, arity, syntax).plan(plan).flags(flags, Categories::STRING)
}

/// Row of a command on one bitmap.
pub const fn bitmap(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::Bitmap, name, arity, syntax).plan(plan).flags(flags, Categories::BITMAP).route(Route::Key)
}

/// Row of a command on HyperLogLogs; the caller adds the route.
pub const fn hyperloglog(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::HyperLogLog, name, arity, syntax).plan(plan).flags(flags, Categories::HYPERLOGLOG)
}

/// Row of a command on one hash.
pub const fn hash(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::Hash, name, arity, syntax).plan(plan).flags(flags, Categories::HASH).route(Route::Key)
}

/// Row of a command on one set.
pub const fn set(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    sets(name, plan, arity, syntax, flags).route(Route::Key)
}

/// Row of a command on several sets; the caller adds the route.
pub const fn sets(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::Set, name, arity, syntax).plan(plan).flags(flags, Categories::SET)
}

/// Row of a command on one sorted set.
pub const fn sorted_set(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::SortedSet, name, arity, syntax).plan(plan).flags(flags, Categories::SORTEDSET).route(Route::Key)
}

/// Row of a command on places in one sorted set.
pub const fn geo(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::Geo, name, arity, syntax).plan(plan).flags(flags, Categories::GEO).route(Route::Key)
}

/// Row of a command on one list.
pub const fn list(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    lists(name, plan, arity, syntax, flags).route(Route::Key)
}

/// Row of a command on several lists; the caller adds the route.
pub const fn lists(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::List, name, arity, syntax).plan(plan).flags(flags, Categories::LIST)
}

/// Row of a command on one stream.
pub const fn stream(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    streams(name, plan, arity, syntax, flags).route(Route::Key)
}

/// Row of a command on several streams; the caller adds the route.
pub const fn streams(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::Stream, name, arity, syntax).plan(plan).flags(flags, Categories::STREAM)
}

/// Row of a command on keys of any type; the caller adds the route.
pub const fn generic(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str) -> Spec {
    Spec::new(Group::Generic, name, arity, syntax).plan(plan)
}

/// Row of a command on one key of any type.
pub const fn generic_key(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str) -> Spec {
    generic(name, plan, arity, syntax).route(Route::Key)
}

/// Row of a command on whole databases; the caller adds the route.
pub const fn server(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str) -> Spec {
    Spec::new(Group::Server, name, arity, syntax).plan(plan)
}
