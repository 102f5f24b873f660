//! Promise: whatever one client or one address takes, its limits are kept, it is told so in a sentence where it still
//! can be, and the others are served.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Cgroup, Conn, Home, Server, encode, eventually, or_skip, run};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// What the server says before it closes the connection.
fn last_words(conn: &mut Conn) -> String {
    String::from_utf8_lossy(&conn.read_to_end().expect("an end")).into_owned()
}

fn assert_serves(server: &Server) {
    let mut conn = server.connect();
    assert_eq!(conn.call("SET bystander served").text(), "OK");
    assert_eq!(conn.call("GET bystander").text(), "served");
}

/// Who asks for too much, and reads nothing of it, is disconnected.
fn assert_greed_is_cut_off(server: &Server, requests: &str) {
    let mut greedy = server.connect();
    greedy.stream().set_write_timeout(Some(Duration::from_secs(2))).expect("set a time limit");
    let _ = greedy.send(requests.as_bytes());
    assert!(greedy.is_closed_within(PATIENCE), "{:?}", requests.lines().next());
}

#[test]
fn who_does_not_authenticate_in_time_is_told_so_and_disconnected() {
    let home = Home::new().set("server.password", "sesame").set("server.auth_timeout_s", "1");
    let server = home.start();
    let mut known = server.connect();
    let mut silent = Conn::open(server.port()).expect("connect");
    let mut dripping = Conn::open(server.port()).expect("connect");
    let mut refused = Conn::open(server.port()).expect("connect");
    assert_eq!(refused.call("GET key").error(), "NOAUTH Authentication required.");
    dripping.send(b"*2\r\n$4\r\nAU").expect("send a part");
    for conn in [&mut silent, &mut dripping, &mut refused] {
        assert_eq!(last_words(conn), "-ERR no password was given within 1 seconds\r\n");
    }
    assert_eq!(known.call("PING").text(), "PONG", "who has authenticated stays");
    // A client that takes the password back is a stranger again, from then on.
    known.call("RESET");
    assert_eq!(last_words(&mut known), "-ERR no password was given within 1 seconds\r\n");
}

#[test]
fn wrong_passwords_end_the_connection_and_make_their_address_wait_and_no_other() {
    let home = Home::new().set("server.password", "sesame").set("server.auth_attempts", "3");
    let server = home.start();
    let guess = |conn: &mut Conn| conn.call("AUTH guess").error().to_owned();
    for _ in 0..2 {
        let mut conn = Conn::open_from([127, 0, 0, 2], server.port()).expect("connect");
        for _ in 0..3 {
            assert!(guess(&mut conn).starts_with("WRONGPASS"));
        }
        assert_eq!(last_words(&mut conn), "");
    }
    // This one waits for two seconds by now, right or wrong; what it says meanwhile is not lost.
    let mut waiting = Conn::open_from([127, 0, 0, 2], server.port()).expect("connect");
    waiting.send(b"AUTH sesame\r\nPING\r\n").expect("send");
    let mut other = Conn::open_from([127, 0, 0, 3], server.port()).expect("connect");
    assert_eq!(other.call("AUTH sesame").text(), "OK");
    assert!(!other.call("HELLO 3 AUTH default sesame").is_error());
    waiting.stream().set_nonblocking(true).expect("do not wait");
    assert!(waiting.read().is_err(), "nothing has been answered yet");
    waiting.stream().set_nonblocking(false).expect("wait");
    assert_eq!(waiting.read().expect("a reply").text(), "OK");
    assert_eq!(waiting.read().expect("a reply").text(), "PONG");
    // A right one ends the waiting of all from that address.
    let mut next = Conn::open_from([127, 0, 0, 2], server.port()).expect("connect");
    assert_eq!(next.call("AUTH sesame").text(), "OK");
    assert_eq!(server.info_number("acl_access_denied_auth"), 6.0);
}

