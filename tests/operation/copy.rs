//! Promise: `rollbook import --from` copies a running server of either kind, and says what it could not copy.

use std::process::{Command, Output};
use std::thread;

use super::printed;
use crate::harness::{Conn, Dump, Home, Peer, Server};

fn copy(from: &str, to: &Server, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
    command.args(["import", "--from", from, "--port", &to.port().to_string()]).args(options);
    command.output().expect("run rollbook import")
}

fn address(of: &Server) -> String {
    format!("redis://127.0.0.1:{}", of.port())
}

fn fill(conn: &mut Conn, keys: usize) {
    let line = |at: usize| match at % 6 {
        0 => format!("SET string:{at} {at} EX {}", 1000 + at),
        1 => format!("HSET hash:{} f{at} {at}", at % 100),
        2 => format!("ZADD zset:{} {at}.5 m{at}", at % 100),
        3 => format!("RPUSH list:{} {at}", at % 100),
        4 => format!("SADD set:{} {at}", at % 100),
        _ => format!("XADD stream:{} {}-1 at {at}", at % 100, at + 1),
    };
    let requests: Vec<Vec<String>> = (0..keys).map(|at| line(at).split(' ').map(str::to_owned).collect()).collect();
    for chunk in requests.chunks(200) {
        assert!(conn.pipeline(chunk).iter().all(|reply| !reply.is_error()));
    }
    conn.call("XGROUP CREATE stream:5 group 0");
    conn.call("XREADGROUP GROUP group one COUNT 3 STREAMS stream:5 >");
    conn.command(&["SET", "large", &"x".repeat(3 << 20)]);
    conn.call("SELECT 7");
    conn.call("SET other database");
    conn.call("SELECT 0");
}

/// Hashes, small and large, some of whose fields expire.
fn fill_expiring(conn: &mut Conn) {
    for fields in [3, 2000] {
        for n in 0..fields {
            conn.call(&format!("HSET expiring:{fields} f{n} {n}"));
        }
        for n in (0..fields).step_by(3) {
            let set = conn.call(&format!("HPEXPIREAT expiring:{fields} {} FIELDS 1 f{n}", 4_102_444_800_000u64 + n));
            assert_eq!(set.items()[0].int(), 1);
        }
    }
}

#[test]
fn a_redis_is_copied_and_copied_back() {
    if Peer::Redis.is_here() {
        copied_and_copied_back(Peer::Redis, |conn| fill(conn, 5000));
    }
}

#[test]
fn a_redis_8_is_copied_and_copied_back() {
    if Peer::RedisEight.is_here() {
        copied_and_copied_back(Peer::RedisEight, |conn| {
            fill(conn, 5000);
            fill_expiring(conn);
        });
    }
}

fn copied_and_copied_back(peer: Peer, fill: impl Fn(&mut Conn)) {
    let homes = [Home::with_peer(peer), Home::with_peer(Peer::Rollbook), Home::with_peer(peer)];
    let [redis, ours, another] = homes.each_ref().map(Home::start);
    let mut conn = redis.connect();
    fill(&mut conn);
    conn.command(&["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"]);
    assert!(!conn.command(&["ACL", "SETUSER", "me", "on", ">p@ss", "~*", "+@all"]).is_error());
    let from = format!("redis://me:p%40ss@127.0.0.1:{}", redis.port());
    let output = copy(&from, &ours, &[]);
    let text = printed(&output);
    assert!(output.status.success() && text.contains("1 times skipped: a library of functions"), "{text}");
    let expected = Dump::take(&redis);
    expected.assert_same(&Dump::take(&ours));
    let output = copy(&address(&ours), &another, &[]);
    assert!(output.status.success(), "{}", printed(&output));
    expected.assert_same(&Dump::take(&another));
    let output = copy(&from.replace("p%40ss", "wrong"), &ours, &[]);
    assert!(output.status.code() == Some(69) && printed(&output).contains("password"), "{}", printed(&output));
}

#[test]
fn keys_that_exist_stay_unless_they_may_be_overwritten() {
    let homes = [Home::with_peer(Peer::Rollbook), Home::with_peer(Peer::Rollbook)];
    let [from, to] = homes.each_ref().map(Home::start);
    let (mut theirs, mut mine) = (from.connect(), to.connect());
    for db in [0, 3] {
        theirs.call(&format!("SELECT {db}"));
        theirs.call("MSET {k}a 1 {k}b 1");
    }
    mine.call("SET {k}a 2");
    let output = copy(&address(&from), &to, &[]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains("3 keys imported") && text.contains("1 keys skipped") && text.contains("BUSYKEY"), "{text}");
    assert_eq!(mine.call("MGET {k}a {k}b").items().iter().map(|value| value.text()).collect::<Vec<_>>(), ["2", "1"]);
    mine.call("FLUSHALL");
    mine.call("SET {k}a 2");
    // One database only.
    let output = copy(&format!("{}/3", address(&from)), &to, &[]);
    assert!(output.status.success() && printed(&output).contains("2 keys imported"), "{}", printed(&output));
    assert_eq!(mine.call("DBSIZE").int(), 1);
    let output = copy(&address(&from), &to, &["--replace"]);
    assert!(output.status.success() && printed(&output).contains("4 keys imported"), "{}", printed(&output));
    assert_eq!(mine.call("GET {k}a").text(), "1");
}

#[test]
fn keys_that_go_meanwhile_are_no_error_and_what_cannot_be_copied_is_told() {
    let homes = [Home::with_peer(Peer::Rollbook), Home::with_peer(Peer::Rollbook).set("limits.bulk_bytes", "1048576")];
    let [from, to] = homes.each_ref().map(Home::start);
    let mut conn = from.connect();
    fill(&mut conn, 30_000);
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = from.connect();
            (0..30_000).filter(|at| at % 12 == 0).for_each(|at| drop(conn.call(&format!("DEL string:{at}"))));
        });
        copy(&address(&from), &to, &[])
    });
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    let reason = "1 keys skipped: the value is larger than the server takes at once (first: \"large\")";
    assert!(text.contains(reason) && text.contains("1 keys were not imported"), "{text}");
    let mut expected = Dump::take(&from);
    expected.0.remove(&(0, b"large".to_vec()));
    let copied = Dump::take(&to);
    let missing = expected.0.iter().find(|(key, content)| copied.0.get(*key) != Some(*content));
    assert!(missing.is_none(), "{missing:?}");
}

#[test]
fn an_address_that_makes_no_sense_is_refused_in_one_sentence() {
    let home = Home::with_peer(Peer::Rollbook);
    let server = home.start();
    for (address, why) in [
        ("127.0.0.1:6379", "an address has the form redis://"),
        ("rediss://127.0.0.1", "TLS (rediss://) is not supported"),
        ("redis://127.0.0.1:1", "nobody answers at 127.0.0.1:1"),
    ] {
        let output = copy(address, &server, &[]);
        assert!(!output.status.success() && printed(&output).contains(why), "{address}: {}", printed(&output));
    }
}
