//! What the load generator itself costs: how many requests one core of it can send, and its CPU per request beside
//! redis-benchmark's.
//!
//! The sink is a server that does nothing but count: whatever it is sent, it answers `+OK`. With redis-benchmark the
//! runs alternate (A B A B …) against the same redis-server; medians are shown. Everything that is not the generator
//! runs on the first CPU, the generator and redis-benchmark on the last. `cargo bench --bench generator`
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rollbook::bench::result::Report;
use rollbook::bench::{Plan, run};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const ROUNDS: usize = 5;
const LENGTH: Duration = Duration::from_secs(2);
const KEYS: u64 = 100_000;
/// Bytes of a `SET` with a key of 16 and a value of 100 bytes.
const REQUEST: usize = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$100\r\n\r\n".len() + 100;

fn main() {
    let allowed = sched_getaffinity(None).unwrap();
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    pin(None, last);
    sink(first);
    if Command::new("redis-server").arg("--version").output().is_ok() {
        beside_redis_benchmark(first);
    } else {
        println!("redis-server is not installed: nothing to compare with");
    }
}

fn pin(process: Option<Pid>, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(process, &set).unwrap();
}

fn plan(port: u16, pipeline: usize) -> Plan {
    Plan {
        port,
        workload: "set".to_owned(),
        pipeline,
        keys: KEYS,
        load: false,
        duration: LENGTH,
        warmup: Duration::from_millis(200),
        ..Plan::default()
    }
}

fn measure(plan: &Plan) -> Report {
    let outcome = run(plan, Vec::new(), &Arc::new(AtomicBool::new(false)), &mut |_| ()).unwrap();
    assert!(outcome.failure.is_none() && outcome.report.totals.errors == 0, "{:?}", outcome.report.first_error);
    outcome.report
}

/// One core at a pipeline of 64 against a server that is faster.
fn sink(cpu: usize) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let end = Arc::new(AtomicBool::new(false));
    let swallower = thread::spawn({
        let end = Arc::clone(&end);
        move || {
            pin(None, cpu);
            swallow_all(&listener, &end);
        }
    });
    let rates = (0..ROUNDS).map(|_| measure(&Plan { connections: 16, ..plan(port, 64) }).totals.rate / 1e6);
    let rates: Vec<f64> = rates.collect();
    println!("one core, SET, pipeline 64, against a sink: {:.2} M/s of {rates:.2?}", median(rates.clone()));
    end.store(true, Ordering::Relaxed);
    swallower.join().unwrap();
}

/// Answers `+OK` to whatever comes on any connection, `INFO` with nothing. It never sleeps, so that nobody needs to
/// wake it.
fn swallow_all(listener: &TcpListener, end: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let oks = b"+OK\r\n".repeat(buffer.len() / REQUEST + 1);
    let mut sockets: Vec<(TcpStream, usize)> = Vec::new();
    for turn in 0u64.. {
        if turn % 1000 == 0 {
            if end.load(Ordering::Relaxed) {
                return;
            }
            sockets.extend(listener.accept().into_iter().map(|(socket, _)| {
                socket.set_nonblocking(true).unwrap();
                socket.set_nodelay(true).unwrap();
                (socket, 0)
            }));
        }
        sockets.retain_mut(|(socket, owed)| swallow(socket, owed, &mut buffer, &oks));
    }
}

/// Whether the connection is still there.
fn swallow(socket: &mut TcpStream, owed: &mut usize, buffer: &mut [u8], oks: &[u8]) -> bool {
    match socket.read(buffer) {
        Ok(0) => false,
        Ok(_) if buffer.starts_with(b"*1\r\n$4\r\nINFO") => socket.write_all(b"$0\r\n\r\n").is_ok(),
        Ok(length) => {
            *owed += length;
            let answers = *owed / REQUEST;
            *owed %= REQUEST;
            // A few hundred bytes always fit.
            socket.write_all(&oks[..answers * 5]).is_ok()
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

struct Redis(Child, u16);

impl Redis {
    fn start(cpu: usize) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let arguments = ["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--daemonize", "no"];
        let child = Command::new("redis-server").args(arguments).stdout(Stdio::null()).spawn().unwrap();
        pin(Some(Pid::from_child(&child)), cpu);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Self(child, port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn beside_redis_benchmark(cpu: usize) {
    let redis = Redis::start(cpu);
    for (name, pipeline, requests) in [("plain", 1, 200_000), ("pipeline 32", 32, 1_500_000)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(redis_benchmark(redis.1, pipeline, requests));
            ours.push(measure(&plan(redis.1, pipeline)).generator.micros_per_request);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "SET, 50 connections, {name}: {ours:.3} µs of CPU a request, redis-benchmark {theirs:.3} µs: {:.2}",
            ours / theirs
        );
    }
}

/// Microseconds of CPU per request.
fn redis_benchmark(port: u16, pipeline: usize, requests: u64) -> f64 {
    let before = children_cpu_seconds();
    let status = Command::new("redis-benchmark")
        .args(["-t", "set", "-d", "100", "-c", "50", "-r", &KEYS.to_string(), "-p", &port.to_string()])
        .args(["-P", &pipeline.to_string(), "-n", &requests.to_string(), "-q"])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    (children_cpu_seconds() - before) * 1e6 / requests as f64
}

/// CPU of children that were waited for, in seconds.
fn children_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
    let ticks: f64 = fields[13..15].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