#[test]
fn a_hash_stands_for_the_password_and_neither_is_shown() {
    let hash = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";
    let home = Home::with_node().set_hashed_password(&format!("sha256:{hash}"), "sesame");
    let mut server = home.start();
    let node = server.node();
    eventually("a node", PATIENCE, || (server.info_number("node_connected") == 1.0).then_some(()));
    let mut conn = server.connect();
    let mut shown = conn.call("INFO everything").text();
    for (name, value) in conn.call("CONFIG GET *").pairs() {
        shown.push_str(&format!("{} {}\n", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value)));
    }
    assert!(shown.contains("requirepass …") && shown.contains("server.password …"), "{shown}");
    assert_eq!(conn.call("CONFIG SET requirepass open-sesame").text(), "OK");
    shown.push_str(&conn.call("CLIENT LIST").text());
    shown.push_str(&server.log());
    shown.push_str(&node.command);
    let environment = std::fs::read(format!("/proc/{}/environ", node.pid)).expect("the node's environment");
    shown.push_str(&String::from_utf8_lossy(&environment));
    assert!(!shown.contains("sesame") && !shown.contains(hash) && !shown.contains("server.password="), "{shown}");
    // The new password holds for clients at once.
    let mut later = Conn::open(server.port()).expect("connect");
    assert!(later.call("AUTH sesame").error().starts_with("WRONGPASS"));
    assert_eq!(later.call("AUTH open-sesame").text(), "OK");
}

#[test]
fn a_request_longer_than_the_limit_is_refused_and_a_long_one_is_not() {
    let home = Home::new().set("limits.bulk_bytes", "1MiB").set("limits.query_buffer_bytes", "2MiB");
    let server = home.start();
    let mut conn = server.connect();
    let value = "v".repeat(1000 << 10);
    assert_eq!(conn.command(&["SET", "key", &value]).text(), "OK");
    let mut request = Vec::new();
    encode(&mut request, &["MSET", "a", &value, "b", &value, "c", &value]);
    // The rest of it may meet a closed connection.
    let _ = conn.send(&request[..request.len() - 10]);
    let words = conn.read_to_end().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    let expected = "-ERR a request may have 2097152 bytes at most (limits.query_buffer_bytes)\r\n";
    assert!(words.is_empty() || words == expected, "{words}");
    assert_eq!(server.info_number("client_query_buffer_limit_disconnections"), 1.0);
    assert_eq!(server.connect().call("EXISTS a b c").int(), 0);
}

#[test]
fn a_pipeline_of_large_replies_stops_at_the_limit() {
    let home = Home::new().set("limits.bulk_bytes", "1MiB").set("limits.output_buffer_bytes", "8MiB");
    let server = home.start();
    let mut conn = server.connect();
    let value = "v".repeat(1000 << 10);
    // Some of these are on the connection's core, others are not.
    let keys: Vec<_> = (0..8).map(|n| format!("key:{n}")).collect();
    keys.iter().for_each(|key| assert_eq!(conn.command(&["SET", key, &value]).text(), "OK"));
    let before = server.peak_memory();
    // Sixteen thousand bytes that ask for two thousand megabytes.
    keys.iter().for_each(|key| assert_greed_is_cut_off(&server, &format!("GET {key}\n").repeat(2000)));
    let more = server.peak_memory() - before;
    assert!(more < 200 * MIB, "{more} bytes");
    assert!(server.info_number("client_output_buffer_limit_disconnections") >= 1.0);
    // One short request can ask for as much.
    let mget: Vec<&str> = std::iter::once("MGET").chain(std::iter::repeat_n(keys[0].as_str(), 2000)).collect();
    let refused = conn.command(&mget);
    assert!(refused.error().contains("limits.output_buffer_bytes"), "{refused:?}");
    assert_eq!(conn.command(&["HSET", "hash", "field", &value]).int(), 1);
    let hmget: Vec<&str> = ["HMGET", "hash"].into_iter().chain(std::iter::repeat_n("field", 2000)).collect();
    assert!(conn.command(&hmget).error().contains("limits.output_buffer_bytes"));
    let more = server.peak_memory() - before;
    assert!(more < 200 * MIB, "{more} bytes");
    assert_serves(&server);
}

/// Where an edit is not yet safe, replies wait on the core that gave them.
#[test]
fn replies_that_wait_for_the_disk_take_no_more_than_others() {
    let home = Home::new().set("server.cores", "2").set("log.durability", "sync");
    let home = home.set("limits.bulk_bytes", "1MiB").set("limits.output_buffer_bytes", "8MiB");
    let server = home.start();
    let mut conn = server.connect();
    let value = "v".repeat(1000 << 10);
    let tags: Vec<_> = (0..6).map(|n| format!("{{tag:{n}}}")).collect();
    tags.iter().for_each(|tag| assert_eq!(conn.command(&["SET", &format!("{tag}large"), &value]).text(), "OK"));
    let before = server.peak_memory();
    for tag in &tags {
        assert_greed_is_cut_off(&server, &format!("SET {tag} small\nGET {tag}large\n").repeat(2000));
    }
    let more = server.peak_memory() - before;
    eprintln!("{} MiB more", more / MIB);
    assert!(more < 400 * MIB, "{more} bytes");
    assert_serves(&server);
}

