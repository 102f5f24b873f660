//! Promise: requests mean the same however the network cuts them, and a connection ends only in ways that its client
//! chose.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::harness::{Conn, Home, Server, Value, encode, eventually, rng};

/// Time for the first part to be received on its own.
const GAP: Duration = Duration::from_millis(1);
/// Time for what should come at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests of every form, without chance or state left behind, so that the replies are always the same bytes.
fn script() -> Vec<u8> {
    let mut script = Vec::new();
    encode(&mut script, &["FLUSHALL"]);
    encode(&mut script, &["SET", "key", "a value\r\nof two lines"]);
    script.extend_from_slice(b"GET key\r\n");
    encode(&mut script, &["GET", "missing"]);
    script.extend_from_slice(b"\r\n");
    encode(&mut script, &["MSET", "a", "1", "b", "2", "c", "", "d", "4"]);
    encode(&mut script, &["MGET", "a", "missing", "b", "c", "d", "key"]);
    script.extend_from_slice(b"*0\r\n");
    script.extend_from_slice(b"SET \"quoted \\x41\\n\" 'single \\' quote'\n");
    encode(&mut script, &["GET", "quoted A\n"]);
    encode(&mut script, &["NOSUCHCOMMAND", "argument"]);
    encode(&mut script, &["HSET", "hash", "field", "value"]);
    encode(&mut script, &["GET", "hash"]);
    encode(&mut script, &["HGETALL", "hash"]);
    encode(&mut script, &["INCR", "a"]);
    encode(&mut script, &["DEL", "a", "b", "c", "d", "hash", "key", "quoted A\n"]);
    encode(&mut script, &["DBSIZE"]);
    encode(&mut script, &["QUIT"]);
    script
}

fn replies(server: &Server, parts: &[&[u8]]) -> Vec<u8> {
    let mut conn = server.connect();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            sleep(GAP);
        }
        conn.send(part).expect("send a part");
    }
    conn.read_to_end().expect("read all replies")
}

#[test]
fn a_script_cut_at_every_byte_is_answered_alike() {
    let home = Home::new();
    let server = home.start();
    let script = script();
    let whole = replies(&server, &[&script]);
    assert!(whole.ends_with(b":0\r\n+OK\r\n"), "{}", whole.escape_ascii());
    for at in 1..script.len() {
        let (first, second) = script.split_at(at);
        let cut = replies(&server, &[first, second]);
        assert!(cut == whole, "cut at byte {at}:\n{}\nwhole:\n{}", cut.escape_ascii(), whole.escape_ascii());
    }
    let bytes: Vec<&[u8]> = script.chunks(1).collect();
    assert_eq!(replies(&server, &bytes).escape_ascii().to_string(), whole.escape_ascii().to_string());
}

#[test]
fn pipelines_cut_at_random_are_answered_in_order() {
    let home = Home::new();
    let server = home.start();
    let mut rng = rng();
    for round in 0..10 {
        let mut conn = server.connect();
        let mut requests = Vec::new();
        let values: Vec<Vec<u8>> = (0..200).map(|_| vec![rng.alphanumeric() as u8; rng.usize(0..3_000)]).collect();
        for (n, value) in values.iter().enumerate() {
            encode(&mut requests, &[b"SET".as_slice(), format!("{round}:{n}").as_bytes(), value]);
            encode(&mut requests, &["GET".to_owned(), format!("{round}:{n}")]);
            encode(&mut requests, &["ECHO".to_owned(), n.to_string()]);
        }
        let mut rest = requests.as_slice();
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rng.usize(1..=rest.len().min(40_000)));
            conn.send(part).expect("send a part");
            rest = later;
        }
        for (n, value) in values.iter().enumerate() {
            assert_eq!(conn.read().expect("SET"), Value::Simple("OK".to_owned()));
            assert_eq!(conn.read().expect("GET"), Value::Bulk(value.clone()));
            assert_eq!(conn.read().expect("ECHO").text(), n.to_string());
        }
    }
}

#[test]
fn a_client_that_closes_its_half_gets_every_reply() {
    let home = Home::new().set("log.durability", "sync");
    let server = home.start();
    for commands in [1, 10, 5_000] {
        let mut conn = server.connect();
        let mut requests = Vec::new();
        (0..commands).for_each(|n| encode(&mut requests, &["SET".to_owned(), format!("half:{n}"), n.to_string()]));
        // The last request is never finished.
        requests.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$4\r\nhal");
        conn.send(&requests).expect("send requests");
        conn.finish().expect("close one half");
        let replies = conn.read_to_end().expect("read all replies");
        assert_eq!(replies, b"+OK\r\n".repeat(commands));
    }
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_request_leaves_nothing() {
    let home = Home::new();
    let server = home.start();
    for _ in 0..200 {
        let mut conn = server.connect();
        conn.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$10\r\n12345").expect("send half a request");
    }
    let mut conn = server.connect();
    assert_eq!(conn.call("EXISTS half"), Value::Int(0));
    let patience = Duration::from_secs(10);
    eventually("the connections' end", patience, || (server.info_number("connected_clients") < 5.0).then_some(()));
}

#[test]
fn a_connection_that_is_reset_leaves_whole_requests_or_nothing() {
    let home = Home::new();
    let server = home.start();
    let mut requests = Vec::new();
    for n in 0..4 {
        encode(&mut requests, &["HSET", &format!("hash:{n}"), "first", "1", "second", "2"]);
    }
    let mut conn = server.connect();
    for cut in 1..requests.len() {
        let mut victim = server.connect();
        victim.send(&requests[..cut]).expect("send a part");
        let socket = socket2::SockRef::from(victim.stream());
        // Closing it then resets the connection: what is under way in either direction is gone.
        socket.set_linger(Some(Duration::ZERO)).expect("set the way of closing");
        drop(victim);
        let gone = || (conn.call("CLIENT LIST").text().lines().count() == 1).then_some(());
        eventually("the connection's end", Duration::from_secs(10), gone);
        let sizes: Vec<i64> = (0..4).map(|n| conn.call(&format!("HLEN hash:{n}")).int()).collect();
        let whole = cut / (requests.len() / 4);
        assert!(sizes.iter().all(|size| [0, 2].contains(size)), "half a request: {sizes:?}, cut at {cut}");
        assert!(sizes.iter().skip(whole).all(|size| *size == 0), "more than was sent: {sizes:?}, cut at {cut}");
        // In order: none is executed before the one before it.
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}, cut at {cut}");
        conn.call("DEL hash:0 hash:1 hash:2 hash:3");
    }
    assert_eq!(conn.call("PING").text(), "PONG");
}

