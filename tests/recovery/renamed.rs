//! Promise: a large value that gets another name, in its slot or in another partition, or goes to another database,
//! costs the log no more than a small one; memory, log, mirror and snapshots hold it under its new name.

use std::time::Duration;

use rollbook::encoding::slot::slot_of;

use crate::harness::{Conn, Home, Server, eventually, verify};

const FIELDS: usize = 200_000;
/// Barriers, which bear the digests of all slots, may come in between, and commits are whole blocks of 4 KiB.
const FEW_BYTES: f64 = 65_536.0;

fn write_hash(conn: &mut Conn, key: &str) {
    for first in (0..FIELDS).step_by(5000) {
        let fields = (first..first + 5000).flat_map(|n| [format!("field:{n}"), format!("value:{n}")]);
        let command: Vec<String> = ["HSET", key].map(str::to_owned).into_iter().chain(fields).collect();
        assert_eq!(conn.command(&command).int(), 5000);
    }
}

/// Bytes that have been written to the logs of the cores, one or two, once all that `conn` wrote is on disk.
fn written(server: &Server, conn: &mut Conn) -> f64 {
    assert_eq!(conn.call("WAITAOF 1 0 60000").items()[0].int(), 1);
    let info = server.info();
    let of_core = |core: &str| -> Option<f64> {
        info.get(core)?.split(',').find_map(|field| field.strip_prefix("log_bytes=")?.parse().ok())
    };
    of_core("core0").expect("a core") + of_core("core1").unwrap_or_default()
}

/// Waits until the node, which may not have connected yet, holds everything.
fn wait_for_node(server: &Server) {
    eventually("the node holds everything", Duration::from_secs(60), || {
        (server.connect().call("WAIT 1 1000").int() == 1).then_some(())
    });
}

/// Has everything saved, and asserts that the node's data has then been compared and is the same.
fn assert_node_agrees(server: &Server) {
    wait_for_node(server);
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    eventually("digests are compared", Duration::from_secs(60), || {
        (server.info_number("digests_compared") > 0.0).then_some(())
    });
    assert_eq!(server.info_number("digests_differed"), 0.0);
}

fn assert_moved(server: &Server) {
    let mut conn = server.connect();
    assert_eq!(conn.call("EXISTS {tag}old {tag}new").int(), 0);
    conn.call("SELECT 3");
    assert_eq!(conn.call("HLEN {tag}new").int(), FIELDS as i64);
    assert_eq!(conn.call("HGET {tag}new field:4711").text(), "value:4711");
    assert!(conn.call("PTTL {tag}new").int() > 0);
}

#[test]
fn what_is_handed_over_is_there_under_its_new_name() {
    let home = Home::with_node();
    let mut server = home.start();
    let mut conn = server.connect();
    write_hash(&mut conn, "{tag}old");
    conn.call("PEXPIRE {tag}old 100000000");
    write_hash(&mut conn, "{tag}new");
    let before = written(&server, &mut conn);
    assert!(before > FEW_BYTES * 10.0, "{before} bytes in the log");
    assert_eq!(conn.call("RENAME {tag}old {tag}new").text(), "OK");
    assert_eq!(conn.call("MOVE {tag}new 3").int(), 1);
    let grown = written(&server, &mut conn) - before;
    assert!(grown < FEW_BYTES, "{grown} bytes in the log");
    assert_moved(&server);
    server.kill();
    assert_eq!(verify(&home.data()).code, Some(0));
    server = home.start();
    assert_moved(&server);
    assert_node_agrees(&server);
    assert!(server.terminate().success());
    assert_moved(&home.start());
}

/// Two keys in different partitions, which two cores have if there are two.
fn far_apart() -> [String; 2] {
    let of = |partition| {
        let mut keys = (0..).map(|n| format!("key:{n}"));
        // There are 256 partitions, of 64 slots each.
        keys.find(|key| slot_of(key.as_bytes()).0 / 64 == partition).expect("there are keys of all")
    };
    [of(5), of(200)]
}

