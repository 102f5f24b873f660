//! Promise: what DUMP tells in Redis, RESTORE takes here, and the other way round; also payloads in the older forms
//! that Redis itself no longer writes.
//!
//! Skipped where `redis-server` is missing.

use std::process::Command;

use crate::harness::{Conn, Home, Peer, Value, stream_facts};

/// Payloads by real servers: title, payload in hexadecimal digits, content.
const PAYLOADS: &str = include_str!("../../src/encoding/rdb/tests/payloads.txt");

/// Commands that make a key of each kind and size.
fn fill(conn: &mut Conn) {
    let commands: [&[&[u8]]; 22] = [
        &[b"SET", b"string", b"a\r\n\xff"],
        &[b"SET", b"string:empty", b""],
        &[b"SET", b"string:number", b"-70000"],
        &[b"SET", b"string:long", &[b'x'; 100_000]],
        &[b"HSET", b"hash", b"f", b"1", b"g", b"two", b"", b""],
        &[b"SADD", b"set", b"a", b"", b"-300", b"b\xff"],
        &[b"SADD", b"set:integers", b"1", b"-70000", b"9223372036854775807"],
        &[b"RPUSH", b"list", b"a", b"", b"-300", b"a", b"b\xff"],
        &[b"SETEX", b"string:expiring", b"1000", b"1"],
        &[b"HSET", b"hash:expiring", b"f", b"1"],
        &[b"EXPIRE", b"hash:expiring", b"1000"],
        &[b"ZADD", b"zset", b"1.5", b"a", b"inf", b"", b"-inf", b"-300", b"0.1", b"b\xff"],
        &[b"XADD", b"stream", b"5-1", b"a", b"1", b"", b"\xff"],
        &[b"XADD", b"stream", b"5-2", b"a", b"-300", b"other", b"2"],
        &[b"XADD", b"stream", b"7-0", b"a", b"1", b"", b"2"],
        &[b"XDEL", b"stream", b"5-2"],
        &[b"XGROUP", b"CREATE", b"stream", b"group", b"0"],
        &[b"XGROUP", b"CREATE", b"stream", b"\xff", b"$", b"ENTRIESREAD", b"3"],
        &[b"XREADGROUP", b"GROUP", b"group", b"one", b"COUNT", b"1", b"STREAMS", b"stream", b">"],
        &[b"XREADGROUP", b"GROUP", b"group", b"another", b"STREAMS", b"stream", b">"],
        &[b"XADD", b"stream:empty", b"9-9", b"a", b"1"],
        &[b"XDEL", b"stream:empty", b"9-9"],
    ];
    for command in commands {
        assert!(!conn.command(command).is_error());
    }
    for at in 0..1000 {
        conn.call(&format!("HSET hash:long f{at} value{at}"));
        conn.call(&format!("SADD set:long member{at}"));
        conn.call(&format!("RPUSH list:long element{at}"));
        conn.call(&format!("ZADD zset:long {at}.25 member{at}"));
        conn.call(&format!("XADD stream:long {at}-7 number {at} {} x", if at % 7 == 0 { "odd" } else { "even" }));
    }
    conn.call("XGROUP CREATE stream:long group 0");
    for consumer in ["first", "second", "third"] {
        conn.call(&format!("XREADGROUP GROUP group {consumer} COUNT 300 STREAMS stream:long >"));
    }
    conn.call("XACK stream:long group 5-7 400-7");
}

/// What a key holds, however it is stored.
fn content(conn: &mut Conn, key: &[u8]) -> Vec<String> {
    let kind = conn.command(&[b"TYPE", key]).text();
    let (read, group): (&[&[u8]], usize) = match kind.as_str() {
        "string" => (&[b"GET", key], 1),
        "hash" => (&[b"HGETALL", key], 2),
        "list" => (&[b"LRANGE", key, b"0", b"-1"], usize::MAX),
        "set" => (&[b"SMEMBERS", key], 1),
        "zset" => (&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], 2),
        "stream" => return stream_facts(conn, key),
        other => panic!("{} is a {other}", key.escape_ascii()),
    };
    let reply = conn.command(read);
    let mut rows: Vec<String> = match &reply {
        // Redis 7.0 prints more digits of a score than tell it from all others.
        Value::Array(items) if kind == "zset" => {
            let row = |row: &[Value]| format!("{:?} {:e}", row[0], row[1].text().parse::<f64>().expect("a score"));
            items.chunks(group).map(row).collect()
        }
        Value::Array(items) => items.chunks(group.min(items.len().max(1))).map(|row| format!("{row:?}")).collect(),
        other => vec![format!("{other:?}")],
    };
    rows.sort();
    rows.insert(0, kind);
    rows
}

