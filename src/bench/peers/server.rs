//! A running server: on its CPUs, in its directory, until it is stopped or dropped.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PeersError;
use super::cpus::CpuList;
use super::program::{Program, Settings};
use crate::bench::client::{Client, Target, Value};
use crate::bench::plan::Plan;
use crate::bench::process;
use crate::config::Durability;

/// Maximum time of a start, including recovery, and of a graceful shutdown.
const PATIENCE: Duration = Duration::from_secs(300);
/// Maximum time that a server that accepts connections may take to reply whether it is ready.
const ANSWER: Duration = Duration::from_secs(60);
/// Interval at which a starting server is asked whether it is ready.
const ASK: Duration = Duration::from_millis(1);
/// Number of keys per pipeline in [`Server::fill`].
const PIPELINE: u64 = 1000;
/// Number of bytes of the server's own log that are shown if it does not start.
const LAST_WORDS: usize = 2000;

/// A server process.
pub struct Server {
    /// The server's program.
    pub program: Program,
    settings: Settings,
    cpus: CpuList,
    clients: CpuList,
    child: Option<Child>,
}

impl Server {
    /// Makes a server without data, not yet started. It will run on `cpus`; this thread's own CPUs are `clients`.
    ///
    /// # Errors
    /// If no port is free, or its directory cannot be created.
    pub fn fresh(program: &Program, parent: &Path, cpus: &CpuList, clients: &CpuList) -> Result<Self, PeersError> {
        let dir = unused(parent, program.kind.program());
        // The data directory is created beforehand, so that its absence is not reported as a mistake.
        fs::create_dir_all(dir.join("data")).map_err(PeersError::system(dir.display().to_string()))?;
        let (port, node_port) = ports().map_err(PeersError::system("there is no free port"))?;
        let settings = Settings { port, node_port, dir, durability: Durability::Async, cores: 1, node: false };
        let (cpus, clients) = (cpus.clone(), clients.clone());
        Ok(Self { program: program.clone(), settings, cpus, clients, child: None })
    }

    /// Settings for the server's next start.
    pub const fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Starts the server and waits until it is ready. Returns how long that took.
    ///
    /// # Errors
    /// If the server cannot be started, exits, or does not reply.
    pub fn start(&mut self) -> Result<Duration, PeersError> {
        let log = self.settings.dir.join("log.txt");
        let open = || -> io::Result<(File, File)> {
            let file = OpenOptions::new().create(true).append(true).open(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(PeersError::system(log.display().to_string()))?;
        let mut command = Command::new(&self.program.path);
        command.args(self.program.arguments(&self.settings)).current_dir(&self.settings.dir);
        // Environment variables must not change the server's configuration.
        command.env_clear().stdin(Stdio::null()).stdout(out).stderr(err);
        // A child process inherits the CPUs of the thread that starts it.
        self.cpus.pin_this_thread()?;
        let begun = Instant::now();
        let spawned = command.spawn();
        self.clients.pin_this_thread()?;
        self.child = Some(spawned.map_err(PeersError::system(self.program.path.display().to_string()))?);
        while !self.serves() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let what = if ended.is_some() { "ended instead of serving" } else { "does not answer" };
                let said = fs::read(&log).unwrap_or_default();
                let said = String::from_utf8_lossy(&said[said.len().saturating_sub(LAST_WORDS)..]).trim().to_owned();
                return Err(self.unusable(format!("{what}: {said}")));
            }
            std::thread::sleep(ASK);
        }
        Ok(begun.elapsed())
    }

    /// Whether the server is ready, rather than still loading.
    fn serves(&self) -> bool {
        let asked = self.target().and_then(|target| Ok(target.connect_within(ANSWER, Some(ANSWER))?));
        let answer = asked.and_then(|mut client| Ok(client.call(&[b"PING"])?));
        matches!(answer, Ok(Value::Text(text)) if text == b"PONG")
    }

    /// Connects to the server.
    ///
    /// # Errors
    /// If the server does not reply.
    pub fn client(&self) -> Result<Client, PeersError> {
        Ok(self.target()?.connect()?)
    }

    fn target(&self) -> Result<Target, PeersError> {
        let plan = Plan { host: Ipv4Addr::LOCALHOST.to_string(), port: self.settings.port, ..Plan::default() };
        Ok(Target::find(&plan)?)
    }

    /// Sends a command. An error reply is returned as an error.
    ///
    /// # Errors
    /// If the server does not reply, or refuses the command.
    pub fn call(&self, words: &[&[u8]]) -> Result<Value, PeersError> {
        match self.client()?.call(words)? {
            Value::Error(why) => Err(self.unusable(format!("{}: {why}", words.join(&b' ').escape_ascii()))),
            value => Ok(value),
        }
    }

    /// Sets `keys` keys of 16 bytes to values of 100 bytes.
    ///
    /// # Errors
    /// If the server does not reply, or refuses the command.
    pub fn fill(&self, keys: u64) -> Result<(), PeersError> {
        let mut client = self.client()?;
        for first in (0..keys).step_by(PIPELINE as usize) {
            let count = PIPELINE.min(keys - first);
            let set = |key: u64| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$100\r\n{:v<100}\r\n", "");
            client.send((first..first + count).map(set).collect::<String>().as_bytes())?;
            for _ in 0..count {
                if let Value::Error(why) = client.receive()? {
                    return Err(self.unusable(format!("SET: {why}")));
                }
            }
        }
        Ok(())
    }

    /// Port on which the server listens.
    pub const fn port(&self) -> u16 {
        self.settings.port
    }

    /// Process id of the server, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Resident memory of the server in bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        process::resident_bytes(self.pid()?)
    }

    /// Process ids of the server's child processes.
    pub fn children(&self) -> Vec<u32> {
        let tasks = self.pid().and_then(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
        let children =
            tasks.into_iter().flatten().filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        children
            .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    /// Shuts the server down gracefully. It can be started again with the data that it has on disk.
    ///
    /// # Errors
    /// If the server does not exit.
    pub fn stop(&mut self) -> Result<(), PeersError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            // Fails only if the server has already exited, which is noticed below.
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match child.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => std::thread::sleep(ASK),
                Err(error) => return Err(PeersError::system(self.program.to_string())(error)),
            }
        }
        self.child = Some(child);
        Err(self.unusable("does not end when told to".to_owned()))
    }

    /// Makes an error about this server.
    pub fn unusable(&self, why: String) -> PeersError {
        PeersError::Program { program: self.program.to_string(), why }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The server's files are removed in any case, so it need not shut down gracefully.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.settings.dir);
    }
}

/// Finds two ports that are not in use.
fn ports() -> io::Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// Path in `parent` that does not exist yet.
fn unused(parent: &Path, name: &str) -> PathBuf {
    let mut number = 1;
    loop {
        let path = parent.join(format!("{name}-{number}"));
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}
