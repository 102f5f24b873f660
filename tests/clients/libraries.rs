//! Promise: the clients that people have work as they are: the `redis` crate in both protocols, redis-cli,
//! redis-benchmark.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Home, Server, Value};
use redis::{Commands, Connection, RedisResult};

fn connect(server: &Server, protocol: &str) -> Connection {
    let url = format!("redis://127.0.0.1:{}/3?protocol={protocol}", server.port());
    redis::Client::open(url).expect("a client").get_connection().expect("a connection")
}

fn tour(conn: &mut Connection) -> RedisResult<()> {
    let _: () = redis::cmd("FLUSHALL").query(conn)?;
    let _: () = conn.set("string", "value")?;
    assert_eq!(conn.get::<_, String>("string")?, "value");
    assert_eq!(conn.get::<_, Option<String>>("missing")?, None);
    let _: () = conn.mset(&[("a", 1), ("b", 2), ("c", 3)])?;
    assert_eq!(conn.mget::<_, Vec<Option<i64>>>(&["a", "missing", "c"])?, [Some(1), None, Some(3)]);
    assert_eq!(conn.incr::<_, _, i64>("a", 41)?, 42);
    assert!((conn.incr::<_, _, f64>("float", 0.5)? - 0.5).abs() < 1e-9);
    assert_eq!(conn.append::<_, _, i64>("string", " and more")?, 14);
    let _: () = conn.hset_multiple("hash", &[("one", "1"), ("two", "2")])?;
    let hash: HashMap<String, i64> = conn.hgetall("hash")?;
    assert_eq!(hash, HashMap::from([("one".to_owned(), 1), ("two".to_owned(), 2)]));
    assert!(conn.hexists::<_, _, bool>("hash", "one")?);
    assert_eq!(conn.hincr::<_, _, _, i64>("hash", "one", 9)?, 10);
    assert!(conn.expire::<_, bool>("string", 100)?);
    assert!((90..=100).contains(&conn.ttl::<_, i64>("string")?));
    let keys: BTreeSet<String> = conn.scan()?.collect::<RedisResult<_>>()?;
    assert_eq!(keys, ["a", "b", "c", "float", "hash", "string"].map(str::to_owned).into());
    let fields: BTreeSet<(String, String)> = conn.hscan("hash")?.collect::<RedisResult<_>>()?;
    assert_eq!(fields.len(), 2);
    assert_eq!(conn.del::<_, i64>(&["a", "b", "missing"])?, 2);
    assert_eq!(conn.exists::<_, i64>(&["a", "c"])?, 1);
    let error = conn.incr::<_, _, i64>("string", 1).expect_err("not a number");
    assert!(error.to_string().contains("not an integer"), "{error}");
    let error = conn.hget::<_, _, String>("string", "field").expect_err("not a hash");
    assert_eq!(error.code(), Some("WRONGTYPE"));
    let mut pipe = redis::pipe();
    (0..1_000).for_each(|n| {
        pipe.set(format!("pipe:{n}"), n).ignore().get(format!("pipe:{n}"));
    });
    assert_eq!(pipe.query::<Vec<i64>>(conn)?, (0..1_000).collect::<Vec<_>>());
    assert_eq!(redis::cmd("DBSIZE").query::<i64>(conn)?, 1_004);
    Ok(())
}

#[test]
fn the_redis_crate_in_resp2() {
    let home = Home::new();
    tour(&mut connect(&home.start(), "resp2")).expect("every command");
}

#[test]
fn the_redis_crate_in_resp3() {
    let home = Home::new();
    let server = home.start();
    let mut conn = connect(&server, "resp3");
    tour(&mut conn).expect("every command");
    let reply: redis::Value = redis::cmd("HGETALL").arg("hash").query(&mut conn).expect("HGETALL");
    assert!(matches!(reply, redis::Value::Map(_)), "{reply:?}");
}