/// What one core takes in for another waits until that one has room in its log.
#[test]
fn requests_on_their_way_to_a_core_that_is_behind_are_bounded() {
    let home = Home::new().set("server.cores", "2").set("log.buffer_bytes", "16384");
    let Some(group) = or_skip(Cgroup::make("blkio")) else { return };
    let wrapper = group.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let server = home.launch_under(&wrapper).wait_until_ready().expect("a server in a group");
    let device = run("stat", &["-c", "%Hd:%Ld", &home.data().to_string_lossy()]).expect("the device's number");
    let slow = group.set("blkio.throttle.write_bps_device", &format!("{device} 1000000"));
    let Some(()) = or_skip(slow) else { return };
    let before = server.peak_memory();
    // Some of these are on their connection's core, others are not.
    let clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    std::thread::scope(|scope| {
        for (n, conn) in clients.iter().enumerate() {
            let mut request = Vec::new();
            encode(&mut request, &["SET", &format!("key:{n}"), &"v".repeat(1000 << 10)]);
            conn.stream().set_write_timeout(Some(Duration::from_secs(2))).expect("set a time limit");
            // As far as the server takes it.
            scope.spawn(move || (0..300).try_for_each(|_| conn.stream().write_all(&request)));
        }
    });
    let more = server.peak_memory() - before;
    eprintln!("{} MiB more", more / MIB);
    assert!(more < 400 * MIB, "{more} bytes");
    drop(clients);
    group.set("blkio.throttle.write_bps_device", &format!("{device} 0")).expect("let it go");
    eventually("the log has room again", PATIENCE, || {
        let mut conn = Conn::open(server.port()).ok()?;
        conn.stream().set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        conn.try_command(&["SET", "bystander", "served"]).ok()
    });
    assert_serves(&server);
    drop(server);
}

#[test]
fn a_client_that_reads_too_slowly_is_disconnected_after_its_time() {
    let home = Home::new();
    let server = home.start();
    let mut admin = server.connect();
    let set = ["CONFIG", "SET", "client-output-buffer-limit", "normal 1gb 1mb 1"];
    assert_eq!(admin.command(&set).text(), "OK");
    let value = "v".repeat(1000 << 10);
    assert_eq!(admin.command(&["SET", "key", &value]).text(), "OK");
    let mut slow = Conn::open_narrow(server.port()).expect("connect");
    slow.send("GET key\r\n".repeat(40).as_bytes()).expect("send");
    eventually("the end of the slow one", PATIENCE, || {
        (server.info_number("client_output_buffer_limit_disconnections") == 1.0).then_some(())
    });
    let mut quick = server.connect();
    quick.send("GET key\r\n".repeat(40).as_bytes()).expect("send");
    (0..40).for_each(|_| assert_eq!(quick.read().expect("a reply").text().len(), value.len()));
}

#[test]
fn when_all_clients_hold_too_much_those_that_hold_most_go() {
    let home = Home::new().set("limits.bulk_bytes", "4MiB").set("memory.clients_max_bytes", "20MiB");
    let server = home.start();
    let holding = |bytes: usize, exempt: bool| {
        let mut conn = server.connect();
        if exempt {
            assert_eq!(conn.call("CLIENT NO-EVICT ON").text(), "OK");
        }
        let mut request = Vec::new();
        encode(&mut request, &["SET", "key", &"v".repeat(bytes)]);
        request.truncate(request.len() - 10);
        conn.send(&request).expect("send all but the end");
        conn
    };
    let mut exempt = holding(4_000_000, true);
    let mut small: Vec<_> = (0..4).map(|_| holding(100_000, false)).collect();
    let mut large: Vec<_> = (0..6).map(|_| holding(3_000_000, false)).collect();
    eventually("evicted clients", PATIENCE, || (server.info_number("evicted_clients") >= 2.0).then_some(()));
    sleep(Duration::from_millis(500));
    let gone =
        large.iter_mut().filter_map(|conn| conn.is_closed_within(Duration::from_millis(20)).then_some(())).count();
    assert!((2..6).contains(&gone), "{gone} of the large ones are gone");
    for conn in small.iter_mut().chain([&mut exempt]) {
        conn.send(b"vvvvvvvv\r\n").expect("send the end");
        assert_eq!(conn.read().expect("a reply").text(), "OK");
    }
    assert_serves(&server);
}

