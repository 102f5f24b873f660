//! Promise: what has been published against servers of this kind does nothing here: one test for each class, doing what
//! the published case did. The one for the port between servers is in `tests/mirror/port.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Conn, Home, Server, Value, encode, eventually};
use socket2::SockRef;

const PATIENCE: Duration = Duration::from_secs(20);
const MIB: u64 = 1 << 20;

fn assert_serves(server: &Server) {
    let mut conn = server.connect();
    assert_eq!(conn.call("SET bystander served").text(), "OK");
    assert_eq!(conn.call("GET bystander").text(), "served");
}

/// CVE-2021-32675: before it has authenticated, a client announces many arguments and long ones, on many connections,
/// and the server makes room for them.
#[test]
fn memory_before_authentication() {
    let home = Home::new().set("server.password", "sesame");
    let server = home.start();
    let before = server.peak_memory();
    let refused: [&[u8]; 4] = [b"*1048576\r\n", b"*11\r\n", b"*2\r\n$536870912\r\n", b"*1\r\n$16385\r\n"];
    for request in refused {
        let words = server.answer(request);
        assert!(words.starts_with("-ERR Protocol error: unauthenticated "), "{words}");
    }
    let line = server.answer(&[b"AUTH ", "a".repeat(17 << 10).as_bytes()].concat());
    assert!(line.is_empty() || line.starts_with("-ERR Protocol error: too big inline request"), "{line}");
    // As much as is allowed, and never the last byte.
    let mut conns: Vec<_> = (0..300).map(|_| Conn::open(server.port()).expect("connect")).collect();
    for conn in &mut conns {
        conn.send(b"*10\r\n$16384\r\n").expect("send");
    }
    let more = server.peak_memory() - before;
    assert!(more < 32 * MIB, "{more} bytes for three hundred strangers");
    assert_serves(&server);
}

/// CVE-2025-46686: an authenticated client sends requests of very many arguments and never ends them.
#[test]
fn requests_without_bounds() {
    let home = Home::new().set("limits.bulk_bytes", "1MiB").set("limits.query_buffer_bytes", "4MiB");
    let server = home.start();
    assert!(server.answer(b"*1048577\r\n").starts_with("-ERR Protocol error: invalid multibulk length"));
    let before = server.peak_memory();
    let argument = [b"$65536\r\n", "v".repeat(65536).as_bytes(), b"\r\n"].concat();
    let mut ended = 0;
    for _ in 0..8 {
        let mut conn = server.connect();
        conn.send(b"*1048576\r\n").expect("send");
        let sent = (0..200).take_while(|_| conn.send(&argument).is_ok()).count();
        ended += usize::from(sent < 200 || conn.is_closed_within(PATIENCE));
    }
    assert_eq!(ended, 8, "each is cut off at its limit");
    // Empty arguments cost the sender six bytes each.
    let mut conn = server.connect();
    conn.send(b"*1048576\r\n").expect("send");
    let _ = conn.send(&b"$0\r\n\r\n".repeat(800_000));
    assert!(conn.is_closed_within(PATIENCE), "cut off at its limit");
    let more = server.peak_memory() - before;
    assert!(more < 100 * MIB, "{more} bytes");
    assert_serves(&server);
}

/// CVE-2025-21605: a client that has not authenticated sends command after command, and never reads the errors.
#[test]
fn output_before_authentication() {
    let home = Home::new().set("server.password", "sesame");
    let server = home.start();
    let before = server.peak_memory();
    for request in ["GET key\r\n", "x\n", "HELLO 3\r\n", "AUTH\r\n"] {
        let mut conn = Conn::open_narrow(server.port()).expect("connect");
        conn.stream().set_write_timeout(Some(Duration::from_secs(2))).expect("set a time limit");
        let _ = conn.send(request.repeat(200_000).as_bytes());
        assert!(conn.is_closed_within(PATIENCE), "{request:?}: cut off");
    }
    assert!(server.info_number("client_output_buffer_limit_disconnections") >= 4.0);
    let more = server.peak_memory() - before;
    assert!(more < 32 * MIB, "{more} bytes");
    assert_serves(&server);
}

