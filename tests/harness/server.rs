//! One life of a server process.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::{Process, eventually, signal_pid};
use super::resp::{Conn, Value};

/// How long a start or a stop may take before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a server's log a failed test shows, from its end.
const SHOWN_LINES: usize = 100;

/// A server process. Dropping it kills it and whatever it started; a failing test shows its log.
pub struct Server {
    child: Child,
    port: u16,
    password: Option<String>,
    log: PathBuf,
    /// Children seen so far: after the server's death they no longer descend from it.
    family: Vec<Process>,
    status: Option<ExitStatus>,
}

/// A server that ended instead of serving.
#[derive(Debug)]
pub struct Refused {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed.
    pub log: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.status, self.log)
    }
}

impl Server {
    /// Sends bytes on a connection of their own, closes this half of it, and returns all that comes back before the
    /// end.
    pub fn answer(&self, bytes: &[u8]) -> String {
        let mut conn = Conn::open(self.port).expect("connect");
        // The server may close before everything is sent; what it said is still there to read.
        let _ = conn.send(bytes);
        let _ = conn.finish();
        match conn.read_to_end() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }

    pub(super) fn new(child: Child, port: u16, log: PathBuf, password: Option<String>) -> Self {
        Self { child, port, password, log, family: Vec::new(), status: None }
    }

    /// Waits until it either serves or has ended.
    pub fn wait_until_ready(mut self) -> Result<Self, Refused> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.poll() {
                return Err(Refused { status, log: self.log() });
            }
            if Conn::open(self.port).is_ok_and(|conn| self.answers(conn)) {
                self.remember_family();
                return Ok(self);
            }
            assert!(start.elapsed() < PATIENCE, "no answer to PING for {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self, mut conn: Conn) -> bool {
        if let Some(password) = &self.password
            && !matches!(conn.try_command(&["AUTH", password]), Ok(Value::Simple(_)))
        {
            return false;
        }
        conn.try_command(&["PING"]).is_ok_and(|reply| reply == Value::Simple("PONG".to_owned()))
    }

    /// A new connection, authenticated.
    pub fn connect(&self) -> Conn {
        let mut conn = Conn::open(self.port).expect("connect to the server");
        if let Some(password) = &self.password {
            assert_eq!(conn.command(&["AUTH", password]), Value::Simple("OK".to_owned()));
        }
        conn
    }

    /// The clients' port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim();
        peak.trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// All fields of INFO.
    pub fn info(&self) -> BTreeMap<String, String> {
        let text = self.connect().call("INFO everything").text();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect()
    }

    /// A numeric field of INFO; panics if it is missing.
    pub fn info_number(&self, name: &str) -> f64 {
        let info = self.info();
        let value = info.get(name).unwrap_or_else(|| panic!("INFO lacks {name}: {info:#?}"));
        value.parse().unwrap_or_else(|_| panic!("INFO {name} is no number: {value}"))
    }

    /// `kill -9`, and waits for the end. Children are left to see to themselves.
    pub fn kill(&mut self) {
        self.remember_family();
        self.signal(Signal::KILL);
        self.wait();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.remember_family();
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends the server a signal.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll().is_none() {
            signal_pid(self.child.id(), signal);
        }
    }

    /// How it ended, if it has.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("look after a child");
        }
        self.status
    }

    /// Waits for its end; panics if it does not come.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the server's end", PATIENCE, || self.poll())
    }

    /// Waits for its end and says how that was, log included.
    pub fn into_refused(mut self) -> Refused {
        Refused { status: self.wait(), log: self.log() }
    }

    /// Every process that it has started and that still runs.
    pub fn family(&mut self) -> Vec<Process> {
        self.remember_family();
        self.family.iter().filter(|process| process.is_alive()).cloned().collect()
    }

    /// The checkpoint node that it started as its child; waits for it.
    pub fn node(&mut self) -> Process {
        eventually("a checkpoint node as a child", PATIENCE, || {
            self.family().into_iter().find(|process| process.command.contains(" checkpoint"))
        })
    }

    fn remember_family(&mut self) {
        if self.poll().is_none() {
            let known = &mut self.family;
            let new = Process::descendants(self.child.id());
            known.extend(new.into_iter().filter(|process| !known.contains(process)).collect::<Vec<_>>());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remember_family();
        if self.poll().is_none() {
            // Neither can fail in a way that matters here: the child has not been waited for.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.family.iter().for_each(|process| process.signal(Signal::KILL));
        if thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(SHOWN_LINES);
            eprintln!("--- log of process {} ({:?}), from line {}", self.child.id(), self.status, skipped + 1);
            log.lines().skip(skipped).for_each(|line| eprintln!("{line}"));
            eprintln!("---");
        }
    }
}