#[test]
fn an_administrator_finds_a_place_when_all_are_taken() {
    let home = Home::new().set("server.max_clients", "5").set("server.admin_clients", "2");
    let server = home.start();
    let mut first = server.connect();
    eventually("places", PATIENCE, || {
        first.call("INFO clients").text().contains("connected_clients:1\r").then_some(())
    });
    let mut clients: Vec<_> = std::iter::once(first).chain((0..4).map(|_| server.connect())).collect();
    clients.iter_mut().for_each(|conn| assert_eq!(conn.call("SET key value").text(), "OK"));
    let mut admin = server.connect();
    assert_eq!(admin.call("PING").text(), "PONG");
    assert_eq!(admin.call("CLIENT LIST").text().lines().count(), 6);
    let mut second = server.connect();
    let refused = second.call("GET key");
    assert!(refused.error().starts_with("ERR max number of clients reached"), "{refused:?}");
    assert_eq!(last_words(&mut second), "", "a place kept for administrators is given back");
    let mut second = eventually("the place", PATIENCE, || {
        let mut conn = Conn::open(server.port()).ok()?;
        conn.try_command(&["PING"]).is_ok_and(|reply| !reply.is_error()).then_some(conn)
    });
    let mut third = Conn::open(server.port()).expect("connect");
    assert_eq!(last_words(&mut third), "-ERR max number of clients reached\r\n");
    assert_eq!(second.call("CLIENT KILL TYPE normal SKIPME yes").int(), 6);
    eventually("places", PATIENCE, || {
        let mut conn = Conn::open(server.port()).ok()?;
        conn.try_command(&["GET", "key"]).is_ok_and(|reply| !reply.is_error()).then_some(())
    });
}

#[test]
fn limits_move_while_the_server_runs() {
    let home = Home::new();
    let server = home.start();
    let mut admin = server.connect();
    let mut before = server.connect();
    let set = "CONFIG SET proto-max-bulk-len 1mb client-query-buffer-limit 2mb limits.args 64";
    assert_eq!(admin.call(set).text(), "OK");
    for (name, value) in
        [("proto-max-bulk-len", "1048576"), ("limits.bulk_bytes", "1048576"), ("client-query-buffer-limit", "2097152")]
    {
        let got = admin.call(&format!("CONFIG GET {name}")).pairs();
        assert_eq!(got, [(name.as_bytes().to_vec(), value.as_bytes().to_vec())]);
    }
    eventually("the new limit on another core", PATIENCE, || {
        before.send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").ok()?;
        Some(()).filter(|()| last_words(&mut before) == "-ERR Protocol error: invalid bulk length\r\n")
    });
    admin.send(b"*65\r\n").expect("send");
    assert_eq!(last_words(&mut admin), "-ERR Protocol error: invalid multibulk length\r\n");
}

#[test]
fn a_length_takes_no_memory_before_its_bytes_come() {
    let home = Home::new();
    let server = home.start();
    let before = server.peak_memory();
    let mut conns: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for conn in &mut conns {
        conn.send(b"*1000000\r\n$3\r\nSET\r\n$536870912\r\nabc").expect("send");
    }
    assert_serves(&server);
    let more = server.peak_memory() - before;
    assert!(more < 64 * MIB, "{more} bytes for two hundred times half a gigabyte announced");
    // A client that says so and sends nothing more does no harm, and one that goes on is served.
    let mut conn = server.connect();
    conn.send(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5000000\r\n").expect("send");
    conn.stream().write_all(&vec![b'v'; 5_000_000]).expect("send");
    conn.send(b"\r\n").expect("send");
    assert_eq!(conn.read().expect("a reply").text(), "OK");
}

/// The timer of the server's end of a connection: its kind as in /proc/net/tcp (2 asks whether the client is there),
/// and seconds left.
fn timer(server: &Server, conn: &Conn) -> (u32, f64) {
    let client = conn.stream().local_addr().expect("an address").port();
    let ends = (format!(":{:04X}", server.port()), format!(":{client:04X}"));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.len() > 5 && row[1].ends_with(&ends.0) && row[2].ends_with(&ends.1)).expect("a row");
    let (kind, left) = row[5].split_once(':').expect("a timer");
    let number = |text| u32::from_str_radix(text, 16).expect("a number");
    (number(kind), f64::from(number(left)) / 100.0)
}

