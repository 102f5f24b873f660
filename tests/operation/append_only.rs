//! Promise: `rollbook import` gives a running server what the append-only files of a Redis hold, says which commands
//! were refused, and loses no more of a file that was cut than its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{import, printed};
use crate::harness::{Conn, Dump, Home, Peer, Server, Value, encode, eventually};

/// The append-only directory of a Redis.
fn directory(home: &Home) -> PathBuf {
    home.data().join("appendonlydir")
}

/// Commands over all types and several databases; `round` makes those of another call other ones.
fn work(conn: &mut Conn, round: u32) {
    conn.call("SELECT 0");
    for at in 0..300 {
        let key = round * 1000 + at;
        conn.call(&format!("SET string:{key} {at} EX 1000"));
        conn.call(&format!("INCRBY counter:{} {at}", at % 7));
        conn.call(&format!("HSET hash:{} f{at} {round}", at % 5));
        conn.call(&format!("ZADD zset {at}.5 member{key}"));
        conn.call(&format!("RPUSH list:{} {key}", at % 3));
        conn.call(&format!("SADD set m{key}"));
        conn.call(&format!("XADD stream * at {at} round {round}"));
        conn.call(&format!("XADD trimmed * at {at}"));
    }
    for line in [
        "SPOP set 20",
        "LPOP list:0 3",
        "ZPOPMIN zset 5",
        "DEL string:7",
        "PERSIST string:8",
        "GETDEL string:9",
        "HINCRBYFLOAT hash:0 float 1.5",
        "APPEND text more",
        "SETRANGE text 10 x",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group one COUNT 10 STREAMS stream >",
        "XREADGROUP GROUP group two COUNT 5 STREAMS stream >",
        "XAUTOCLAIM stream group two 0 0 COUNT 2",
        "XTRIM trimmed MAXLEN 100",
        "MULTI",
        "SET together 1",
        "SELECT 3",
        "SET together 2",
        "INCR together",
        "EXEC",
        "SET expired 1 PX 1",
        "PFADD visitors a b c",
        "GEOADD places 13.4 52.5 Berlin",
        "SELECT 5",
        "SET flushed 1",
        "FLUSHDB",
        "SET after 1",
    ] {
        let reply = conn.call(line);
        assert!(!reply.is_error() || line.starts_with("XGROUP"), "{line}: {reply:?}");
    }
    conn.command(&["EVAL", "redis.call('SET', KEYS[1], redis.call('INCR', KEYS[2]))", "2", "scripted", "scripts"]);
}

