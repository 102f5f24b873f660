//! Commands on hashes.

use super::{Categories, Command, Flags, Group, KeyFlags, KeySpec, Route, Spec, key};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const PUT_FAST: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

const LOOKED_AT: &[KeySpec] = &[key(1, KeyFlags::RO)];
const READ_FROM: &[KeySpec] = &[key(1, KeyFlags::RO.and(KeyFlags::ACCESS))];
const CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::UPDATE))];
const READ_AND_CHANGED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))];

const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(command: Command, name: &'static str, arity: i8, syntax: &'static str, flags: Flags) -> Spec {
    Spec::new(command, Group::Hash, name, arity, syntax).flags(flags, Categories::HASH).route(Route::Key)
}

pub(super) const ROWS: &[Spec] = &[
    row(Command::Hdel, "hdel", -3, "key field ...", Flags::WRITE.and(Flags::FAST))
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::DELETE))])
        .about(
            "2.0.0",
            "O(N), N being the number of fields given",
            "Removes fields, and the key with the last of them",
        ),
    row(Command::Hexists, "hexists", 3, "key field", READ_FAST).keys(LOOKED_AT).about(
        "2.0.0",
        "O(1)",
        "Tells whether a hash has a field",
    ),
    row(Command::Hget, "hget", 3, "key field", READ_FAST).keys(READ_FROM).about(
        "2.0.0",
        "O(1)",
        "Tells the value of a field",
    ),
    row(Command::Hgetall, "hgetall", 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "2.0.0",
        "O(N), N being the number of fields",
        "Tells all fields with their values",
    ),
    row(Command::Hincrby, "hincrby", 4, "key field increment", PUT_FAST).keys(READ_AND_CHANGED).about(
        "2.0.0",
        "O(1)",
        "Adds so much to the number in a field",
    ),
    row(Command::Hincrbyfloat, "hincrbyfloat", 4, "key field increment", PUT_FAST).keys(READ_AND_CHANGED).about(
        "2.6.0",
        "O(1)",
        "Adds so much to the number with a fraction in a field",
    ),
    row(Command::Hkeys, "hkeys", 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "2.0.0",
        "O(N), N being the number of fields",
        "Names all fields",
    ),
    row(Command::Hlen, "hlen", 2, "key", READ_FAST).keys(LOOKED_AT).about("2.0.0", "O(1)", "Counts the fields"),
    row(Command::Hmget, "hmget", -3, "key field ...", READ_FAST).keys(READ_FROM).about(
        "2.0.0",
        "O(N), N being the number of fields given",
        "Tells the values of several fields",
    ),
    row(Command::Hmset, "hmset", -4, "key <field value> ...", PUT_FAST)
        .keys(CHANGED)
        .deprecated("4.0.0", "`HSET` with several fields")
        .about("2.0.0", "O(N), N being the number of fields given", "Sets fields"),
    row(Command::Hrandfield, "hrandfield", -2, "key [count [WITHVALUES]]", READ).keys(READ_FROM).tips(VARIES).about(
        "6.2.0",
        "O(N), N being the number of fields returned",
        "Names fields, chosen at random",
    ),
    row(Command::Hscan, "hscan", -3, "key cursor [MATCH pattern] [COUNT count]", READ)
        .keys(READ_FROM)
        .tips(VARIES)
        .about(
            "2.8.0",
            "O(1) a call, O(N) for all N fields",
            "Tells some fields with their values, and where to go on",
        ),
    row(Command::Hset, "hset", -4, "key <field value> ...", PUT_FAST).keys(CHANGED).about(
        "2.0.0",
        "O(N), N being the number of fields given",
        "Sets fields and counts the new ones",
    ),
    row(Command::Hsetnx, "hsetnx", 4, "key field value", PUT_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::INSERT))])
        .about("2.0.0", "O(1)", "Sets a field, if the hash does not have it"),
    row(Command::Hstrlen, "hstrlen", 3, "key field", READ_FAST).keys(LOOKED_AT).about(
        "3.2.0",
        "O(1)",
        "Tells the length of a field's value",
    ),
    row(Command::Hvals, "hvals", 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "2.0.0",
        "O(N), N being the number of fields",
        "Tells the values of all fields",
    ),
];