/// CVE-2026-27623: after an empty request the parser still believes what it knew of it, and takes the next one for
/// something else.
#[test]
fn parser_state_after_an_empty_request() {
    let home = Home::new();
    let server = home.start();
    let empties: [&[u8]; 6] = [b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n", b" \r\n", b"*-9223372036854775808\r\n"];
    let requests: [&[u8]; 3] = [b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n"];
    let mut conn = server.connect();
    for empty in empties {
        for request in requests {
            for parts in [&[empty, request][..], &[request, empty, request], &[empty, empty, request, empty]] {
                let asked = parts.iter().filter(|part| requests.contains(part)).count();
                let bytes = parts.concat();
                // In one piece, and cut after each byte of the empty request.
                for cut in 0..=empty.len().min(bytes.len()) {
                    conn.send(&bytes[..cut]).expect("send");
                    if cut > 0 {
                        thread::sleep(Duration::from_micros(200));
                    }
                    conn.send(&bytes[cut..]).expect("send");
                    for _ in 0..asked {
                        let reply = conn.read().expect("a reply");
                        assert!(matches!(reply.text().as_str(), "PONG" | ""), "{reply:?}");
                    }
                }
            }
        }
    }
    assert_eq!(conn.call("ECHO end").text(), "end", "no reply too many");
    let locked = Home::new().set("server.password", "sesame");
    let server = locked.start();
    for empty in empties {
        let words = server.answer(&[empty, b"*1\r\n$4\r\nPING\r\n", empty, b"PING\r\n"].concat());
        assert_eq!(words, "-NOAUTH Authentication required.\r\n".repeat(2));
    }
}

/// CVE-2025-48367: connections that are gone, or for which there is no descriptor, when they are accepted make the
/// server stop accepting others.
#[test]
fn the_loop_that_accepts_dies() {
    let home = Home::new();
    let few = home.launch_under(&["prlimit", "--nofile=460"]);
    let server = few.wait_until_ready().expect("a server with few files");
    let mut bystander = server.connect();
    for _ in 0..1000 {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("connect");
        // Closing it now is a reset.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set linger");
    }
    assert_eq!(bystander.call("PING").text(), "PONG");
    assert_serves(&server);
    // More connections than there are descriptors left; those that are let in keep their places.
    assert_eq!(bystander.call("CONFIG SET maxclients 396 server.admin_clients 1024").text(), "OK");
    let crowd: Vec<_> = (0..450).filter_map(|_| Conn::open(server.port()).ok()).collect();
    eventually("the last descriptor", PATIENCE, || {
        let stats = bystander.call("INFO stats").text();
        stats.lines().any(|line| line.starts_with("accept_exhausted:") && line != "accept_exhausted:0").then_some(())
    });
    assert_eq!(bystander.call("PING").text(), "PONG", "others are served meanwhile");
    drop(crowd);
    eventually("a connection", PATIENCE, || {
        Conn::open(server.port()).ok()?.try_command(&["PING"]).ok().filter(|reply| reply.text() == "PONG")
    });
    assert_serves(&server);
}

/// CVE-2022-35977, CVE-2023-22458, CVE-2023-25155: offsets and counts at the ends of the numbers overflow, or ask for
/// all memory.
#[test]
fn integers_at_their_edges() {
    let home = Home::new().set("limits.bulk_bytes", "1MiB");
    let server = home.start();
    let mut conn = server.connect();
    conn.call("SET s value");
    conn.call("HSET h f v g w");
    let before = server.peak_memory();
    let edges = [i64::MIN, i64::MIN + 1, i64::MIN / 2, -(1 << 40), -1, 0, 1 << 29, 1 << 40, i64::MAX / 2, i64::MAX];
    for edge in edges {
        for line in [
            format!("SETRANGE s {edge} x"),
            format!("SETRANGE new {edge} x"),
            format!("GETRANGE s {edge} {edge}"),
            format!("GETRANGE s 0 {edge}"),
            format!("SUBSTR s {edge} -1"),
            format!("HRANDFIELD h {edge}"),
            format!("HRANDFIELD h {edge} WITHVALUES"),
            format!("HSCAN h 0 COUNT {edge}"),
            format!("SCAN 0 COUNT {edge}"),
            format!("SCAN {edge}"),
            format!("EXPIRE missing {edge}"),
            format!("SET t v PX {edge}"),
            format!("SET t v EXAT {edge}"),
            format!("INCRBY n {edge}"),
            format!("DECRBY n {edge}"),
            format!("HINCRBY h n {edge}"),
            format!("SELECT {edge}"),
            format!("SWAPDB 0 {edge}"),
            format!("CLIENT KILL ID {edge}"),
            format!("WAIT {edge} 1"),
            format!("OBJECT FREQ {edge}"),
        ] {
            let reply = conn.call(&line);
            let bytes = format!("{reply:?}").len();
            assert!(bytes < 8 << 20, "{line}: {bytes} bytes");
            if !reply.is_error() && line.starts_with("S") {
                conn.call("SWAPDB 0 0");
                conn.call("SELECT 0");
            }
        }
    }
    assert_eq!(conn.call("HGET h f").text(), "v");
    let more = server.peak_memory() - before;
    assert!(more < 100 * MIB, "{more} bytes");
    assert_serves(&server);
}

/// CVE-2022-36021, CVE-2024-31228: a pattern that is tried in exponentially many ways, and one so long that a recursion
/// over it ends the stack.
#[test]
fn patterns_that_are_slow_or_deep() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.command(&["SET", &"a".repeat(5_000), "1"]);
    let long = 2 << 20;
    let patterns = [
        "a*".repeat(500) + "b",
        "[^b]*".repeat(500) + "b",
        "*".repeat(long) + "b",
        "*?".repeat(long / 2),
        "[".repeat(long),
        "\\".repeat(long),
        "*a".repeat(long / 2),
    ];
    let start = Instant::now();
    for pattern in &patterns {
        for request in [
            vec!["KEYS", pattern],
            vec!["SCAN", "0", "MATCH", pattern, "COUNT", "1000"],
            vec!["COMMAND", "LIST", "FILTERBY", "PATTERN", pattern],
            vec!["CONFIG", "GET", pattern],
        ] {
            assert!(!conn.command(&request).is_error(), "{}", request[0]);
        }
    }
    // Exponential time would be years; the stack would end the server.
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    assert_serves(&server);
}

/// CVE-2023-28425: MSETNX with one key twice. And every other command that may be told the same thing twice.
#[test]
fn arguments_that_come_twice() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    let cases = [
        ("MSETNX {t}k 1 {t}k 2", "1"),
        ("GET {t}k", "2"),
        ("MSETNX {t}k 3 {t}k 4", "0"),
        ("MSET {t}k 5 {t}k 6 {u}k 7 {t}k 8", "OK"),
        ("GET {t}k", "8"),
        ("HSET {t}h f 1 f 2 g 3 f 4", "2"),
        ("HGET {t}h f", "4"),
        ("HDEL {t}h f f g f", "2"),
        ("EXISTS {t}h {t}k {t}k {t}k", "3"),
        ("TOUCH {t}k {t}k", "2"),
        ("RENAME {t}k {t}k", "OK"),
        ("RENAMENX {t}k {t}k", "0"),
        ("UNLINK {t}k {t}k {u}k {u}k", "2"),
        ("SWAPDB 1 1", "OK"),
        ("CLIENT LIST ID 999 999 999", ""),
        ("COMMAND GETKEYS MSET a 1 a 2", "a a"),
        ("CONFIG SET timeout 0 timeout 0", "ERR CONFIG SET failed"),
        ("SET {t}k v EX 5 EX 6", "OK"),
        ("SET {t}k v NX XX", "ERR syntax error"),
    ];
    for (line, expected) in cases {
        let reply = conn.call(line);
        let shown = match &reply {
            Value::Error(text) => text.clone(),
            Value::Array(items) => items.iter().map(Value::text).collect::<Vec<_>>().join(" "),
            other => other.text(),
        };
        let right = if expected.starts_with("ERR") { shown.starts_with(expected) } else { shown == expected };
        assert!(right, "{line}: {reply:?}");
    }
    assert!(conn.call("COPY {t}k {t}k").is_error());
    let twice = ["COMMAND", "DOCS"].into_iter().chain(std::iter::repeat_n("get", 5_000)).collect::<Vec<_>>();
    assert_eq!(conn.command(&twice).error(), "ERR more names than there are commands");
    assert_serves(&server);
}

