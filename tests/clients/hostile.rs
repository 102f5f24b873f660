//! Promise: whatever a client sends, it gets an error or loses its connection, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Conn, Home, encode, rng};

#[test]
fn malformed_requests_are_answered_as_redis_answers() {
    let home = Home::new();
    let server = home.start();
    let cases: &[(&[u8], &str)] = &[
        (b"*1\r\n!4\r\nPING\r\n", "-ERR Protocol error: expected '$', got '!'"),
        (b"*abc\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*3000000000\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*99999999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$-5\r\nPING\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\nPING\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*2\r\n$4\r\nECHO\r\n$\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"SET \"key\r\n", "-ERR Protocol error: unbalanced quotes in request"),
        (b"SET \"key\"x value\r\n", "-ERR Protocol error: unbalanced quotes in request"),
    ];
    for (request, expected) in cases {
        let reply = server.answer(request);
        assert!(reply.starts_with(expected), "{}: {reply:?}", request.escape_ascii());
    }
    let endless = [
        (b'a', "-ERR Protocol error: too big inline request"),
        (b'*', "-ERR Protocol error: too big mbulk count string"),
    ];
    for (first, expected) in endless {
        let reply = server.answer(&[&[first], b"1".repeat(80 << 10).as_slice()].concat());
        // What was sent and not read resets the connection, and the reset may overtake the error.
        assert!(reply.is_empty() || reply.starts_with(expected), "{reply:?}");
    }
    // Not errors: requests without a command.
    assert_eq!(server.answer(b"*0\r\n*-1\r\n\r\nPING\r\n"), "+PONG\r\n");
}

#[test]
fn nothing_after_a_malformed_request_is_executed() {
    let home = Home::new();
    let server = home.start();
    server.answer(b"*1\r\n!4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    assert_eq!(server.connect().call("EXISTS k").int(), 0);
    // Everything before it is.
    let reply = server.answer(b"SET before 1\r\n*1\r\n!4\r\n");
    assert!(reply.starts_with("+OK\r\n-ERR Protocol error"), "{reply:?}");
    assert_eq!(server.connect().call("EXISTS before").int(), 1);
}

/// A web page has its reader's browser send commands to a server that trusts the reader's machine.
#[test]
fn nothing_after_a_line_of_http_is_executed() {
    let home = Home::new();
    let server = home.start();
    for head in ["POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"] {
        server.answer(format!("{head}SET k v\r\n").as_bytes());
        assert_eq!(server.connect().call("EXISTS k").int(), 0, "{head}");
    }
}

#[test]
fn garbage_harms_nobody() {
    let home = Home::with_node();
    let server = home.start();
    let mut rng = rng();
    let mut bystander = server.connect();
    for round in 0..300 {
        let length = rng.usize(0..2_000);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        match round % 4 {
            0 => bytes.insert(0, b'*'),
            1 => bytes.splice(0..0, *b"*3\r\n$3\r\nSET\r\n$").for_each(drop),
            // A request that is right but for one byte.
            2 => {
                bytes.clear();
                encode(&mut bytes, &["HSET", "garbage", "field", "value"]);
                let at = rng.usize(0..bytes.len());
                bytes[at] = rng.u8(..);
            }
            _ => {}
        }
        server.answer(&bytes);
        // The port for checkpoint nodes is as open as the other.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", home.checkpoint_port())) {
            let _ = stream.write_all(&bytes);
        }
        assert_eq!(bystander.call("PING").text(), "PONG");
    }
}

#[test]
fn strangers_get_little_memory_and_no_data() {
    let home = Home::new().set("server.password", "sesame");
    let server = home.start();
    assert!(server.answer(b"GET key\r\n").starts_with("-NOAUTH Authentication required."));
    assert!(server.answer(b"*11\r\n").starts_with("-ERR Protocol error: unauthenticated multibulk length"));
    assert!(
        server.answer(b"*2\r\n$3\r\nGET\r\n$16385\r\n").starts_with("-ERR Protocol error: unauthenticated bulk length")
    );
    assert!(server.answer(b"AUTH wrong\r\n").starts_with("-WRONGPASS"));
    assert!(server.answer(b"HELLO 3\r\n").starts_with("-NOAUTH"));
    let mut conn = Conn::open(server.port()).expect("connect");
    assert!(!conn.command(&["HELLO", "3", "AUTH", "default", "sesame"]).is_error());
    assert_eq!(conn.call("SET key value").text(), "OK");
    conn.call("RESET");
    assert!(conn.call("GET key").error().starts_with("NOAUTH"));
}

#[test]
fn a_stranger_who_never_reads_is_cut_off() {
    let home = Home::new()
        .set("server.password", "sesame")
        .set("limits.bulk_bytes", "65536")
        .set("limits.output_buffer_bytes", "1048576");
    let server = home.start();
    let conn = Conn::open(server.port()).expect("connect");
    conn.stream().set_write_timeout(Some(Duration::from_secs(5))).expect("set a time limit");
    let requests = b"GET key\r\n".repeat(1_000_000);
    // Either the server stops reading or it disconnects; it must not store megabytes of errors.
    let _ = conn.stream().write_all(&requests);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory").trim();
    let kib: u64 = resident.trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 400 << 10, "{kib} KiB resident");
    assert_eq!(server.connect().call("PING").text(), "PONG");
}