/// Lets Redis write its files anew, and waits for that.
fn rewrite(conn: &mut Conn) {
    conn.call("BGREWRITEAOF");
    eventually("a rewritten file", Duration::from_secs(30), || {
        let info = conn.call("INFO persistence").text();
        (info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")).then_some(())
    });
}

/// One core, so that no command has keys on several.
fn ours() -> (Home, Server) {
    let home = Home::with_peer(Peer::Rollbook).set("server.cores", "1");
    let server = home.start();
    (home, server)
}

/// What the one file would be that Redis wrote before it had a directory of them.
fn one_file(home: &Home) -> PathBuf {
    let manifest = fs::read_to_string(directory(home).join("appendonly.aof.manifest")).expect("read the manifest");
    let names =
        manifest.lines().filter(|line| !line.ends_with(" h")).map(|line| line.split(' ').nth(1).expect("a name"));
    let parts = names.map(|name| fs::read(directory(home).join(name)).expect("read a file"));
    let file = home.path().join("appendonly.aof");
    fs::write(&file, parts.collect::<Vec<_>>().concat()).expect("write a file");
    file
}

/// What append-only files tell: of a stream's groups, not how much they have read.
fn told(mut dump: Dump) -> Dump {
    dump.0.values_mut().filter(|content| content.0 == "stream").for_each(|content| drop(content.1.remove(&b""[..])));
    dump
}

/// Pending entries: id, consumer, deliveries.
fn without_idle_times(pending: &Value) -> Vec<String> {
    let rows = pending.items().iter().map(Value::items);
    rows.map(|row| format!("{:?} {:?} {:?}", row[0], row[1], row[3])).collect()
}

/// Commands on fields that expire, some of them soon.
fn work_on_fields(conn: &mut Conn, round: u32) {
    for at in 0..300 {
        let (hash, field, late) = (at % 5, at % 60, 4_102_444_800_000u64 + u64::from(round * 1000 + at));
        for line in [
            format!("HSETEX fields:{hash} PXAT {late} FIELDS 1 f{field} {at}"),
            format!("HEXPIRE fields:{hash} {} FIELDS 1 f{}", at + 1000, at % 7),
            format!("HSETEX fields:{hash} PX 40 FIELDS 2 brief{field} {at} again{field} {at}"),
            format!("HINCRBY fields:{hash} again{field} 1"),
            format!("HPEXPIREAT fields:{hash} {late} GT FIELDS 2 f{field} again{field}"),
            format!("HGETEX fields:{hash} PERSIST FIELDS 1 f{}", at % 9),
            format!("HGETDEL fields:{hash} FIELDS 1 f{}", at % 11),
            format!("HSETEX short:{at} PX 40 FIELDS 1 f {at}"),
            format!("RENAME short:{at} renamed:{at}"),
        ] {
            let reply = conn.call(&line);
            assert!(!reply.is_error() || line.starts_with("RENAME"), "{line}: {reply:?}");
        }
    }
}

#[test]
fn all_that_redis_has_logged_is_there() {
    if Peer::Redis.is_here() {
        all_that_is_logged_is_there(Peer::Redis, work);
    }
}

#[test]
fn all_that_redis_8_has_logged_is_there() {
    if Peer::RedisEight.is_here() {
        all_that_is_logged_is_there(Peer::RedisEight, |conn, round| {
            work(conn, round);
            conn.call("SELECT 0");
            work_on_fields(conn, round);
        });
    }
}

fn all_that_is_logged_is_there(peer: Peer, work: impl Fn(&mut Conn, u32)) {
    let redis_home = Home::with_peer(peer);
    let redis = redis_home.start();
    let mut conn = redis.connect();
    work(&mut conn, 1);
    for preamble in ["yes", "no"] {
        conn.call(&format!("CONFIG SET aof-use-rdb-preamble {preamble}"));
        rewrite(&mut conn);
        conn.call("CONFIG SET aof-timestamp-enabled yes");
        work(&mut conn, 2);
        conn.call("SELECT 0");
        // What expires soon has expired on both when they are compared.
        thread::sleep(Duration::from_millis(300));
        let expected = told(Dump::take(&redis));
        assert!(expected.len() > 100);
        let manifest = directory(&redis_home).join("appendonly.aof.manifest");
        for path in [directory(&redis_home), manifest, one_file(&redis_home)] {
            let (_home, server) = ours();
            let output = import(&path, &server, &[]);
            assert!(output.status.success(), "{}: {}", path.display(), printed(&output));
            expected.assert_same(&told(Dump::take(&server)));
            let pending = "XPENDING stream group - + 10000";
            let [theirs, own] = [&mut conn, &mut server.connect()].map(|conn| without_idle_times(&conn.call(pending)));
            assert!(theirs.len() > 10);
            assert_eq!(own, theirs);
        }
    }
}

/// A file of these commands, each in words.
fn file_of(home: &Home, lines: &[&str]) -> PathBuf {
    let mut bytes = Vec::new();
    lines.iter().for_each(|line| encode(&mut bytes, &line.split(' ').collect::<Vec<_>>()));
    let file = home.path().join("commands.aof");
    fs::write(&file, bytes).expect("write a file");
    file
}

fn cut(file: &Path, bytes: usize) -> PathBuf {
    let all = fs::read(file).expect("read a file");
    let cut = file.with_extension("cut");
    fs::write(&cut, &all[..all.len() - bytes]).expect("write a file");
    cut
}

#[test]
fn a_file_that_was_cut_loses_its_end_only() {
    let (home, server) = ours();
    let mut conn = server.connect();
    let file = file_of(&home, &["SET a 1", "MULTI", "SET b 2", "SELECT 2", "SET c 3", "EXEC", "SELECT 0", "SET d 4"]);
    // Cut within the last command, within EXEC, at the end of the command before it.
    let exec = "*1\r\n$4\r\nEXEC\r\n".len();
    let after = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n4\r\n".len();
    for (bytes, within, present) in [
        (1, "within a command: its last 26 bytes", ["a", "b"].as_slice()),
        (after + 1, "within a transaction", &["a"]),
        (after + exec, "within a transaction", &["a"]),
    ] {
        conn.call("FLUSHALL");
        let output = import(&cut(&file, bytes), &server, &[]);
        let text = printed(&output);
        assert!(output.status.success() && text.contains(within), "{bytes}: {text}");
        for key in ["a", "b", "c", "d"] {
            assert_eq!(conn.call(&format!("EXISTS {key}")).int(), i64::from(present.contains(&key)), "{bytes}: {key}");
        }
    }
    conn.call("FLUSHALL");
    let output = import(&cut(&file, after), &server, &[]);
    assert!(output.status.success() && !printed(&output).contains("within"), "{}", printed(&output));
    // Only the last file may end so.
    let manifest = home.path().join("two.manifest");
    fs::write(&manifest, "file commands.cut seq 1 type i\nfile commands.aof seq 2 type i\n").expect("write a manifest");
    cut(&file, 1);
    let output = import(&manifest, &server, &["--replace"]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains("but others follow"), "{text}");
}

/// Imports a file of these commands, and is told something.
fn import_and_hear(home: &Home, server: &Server, lines: &[&str], told: &str) {
    let output = import(&file_of(home, lines), server, &[]);
    let text = printed(&output);
    assert!(output.status.success() && text.contains(told), "{text}");
}

/// Each question, and its answer as it is printed.
fn assert_answers(conn: &mut Conn, answers: &[(&str, &str)]) {
    for (question, answer) in answers {
        assert_eq!(format!("{:?}", conn.call(question)), *answer, "{question}");
    }
}

#[test]
fn an_expiry_that_has_come_may_be_extended_by_a_later_command() {
    let (home, server) = ours();
    let lines = [
        "SET extended 1 PXAT 1000",
        "SET expired 1 PXAT 1000",
        "SET kept 1 EXAT 1",
        "SET changed 1",
        "PEXPIREAT changed 1000",
        "APPEND changed 2",
        "PERSIST kept",
        "SET again 1 PXAT 1000",
        "SET again 2",
        "EXPIREAT extended 4102444800",
    ];
    import_and_hear(&home, &server, &lines, "2 times skipped: a key that has expired");
    let answers = [
        ("PEXPIRETIME extended", ":4102444800000"),
        ("PEXPIRETIME kept", ":-1"),
        ("GET again", "\"2\""),
        ("PEXPIRETIME again", ":-1"),
        ("EXISTS expired changed", ":0"),
    ];
    assert_answers(&mut server.connect(), &answers);
}

#[test]
fn a_field_whose_time_has_come_may_be_kept_by_a_later_command() {
    let (home, server) = ours();
    let lines = [
        "HSET h extended 1 kept 1 expired 1 set 1 counted 1",
        "HPEXPIREAT h 1000 FIELDS 5 extended kept expired set counted",
        "HINCRBY h counted 1",
        "HPERSIST h FIELDS 1 kept",
        "HSET h set 2",
        "HPEXPIREAT h 4102444800000 GT FIELDS 2 extended counted",
        "HSETEX h PXAT 2000 FIELDS 1 short 1",
        "HSETEX h EXAT 4102444800 FIELDS 1 long 1",
        "HSETEX h PXAT 2000 FIELDS 1 changed 1",
        "HSETEX h KEEPTTL FIELDS 1 changed 2",
        "HSETEX gone PXAT 1000 FIELDS 1 f 1",
        "HSET long f 1",
        "HPEXPIREAT long 70368744177663 FIELDS 1 f",
        "HSET overwritten f 1",
        "HPEXPIREAT overwritten 1000 FIELDS 1 f",
        "SET overwritten text",
    ];
    import_and_hear(&home, &server, &lines, "4 times skipped: a field that has expired");
    let answers = [
        ("HMGET h extended kept set counted long", r#"["1", "1", "2", "2", "1"]"#),
        (
            "HPEXPIRETIME h FIELDS 5 extended counted long kept set",
            "[:4102444800000, :4102444800000, :4102444800000, :-1, :-1]",
        ),
        ("HLEN h", ":5"),
        ("HPEXPIRETIME long FIELDS 1 f", "[:70368744177663]"),
        ("EXISTS gone", ":0"),
        ("GET overwritten", "\"text\""),
    ];
    assert_answers(&mut server.connect(), &answers);
}

#[test]
fn what_expires_is_found_under_whatever_name_it_has_in_the_end() {
    let (home, server) = ours();
    let lines = [
        "SET a 1 PXAT 1000",
        "RENAME a b",
        "COPY b c DB 2",
        "SELECT 2",
        "MOVE c 3",
        "SWAPDB 3 4",
        "HSET h f 1 g 1",
        "HPEXPIREAT h 1000 FIELDS 1 f",
        "RENAME h i",
        "SET later 1 PXAT 1000",
        "PEXPIREAT later 4102444800000 GT",
        "SET sooner 1 PXAT 4102444800000",
        "PEXPIREAT sooner 1000 LT",
    ];
    import_and_hear(&home, &server, &lines, "3 times skipped: a key that has expired");
    let answers = [
        ("DBSIZE", ":0"),
        ("SELECT 4", "+OK"),
        ("DBSIZE", ":0"),
        ("SELECT 2", "+OK"),
        ("HGETALL i", r#"["g", "1"]"#),
        ("PEXPIRETIME later", ":4102444800000"),
        ("EXISTS sooner", ":0"),
    ];
    assert_answers(&mut server.connect(), &answers);
}

#[test]
fn a_field_of_the_base_whose_time_has_come_may_be_kept_by_a_later_command() {
    let (home, server) = ours();
    // A hash of three fields in Redis's format: `a` and `b` expire at 1000, `c` never.
    let hash = b"\x18\x01h\xe8\x03\0\0\0\0\0\0\x03\x01\x01a\x011\x01\x01b\x012\0\x01c\x013";
    let base = [b"REDIS0012\xfa\x08aof-base\x011\xfe\0", &hash[..], b"\xff\0\0\0\0\0\0\0\0"].concat();
    let commands = file_of(&home, &["SELECT 0", "HINCRBY h a 1", "HPEXPIREAT h 4102444800000 FIELDS 1 a"]);
    let file = home.path().join("base.aof");
    let bytes = [base, fs::read(commands).expect("read a file")].concat();
    fs::write(&file, bytes).expect("write a file");
    let output = import(&file, &server, &[]);
    let text = printed(&output);
    assert!(output.status.success() && text.contains("1 times skipped: a field that has expired"), "{text}");
    let answers = [("HMGET h a b c", r#"["2", null, "3"]"#), ("HPEXPIRETIME h FIELDS 2 a c", "[:4102444800000, :-1]")];
    assert_answers(&mut server.connect(), &answers);
}

#[test]
fn refused_commands_are_counted_with_an_example_each() {
    let (home, server) = ours();
    let lines = ["SET a 1", "FOO x y", "foo z", "LPUSH a 1", "SELECT 99", "SET b 2", "SELECT 0", "SET c 3"];
    let output = import(&file_of(&home, &lines), &server, &[]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    for expected in [
        "0 keys imported, 2 commands executed",
        "2 times FOO refused (first: FOO x y: ERR unknown command",
        "1 times LPUSH refused (first: LPUSH a 1: WRONGTYPE",
        "1 times SET refused (first: SET b 2: the server has no database 99)",
        "4 commands were not executed",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert_eq!(server.connect().call("EXISTS a b c").int(), 2);
}

#[test]
fn what_a_server_holds_is_not_changed_unless_it_may_be() {
    let (home, server) = ours();
    let mut conn = server.connect();
    conn.call("SELECT 4");
    conn.call("SET mine 1");
    let file = file_of(&home, &["SELECT 4", "DEL mine", "SET theirs 2"]);
    let output = import(&file, &server, &[]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("1 keys already in database 4") && text.contains("--replace"), "{text}");
    assert_eq!(conn.call("EXISTS mine theirs").int(), 1);
    let output = import(&file, &server, &["--replace"]);
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(conn.call("GET theirs").text(), "2");
    assert_eq!(conn.call("EXISTS mine").int(), 0);
}

#[test]
fn what_is_no_append_only_file_is_refused_by_name_and_place() {
    let (home, server) = ours();
    let empty = home.path().join("empty");
    fs::create_dir(&empty).expect("create a directory");
    let output = import(&empty, &server, &[]);
    assert!(output.status.code() == Some(65) && printed(&output).contains(".manifest"), "{}", printed(&output));
    let file = home.path().join("text.aof");
    fs::write(&file, "*1\r\n$4\r\nPING\r\nwhatever\r\n").expect("write a file");
    let output = import(&file, &server, &[]);
    let text = printed(&output);
    assert!(output.status.code() == Some(65) && text.contains("text.aof, at byte 14"), "{text}");
}

/// Made by `tests/compatibility/append_only.py`.
#[test]
fn a_directory_of_redis_8_is_replayed() {
    let (_home, server) = ours();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operation/redis-8.2");
    let output = import(&directory, &server, &[]);
    let text = printed(&output);
    assert!(output.status.success() && text.contains("skipped: a library of functions"), "{text}");
    let mut conn = server.connect();
    let facts = fs::read_to_string(directory.join("holds.txt")).expect("read a file");
    for line in facts.lines() {
        let (command, reply) = line.split_once(" => ").expect("a command and its reply");
        assert_eq!(format!("{:?}", conn.call(command)), reply, "{command}");
    }
    assert!(facts.lines().count() > 10);
}