/// CVE-2026-21864: a serialized value that is none, given to the command that loads one, ends the server. No command
/// takes one here; the one way in for bytes of that kind is a snapshot from a checkpoint node, which only a node with
/// the password can offer.
#[test]
fn payloads_to_be_decoded() {
    let home = Home::with_node();
    let mut server = home.start();
    let mut conn = server.connect();
    conn.call("SET k v");
    for name in ["RESTORE-ASKING", "MIGRATE", "EVAL", "FUNCTION", "MODULE", "SYNC", "PSYNC", "REPLICAOF"] {
        for payload in [&b""[..], b"\x00", &[0xff; 64], b"RBFR\xff\xff\xff\xff", b"ROLLSNP\n"] {
            let reply = conn.command(&[name.as_bytes(), b"k", b"0", payload]);
            assert!(reply.error().starts_with("ERR unknown command"), "{name}: {reply:?}");
        }
    }
    for payload in [&b""[..], b"\x00", &[0xff; 64], b"RBFR\xff\xff\xff\xff", b"ROLLSNP\n"] {
        let reply = conn.command(&[&b"RESTORE"[..], b"other", b"0", payload]);
        assert!(reply.error().starts_with("ERR DUMP payload version or checksum are wrong"), "{reply:?}");
        assert!(conn.command(&[&b"DEBUG"[..], b"RELOAD", payload]).is_error());
    }
    // Bytes of every kind are values like others.
    for payload in [&b"ROLLSNP\n\x01\0\0\0"[..], &[0xff; 5000], b"\x80\0\0\0"] {
        assert_eq!(conn.command(&[b"SET", &b"payload"[..], payload]).text(), "OK");
    }
    eventually("a checkpoint", PATIENCE, || (!conn.call("SAVE").is_error()).then_some(()));
    assert!(server.terminate().success());
    let server = home.start();
    assert_eq!(server.connect().call("STRLEN payload").int(), 4);
}