fn assert_there(server: &Server, key: &str, other: &str) {
    let mut conn = server.connect();
    assert_eq!(conn.call(&format!("EXISTS {other}")).int(), 0);
    assert_eq!(conn.call(&format!("HLEN {key}")).int(), FIELDS as i64);
    assert_eq!(conn.call(&format!("HGET {key} field:4711")).text(), "value:4711");
}

#[test]
fn what_goes_to_another_partition_is_there_with_any_number_of_cores() {
    let mut home = Home::with_node().set("server.cores", "1");
    let mut server = home.start();
    let mut conn = server.connect();
    let [a, b] = far_apart();
    write_hash(&mut conn, &a);
    let before = written(&server, &mut conn);
    for _ in 0..5 {
        assert_eq!(conn.call(&format!("RENAME {a} {b}")).text(), "OK");
        assert_eq!(conn.call(&format!("RENAMENX {b} {a}")).int(), 1);
    }
    let grown = written(&server, &mut conn) - before;
    assert!(grown < FEW_BYTES, "{grown} bytes in the log");
    assert_there(&server, &a, &b);
    server.kill();
    assert_eq!(verify(&home.data()).code, Some(0));
    for cores in ["2", "1", "1", "2"] {
        home = home.set("server.cores", cores);
        server = home.start();
        assert_there(&server, &a, &b);
        conn = server.connect();
        wait_for_node(&server);
        if cores == "2" {
            assert_eq!(conn.call("SAVE").text(), "OK");
        } else {
            assert_eq!(conn.call(&format!("RENAME {a} {b}")).text(), "OK");
            assert_eq!(conn.call("SAVE").text(), "OK");
            assert_eq!(conn.call(&format!("RENAME {b} {a}")).text(), "OK");
            assert_eq!(conn.call("WAITAOF 1 0 60000").items()[0].int(), 1);
        }
        server.kill();
    }
    server = home.start();
    assert_there(&server, &a, &b);
    assert_node_agrees(&server);
    assert!(server.terminate().success());
    assert_there(&home.start(), &a, &b);
}

#[test]
fn what_moves_on_and_on_while_the_core_takes_snapshots_costs_little_and_loses_nothing() {
    // Without a node, the core takes snapshots of its 256 partitions itself.
    let home = Home::new().set("server.cores", "1");
    let mut server = home.start();
    let mut conn = server.connect();
    let [a, b] = far_apart();
    write_hash(&mut conn, &a);
    let before = written(&server, &mut conn);
    let saving = std::thread::spawn({
        let mut other = server.connect();
        move || other.call("SAVE").text()
    });
    let (mut keys, mut moves) = ([&a, &b], 0);
    while !saving.is_finished() {
        assert_eq!(conn.call(&format!("RENAME {} {}", keys[0], keys[1])).text(), "OK");
        assert_eq!(conn.call(&format!("HSET {} field:4 {moves}", keys[1])).int(), 0);
        keys.swap(0, 1);
        moves += 1;
    }
    assert_eq!(saving.join().expect("SAVE is answered"), "OK");
    let grown = written(&server, &mut conn) - before;
    // A commit of whole blocks has many edits, and the barriers bear the digests of all slots.
    let most = f64::from(moves) * 1024.0 + 1_048_576.0;
    assert!(moves > 10 && grown < most, "{grown} bytes in the log for {moves} moves");
    assert!(server.info_number("self_checkpoints_installed") > 0.0 && server.info_number("checkpoints_failed") == 0.0);
    server.kill();
    assert_eq!(verify(&home.data()).code, Some(0));
    server = home.start();
    assert_there(&server, keys[0], keys[1]);
    assert_eq!(server.connect().call(&format!("HGET {} field:4", keys[0])).text(), (moves - 1).to_string());
}
