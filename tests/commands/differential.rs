//! Commands do and say what they do and say in Redis: the same random requests go to Debian's `redis-server` and to us,
//! and every reply and the data at the end must be the same.
//!
//! Once against the plans alone, in this process, and once against a `rollbook` process with one core and with all.
//! Skipped where `redis-server` is missing. What only Redis 8 knows is compared with the server that
//! `ROLLBOOK_TEST_REDIS` names, one of version 8.2. `DIFFERENTIAL_SEED=n` repeats a run, `DIFFERENTIAL_REQUESTS=n`
//! makes it longer, and `DIFFERENTIAL_ONLY=Z` has only commands whose names begin so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compare;
mod generator;
mod grammar;
mod replies;
mod servers;

use compare::compare;
use generator::{Generator, Keys};
use replies::Value;
use servers::{Plans, Process, RedisServer, Target, Version};

use crate::harness::beside_others;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Compares a target with Redis over some requests.
fn run(mut target: impl Target, keys: Keys, requests: u64, version: Version) {
    let _share = beside_others();
    let Some(mut redis) = RedisServer::start(version) else { return };
    let seed = number("DIFFERENTIAL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let requests = number("DIFFERENTIAL_REQUESTS").unwrap_or(requests);
    eprintln!("seed {seed}, {requests} requests");
    for (round, protocol) in [2, 3].into_iter().enumerate() {
        let made = Generator::new(seed.wrapping_add(round as u64), keys, version);
        compare(&mut redis, &mut target, made, requests / 2, protocol);
    }
}

#[test]
fn plans_answer_as_redis_does() {
    run(Plans::new(), Keys::Together, 40_000, Version::Usual);
}

#[test]
fn plans_answer_as_redis_8_does() {
    run(Plans::new(), Keys::Together, 40_000, Version::Eight);
}

#[test]
fn a_server_with_one_core_answers_as_redis_does() {
    run(Process::start(Some(1)), Keys::Together, 20_000, Version::Usual);
}

#[test]
fn a_server_with_one_core_answers_as_redis_8_does() {
    run(Process::start(Some(1)), Keys::Together, 20_000, Version::Eight);
}

#[test]
fn a_server_with_all_cores_answers_as_redis_does() {
    run(Process::start(None), Keys::Apart, 20_000, Version::Usual);
}

/// Their tips or deprecation changed in versions after the one installed, or they came with one; and SORT, of whose
/// keys Redis says that they are unknown.
const KNOWN: &[&str] = &[
    "sinterstore",
    "sort",
    "sort_ro",
    "zrank",
    "zrevrank",
    "msetnx",
    "command|getkeys",
    "command|getkeysandflags",
    "client|setname",
    "client|setinfo",
    "client|no-touch",
    "config|resetstat",
    "quit",
    "waitaof",
];

#[test]
fn the_table_describes_commands_as_redis_does() {
    let Some(mut redis) = RedisServer::start(Version::Usual) else { return };
    let mut ours = Plans::new();
    let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let names = ours.ask(&words("COMMAND LIST"));
    let mut compared = 0;
    for name in names.elements().iter().filter_map(Value::text).filter(|name| !KNOWN.contains(name)) {
        let request = words(&format!("COMMAND INFO {name}"));
        let (theirs, own) = (redis.ask(&request), ours.ask(&request));
        let (theirs, own) = (&theirs.elements()[0], &own.elements()[0]);
        // Name, arity, flags, first, last, step, categories, tips, key specifications. The last are subcommands, of
        // which Redis has more.
        for (index, (a, b)) in theirs.elements().iter().zip(own.elements()).enumerate().take(9) {
            let in_order = |value: &Value| if index == 8 { value.clone() } else { value.sorted(1) };
            // Redis explains some key specifications in notes; we do not.
            let without_notes = |value: &Value| {
                let specs = value.elements().iter().map(|spec| {
                    let pairs = spec.elements().chunks(2).filter(|pair| pair[0].text() != Some("notes"));
                    Value::Array(pairs.flatten().cloned().collect())
                });
                if index == 8 { Value::Array(specs.collect()) } else { value.clone() }
            };
            assert_eq!(without_notes(&in_order(a)), without_notes(&in_order(b)), "{name}, element {index}");
        }
        compared += 1;
    }
    assert!(compared > 90, "only {compared} commands compared");
    // Well-formed to the last byte in both versions of the protocol, or asking would fail.
    for protocol in ["2", "3"] {
        ours.ask(&words(&format!("HELLO {protocol}")));
        let count = ours.ask(&words("COMMAND COUNT")).int();
        for all in ["COMMAND", "COMMAND INFO", "COMMAND DOCS"] {
            let told = ours.ask(&words(all));
            let each = if all.ends_with("DOCS") { 2 } else { 1 };
            assert_eq!(Some((told.elements().len() / each) as i64), count, "{all}");
        }
        for parent in ["CLIENT", "COMMAND", "CONFIG", "MEMORY", "OBJECT", "XGROUP", "XINFO"] {
            assert!(ours.ask(&words(&format!("{parent} HELP"))).elements().len() > 2);
        }
    }
}