/// Everything below a directory, with its length.
fn listing(directory: &Path, seen: &mut BTreeSet<(String, u64)>) {
    for entry in fs::read_dir(directory).expect("list a directory").flatten() {
        let data = entry.metadata().expect("look at a file");
        seen.insert((entry.path().display().to_string(), if data.is_dir() { 0 } else { data.len() }));
        if data.is_dir() {
            listing(&entry.path(), seen);
        }
    }
}

/// Files that a process has open to write, but for what stands in one of `allowed`.
fn open_elsewhere(pid: u32, allowed: &[&Path]) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("list descriptors").flatten();
    let paths = files.filter_map(|file| fs::read_link(file.path()).ok());
    let outside = paths.filter(|path| path.is_absolute() && !path.starts_with("/dev") && !path.starts_with("/proc"));
    outside.filter(|path| !allowed.iter().any(|dir| path.starts_with(dir))).map(|p| p.display().to_string()).collect()
}

/// dragonfly#6336: `CONFIG SET dir` and `dbfilename`, then `SAVE`: the server writes a file of the client's choosing.
/// Here every setting and every command is told to write elsewhere.
#[test]
fn defaults_that_write_anywhere() {
    let home = Home::with_node();
    let server = home.start();
    let mut conn = server.connect();
    let target = home.path().join("crontab");
    let (elsewhere, target) = (home.path().display().to_string(), target.display().to_string());
    let before = {
        let mut seen = BTreeSet::new();
        listing(home.path(), &mut seen);
        seen.into_iter().filter(|(path, _)| !Path::new(path).starts_with(home.data())).collect::<BTreeSet<_>>()
    };
    assert_eq!(conn.call("SET backup \\n*/2*root*sh\\n").text(), "OK");
    let known: Vec<String> = conn
        .call("CONFIG GET *")
        .pairs()
        .into_iter()
        .map(|(name, _)| String::from_utf8(name).expect("a name"))
        .collect();
    let redis = [
        "dir",
        "dbfilename",
        "logfile",
        "pidfile",
        "aclfile",
        "appenddirname",
        "appendfilename",
        "unixsocket",
        "include",
    ];
    for name in known.iter().map(String::as_str).chain(redis) {
        for value in [&target, &elsewhere, "/etc/cron.d", "../outside"] {
            let reply = conn.command(&["CONFIG", "SET", name, value]);
            // A password is whatever one likes; it is taken back.
            if matches!(name, "requirepass" | "server.password") {
                assert_eq!(conn.command(&["CONFIG", "SET", name, ""]).text(), "OK");
            } else {
                assert!(reply.is_error(), "CONFIG SET {name} {value}: {reply:?}");
            }
        }
    }
    let commands = conn.call("COMMAND LIST").items().iter().map(Value::text).collect::<Vec<_>>();
    let never = ["shutdown", "quit", "client|kill", "client|reply"];
    for name in commands.iter().filter(|name| !never.contains(&name.as_str())) {
        let words: Vec<&str> = name.split('|').collect();
        let (file, dir) = (target.as_str(), elsewhere.as_str());
        for arguments in [&[][..], &[file], &[file, dir], &[file, "FILE", dir]] {
            let request: Vec<&str> = words.iter().chain(arguments).copied().collect();
            let reply = conn.command(&request);
            let harmless = reply.is_error() || !name.contains("rewrite");
            assert!(harmless, "{request:?}: {reply:?}");
        }
    }
    conn.call("CLIENT REPLY ON");
    conn.call("RESET");
    eventually("a checkpoint", PATIENCE, || (!conn.call("SAVE").is_error()).then_some(()));
    let after = {
        let mut seen = BTreeSet::new();
        listing(home.path(), &mut seen);
        seen.into_iter().filter(|(path, _)| !Path::new(path).starts_with(home.data())).collect::<BTreeSet<_>>()
    };
    let log = |seen: &BTreeSet<(String, u64)>| {
        seen.iter().map(|(path, _)| path.clone()).filter(|path| !path.ends_with(".log")).collect::<Vec<_>>()
    };
    assert_eq!(log(&after), log(&before), "nothing is made outside of the data directory");
    let data = home.data();
    assert_eq!(open_elsewhere(server.pid(), &[&data, &home.path().join("life-1.log")]), Vec::<String>::new());
    assert!(!Path::new("/etc/cron.d").join("root").exists());
}

