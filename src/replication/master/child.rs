//! Runs the checkpoint node as a child process: starts it again when it ends, with back-off, and ends it when the
//! master stops.
//!
//! One thread starts every child and lives as long as the process: the kernel sends a child its death signal when the
//! *thread* that started it ends, in whatever way the process dies (see `node::parent`).

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::rand::GetRandomFlags;

use crate::config::Password;
use crate::replication::clock::Clock;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A child that ran this long counts as healthy: the next one is started after the shortest pause.
const WELL: Duration = Duration::from_secs(30);
/// How often the thread checks whether the child has ended.
const LOOK: Duration = Duration::from_millis(50);
/// How long a child may take to end after SIGTERM before it is killed. Killing loses nothing: the master has all that
/// the child has.
const PATIENCE: Duration = Duration::from_secs(3);

/// Random bytes with which the child proves that it is the master's child. The child gets them through its standard
/// input, which nobody else can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Draws a new secret.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new() -> io::Result<Self> {
        let mut bytes = [0; 32];
        rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes))
    }

    /// The secret as a password, with which the child authenticates.
    pub const fn password(&self) -> Password {
        Password::from_random(self.0)
    }

    /// Reads a secret that [`Self::write`] has written.
    ///
    /// # Errors
    /// If reading fails, or there are fewer bytes.
    pub fn read(mut from: impl Read) -> io::Result<Self> {
        let mut bytes = [0; 32];
        from.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    fn write(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to start the node as a child process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildCommand {
    /// The program to run: this executable.
    pub program: PathBuf,
    /// Its arguments; [`PARENT`] and the master's process id are appended.
    pub arguments: Vec<OsString>,
    /// The secret with which the child authenticates.
    pub secret: Secret,
}

/// The argument before the process id of the master whose child the node is.
pub const PARENT: &str = "--parent";

/// The environment variable from which the master may have its password.
const PASSWORD: &str = "ROLLBOOK_SERVER__PASSWORD";

/// State of the child process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildStatus {
    /// The child's process id, while it runs.
    pub pid: Option<u32>,
    /// How often the child was started again.
    pub restarts: u64,
}

/// The child process and the thread that supervises it.
pub(super) struct Child {
    shared: Arc<Supervised>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Supervised {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// Whether the child is to be sent SIGHUP.
    reload: bool,
    status: ChildStatus,
}

impl Child {
    pub fn start(command: ChildCommand) -> io::Result<Self> {
        let shared = Arc::new(Supervised::default());
        let run = {
            let shared = shared.clone();
            move || supervise(&shared, &command)
        };
        let thread = thread::Builder::new().name("ckpt-child".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub fn status(&self) -> ChildStatus {
        self.shared.lock().status
    }

    /// Makes the child read its configuration again (SIGHUP), if one runs.
    pub fn reload(&self) {
        self.shared.lock().reload = true;
    }

    /// Ends the child and waits until it has ended.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(thread.join());
        }
    }
}

impl Supervised {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time`, or until the master stops. Returns whether it stops.
    fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let wait = self.bell.wait_timeout_while(state, time, |s| !s.stopping);
        wait.unwrap_or_else(PoisonError::into_inner).0.stopping
    }
}

/// How long to wait before the next start, if the last pause was `pause` and the child after it ran for `lived`.
fn next_pause(pause: Duration, lived: Duration) -> Duration {
    if lived >= WELL { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) }
}

/// The body of the supervising thread: starts one child after the other until the master stops.
fn supervise(shared: &Supervised, command: &ChildCommand) {
    let clock = Clock::start();
    let mut pause = FIRST_PAUSE / 2;
    loop {
        let started = clock.now();
        match run(shared, command, clock) {
            Ok(None) => return,
            Ok(Some(status)) => tracing::warn!("the checkpoint node ended: {}", describe(status)),
            Err(e) => tracing::error!("cannot start the checkpoint node ({}): {e}", command.program.display()),
        }
        pause = next_pause(pause, clock.now().saturating_sub(started));
        if shared.pause(pause) {
            return;
        }
        shared.lock().status.restarts += 1;
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => status.to_string(),
    }
}

/// Starts a child and waits until it ends; `None` if it was ended because the master stops.
fn run(shared: &Supervised, command: &ChildCommand, clock: Clock) -> io::Result<Option<ExitStatus>> {
    let mut child = Command::new(&command.program)
        .args(&command.arguments)
        .arg(PARENT)
        .arg(std::process::id().to_string())
        .stdin(Stdio::piped())
        // The child authenticates with the secret, and must not inherit the password.
        .env_remove(PASSWORD)
        // In a process group of its own, the child does not get a Ctrl-C meant for the master: the master ends it in
        // good order.
        .process_group(0)
        .spawn()?;
    {
        let mut state = shared.lock();
        // A new child reads its configuration anyway, and SIGHUP would kill it before it has installed its handler.
        (state.status.pid, state.reload) = (Some(child.id()), false);
    }
    if let Some(input) = child.stdin.take() {
        // If the child ended before it read the secret, the loop below notices.
        let _ = command.secret.write(input);
    }
    let mut asked: Option<Duration> = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if !shared.pause(LOOK) {
            if std::mem::take(&mut shared.lock().reload) {
                // If the signal is not delivered, the child reads its configuration when it is started again.
                let _ = send(&child, Signal::HUP);
            }
            continue;
        }
        match asked {
            None => {
                asked = Some(clock.now());
                if send(&child, Signal::TERM).is_err() {
                    child.kill()?;
                }
            }
            Some(since) if clock.now().saturating_sub(since) >= PATIENCE => child.kill()?,
            Some(_) => thread::sleep(LOOK),
        }
    };
    shared.lock().status.pid = None;
    Ok(asked.is_none().then_some(status))
}

/// Sends a signal to a child that was not reaped yet, so that the process id is still the child's.
fn send(child: &std::process::Child, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    Ok(kill_process(pid, signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> ChildCommand {
        let arguments = vec!["-c".into(), script.into(), "sh".into()];
        ChildCommand { program: "/bin/sh".into(), arguments, secret: Secret::new().unwrap() }
    }

    fn wait_until(what: impl Fn() -> bool) {
        let clock = Clock::start();
        while !what() {
            assert!(clock.now() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_child_that_ends_is_started_again_and_one_that_lives_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        let script = format!("echo $1 $2 >> {0}; test $(wc -l < {0}) -ge 3 && exec sleep 1000", count.display());
        let child = Child::start(sh(&script)).unwrap();
        let lines = || std::fs::read_to_string(&count).unwrap_or_default().lines().count();
        wait_until(|| lines() == 3 && child.status().pid.is_some());
        assert_eq!(child.status().restarts, 2);
        let pid = Pid::from_raw(child.status().pid.unwrap() as i32).unwrap();
        child.stop();
        assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone");
        let parent = format!("{PARENT} {}", std::process::id());
        assert!(std::fs::read_to_string(&count).unwrap().lines().all(|l| l == parent));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_reason_to_spin_or_to_hang() {
        let child = Child::start(ChildCommand { program: "/nonexistent".into(), ..sh("") }).unwrap();
        wait_until(|| child.status().restarts >= 1);
        child.stop();
    }

    #[test]
    fn pauses_grow_to_a_bound_and_shrink_after_a_good_life() {
        let mut pause = FIRST_PAUSE;
        for _ in 0..20 {
            pause = next_pause(pause, Duration::ZERO);
        }
        assert_eq!(pause, LONGEST_PAUSE);
        assert_eq!(next_pause(pause, WELL), FIRST_PAUSE);
    }
}
