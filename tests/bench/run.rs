//! Promise: `rollbook bench` measures what a client would feel, finds out servers that lose or tear, and says in one
//! sentence what is wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Home, Peer, alone, eventually, signal};
use rollbook::bench::result::{EventKind, Report, Verification};
use rollbook::bench::{BenchError, Plan, Rate, run};
use rustix::process::Signal;

/// A server whose replies a test makes: a request's arguments in, bytes out. Every connection has a thread.
struct Scripted {
    port: u16,
}

impl Scripted {
    fn start(answer: impl Fn(&[String]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || converse(&socket, &*answer));
            }
        });
        Self { port }
    }

    fn plan(&self) -> Plan {
        Plan {
            port: self.port,
            workload: "set".to_owned(),
            connections: 4,
            keys: 100,
            duration: Duration::from_secs(1),
            warmup: Duration::ZERO,
            ..Plan::default()
        }
    }
}

/// Answers until the client is gone, or the script has had enough: an empty answer closes the connection.
fn converse(socket: &TcpStream, answer: &dyn Fn(&[String]) -> Vec<u8>) {
    let mut reader = BufReader::new(socket);
    while let Some(request) = read_request(&mut reader) {
        let reply = match request[0].as_str() {
            "INFO" => b"$22\r\nredis_version:scripted\r\n".to_vec(),
            "PING" => b"+PONG\r\n".to_vec(),
            _ => answer(&request),
        };
        if reply.is_empty() {
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
        if (&*socket).write_all(&reply).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Vec<String>> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
    (0..count)
        .map(|_| {
            line()?;
            line()
        })
        .collect()
}

fn measured(plan: &Plan) -> Report {
    let outcome = run(plan, Vec::new(), &Arc::new(AtomicBool::new(false)), &mut |_| ()).unwrap();
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    outcome.report
}

fn refused(plan: &Plan) -> BenchError {
    match run(plan, Vec::new(), &Arc::new(AtomicBool::new(false)), &mut |_| ()) {
        Err(error) => error,
        Ok(outcome) => outcome.failure.expect("a failure"),
    }
}

#[test]
fn a_stall_of_a_second_shows_in_an_open_loop_and_hides_from_a_generator_that_waits() {
    let _alone = alone();
    let (begin, lock) = (Instant::now(), Mutex::new(false));
    let server = Scripted::start(move |_| {
        // Whoever comes first after a second stalls, and everybody else with it.
        let mut stalled = lock.lock().unwrap();
        if !*stalled && begin.elapsed() > Duration::from_secs(1) {
            *stalled = true;
            thread::sleep(Duration::from_secs(1));
        }
        b"+OK\r\n".to_vec()
    });
    let duration = Duration::from_secs(4);
    let report = measured(&Plan { rate: Rate::PerSecond(2000.0), duration, load: false, ..server.plan() });
    assert!((7900..=8000).contains(&report.totals.requests), "{:?}", report.totals);
    // A quarter of all requests were due while the server stalled: nearly all their latencies are seen.
    assert!(report.latency.p999 > 900_000.0, "{}", report.latency.p999);
    assert!(report.latency.p90 > 400_000.0, "{}", report.latency.p90);
    // One request of each connection was really under way.
    assert!(report.uncorrected.p999 < 100_000.0, "{}", report.uncorrected.p999);
    assert!(report.uncorrected.max > 900_000.0);
    let stalled = report.timeline.iter().filter(|interval| interval.requests == 0).count();
    assert!((3..=5).contains(&stalled), "{stalled} empty intervals of 0.2 s");
}

#[test]
fn the_same_seed_sends_the_same_in_a_closed_and_in_an_open_loop() {
    let seen = |rate: Rate| {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let server = Scripted::start(move |request| {
            kept.lock().unwrap().push(request.join(" "));
            b"+OK\r\n".to_vec()
        });
        measured(&Plan { rate, connections: 1, seed: 42, duration: Duration::from_millis(300), ..server.plan() });
        let requests = requests.lock().unwrap();
        requests[..200].to_vec()
    };
    let closed = seen(Rate::Max);
    assert_eq!(closed, seen(Rate::Max));
    assert_eq!(closed, seen(Rate::PerSecond(1000.0)));
}

#[test]
fn requests_that_are_never_answered_are_counted() {
    let answered = AtomicU64::new(0);
    let server = Scripted::start(move |_| {
        if answered.fetch_add(1, Ordering::Relaxed) >= 100 {
            thread::sleep(Duration::from_secs(3600));
        }
        b"+OK\r\n".to_vec()
    });
    let report = measured(&Plan { rate: Rate::PerSecond(1000.0), load: false, ..server.plan() });
    assert_eq!((report.totals.requests, report.totals.requests + report.totals.unanswered), (100, 1000));
}

#[test]
fn errors_are_counted_and_the_first_is_kept() {
    let count = AtomicU64::new(0);
    let server = Scripted::start(move |_| match count.fetch_add(1, Ordering::Relaxed) % 10 {
        9 => b"-OOM no room\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    });
    let report = measured(&Plan { load: false, pipeline: 5, ..server.plan() });
    assert!(report.totals.errors.abs_diff(report.totals.requests / 10) <= 1, "{:?}", report.totals);
    assert_eq!(report.first_error.as_deref(), Some("OOM no room"));
    let loading = refused(&Plan { load: true, ..server.plan() });
    assert!(matches!(&loading, BenchError::Refused { why, .. } if why == "OOM no room"), "{loading}");
}

#[test]
fn a_lost_connection_ends_the_run_with_a_reason_or_is_made_anew() {
    let count = Arc::new(AtomicU64::new(0));
    let server = {
        let count = Arc::clone(&count);
        Scripted::start(move |_| {
            if count.fetch_add(1, Ordering::Relaxed) % 1000 == 999 { Vec::new() } else { b"+OK\r\n".to_vec() }
        })
    };
    let error = refused(&Plan { load: false, ..server.plan() });
    assert!(matches!(error, BenchError::Lost { .. }), "{error}");
    let report = measured(&Plan { load: false, reconnect: true, connections: 1, ..server.plan() });
    assert!(report.totals.lost > 0 && report.totals.requests > 1000, "{:?}", report.totals);
    assert!(report.totals.downtime_seconds > 0.0);
    let kinds: Vec<_> = report.events.iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::Lost) && kinds.contains(&EventKind::Back), "{kinds:?}");
}

/// A key-value store that acknowledges every write, and does something else with every fifth: of 100 keys, some then
/// end so.
fn store_that(spoils: fn(&str) -> Option<String>) -> Scripted {
    let (store, count) = (Mutex::new(std::collections::HashMap::new()), AtomicU64::new(0));
    Scripted::start(move |request| {
        let mut store = store.lock().unwrap();
        if request[0] == "GET" {
            let bulk = |value: &String| format!("${}\r\n{value}\r\n", value.len()).into_bytes();
            return store.get(&request[1]).map_or(b"$-1\r\n".to_vec(), bulk);
        }
        let spoilt = count.fetch_add(1, Ordering::Relaxed) % 5 == 4;
        if let Some(value) = if spoilt { spoils(&request[2]) } else { Some(request[2].clone()) } {
            store.insert(request[1].clone(), value);
        }
        b"+OK\r\n".to_vec()
    })
}

fn verified(server: &Scripted) -> Verification {
    let plan = Plan { verify: true, duration: Duration::from_millis(300), ..server.plan() };
    measured(&plan).verification.expect("a verification")
}

#[test]
fn a_server_that_keeps_what_it_acknowledges_passes_the_verification() {
    let found = verified(&store_that(|value| Some(value.to_owned())));
    assert!(found.passed && found.lost == 0 && found.keys == 100 && found.acknowledged > 100, "{found:?}");
}

#[test]
fn servers_that_lose_tear_or_mix_up_do_not_pass_the_verification() {
    let loses = verified(&store_that(|_| None));
    assert!(!loses.passed && loses.lost > 0 && loses.torn == 0 && !loses.findings.is_empty(), "{loses:?}");
    let tears = verified(&store_that(|value| Some(value[..60].to_owned())));
    assert!(!tears.passed && tears.torn > 0, "{tears:?}");
    let mixes_up = verified(&store_that(|value| Some(format!("00000000000000ff{}", &value[16..]))));
    assert!(!mixes_up.passed && mixes_up.torn > 0, "{mixes_up:?}");
}

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
    command.arg("bench").args(["--json", "none", "--html", "none"]).args(arguments).env_remove("REDISCLI_AUTH");
    command.stdin(Stdio::null()).output().unwrap()
}

/// Exit code and what was said on standard error.
fn failure(arguments: &[&str]) -> (i32, String) {
    let output = bench(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

#[test]
fn whatever_is_wrong_is_said_in_one_sentence() {
    let good = Scripted::start(|_| b"+OK\r\n".to_vec()).port.to_string();
    let web = Scripted::start(|_| b"HTTP/1.1 400 Bad Request\r\n".to_vec()).port.to_string();
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string();
    let short = ["--duration", "200ms", "--warmup", "0s", "--connections", "2"];
    let file = ["--workload", "set", "--keys", "10", "--json", "/dev/full"];
    for (arguments, code, said) in [
        (vec!["--port", &good, "--workload", "sett"], 64, "there is no workload \"sett\": set, get"),
        (vec!["--port", &good, "--rate", "0"], 64, "is no rate"),
        (vec!["--port", &good, "--values", "many"], 64, "means no sizes"),
        (vec!["--port", &good, "--distribution", "normal"], 64, "there is no distribution"),
        (vec!["--port", &good, "--cores", "4096", "--connections", "5000"], 64, "more than the"),
        (vec!["--port", &good, "--host", "no.such.host.invalid"], 69, "nobody answers at no.such.host.invalid"),
        (vec!["--port", &nobody], 69, "nobody answers at 127.0.0.1"),
        (vec!["--port", &web, "--workload", "set", "--no-load"], 69, "does not speak the Redis protocol"),
        ([&["--port", good.as_str()][..], &short, &file].concat(), 74, "/dev/full: No space left"),
    ] {
        let mut command = vec!["bench", "--html", "none"];
        if !arguments.contains(&"--json") {
            command.extend(["--json", "none"]);
        }
        command.extend(&arguments);
        let output = Command::new(env!("CARGO_BIN_EXE_rollbook")).args(&command).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_interrupted_run_reports_what_was_measured() {
    let server = Scripted::start(|_| b"+OK\r\n".to_vec());
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("bench.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rollbook"))
        .args(["bench", "--workload", "set", "--keys", "100", "--duration", "1h", "--warmup", "0s", "--html", "none"])
        .args(["--port", &server.port.to_string(), "--json"])
        .arg(&json)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1500));
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = read(&json);
    assert!(report.totals.requests > 100 && report.totals.seconds < 60.0, "{:?}", report.totals);
}

fn read(path: &Path) -> Report {
    rollbook::bench::report::json::read(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every workload, closed and open, without an error.
fn every_workload(home: &Home, cores: &str, without: &[&str]) {
    let server = home.start();
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("bench.json");
    let port = home.port().to_string();
    for about in rollbook::bench::workload::all().into_iter().filter(|about| !without.contains(&about.name)) {
        for (rate, pipeline) in [("max", "8"), ("2000", "1")] {
            let output = bench(
                &[
                    &[
                        "--port",
                        &port,
                        "--workload",
                        about.name,
                        "--keys",
                        "2000",
                        "--duration",
                        "400ms",
                        "--warmup",
                        "100ms",
                    ][..],
                    &["--rate", rate, "--pipeline", pipeline, "--connections", "8", "--cores", cores],
                    &["--password", "secret"],
                ]
                .concat(),
            );
            assert!(output.status.success(), "{}: {}", about.name, String::from_utf8_lossy(&output.stderr));
        }
        let output = Command::new(env!("CARGO_BIN_EXE_rollbook"))
            .args(["bench", "--port", &port, "--workload", about.name, "--keys", "2000", "--duration", "400ms"])
            .args(["--warmup", "100ms", "--password", "secret", "--html", "none", "--json"])
            .arg(&json)
            .output()
            .unwrap();
        assert!(output.status.success());
        let report = read(&json);
        assert_eq!((report.totals.errors, report.first_error), (0, None), "{}", about.name);
        assert!(report.totals.requests > 100 && report.server.cpu.is_some_and(|cpu| cpu.seconds > 0.0));
        assert_eq!(report.totals.requests, report.operations.iter().map(|operation| operation.requests).sum::<u64>());
        assert!(!report.command.iter().any(|word| word == "secret"));
    }
    let (code, said) = failure(&["--port", &port]);
    assert_eq!((code, said.contains("asks for a password: give it with --password")), (69, true), "{said}");
    let (code, said) = failure(&["--port", &port, "--password", "guess"]);
    assert_eq!((code, said.contains("does not accept the password")), (69, true), "{said}");
    drop(server);
}

#[test]
fn every_workload_runs_on_rollbook_without_an_error() {
    every_workload(&Home::with_peer(Peer::Rollbook).set("server.password", "secret"), "2", &[]);
}

#[test]
fn every_workload_runs_on_redis_without_an_error() {
    // Redis has HSETEX from 8.0 on.
    let without = ["hsetex", "hsetex-large"];
    every_workload(&Home::with_peer(Peer::Redis).set("server.password", "secret"), "1", &without);
}

#[test]
fn a_sweep_climbs_until_the_server_no_longer_keeps_up() {
    let _alone = alone();
    // A server that can do a thousand requests a second on each connection.
    let server = Scripted::start(|_| {
        thread::sleep(Duration::from_micros(900));
        b"+OK\r\n".to_vec()
    });
    let plan = Plan { rate: Rate::Sweep, duration: Duration::from_secs(7), load: false, ..server.plan() };
    // A busy machine may not keep up with the first step: it gets another chance.
    let climbs = (0..3).any(|_| {
        let report = measured(&plan);
        assert!(report.sweep.iter().all(|step| step.latency.count > 0));
        let sustained: Vec<bool> = report.sweep.iter().map(|step| step.sustained).collect();
        eprintln!("{sustained:?}");
        sustained.len() >= 4 && sustained[0] && sustained.contains(&false)
    });
    assert!(climbs);
}

#[test]
fn a_server_that_goes_while_records_are_loaded_is_waited_for() {
    const RECORDS: u64 = 60_000;
    let home = Home::with_peer(Peer::Rollbook).set("log.durability", "sync");
    let mut server = home.start();
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("bench.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rollbook"))
        .args(["bench", "--workload", "ycsb-a", "--keys", &RECORDS.to_string(), "--connections", "8"])
        .args(["--duration", "1s", "--warmup", "0s", "--verify", "--reconnect", "--html", "none"])
        .args(["--port", &home.port().to_string(), "--json"])
        .arg(&json)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for part in 1..=3 {
        let loaded = || server.connect().call("DBSIZE").int() as u64;
        eventually("some records", Duration::from_secs(60), || (loaded() > RECORDS / 5 * part).then_some(()));
        server.kill();
        server = home.start();
    }
    let status = child.wait().unwrap();
    let report = read(&json);
    let found = report.verification.expect("a verification");
    assert!(status.success() && found.passed && found.lost == 0, "{found:?}");
    // Every record was loaded, those too whose answers were lost.
    assert_eq!(report.load.expect("a load").records, RECORDS);
    assert_eq!(server.connect().call("DBSIZE").int() as u64, RECORDS);
}

/// Writes and syncs a block every now and then until it is told to end. Returns how long the slowest took.
fn slowest_sync(directory: &Path, end: &Arc<AtomicBool>) -> thread::JoinHandle<Duration> {
    let (file, end) = (std::fs::File::create(directory.join("probe")).unwrap(), Arc::clone(end));
    thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        while !end.load(Ordering::Relaxed) {
            let begin = Instant::now();
            file.write_all_at(&[1; 4096], 0).unwrap();
            file.sync_data().unwrap();
            slowest = slowest.max(begin.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        slowest
    })
}

#[test]
fn after_kills_and_restarts_nothing_is_lost_that_was_promised() {
    // Of two commits, as long as which `async` may lose, the bench takes each to be at most so long.
    const COMMIT: Duration = Duration::from_millis(500);

    // What may be lost is measured in time: with `async`, by default about a second before each kill.
    let _alone = alone();
    for durability in ["async", "sync"] {
        let home = Home::with_peer(Peer::Rollbook).set("log.durability", durability);
        let mut server = home.start();
        let end = Arc::new(AtomicBool::new(false));
        let probe = slowest_sync(home.path(), &end);
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("bench.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rollbook"))
            .args(["bench", "--workload", "ycsb-a", "--keys", "1000", "--connections", "8", "--pipeline", "4"])
            .args(["--duration", "8s", "--warmup", "0s", "--verify", "--reconnect", "--html", "none"])
            .args(["--port", &home.port().to_string(), "--json"])
            .arg(&json)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(2500));
            server.kill();
            server = home.start();
        }
        let status = child.wait().unwrap();
        end.store(true, Ordering::Relaxed);
        let slowest = probe.join().unwrap();
        let report = read(&json);
        let found = report.verification.expect("a verification");
        if durability == "async" && slowest > COMMIT {
            eprintln!("not judged: a sync took {slowest:?} here, so that more may be lost than is allowed for");
            assert_eq!(found.torn, 0, "{found:?}");
        } else {
            assert!(status.success() && found.passed, "{durability}, a sync took {slowest:?}: {found:?}");
        }
        assert!(found.acknowledged > 100 && (durability == "async" || found.lost == 0), "{found:?}");
        assert!(report.totals.downtime_seconds > 0.0 && report.totals.lost > 0, "{:?}", report.totals);
        assert_eq!(report.events.iter().filter(|event| event.kind == EventKind::Back).count(), 2);
        drop(server);
    }
}
