//! Promise: DEBUG is for those whom the configuration allows it, and does what tests expect of it, with any number of
//! cores.

use std::time::{Duration, Instant};

use crate::harness::{Home, Value, eventually};

#[test]
fn debug_is_off_unless_it_is_allowed() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    for request in ["DEBUG SLEEP 0", "DEBUG OBJECT key", "DEBUG JMAP", "DEBUG HELP"] {
        let refused = conn.call(request);
        assert!(refused.error().starts_with("ERR DEBUG command not allowed"), "{refused:?}");
    }
    assert_eq!(conn.call("CONFIG GET enable-debug-command").items()[1].text(), "no");
}

#[test]
fn debug_answers_wherever_keys_are() {
    let home = Home::new().set("server.debug_command", "local");
    let server = home.start();
    let mut conn = server.connect();
    let empty = conn.call("DEBUG DIGEST").text();
    assert_eq!(empty, "0".repeat(40));
    for n in 0..50 {
        conn.call(&format!("SET key:{n} value{n}"));
    }
    let full = conn.call("DEBUG DIGEST").text();
    assert!(full != empty && full.len() == 40);
    conn.call("SET key:7 other");
    assert_ne!(conn.call("DEBUG DIGEST").text(), full);
    conn.call("SET key:7 value7");
    assert_eq!(conn.call("DEBUG DIGEST").text(), full);
    for n in 0..50 {
        let about = conn.call(&format!("DEBUG OBJECT key:{n}")).text();
        assert!(
            about.contains(" encoding:embstr serializedlength:") && about.contains(" lru_seconds_idle:"),
            "{about}"
        );
    }
    conn.call("MSET {t}a same {t}b same {t}c other");
    let digests = conn.call("DEBUG DIGEST-VALUE {t}a {t}b {t}c {t}none");
    let digests: Vec<String> = digests.items().iter().map(Value::text).collect();
    assert!(digests[0] == digests[1] && digests[1] != digests[2] && digests[3] == empty, "{digests:?}");
    assert_eq!(conn.call("DEBUG STRINGMATCH-LEN 1000 a*a").int(), 1);
    assert_eq!(conn.call("DEBUG STRINGMATCH-LEN 1000 a*b").int(), 0);
    assert!(conn.call("DEBUG HELP").items().len() > 10);
    for request in ["DEBUG JMAP", "DEBUG SLEEP", "DEBUG OBJECT", "DEBUG SEGFAULT"] {
        let refused = conn.call(request);
        assert!(refused.error().starts_with("ERR unknown subcommand or wrong number of arguments for"), "{refused:?}");
    }
    assert_eq!(conn.call("DEBUG OBJECT none").error(), "ERR no such key");
}

#[test]
fn data_that_is_loaded_again_stays_the_same_and_no_write_is_lost_meanwhile() {
    let home = Home::new().set("server.debug_command", "yes");
    let server = home.start();
    let mut conn = server.connect();
    for n in 0..200 {
        conn.call(&format!("SET string:{n} {n} EX 1000"));
        conn.call(&format!("HSETEX hash:{n} EX 1000 FIELDS 1 field {n}"));
        conn.call(&format!("SADD set:{n} {n} one two"));
        conn.call(&format!("ZADD zset:{n} {n} member"));
        conn.call(&format!("RPUSH list:{n} {n}"));
        conn.call(&format!("XADD stream:{n} {}-1 field value", n + 1));
    }
    for n in 0..600 {
        conn.call(&format!("SADD shrunk {n}x"));
    }
    for n in 1..600 {
        conn.call(&format!("SREM shrunk {n}x"));
    }
    assert_eq!(conn.call("OBJECT ENCODING shrunk").text(), "hashtable");
    let digest = conn.call("DEBUG DIGEST").text();
    assert_eq!(conn.call("DEBUG RELOAD").text(), "OK");
    assert_eq!(conn.call("DEBUG DIGEST").text(), digest);
    assert_eq!(conn.call("OBJECT ENCODING shrunk").text(), "listpack");
    assert!((1..=1_000).contains(&conn.call("TTL string:7").int()));
    assert!((1..=1_000).contains(&conn.call("HTTL hash:7 FIELDS 1 field").items()[0].int()));
    for option in ["NOSAVE", "NOFLUSH", "MERGE"] {
        let refused = conn.call(&format!("DEBUG RELOAD {option}"));
        assert!(refused.error().starts_with("ERR DEBUG RELOAD takes no options"), "{refused:?}");
    }
    let writer = std::thread::spawn({
        let mut conn = server.connect();
        move || (0..60).map(|n| conn.call(&format!("INCR counter:{}", n % 20)).int()).sum::<i64>()
    });
    while !writer.is_finished() {
        assert_eq!(conn.call("DEBUG RELOAD").text(), "OK");
    }
    assert_eq!(writer.join().expect("the writer"), 20 * (1 + 2 + 3));
    assert!((0..20).all(|n| conn.call(&format!("GET counter:{n}")).text() == "3"));
}

#[test]
fn a_sleeper_keeps_nobody_else_waiting() {
    let home = Home::new().set("server.debug_command", "yes");
    let server = home.start();
    let mut sleeper = server.connect();
    let began = Instant::now();
    sleeper.send(b"DEBUG SLEEP 1.5\r\nPING\r\n").expect("a connection");
    let mut other = server.connect();
    for n in 0..50 {
        assert_eq!(other.call(&format!("SET key:{n} value")).text(), "OK");
    }
    assert!(began.elapsed() < Duration::from_millis(1_400), "others waited for {:?}", began.elapsed());
    assert_eq!(sleeper.read().expect("a reply").text(), "OK");
    assert!(began.elapsed() >= Duration::from_millis(1_500), "it slept for {:?} only", began.elapsed());
    assert_eq!(sleeper.read().expect("a reply").text(), "PONG");
}

#[test]
fn expired_keys_stay_while_nobody_removes_them() {
    let home = Home::new().set("server.debug_command", "yes");
    let server = home.start();
    let mut conn = server.connect();
    assert_eq!(conn.call("DEBUG SET-ACTIVE-EXPIRE 0").text(), "OK");
    for n in 0..20 {
        conn.call(&format!("SET key:{n} value PX 1"));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(conn.call("DBSIZE").int(), 20);
    assert_eq!(conn.call("GET key:1"), Value::Null);
    assert_eq!(conn.call("DBSIZE").int(), 19);
    assert_eq!(conn.call("DEBUG SET-ACTIVE-EXPIRE 1").text(), "OK");
    eventually("the keys go", Duration::from_secs(20), || (conn.call("DBSIZE").int() == 0).then_some(()));
}
