//! A server that says what a test wants, for tests of the load generator.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use rollbook::bench::result::Report;
use rollbook::bench::{Plan, run};

/// A server whose replies a test makes: a request's arguments in, bytes out. Every connection has a thread.
pub struct Scripted {
    /// Where it listens.
    pub port: u16,
}

impl Scripted {
    /// Starts to listen; `answer` makes the reply to a request's arguments, or an empty one to hang up.
    pub fn start(answer: impl Fn(&[String]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let port = listener.local_addr().expect("its port").port();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || converse(&socket, &*answer));
            }
        });
        Self { port }
    }

    /// A second of SETs on four connections.
    pub fn plan(&self) -> Plan {
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

/// The report of a run that nothing ended before its time.
pub fn measured(plan: &Plan) -> Report {
    let outcome =
        run(plan, Vec::new(), &Arc::new(AtomicBool::new(false)), &mut |_| ()).expect("a plan that can be run");
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    outcome.report
}

/// The report in a file of JSON.
pub fn report_in(path: &Path) -> Report {
    rollbook::bench::report::json::read(&fs::read_to_string(path).expect("read a report")).expect("a report")
}
