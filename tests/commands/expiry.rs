//! Promise: a key goes when its time has come, not before and not later, whether it is looked at or not, and in
//! whatever life.

use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Conn, Dump, Home, Value, eventually, rng};

const PATIENCE: Duration = Duration::from_secs(20);

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(now.as_millis()).expect("a clock of our time")
}

#[test]
fn nobody_sees_a_key_after_its_time() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    for round in 0..20 {
        let key = format!("key:{round}");
        assert_eq!(conn.call(&format!("SET {key} value PX 50")).text(), "OK");
        let at = conn.call(&format!("PEXPIRETIME {key}")).int();
        loop {
            let before = now_ms();
            let value = conn.call(&format!("GET {key}"));
            let after = now_ms();
            assert!(before >= at || after >= at || value != Value::Null, "gone before its time");
            assert!(before <= at || value == Value::Null, "seen {} ms after its time", before - at);
            if value == Value::Null {
                break;
            }
        }
        assert_eq!(conn.call(&format!("EXISTS {key}")).int(), 0);
        assert_eq!(conn.call(&format!("TTL {key}")).int(), -2);
        assert_eq!(conn.call(&format!("SET {key} value NX")).text(), "OK");
        assert_eq!(conn.call(&format!("TTL {key}")).int(), -1);
    }
}

#[test]
fn keys_that_nobody_looks_at_go_too() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    let mut rng = rng();
    let commands: Vec<Vec<String>> = (0..20_000)
        .map(|n| {
            let ttl = if n % 10 == 0 { 1_000_000 } else { rng.u32(1..1_500) };
            ["SET", &format!("key:{n}"), "value", "PX", &ttl.to_string()].map(str::to_owned).to_vec()
        })
        .collect();
    commands.chunks(1_000).for_each(|chunk| {
        conn.pipeline(chunk);
    });
    conn.call("SELECT 5");
    conn.call("HSET other field value");
    conn.call("PEXPIRE other 100");
    // Neither DBSIZE nor INFO touches a key.
    eventually("20,000 keys go by themselves", PATIENCE, || (conn.call("DBSIZE").int() == 0).then_some(()));
    conn.call("SELECT 0");
    eventually("18,000 keys go by themselves", PATIENCE, || (conn.call("DBSIZE").int() == 2_000).then_some(()));
    assert!(server.info_number("expired_keys") >= 18_001.0);
}

/// Fills an empty server with 2,000 keys that stay and 18,000 that go after `seconds`, and has all of them written to
/// snapshots. Returns when they go, unless that came first.
fn fill_and_save(conn: &mut Conn, seconds: i64) -> Option<i64> {
    let time = now_ms() + 1_000 * seconds;
    let at = time.to_string();
    let padding = "x".repeat(1_000);
    let commands: Vec<Vec<String>> = (0..20_000)
        .map(|n| {
            let mut words = ["SET", &format!("key:{n}"), &padding].map(str::to_owned).to_vec();
            if n % 10 > 0 {
                words.extend(["PXAT".to_owned(), at.clone()]);
            }
            words
        })
        .collect();
    commands.chunks(1_000).for_each(|chunk| {
        conn.pipeline(chunk);
    });
    assert_eq!(conn.call("SAVE").text(), "OK");
    (conn.call("DBSIZE").int() == 20_000).then_some(time)
}

#[test]
fn keys_that_came_from_a_snapshot_go_too() {
    let home = Home::new().set("data.partitions", "8");
    let mut server = home.start();
    let mut conn = server.connect();
    // On a machine that does much else it may take longer than on others.
    let times = [5, 20, 80].into_iter().find_map(|seconds| fill_and_save(&mut conn, seconds));
    let time = times.expect("all keys in snapshots before they go");
    let full = server.info_number("used_memory");
    server.kill();
    sleep(Duration::from_millis(u64::try_from(time - now_ms()).unwrap_or(0)));
    let server = home.start();
    let mut conn = server.connect();
    // Neither DBSIZE nor INFO touches a key.
    eventually("18,000 keys go by themselves", PATIENCE, || (conn.call("DBSIZE").int() == 2_000).then_some(()));
    let left = server.info_number("used_memory");
    assert!(left < full / 2.0, "{left} bytes are left of {full}");
}