fn payload(conn: &mut Conn, key: &[u8]) -> Vec<u8> {
    let reply = conn.command(&[b"DUMP", key]);
    reply.bytes().unwrap_or_else(|| panic!("no {}", key.escape_ascii())).to_vec()
}

fn restore(conn: &mut Conn, key: &[u8], payload: &[u8]) -> Value {
    conn.command(&[b"RESTORE", key, b"0", payload])
}

/// Redis and ours; `None` without Redis.
fn both() -> Option<(Home, Home)> {
    if Command::new("redis-server").arg("--version").output().is_err() {
        eprintln!("skipped: there is no redis-server here");
        return None;
    }
    Some((Home::with_peer(Peer::Redis), Home::with_peer(Peer::Rollbook)))
}

#[test]
fn values_go_from_redis_to_us_and_back() {
    let Some((redis, ours)) = both() else { return };
    let (redis, ours) = (redis.start(), ours.start());
    let (mut redis, mut ours) = (redis.connect(), ours.connect());
    fill(&mut redis);
    let keys = redis.call("KEYS *");
    for key in keys.items().iter().map(|key| key.bytes().expect("a name")) {
        let expected = content(&mut redis, key);
        let theirs = payload(&mut redis, key);
        assert_eq!(restore(&mut ours, key, &theirs), Value::Simple("OK".into()), "{}", key.escape_ascii());
        assert_eq!(content(&mut ours, key), expected);
        let own = payload(&mut ours, key);
        redis.command(&[b"DEL", key]);
        assert_eq!(restore(&mut redis, key, &own), Value::Simple("OK".into()), "{}", key.escape_ascii());
        assert_eq!(content(&mut redis, key), expected);
    }
}

#[test]
fn values_survive_a_crash_and_go_to_redis() {
    let Some((redis, home)) = both() else { return };
    let mut server = home.start();
    let mut ours = server.connect();
    fill(&mut ours);
    let keys = ours.call("KEYS *");
    for key in keys.items().iter().map(|key| key.bytes().expect("a name")) {
        let copy = [key, b":copy"].concat();
        let payload = payload(&mut ours, key);
        assert_eq!(restore(&mut ours, &copy, &payload), Value::Simple("OK".into()), "{}", key.escape_ascii());
    }
    let written = ours.call("WAITAOF 1 0 10000");
    assert_eq!(written.items()[0], Value::Int(1));
    server.kill();
    let server = home.start();
    let redis = redis.start();
    let (mut redis, mut ours) = (redis.connect(), server.connect());
    for key in keys.items().iter().map(|key| key.bytes().expect("a name")) {
        let copy = [key, b":copy"].concat();
        let expected = content(&mut ours, key);
        assert_eq!(content(&mut ours, &copy), expected);
        let payload = payload(&mut ours, &copy);
        assert_eq!(restore(&mut redis, key, &payload), Value::Simple("OK".into()), "{}", key.escape_ascii());
        assert_eq!(content(&mut redis, key), expected);
    }
}

#[test]
fn payloads_of_every_version_are_taken_as_in_redis() {
    let Some((redis, ours)) = both() else { return };
    let (redis, ours) = (redis.start(), ours.start());
    let (mut redis, mut ours) = (redis.connect(), ours.connect());
    let mut lines = PAYLOADS.lines().filter(|line| !line.is_empty());
    let mut compared = 0;
    while let (Some(title), Some(hex), Some(_)) = (lines.next(), lines.next(), lines.next()) {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        let payload: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        redis.call("FLUSHALL");
        ours.call("FLUSHALL");
        let theirs = restore(&mut redis, b"key", &payload);
        let own = restore(&mut ours, b"key", &payload);
        // What newer servers write, this Redis may not know.
        if !theirs.is_error() {
            assert_eq!(own, theirs, "{title}");
            assert_eq!(content(&mut ours, b"key"), content(&mut redis, b"key"), "{title}");
            compared += 1;
        }
        for at in [0, 1, payload.len() / 2, payload.len() - 1] {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(restore(&mut ours, b"damaged", &damaged), restore(&mut redis, b"damaged", &damaged), "{title}");
        }
    }
    assert!(compared > 40, "{compared} payloads compared");
}

#[test]
fn a_restored_key_is_as_idle_as_the_command_says() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.call("SET key value");
    let payload = payload(&mut conn, b"key");
    let words: [&[u8]; 7] = [b"RESTORE", b"key", b"0", &payload, b"REPLACE", b"IDLETIME", b"1000"];
    assert_eq!(conn.command(&words), Value::Simple("OK".into()));
    let idle = conn.call("OBJECT IDLETIME key").int();
    assert!((1000..1060).contains(&idle), "{idle} s");
}