/// CVE-2026-23479: a client that waits for something is disconnected, by eviction or by another client, in the moment
/// in which it would go on; what belonged to it is used after that.
#[test]
fn clients_that_go_while_they_wait() {
    // Each has an answer of its own kind: two numbers, a number, a word.
    const WAYS: [&[&str]; 3] = [&["WAITAOF", "1", "0", "0"], &["WAIT", "1", "0"], &["SAVE"]];
    let home = Home::with_node().set("limits.bulk_bytes", "1MiB");
    let server = home.start();
    let mut admin = server.connect();
    assert_eq!(admin.call("CLIENT NO-EVICT ON").text(), "OK");
    eventually("a node", PATIENCE, || (server.info_number("node_connected") == 1.0).then_some(()));
    let value = "v".repeat(100_000);
    for round in 0..40 {
        let mut waiting: Vec<_> = (0..6).map(|_| server.connect()).collect();
        for (n, conn) in waiting.iter_mut().enumerate() {
            let mut requests = Vec::new();
            encode(&mut requests, &["SET", &format!("k{n}"), &value]);
            encode(&mut requests, WAYS[n % 3]);
            encode(&mut requests, &["GET", &format!("k{n}")]);
            // The rest of what it wants to say comes while it waits, and makes it large.
            (0..5).for_each(|_| encode(&mut requests, &["SET", &format!("k{n}"), &value]));
            let _ = conn.send(&requests);
        }
        match round % 3 {
            0 => drop(admin.call("CONFIG SET maxmemory-clients 1200kb")),
            1 => drop(admin.call("CLIENT KILL TYPE normal SKIPME yes")),
            _ => drop(waiting),
        }
        // New clients get the places of those that are gone, wait in other ways, and get only their own answers.
        let mut fresh: Vec<_> = (0..6).filter_map(|_| Conn::open(server.port()).ok()).collect();
        for (n, conn) in fresh.iter_mut().enumerate() {
            let mut requests = Vec::new();
            let word = format!("{round}:{n}");
            [&["SET", &word, "v"][..], WAYS[(n + round) % 3], &["ECHO", &word]]
                .iter()
                .for_each(|words| encode(&mut requests, words));
            let _ = conn.send(&requests);
        }
        for (n, conn) in fresh.iter_mut().enumerate() {
            // Some go for what all together hold.
            let Ok(Value::Simple(set)) = conn.read() else { continue };
            assert_eq!(set, "OK");
            match ((n + round) % 3, conn.read()) {
                (0, Ok(Value::Array(both))) => assert_eq!(both.len(), 2),
                (1, Ok(Value::Int(nodes))) => assert!(nodes <= 1),
                (2, Ok(Value::Simple(saved))) => assert_eq!(saved, "OK"),
                (2, Ok(Value::Error(_))) | (_, Err(_)) => {}
                (way, other) => panic!("{other:?} is no answer to {:?}", WAYS[way]),
            }
            if let Ok(echoed) = conn.read() {
                assert_eq!(echoed.text(), format!("{round}:{n}"));
            }
        }
        assert_eq!(admin.call("CONFIG SET maxmemory-clients 0").text(), "OK");
    }
    assert_serves(&server);
}