#[test]
fn large_values_come_back_as_they_were() {
    let home = Home::new();
    let server = home.start();
    let mut rng = rng();
    let mut conn = server.connect();
    for bytes in [0, 1, 4_095, 4_096, 16_383, 65_536, 1 << 20, 5_000_001, 32 << 20] {
        let value: Vec<u8> = (0..bytes).map(|_| rng.u8(..)).collect();
        assert_eq!(conn.command(&[b"SET".as_slice(), b"large", &value]), Value::Simple("OK".to_owned()));
        assert!(conn.call("GET large") == Value::Bulk(value.clone()), "{bytes} bytes did not come back");
        assert_eq!(conn.call("STRLEN large"), Value::Int(bytes));
        assert!(!conn.command(&[b"HSET".as_slice(), b"hash", b"field", &value]).is_error());
        assert!(conn.call("HGET hash field") == Value::Bulk(value), "{bytes} bytes did not come back from a hash");
    }
}

#[test]
fn a_slow_reader_is_disconnected_and_costs_bounded_memory() {
    let home = Home::new().set("limits.bulk_bytes", "2097152").set("limits.output_buffer_bytes", "8388608");
    let server = home.start();
    let mut conn = server.connect();
    conn.command(&[b"SET".as_slice(), b"large", &vec![b'x'; 1 << 20]]);
    let before = resident_bytes(&server);
    let mut slow = server.connect();
    let mut requests = Vec::new();
    (0..2_000).for_each(|_| encode(&mut requests, &["GET", "large"]));
    let start = Instant::now();
    // Never reads: its end is either an error here or the server's closing of the connection, seen after what the
    // sockets hold.
    slow.stream().set_write_timeout(Some(Duration::from_secs(10))).expect("set a time limit");
    let sent = slow.stream().write_all(&requests);
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < 200 << 20, "a client that does not read costs {grown} bytes");
    let received = match slow.read_to_end() {
        Ok(bytes) => bytes.len(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
        Err(error) => panic!("not disconnected: {error}, sent {sent:?}, after {:?}", start.elapsed()),
    };
    assert!(received < 1_000 << 20, "{received} bytes were kept for a client that does not read");
    assert_eq!(conn.call("PING").text(), "PONG");
}

fn resident_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("read a process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    let kib: usize = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib << 10
}

#[test]
fn thousands_of_connections_are_served() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = (limit / 2).min(3_000);
    let home = Home::new();
    let server = home.start();
    let mut conns: Vec<Conn> = (0..count).map(|_| server.connect()).collect();
    for round in 0..3 {
        for (n, conn) in conns.iter_mut().enumerate() {
            let mut request = Vec::new();
            encode(&mut request, &["SET".to_owned(), format!("conn:{n}"), format!("{round}")]);
            encode(&mut request, &["GET".to_owned(), format!("conn:{n}")]);
            conn.send(&request).expect("send");
        }
        for conn in &mut conns {
            assert_eq!(conn.read().expect("SET").text(), "OK");
            assert_eq!(conn.read().expect("GET").text(), round.to_string());
        }
    }
    assert!(server.info_number("connected_clients") >= count as f64);
    drop(conns);
    let patience = Duration::from_secs(20);
    eventually("the connections' end", patience, || (server.info_number("connected_clients") < 10.0).then_some(()));
}

/// More than the server takes in at once, so that it stops receiving whenever the log has no room, and has to begin
/// again.
#[test]
fn a_pipeline_that_the_log_holds_up_again_and_again_is_answered_to_its_end() {
    const REQUESTS: usize = 150_000;
    let home = Home::new().set("server.cores", "1").set("log.buffer_bytes", "524288");
    let server = home.start();
    let mut requests = Vec::new();
    (0..REQUESTS).for_each(|n| encode(&mut requests, &["SET", &format!("key:{}", n % 1_000), &"v".repeat(300)]));
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut sender, requests) =
                (TcpStream::connect(("127.0.0.1", server.port())).expect("connect"), &requests);
            sender.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
            sender.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
            let mut replies = sender.try_clone().expect("share the socket").take(5 * REQUESTS as u64);
            scope.spawn(move || sender.write_all(requests).expect("send"));
            scope.spawn(move || {
                let mut answered = Vec::new();
                let read = replies.read_to_end(&mut answered);
                assert!(read.is_ok(), "{} of {REQUESTS} were answered: {read:?}", answered.len() / 5);
                assert!(answered == b"+OK\r\n".repeat(REQUESTS));
            });
        }
    });
    assert!(server.info()["core0"].split(',').any(|field| field.starts_with("stalls=") && field != "stalls=0"));
}
