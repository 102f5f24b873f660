//! Promise: memory, log, mirror and snapshots hold the same data: their digests agree at every barrier, and so does
//! what clients see.

use std::time::Duration;

use crate::harness::{Conn, Dump, Home, Server, eventually, rng, verify};
use fastrand::Rng;

const PATIENCE: Duration = Duration::from_secs(60);

/// A write of any kind, to few keys, so that every state meets every command.
fn any_write(rng: &mut Rng) -> Vec<String> {
    let key = format!("key:{}", rng.u32(0..200));
    let field = format!("field:{}", rng.u32(0..200));
    let value = rng.alphanumeric().to_string().repeat(rng.usize(0..200));
    let number = rng.i32(-1_000..1_000).to_string();
    let offset = rng.u32(0..300).to_string();
    let later = rng.u32(100_000..200_000).to_string();
    let soon = rng.u32(1..200).to_string();
    let words: &[&str] = match rng.u32(0..27) {
        0..=3 => &["SET", &key, &value],
        4 => &["SET", &key, &number, "PX", &later],
        5 => &["SET", &key, &value, "PX", &soon],
        6..=9 => &["HSET", &key, &field, &value, "other", &number],
        10 => &["HDEL", &key, &field],
        11 => &["HINCRBY", &key, "other", &number],
        12 => &["HINCRBYFLOAT", &key, "float", "0.1"],
        13 => &["INCRBY", &key, &number],
        14 => &["APPEND", &key, &value],
        15 => &["SETRANGE", &key, &offset, &value],
        16 => &["PEXPIRE", &key, &later],
        17 => &["PERSIST", &key],
        18 => &["GETDEL", &key],
        19..=20 => &["DEL", &key],
        21 => &["RENAME", &key, "{key:1}renamed"],
        22 => &["COPY", &key, &key, "DB", "3", "REPLACE"],
        23 => &["RENAME", "{key:1}renamed", "{key:1}once more"],
        24 => &["MOVE", &key, "1"],
        25 => &["MOVE", "{key:1}once more", "2"],
        _ => &["MSET", &key, &value, &field, &number],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn write_at_random(conn: &mut Conn, rng: &mut Rng, batches: usize) {
    for _ in 0..batches {
        let db = rng.u8(0..4).to_string();
        let mut commands: Vec<Vec<String>> = (0..100).map(|_| any_write(rng)).collect();
        commands[0] = vec!["SELECT".to_owned(), db];
        // Wrong types and keys on two cores are refused; a refusal must change nothing, neither here nor in the mirror.
        conn.pipeline(&commands);
    }
    if rng.u8(0..4) == 0 {
        conn.call("SELECT 2");
        conn.call("FLUSHDB");
    }
    if rng.u8(0..4) == 0 {
        conn.call("SWAPDB 0 1");
    }
}

fn save(server: &Server) {
    assert_eq!(server.connect().call("SAVE").text(), "OK");
}

#[test]
fn whatever_was_written() {
    let home = Home::with_node().set("checkpoint.every_edits", "1500").set("log.segment_bytes", "1048576");
    let mut rng = rng();
    let mut server = home.start();
    for round in 0..6 {
        let mut conn = server.connect();
        write_at_random(&mut conn, &mut rng, 60);
        if round % 2 == 0 {
            save(&server);
            write_at_random(&mut conn, &mut rng, 10);
        }
        assert_eq!(conn.call("WAITAOF 1 0 30000").items()[0].int(), 1);
        assert_no_difference(&server);
        let before = Dump::take(&server);
        if round % 3 == 2 {
            assert!(server.terminate().success());
        } else {
            server.kill();
        }
        let verdict = verify(&home.data());
        assert_eq!(verdict.code, Some(0), "{}", verdict.text);
        server = home.start();
        let after = Dump::take(&server);
        without_expired(&before, &after).assert_same(&after);
    }
}

/// What was there without what has expired since.
fn without_expired(before: &Dump, after: &Dump) -> Dump {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    let now = i64::try_from(now.as_millis()).expect("a clock of our time");
    let alive = before.0.iter().filter(|(key, content)| content.2 < 0 || content.2 > now || after.0.contains_key(*key));
    Dump(alive.map(|(key, content)| (key.clone(), content.clone())).collect())
}

fn assert_no_difference(server: &Server) {
    eventually("digests are compared", Duration::from_secs(90), || {
        (server.info_number("digests_compared") > 0.0).then_some(())
    });
    assert_eq!(server.info_number("digests_differed"), 0.0);
    assert_eq!(server.info_number("partitions_diverged"), 0.0);
}

#[test]
fn the_mirror_catches_up_and_says_so() {
    let home = Home::with_node();
    let server = home.start();
    let mut conn = server.connect();
    write_at_random(&mut conn, &mut rng(), 50);
    assert_eq!(conn.call("WAIT 1 30000").int(), 1);
    save(&server);
    eventually("INFO says that all is mirrored", PATIENCE, || {
        let info = server.info();
        let cores: Vec<_> = info.iter().filter(|(name, _)| is_core(name)).collect();
        assert_eq!(cores.len(), 2, "INFO lacks the cores: {info:#?}");
        cores.iter().all(|(_, fields)| position(fields, "durable") == position(fields, "mirrored")).then_some(())
    });
}

fn is_core(name: &str) -> bool {
    name.strip_prefix("core").is_some_and(|number| number.parse::<u16>().is_ok())
}

/// The value of `name=value` in a list of such, separated by commas.
fn position<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}
