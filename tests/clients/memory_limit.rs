//! Promise: at `memory.max_bytes` writes fail as they do in Redis, reads and deletes go on, and so do writes once there
//! is room.

use crate::harness::{Conn, Home, Value};

const LIMIT: usize = 20_000_000;
const REFUSAL: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn write_until_refused(conn: &mut Conn, name: &str) -> usize {
    let value = "v".repeat(1_000);
    for n in 0..50_000 {
        if let Value::Error(text) = conn.command(&["SET", &format!("{name}:{n}"), &value]) {
            assert_eq!(text, REFUSAL);
            return n;
        }
    }
    panic!("50 MB fit into {LIMIT} bytes");
}

#[test]
fn writes_fail_and_reads_and_deletes_go_on() {
    let home = Home::new().set("memory.max_bytes", &LIMIT.to_string());
    let mut server = home.start();
    let mut conn = server.connect();
    let count = write_until_refused(&mut conn, "key");
    assert!(count > 5_000, "only {count} values of 1,000 bytes fit into {LIMIT} bytes");
    assert!(server.info_number("used_memory") < LIMIT as f64 * 1.1);
    for refused in ["HSET hash field value", "APPEND key:0 more", "INCR n", "MSET a 1 b 2", "SETRANGE key:0 5000 x"] {
        assert_eq!(conn.call(refused).error(), REFUSAL);
    }
    assert_eq!(conn.call("STRLEN key:2").int(), 1_000);
    assert_eq!(conn.call("EXPIRE key:1 1000").int(), 1);
    for n in 0..count / 2 {
        assert_eq!(conn.call(&format!("DEL key:{n}")).int(), 1);
    }
    assert_eq!(conn.call("SET key:0 value").text(), "OK");
    let again = write_until_refused(&mut conn, "again");
    assert!(again > count / 4, "{count} values fitted, half of them were deleted, then {again} fitted");
    // What was refused has left nothing, neither in memory nor in the log.
    let keys = conn.call("DBSIZE").int();
    assert!(server.terminate().success());
    let server = home.start();
    assert_eq!(server.connect().call("DBSIZE").int(), keys);
}

/// Values come in far faster than the clock of any core turns.
#[test]
fn the_limit_holds_however_fast_memory_fills_and_what_is_freed_can_be_used_at_once() {
    const VALUE: usize = 100_000;
    const BOUND: usize = 64 * VALUE;
    let home = Home::new().set("memory.max_bytes", &BOUND.to_string());
    let server = home.start();
    let mut conn = server.connect();
    let value = "v".repeat(VALUE);
    for round in 0..3 {
        let name = |n: usize| format!("{round}:{n}");
        let sets: Vec<Vec<String>> = (0..640).map(|n| vec!["SET".to_owned(), name(n), value.clone()]).collect();
        let replies: Vec<bool> = conn.pipeline(&sets).iter().map(Value::is_error).collect();
        let taken: Vec<usize> = (0..640).filter(|n| !replies[*n]).collect();
        // Each core may let one more pass while the other's is under way. Empty tables, too, take memory.
        let used = server.info_number("used_memory_dataset");
        assert!((35..=66).contains(&taken.len()), "{} values fitted, {used} bytes", taken.len());
        assert!(used < (BOUND + 3 * VALUE) as f64, "{used} bytes are in use");
        for pair in taken.chunks(2) {
            pair.iter().for_each(|n| assert_eq!(conn.call(&format!("DEL {}", name(*n))).int(), 1));
            // Now there is room, on whichever core it was.
            assert_eq!(conn.command(&["SET", &format!("{{{}}}", pair[0]), &value]).text(), "OK", "after {pair:?}");
            assert_eq!(conn.call(&format!("DEL {{{}}}", pair[0])).int(), 1);
        }
        assert_eq!(conn.call("DBSIZE").int(), 0);
    }
}

#[test]
fn the_limit_can_be_moved_while_the_server_runs() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    assert_eq!(conn.call(&format!("CONFIG SET maxmemory {LIMIT}")).text(), "OK");
    assert_eq!(conn.call("CONFIG GET maxmemory").pairs(), [(b"maxmemory".to_vec(), LIMIT.to_string().into_bytes())]);
    let first = write_until_refused(&mut conn, "key");
    assert_eq!(conn.call("CONFIG SET maxmemory 0").text(), "OK");
    assert_eq!(conn.call(&format!("SET key:{first} value")).text(), "OK");
}