#[test]
fn the_kernel_asks_silent_clients_whether_they_are_there() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    assert_eq!(conn.call("CONFIG GET tcp-keepalive").pairs()[0].1, b"300");
    for (set, expected) in
        [("", 300.0), ("CONFIG SET tcp-keepalive 20", 20.0), ("CONFIG SET server.tcp_keepalive_s 0", 0.0)]
    {
        if !set.is_empty() {
            assert_eq!(conn.call(set).text(), "OK");
        }
        let mut new = server.connect();
        new.call("PING");
        // What was sent must first be acknowledged.
        let settled = || Some(timer(&server, &new)).filter(|(kind, _)| *kind == if expected > 0.0 { 2 } else { 0 });
        let (_, left) = eventually("the kernel's timer", PATIENCE, settled);
        assert!(left <= expected && left >= expected - 15.0, "{left} of {expected} seconds");
    }
}

/// A machine of its own for clients, at the other end of a cable.
struct Elsewhere {
    name: String,
    here: String,
}

impl Elsewhere {
    fn make() -> Result<Self, String> {
        let number = fastrand::u16(..);
        let (name, net) = (format!("rollbook{number}"), format!("10.213.{}", number % 256));
        let (near, far) = (format!("rb{number}a"), format!("rb{number}b"));
        let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>()).map(drop);
        ip(&format!("netns add {name}"))?;
        let elsewhere = Self { here: format!("{net}.1"), name: name.clone() };
        ip(&format!("link add {near} type veth peer name {far} netns {name}"))?;
        ip(&format!("addr add {net}.1/30 dev {near}"))?;
        ip(&format!("link set {near} up"))?;
        ip(&format!("-n {name} addr add {net}.2/30 dev {far}"))?;
        ip(&format!("-n {name} link set {far} up"))?;
        Ok(elsewhere)
    }

    /// Cuts the cable.
    fn cut(&self) {
        let far = self.name.replace("rollbook", "rb") + "b";
        run("ip", &["-n", &self.name, "link", "set", &far, "down"]).expect("cut the cable");
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // With it go both ends of the cable.
        let _ = run("ip", &["netns", "del", &self.name]);
    }
}

#[test]
fn a_client_that_has_vanished_is_noticed_whether_or_not_replies_are_under_way() {
    let Some(elsewhere) = or_skip(Elsewhere::make()) else { return };
    let addresses = format!("127.0.0.1 {}", elsewhere.here);
    let home = Home::new().set("server.bind", &addresses).set("server.protected_mode", "false");
    let home = home.set("server.tcp_keepalive_s", "1");
    let server = home.start();
    let script = format!(
        "import socket, sys, time\nfor last in (b'PING', b'WAIT 1 2000'):\n s = socket.create_connection(('{}', {}))\n \
         globals()[last] = s\n s.sendall(b'SET key value\\r\\n' + last + b'\\r\\n')\n assert s.recv(5) == b'+OK\\r\\n'\n\
         time.sleep(1000)\n",
        elsewhere.here,
        server.port()
    );
    let mut clients = std::process::Command::new("ip")
        .args(["netns", "exec", &elsewhere.name, "python3", "-c", &script])
        .spawn()
        .expect("run clients elsewhere");
    let mut conn = server.connect();
    let mut connected = || conn.call("CLIENT LIST").text().lines().count() - 1;
    eventually("both clients", PATIENCE, || (connected() == 2).then_some(()));
    sleep(Duration::from_millis(500));
    elsewhere.cut();
    // One has got all replies; the other's leaves when nobody is there.
    eventually("the end of both", PATIENCE, || (connected() == 0).then_some(()));
    clients.kill().and_then(|()| clients.wait()).expect("end the clients");
}