#[test]
fn times_are_absolute_and_outlive_the_server() {
    let home = Home::with_node().set("log.durability", "sync");
    let mut server = home.start();
    let mut conn = server.connect();
    let soon = now_ms() + 1_500;
    let late = now_ms() + 100_000_000;
    let wanted: Vec<(&str, i64)> =
        vec![("soon", soon), ("late", late), ("hash", late), ("never", -1), ("persisted", -1)];
    conn.call(&format!("SET soon value PXAT {soon}"));
    conn.call(&format!("SET late value PXAT {late}"));
    conn.call("HSET hash field value");
    assert_eq!(conn.call(&format!("PEXPIREAT hash {late}")).int(), 1);
    conn.call("SET never value");
    conn.call("SET persisted value EX 100");
    assert_eq!(conn.call("PERSIST persisted").int(), 1);
    let times = |conn: &mut Conn| -> Vec<i64> {
        wanted.iter().map(|(key, _)| conn.call(&format!("PEXPIRETIME {key}")).int()).collect()
    };
    assert_eq!(times(&mut conn), wanted.iter().map(|(_, at)| *at).collect::<Vec<_>>());
    server.kill();
    // It expires while there is no server.
    sleep(Duration::from_millis(u64::try_from(soon - now_ms()).unwrap_or(0) + 10));
    let mut server = home.start();
    let mut conn = server.connect();
    assert_eq!(times(&mut conn), [-2, late, late, -1, -1]);
    assert_eq!(conn.call("EXISTS soon").int(), 0);
    assert_eq!(conn.call("SAVE").text(), "OK");
    let before = Dump::take(&server);
    server.kill();
    let server = home.start();
    before.assert_same(&Dump::take(&server));
    assert_eq!(times(&mut server.connect()), [-2, late, late, -1, -1]);
}

#[test]
fn a_time_is_replaced_kept_or_dropped_as_commands_say() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.call("SET key value EX 100");
    conn.call("SET key other KEEPTTL");
    assert!(conn.call("TTL key").int() > 90);
    conn.call("APPEND key more");
    conn.call("SETRANGE key 0 x");
    assert!(conn.call("TTL key").int() > 90);
    assert_eq!(conn.call("EXPIRE key 200 LT").int(), 0);
    assert_eq!(conn.call("EXPIRE key 200 GT").int(), 1);
    assert_eq!(conn.call("EXPIRE key 300 NX").int(), 0);
    assert_eq!(conn.call("EXPIRE key 300 XX").int(), 1);
    assert!(conn.call("TTL key").int() > 290);
    conn.call("SET key value");
    assert_eq!(conn.call("TTL key").int(), -1);
    assert_eq!(conn.call("EXPIRE key 5 XX").int(), 0);
    assert_eq!(conn.call("EXPIRE key 5 GT").int(), 0);
    assert_eq!(conn.call("EXPIRE key 100 LT").int(), 1);
    assert_eq!(conn.call("GETEX key PERSIST").text(), "value");
    assert_eq!(conn.call("TTL key").int(), -1);
    assert_eq!(conn.call("EXPIRE key -1").int(), 1);
    assert_eq!(conn.call("EXISTS key").int(), 0);
    assert_eq!(conn.call("EXPIRE key 100").int(), 0);
    conn.call("SET n 1 EX 100");
    conn.call("INCR n");
    assert!(conn.call("TTL n").int() > 90);
    conn.call("HSET hash field value");
    conn.call("EXPIRE hash 100");
    conn.call("HSET hash field other");
    assert!(conn.call("TTL hash").int() > 90);
    conn.call("HDEL hash field");
    conn.call("HSET hash field value");
    assert_eq!(conn.call("TTL hash").int(), -1);
}

/// Until the cores have looked for what has expired, ten times a second, such keys are still there.
#[test]
fn randomkey_never_names_a_key_that_has_expired() {
    for cores in ["1", "2"] {
        let home = Home::new().set("server.cores", cores);
        let server = home.start();
        let mut conn = server.connect();
        for round in 0..20 {
            let sets = (0..100).map(|n| {
                vec!["SET".to_owned(), format!("{round}:{n}"), "v".to_owned(), "PX".to_owned(), "1".to_owned()]
            });
            conn.pipeline(&sets.collect::<Vec<_>>());
            sleep(Duration::from_millis(3));
            assert_eq!(conn.call("RANDOMKEY"), Value::Null);
            conn.call("SET live value");
            assert_eq!(conn.call("RANDOMKEY").text(), "live");
            conn.call("DEL live");
        }
    }
}