#[test]
fn integers_at_their_edges_are_refused_or_right() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.call("SET n 9223372036854775807");
    assert_eq!(conn.call("INCR n").error(), "ERR increment or decrement would overflow");
    assert_eq!(conn.call("DECRBY n -9223372036854775808").error(), "ERR decrement would overflow");
    conn.call("SET s value");
    assert!(conn.call("SETRANGE s 9223372036854775807 x").is_error());
    assert!(conn.call("SETRANGE s -1 x").is_error());
    assert!(conn.call("SETRANGE s 536870912 x").is_error());
    assert_eq!(conn.call("GETRANGE s -9223372036854775808 9223372036854775807").text(), "value");
    assert_eq!(conn.call("GETRANGE s 9223372036854775807 -9223372036854775808").text(), "");
    assert!(conn.call("EXPIRE s 9223372036854775807").error().contains("invalid expire time"));
    assert!(conn.call("PEXPIRE s 9223372036854775807").error().contains("invalid expire time"));
    assert!(conn.call("SET s value EX 9223372036854775807").error().contains("invalid expire time"));
    assert!(conn.call("SET s value PX 0").error().contains("invalid expire time"));
    assert!(conn.call("GETEX s EXAT 9223372036854775807").error().contains("invalid expire time"));
    conn.call("HSET h f 9223372036854775807");
    assert!(conn.call("HINCRBY h f 1").error().contains("overflow"));
    assert!(conn.call("HRANDFIELD h -9223372036854775808").error().contains("out of range"));
    assert!(conn.call("SCAN 0 COUNT 0").is_error());
    assert!(conn.call("SCAN 99999999999999999999999").is_error());
    assert!(!conn.call("SCAN 18446744073709551615").is_error());
    assert!(conn.call("SELECT 16").is_error());
    assert!(conn.call("SELECT -1").is_error());
    assert!(conn.call("INCRBYFLOAT n nan").is_error());
    assert!(conn.call("INCRBYFLOAT n inf").is_error());
    assert_eq!(conn.call("GET s").text(), "value");
}

#[test]
fn a_pattern_made_to_be_slow_is_not() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.command(&["SET", &"a".repeat(1_000), "1"]);
    let start = Instant::now();
    for pattern in
        ["a*".repeat(200) + "b", "?*".repeat(200) + "b", "[a-z]*".repeat(200) + "b", "*".repeat(10_000) + "b"]
    {
        assert!(conn.command(&["KEYS", &pattern]).items().is_empty());
        assert!(!conn.command(&["SCAN", "0", "MATCH", &pattern, "COUNT", "1000"]).is_error());
    }
    // Exponential time would be years.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn nothing_outside_the_data_directory_can_be_written() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    for line in
        ["CONFIG SET dir /tmp", "CONFIG SET dbfilename x.so", "CONFIG SET data.dir /tmp", "CONFIG SET logfile /tmp/x"]
    {
        assert!(conn.call(line).is_error(), "{line}");
    }
}

#[test]
fn clients_killed_while_their_replies_are_under_way_do_no_harm() {
    let home = Home::new().set("log.durability", "sync");
    let server = home.start();
    let mut killer = server.connect();
    for _ in 0..30 {
        let mut victim = server.connect();
        let id = victim.call("CLIENT ID").int();
        let mut requests = Vec::new();
        (0..500).for_each(|n| encode(&mut requests, &["SET".to_owned(), format!("victim:{n}"), "x".repeat(500)]));
        let sending = thread::spawn(move || {
            let _ = victim.send(&requests);
            let mut rest = Vec::new();
            // Ends with the connection, however that comes.
            let _ = victim.stream().read_to_end(&mut rest);
        });
        killer.command(&["CLIENT", "KILL", "ID", &id.to_string()]);
        sending.join().expect("the victim's thread");
        assert_eq!(killer.call("PING").text(), "PONG");
    }
    assert!(!killer.call("CLIENT KILL TYPE normal SKIPME no").is_error());
    assert_eq!(server.connect().call("PING").text(), "PONG");
}

#[test]
fn more_clients_than_allowed_are_told_so_and_others_go_on() {
    let home = Home::new().set("server.max_clients", "20").set("server.admin_clients", "0");
    let server = home.start();
    let mut first = server.connect();
    let mut refused = 0;
    let mut conns = Vec::new();
    for _ in 0..40 {
        let mut conn = Conn::open(server.port()).expect("connect");
        match conn.try_command(&["PING"]) {
            Ok(reply) if reply.is_error() => {
                assert!(reply.error().contains("max number of clients reached"), "{reply:?}");
                refused += 1;
            }
            Ok(_) => conns.push(conn),
            Err(_) => refused += 1,
        }
    }
    assert!(refused >= 20, "{refused} refused");
    assert_eq!(first.call("PING").text(), "PONG");
    drop(conns);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(server.connect().call("PING").text(), "PONG");
}