#[test]
fn hello_switches_the_protocol_and_back() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    conn.call("HSET hash field value");
    let two = conn.call("HELLO 2");
    assert!(matches!(&two, Value::Array(items) if items.len() == 14), "{two:?}");
    assert!(matches!(conn.call("HGETALL hash"), Value::Array(_)));
    let Value::Map(three) = conn.call("HELLO 3 SETNAME me") else { panic!("no map") };
    let field = |name: &str| three.iter().find(|(key, _)| key.text() == name).map(|(_, value)| value.clone());
    assert_eq!(field("proto"), Some(Value::Int(3)));
    assert_eq!(field("mode").map(|mode| mode.text()).as_deref(), Some("standalone"));
    assert!(matches!(conn.call("HGETALL hash"), Value::Map(_)));
    assert_eq!(conn.call("GET missing"), Value::Null);
    assert_eq!(conn.call("CLIENT GETNAME").text(), "me");
    assert!(conn.call("HELLO 4").error().starts_with("NOPROTO"));
    conn.call("RESET");
    assert!(matches!(conn.call("HGETALL hash"), Value::Array(_)));
}

/// What libraries send before anything else: redis-py, Jedis, Lettuce, ioredis, go-redis.
#[test]
fn the_greetings_of_other_libraries_are_understood() {
    let home = Home::new();
    let server = home.start();
    let mut conn = server.connect();
    let greetings = [
        "CLIENT SETINFO LIB-NAME redis-py",
        "CLIENT SETINFO LIB-VER 7.0.1",
        "CLIENT SETNAME worker-1",
        "CLIENT ID",
        "CLIENT INFO",
        "COMMAND COUNT",
        "COMMAND DOCS get",
        "COMMAND INFO get set nosuch",
        "COMMAND",
        "CONFIG GET maxmemory",
        "INFO server",
        "SELECT 0",
        "READONLY",
    ];
    for line in greetings {
        let reply = conn.call(line);
        // Unknown in Redis 7.0 and in a server that is no cluster; libraries ignore these errors.
        let may_fail = line.contains("SETINFO") || line == "READONLY";
        assert!(may_fail || !reply.is_error(), "{line}: {reply:?}");
    }
}

/// The output of a program, or `None` if this machine does not have it.
fn run(program: &str, args: &[&str], input: &str) -> Option<String> {
    let spawned =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: no {program} on this machine");
        return None;
    };
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("write the input");
    let output = child.wait_with_output().expect("wait for the end");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}", output.status);
    Some(text)
}

#[test]
fn redis_cli() {
    let home = Home::new();
    let server = home.start();
    let port = server.port().to_string();
    let script = "SET key \"two words\"\nGET key\nHSET hash a 1 b 2\nHGETALL hash\nINCR key\nSELECT 1\nDBSIZE\n";
    let expected = "OK\ntwo words\n2\na\n1\nb\n2\nERR value is not an integer or out of range\n\nOK\n0\n";
    let Some(output) = run("redis-cli", &["-p", &port], script) else { return };
    assert_eq!(output, expected);
    let three = run("redis-cli", &["-p", &port, "-3", "--no-raw", "HGETALL", "hash"], "").unwrap_or_default();
    assert_eq!(three, "1# \"a\" => \"1\"\n2# \"b\" => \"2\"\n");
    let scanned = run("redis-cli", &["-p", &port, "--scan"], "").unwrap_or_default();
    assert_eq!(scanned.lines().collect::<BTreeSet<_>>(), ["hash", "key"].into());
    let info = run("redis-cli", &["-p", &port, "INFO", "server"], "").unwrap_or_default();
    assert!(info.contains("tcp_port:"), "{info}");
    let piped: String = (0..10_000).map(|n| format!("SET piped:{n} {n}\r\n")).collect();
    let summary = run("redis-cli", &["-p", &port, "--pipe"], &piped).unwrap_or_default();
    assert!(summary.contains("errors: 0, replies: 10000"), "{summary}");
    assert_eq!(server.connect().call("DBSIZE").int(), 10_002);
    let big = run("redis-cli", &["-p", &port, "--bigkeys"], "").unwrap_or_default();
    assert!(big.contains("hashs with"), "{big}");
}

#[test]
fn redis_benchmark() {
    let home = Home::new();
    let server = home.start();
    let port = server.port().to_string();
    for pipeline in ["1", "16"] {
        let args = [
            "-p",
            &port,
            "-n",
            "20000",
            "-r",
            "1000",
            "-d",
            "100",
            "-P",
            pipeline,
            "-q",
            "-t",
            "ping,set,get,incr,hset,mset",
        ];
        let Some(output) = run("redis-benchmark", &args, "") else { return };
        for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "HSET", "MSET"] {
            assert!(output.contains(test) && !output.contains("Error"), "{output}");
        }
    }
    assert!(server.info_number("total_commands_processed") > 200_000.0);
}
