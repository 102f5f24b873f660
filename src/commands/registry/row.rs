//! What the rows of several families are made of: how a row begins, and the flags and key specifications that many commands share.

use super::{Categories, Flags, Group, KeyFlags, KeySpec, PlanFn, Route, Spec};

/// Reads data.
pub const READ: Flags = Flags::READONLY;
/// Reads data, at a cost that does not depend on it.
pub const READ_FAST: Flags = READ.and(Flags::FAST);
/// Changes data, and needs no memory for it.
pub const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
/// Changes data, and may need memory for it.
pub const PUT: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// As [`PUT`], at a cost that does not depend on the data.
pub const PUT_FAST: Flags = PUT.and(Flags::FAST);
/// Touches no data, and is answered in whatever state the server is.
pub const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);

/// Commands on keys of whatever type.
pub const KEYSPACE: Categories = Categories::KEYSPACE;

/// The first argument is a key of which nothing is returned but how it is.
pub const LOOKED_AT: &[KeySpec] = &[key(1, KeyFlags::RO)];
/// The first argument is a key whose value is returned.
pub const READ_FROM: &[KeySpec] = &[key(1, KeyFlags::RO.and(KeyFlags::ACCESS))];
/// The first argument is a key whose value is changed.
pub const CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::UPDATE))];
/// The first argument is a key whose value is returned and changed.
pub const READ_AND_CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))];
/// The first argument is a key that is overwritten.
pub const OVERWRITTEN: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::UPDATE))];
/// The first argument is a key that is made.
pub const INSERTED: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::INSERT))];
/// All arguments are keys of which nothing is returned but how they are.
pub const MANY_LOOKED_AT: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RO)];
/// All arguments are keys that are deleted.
pub const MANY_REMOVED: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))];
/// The first argument is a key that is returned and deleted.
pub const RENAMED_FROM: KeySpec = key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE));
/// The argument behind the subcommand is a key of which nothing is returned but how it is.
pub const SUBJECT: &[KeySpec] = &[key(2, KeyFlags::RO)];

/// Tips for a command on several keys whose replies add up.
pub const SUM_OF_KEYS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
/// Tips for a command that concerns every core and answers OK.
pub const EVERY_CORE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
/// Tips for a command that may answer differently each time.
pub const VARIES: &[&str] = &["nondeterministic_output"];
/// Tips for a command that answers the same, in whatever order.
pub const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// One key, at a fixed place.
pub const fn key(at: u8, flags: KeyFlags) -> KeySpec {
    KeySpec::one(at, flags)
}

/// Several keys, as [`KeySpec::range`] finds them.
pub const fn run(first: u8, last: i8, step: u8, flags: KeyFlags) -> KeySpec {
    KeySpec::range(first, last, step, flags)
}

/// A command on one string.
pub const fn string(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    strings(name, plan, arity, syntax, flags).route(Route::Key)
}

/// A command on several strings; its row says how it is routed.
pub const fn strings(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::String, name, arity, syntax).plan(plan).flags(flags, Categories::STRING)
}

/// A command on one hash.
pub const fn hash(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(Group::Hash, name, arity, syntax).plan(plan).flags(flags, Categories::HASH).route(Route::Key)
}

/// A command on keys of whatever type; its row says how it is routed.
pub const fn generic(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str) -> Spec {
    Spec::new(Group::Generic, name, arity, syntax).plan(plan)
}

/// A command on one key of whatever type.
pub const fn generic_key(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str) -> Spec {
    generic(name, plan, arity, syntax).route(Route::Key)
}

/// A command on whole databases; its row says how it is routed.
pub const fn server(name: &'static str, plan: PlanFn, arity: i16, syntax: &'static str) -> Spec {
    Spec::new(Group::Server, name, arity, syntax).plan(plan)
}