#[test]
fn fields_that_have_expired_are_counted() {
    let home = Home::new().set("server.debug_command", "yes");
    let server = home.start();
    let mut conn = server.connect();
    let counted = || server.info_number("expired_subkeys");
    assert_eq!(counted(), 0.0);
    conn.call("HSET h a 1 b 1 c 1 d 1 e 1 f 1");
    // A time that is over.
    conn.call("HPEXPIREAT h 1000 FIELDS 3 a b none");
    conn.call("HGETEX h PXAT 1000 FIELDS 2 c none");
    conn.call("HSETEX h PXAT 1000 FIELDS 1 d 2");
    assert_eq!(counted(), 4.0);
    // Fields that nobody looks at; some are replaced, removed or kept first.
    conn.call("HSETEX h PX 1000000 FIELDS 5 p 1 q 1 r 1 s 1 t 1");
    conn.call("HDEL h r");
    conn.call("HSET h s 2");
    conn.call("HPERSIST h FIELDS 1 t");
    conn.call("HPEXPIRE h 1 FIELDS 3 p q r");
    conn.call("HSETEX other PX 1 FIELDS 3 f 1 g 1 h 1");
    eventually("fields expire", PATIENCE, || (conn.call("DBSIZE").int() == 1).then_some(()));
    eventually("fields expire", PATIENCE, || (counted() >= 9.0).then_some(()));
    // A command meets a hash of which nothing is left.
    conn.call("DEBUG SET-ACTIVE-EXPIRE 0");
    conn.call("HSETEX met PX 1 FIELDS 2 f 1 g 1");
    conn.call("SET key value PX 1");
    sleep(Duration::from_millis(5));
    assert_eq!(conn.call("HGET met f"), Value::Null);
    assert_eq!(conn.call("GET key"), Value::Null);
    assert_eq!((counted(), server.info_number("expired_keys")), (11.0, 1.0));
}

#[test]
fn fields_go_when_their_time_has_come_in_whatever_life() {
    const FIELDS: usize = 1_000;
    let home = Home::with_node().set("log.durability", "sync");
    let mut server = home.start();
    let mut conn = server.connect();
    let names: Vec<String> = (0..FIELDS).map(|n| format!("field:{n}")).collect();
    for key in ["small", "large"] {
        let named = &names[..if key == "small" { 10 } else { FIELDS }];
        let pairs = named.iter().flat_map(|name| [name.clone(), "value".to_owned()]);
        conn.command(&["HSET", key].map(str::to_owned).into_iter().chain(pairs).collect::<Vec<_>>());
        conn.call(&format!("HEXPIRE {key} 1000 FIELDS 1 field:1"));
        conn.call(&format!("HPEXPIRE {key} 2500 FIELDS 2 field:2 field:3"));
    }
    let expiry = conn.call("HPEXPIRETIME large FIELDS 1 field:1");
    conn.call("HSETEX gone PX 2500 FIELDS 1 field value");
    server.kill();
    server = home.start();
    conn = server.connect();
    assert_eq!(conn.call("HPEXPIRETIME large FIELDS 1 field:1"), expiry);
    // Nobody looks at the fields; the key that held nothing else goes too.
    eventually("fields expire", PATIENCE, || (conn.call("DBSIZE").int() == 2).then_some(()));
    for (key, left) in [("small", 8), ("large", FIELDS as i64 - 2)] {
        assert_eq!(conn.call(&format!("HLEN {key}")).int(), left);
        assert_eq!(conn.call(&format!("HMGET {key} field:1 field:2")).items()[1], Value::Null);
    }
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    eventually("digests are compared", PATIENCE, || (server.info_number("digests_compared") > 0.0).then_some(()));
    assert_eq!(server.info_number("digests_differed"), 0.0);
    let before = Dump::take(&server);
    server.kill();
    before.assert_same(&Dump::take(&home.start()));
}
