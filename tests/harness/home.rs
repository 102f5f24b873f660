//! A data directory with ports of its own, in which a server lives once or many times.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;

use tempfile::TempDir;

use super::machine::{Share, beside_others};
use super::ports::Port;
use super::server::{Refused, Server};

/// Which program is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Ours.
    Rollbook,
    /// Redis, to try a test itself.
    Redis,
    /// Redis 8.2, which `ROLLBOOK_TEST_REDIS` names.
    RedisEight,
}

impl Peer {
    /// What `ROLLBOOK_TEST_PEER` asks for.
    pub fn chosen() -> Self {
        if env::var_os("ROLLBOOK_TEST_PEER").is_some() { Self::Redis } else { Self::Rollbook }
    }

    /// The program, if there is one.
    fn program(self) -> Option<OsString> {
        match self {
            Self::Rollbook => Some(env!("CARGO_BIN_EXE_rollbook").into()),
            Self::Redis => Some("redis-server".into()),
            Self::RedisEight => env::var_os("ROLLBOOK_TEST_REDIS"),
        }
    }

    /// Whether it can be run here; if not, says that a test is skipped.
    pub fn is_here(self) -> bool {
        let program = self.program();
        let is_here = program.is_some_and(|program| Command::new(program).arg("--version").output().is_ok());
        if !is_here {
            eprintln!("skipped: there is no {self:?} here");
        }
        is_here
    }
}

/// Where a server lives: its directory, its ports, its settings. Goes away with all its files, unless the test fails.
pub struct Home {
    directory: Option<TempDir>,
    port: Port,
    checkpoint_port: Port,
    settings: BTreeMap<String, String>,
    lives: Cell<u32>,
    peer: Peer,
    /// The password, where the setting is only its hash.
    known: Option<String>,
    _share: Rc<Share>,
}

impl Home {
    /// An empty home on a real file system, for two cores, without a checkpoint node, with small log segments.
    pub fn new() -> Self {
        Self::with_peer(Peer::chosen())
    }

    /// A home with a checkpoint node as the server's child.
    pub fn with_node() -> Self {
        Self::new().set("checkpoint.node", "child")
    }

    /// A home for the program given.
    pub fn with_peer(peer: Peer) -> Self {
        let share = beside_others();
        let directory = TempDir::with_prefix_in("home-", env!("CARGO_TARGET_TMPDIR")).expect("create a home");
        let home = Self {
            port: Port::take(),
            checkpoint_port: Port::take(),
            settings: BTreeMap::new(),
            lives: Cell::new(0),
            peer,
            known: None,
            _share: share,
            directory: Some(directory),
        };
        fs::create_dir(home.data()).expect("create a data directory");
        let data = home.data().display().to_string();
        let (port, checkpoint_port) = (home.port().to_string(), home.checkpoint_port().to_string());
        home.set("data.dir", &data)
            .set("server.port", &port)
            .set("checkpoint.port", &checkpoint_port)
            .set("checkpoint.node", "none")
            .set("server.cores", "2")
            .set("log.segment_bytes", "4194304")
            .set("log.buffer_bytes", "262144")
    }

    /// Changes a setting from the next start on.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.change(key, value);
        self
    }

    /// Sets the hash of a password, which tests give as it is.
    pub fn set_hashed_password(mut self, hash: &str, password: &str) -> Self {
        self.known = Some(password.to_owned());
        self.set("server.password", hash)
    }

    /// Changes a setting from the next start on.
    pub fn change(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// The home itself: here lie the logs of its servers.
    pub fn path(&self) -> &Path {
        self.directory.as_ref().expect("only dropping takes the directory").path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.settings.get("data.dir").map_or_else(|| self.path().join("data"), PathBuf::from)
    }

    /// The clients' port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The checkpoint nodes' port.
    pub fn checkpoint_port(&self) -> u16 {
        self.checkpoint_port.number()
    }

    /// The value of a setting.
    pub fn setting(&self, key: &str) -> &str {
        self.settings.get(key).unwrap_or_else(|| panic!("no setting {key}"))
    }

    /// Starts a server and waits until it serves; panics with its log if it does not.
    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|refused| panic!("the server did not start: {refused}"))
    }

    /// Starts a server and waits until it either serves or has ended.
    pub fn try_start(&self) -> Result<Server, Refused> {
        self.launch().wait_until_ready()
    }

    /// Starts a server and does not wait.
    pub fn launch(&self) -> Server {
        self.launch_under(&[])
    }

    /// Starts a server by way of another program, which limits it in some way, and does not wait.
    pub fn launch_under(&self, wrapper: &[&str]) -> Server {
        let mut command = self.command(wrapper);
        match self.peer {
            Peer::Rollbook => {
                command.arg("serve");
                for (key, value) in &self.settings {
                    command.arg("--set").arg(format!("{key}={value}"));
                }
            }
            Peer::Redis | Peer::RedisEight => {
                command.args(self.redis_arguments());
            }
        }
        self.spawn(&mut command)
    }

    /// Starts a checkpoint node by hand, with a directory of its own in this home; does not wait.
    pub fn start_node(&self, directory: &str, settings: &[(&str, &str)]) -> Server {
        let mut command = self.command(&[]);
        let master = format!("checkpoint.master=127.0.0.1:{}", self.checkpoint_port());
        let directory = format!("checkpoint.dir={}", self.path().join(directory).display());
        command.args(["checkpoint", "--set", &master, "--set", &directory]);
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        self.spawn(&mut command)
    }

    fn command(&self, wrapper: &[&str]) -> Command {
        let program = self.peer.program().expect("a program that is here");
        let mut words = wrapper.iter().map(OsString::from).chain([program]);
        let mut command = Command::new(words.next().expect("at least the program"));
        command.args(words);
        // Nothing of the tester's own configuration may come in: neither a file in the current directory nor the
        // environment.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("ROLLBOOK_") {
                command.env_remove(&name);
            }
        }
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn spawn(&self, command: &mut Command) -> Server {
        self.lives.set(self.lives.get() + 1);
        let log = self.path().join(format!("life-{}.log", self.lives.get()));
        let output = File::create(&log).expect("create a log file");
        command.stdout(output.try_clone().expect("share a log file")).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let password = self.known.clone().or_else(|| self.settings.get("server.password").cloned());
        Server::new(child, self.port(), log, password)
    }

    fn redis_arguments(&self) -> Vec<String> {
        let data = self.data().display().to_string();
        let mut arguments: Vec<String> =
            ["--appendonly", "yes", "--save", "", "--loglevel", "notice", "--dir", &data].map(str::to_owned).to_vec();
        for (key, value) in &self.settings {
            let (name, value) = match (key.as_str(), value.as_str()) {
                ("server.port", port) => ("--port", port.to_owned()),
                ("server.max_clients", clients) => ("--maxclients", clients.to_owned()),
                ("server.password", password) => ("--requirepass", password.to_owned()),
                ("memory.max_bytes", bytes) => ("--maxmemory", bytes.to_owned()),
                ("log.durability", "async") => ("--appendfsync", "everysec".to_owned()),
                ("log.durability", _) => ("--appendfsync", "always".to_owned()),
                ("limits.output_buffer_bytes", bytes) => {
                    ("--client-output-buffer-limit", format!("normal {bytes} {bytes} 0"))
                }
                _ => continue,
            };
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("files kept: {}", directory.keep().display());
        }
    }
}
