//! Processes seen through `/proc`, and waiting with an end.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process, told from a later one of the same number by the instant of its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    started: u64,
    /// Its command line, arguments separated by blanks.
    pub command: String,
}

struct Stat {
    parent: u32,
    state: char,
    started: u64,
}

impl Process {
    /// The process of this number, unless there is none or it is dead.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = stat(pid).filter(|stat| stat.state != 'Z')?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
        Some(Self { pid, started: stat.started, command })
    }

    /// Every living process that descends from `pid`.
    pub fn descendants(pid: u32) -> Vec<Self> {
        let all: Vec<(u32, u32)> = fs::read_dir("/proc")
            .expect("list /proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat(pid)?.parent)))
            .collect();
        let mut found = vec![pid];
        let mut next = 0;
        while next < found.len() {
            let this = found[next];
            found.extend(all.iter().filter(|(_, parent)| *parent == this).map(|(pid, _)| *pid));
            next += 1;
        }
        found.into_iter().skip(1).filter_map(Self::find).collect()
    }

    /// True while it runs.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// Sends it a signal, unless it is gone.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            signal_pid(self.pid, signal);
        }
    }
}

/// Sends a signal to a child that has not been waited for.
pub fn signal_pid(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process number")).expect("not process 0");
    // A process that ended in this very moment is no fault.
    let _ = kill_process(pid, signal);
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The second field is the name in parentheses and may hold anything, parentheses included.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { parent, state, started })
}

/// Asks `question` until it is answered; panics with `what` when `limit` is over.
pub fn eventually<T>(what: &str, limit: Duration, mut question: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}
