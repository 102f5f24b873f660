//! Promise: `rollbook import` gives a running server what an RDB file holds, and says what it skipped and why.

use std::path::{Path, PathBuf};

use super::{import, printed};
use crate::harness::{Dump, Home, Peer};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/encoding/rdb/tests").join(name)
}

#[test]
fn all_that_redis_has_saved_is_there() {
    if !Peer::Redis.is_here() {
        return;
    }
    let (redis, ours) = (Home::with_peer(Peer::Redis), Home::with_peer(Peer::Rollbook));
    let (redis, ours) = (redis.start(), ours.start());
    let mut conn = redis.connect();
    let requests: Vec<Vec<String>> = (0..5000)
        .map(|at| {
            let line = match at % 8 {
                0 => format!("SET string:{at} {at}"),
                1 => format!("HSET hash:{} f{at} {at}", at % 100),
                2 => format!("SET expiring:{at} {at} EX 1000"),
                3 => format!("ZADD zset:{} {at}.5 m{at}", at % 50),
                4 => format!("XADD stream:{} {at}-1 at {at}", at % 50),
                5 => format!("SADD set:{} {at}", at % 50),
                6 => format!("RPUSH list:{} {at}", at % 50),
                _ => format!("HSET large f{at} {}", "x".repeat(at)),
            };
            line.split(' ').map(str::to_owned).collect()
        })
        .collect();
    requests.chunks(100).for_each(|chunk| drop(conn.pipeline(chunk)));
    conn.call("SELECT 7");
    conn.call("SET other database");
    assert!(!conn.call("SAVE").is_error());
    let setting =
        |conn: &mut crate::harness::Conn, name: &str| conn.call(&format!("CONFIG GET {name}")).items()[1].text();
    let file = Path::new(&setting(&mut conn, "dir")).join(setting(&mut conn, "dbfilename"));
    let output = import(&file, &ours, &[]);
    assert!(output.status.success(), "{}", printed(&output));
    Dump::take(&redis).assert_same(&Dump::take(&ours));
}

#[test]
fn what_is_skipped_is_told() {
    let home = Home::with_peer(Peer::Rollbook);
    let server = home.start();
    let file = fixture("redis-8.2.rdb");
    let output = import(&file, &server, &[]);
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("3 keys imported") && text.contains("skipped: a library of functions"), "{text}");
    let output = import(&file, &server, &[]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains("0 keys imported") && text.contains("3 keys skipped") && text.contains("BUSYKEY"), "{text}");
    let output = import(&file, &server, &["--replace"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn a_damaged_file_ends_the_import_and_names_the_place() {
    let home = Home::with_peer(Peer::Rollbook);
    let server = home.start();
    let mut bytes = std::fs::read(fixture("redis-8.2.rdb")).expect("read a file");
    bytes.truncate(bytes.len() - 9);
    let file = home.path().join("damaged.rdb");
    std::fs::write(&file, bytes).expect("write a file");
    let output = import(&file, &server, &[]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains("3 keys imported") && text.contains("at byte"), "{text}");
    let output = import(Path::new("/no/such/file"), &server, &[]);
    assert_eq!(output.status.code(), Some(74), "{}", printed(&output));
}
