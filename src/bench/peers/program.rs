//! The known servers: how they are found, and how they are configured to be comparable.
//!
//! All servers log every write to disk, sync the log as the durability requires, rewrite nothing in the background, and
//! write no snapshots unless asked. Dragonfly has no such log; it is measured only where nothing is written to disk.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::PeersError;
use crate::config::Durability;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rollbook.
    Rollbook,
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
    /// `keydb-server`.
    KeyDb,
    /// `dragonfly`.
    Dragonfly,
}

impl Kind {
    /// Every kind except Rollbook.
    pub const PEERS: [Self; 4] = [Self::Redis, Self::Valkey, Self::KeyDb, Self::Dragonfly];

    /// Name of the executable.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Rollbook => "rollbook",
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
            Self::KeyDb => "keydb-server",
            Self::Dragonfly => "dragonfly",
        }
    }

    /// Whether the server logs each write, so that it can sync writes and recover from the log.
    pub const fn has_log(self) -> bool {
        !matches!(self, Self::Dragonfly)
    }
}

/// An installed server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Kind of the server.
    pub kind: Kind,
    /// Path of the executable.
    pub path: PathBuf,
    /// Version of the program.
    pub version: String,
    /// Whether this is another build of the program that is compared with others, so that its kind and version may not
    /// tell the two apart.
    pub is_other_build: bool,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.program(), self.version)?;
        if self.is_other_build { write!(f, " ({})", self.path.display()) } else { Ok(()) }
    }
}

/// Settings with which a server is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port for clients.
    pub port: u16,
    /// Port for the checkpoint node (Rollbook only).
    pub node_port: u16,
    /// Directory for the server's files. It must exist.
    pub dir: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Number of threads that serve clients.
    pub cores: usize,
    /// Whether to run a checkpoint node (Rollbook only).
    pub node: bool,
}

impl Program {
    /// Every peer that is installed.
    pub fn installed() -> Vec<Self> {
        Kind::PEERS.into_iter().filter_map(|kind| Self::at(kind, which(kind.program())?).ok()).collect()
    }

    /// Finds the peer of this name, or at this path; at a path, also another build of Rollbook.
    ///
    /// # Errors
    /// If it does not exist, or is of no known kind.
    pub fn named(name: &str) -> Result<Self, PeersError> {
        let unusable = |why: &str| PeersError::Program { program: name.to_owned(), why: why.to_owned() };
        let file = Path::new(name).file_name().unwrap_or_default();
        let path = if name.contains('/') {
            // Servers are started in another working directory.
            Some(std::path::absolute(name).map_err(PeersError::system(name))?)
        } else {
            which(name)
        };
        if let Some(kind) = Kind::PEERS.into_iter().find(|kind| file == kind.program()) {
            return Self::at(kind, path.ok_or_else(|| unusable("not installed"))?);
        }
        // Whatever its file is called.
        if let Some(path) = path.filter(|path| says(path).is_ok_and(|said| said.starts_with("rollbook "))) {
            return Ok(Self { is_other_build: true, ..Self::at(Kind::Rollbook, path)? });
        }
        let known: Vec<_> = Kind::PEERS.into_iter().map(Kind::program).collect();
        Err(unusable(&format!("no server that is known: {}, a build of rollbook", known.join(", "))))
    }

    /// The program at `path`, with the version that it reports.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn at(kind: Kind, path: PathBuf) -> Result<Self, PeersError> {
        let text = says(&path)?;
        match version(&text) {
            Some(version) => Ok(Self { kind, path, version: version.to_owned(), is_other_build: false }),
            None => Err(PeersError::Program {
                program: path.display().to_string(),
                why: "does not say its version when asked with --version".to_owned(),
            }),
        }
    }

    /// Command-line arguments for these settings.
    pub fn arguments(&self, settings: &Settings) -> Vec<OsString> {
        let mut arguments = Arguments(Vec::new());
        match self.kind {
            Kind::Rollbook => rollbook(settings, &mut arguments),
            Kind::Dragonfly => {
                arguments.pair("--port", settings.port.to_string());
                arguments.pair("--bind", "127.0.0.1");
                arguments.pair("--dir", &settings.dir);
                arguments.pair("--dbfilename", "");
                arguments.pair("--proactor_threads", settings.cores.to_string());
            }
            Kind::Redis | Kind::Valkey | Kind::KeyDb => {
                let sync = if settings.durability == Durability::Async { "everysec" } else { "always" };
                arguments.pair("--port", settings.port.to_string());
                arguments.pair("--bind", "127.0.0.1");
                arguments.pair("--dir", &settings.dir);
                arguments.pair("--save", "");
                arguments.pair("--appendonly", "yes");
                arguments.pair("--appendfsync", sync);
                // No forks: Rollbook is measured without its node, too.
                arguments.pair("--auto-aof-rewrite-percentage", "0");
                arguments.pair("--loglevel", "warning");
                if self.kind == Kind::KeyDb {
                    arguments.pair("--server-threads", settings.cores.to_string());
                }
            }
        }
        arguments.0
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([name.into(), value.into()]);
    }

    fn set(&mut self, key: &str, value: impl Into<OsString>) {
        let mut setting = OsString::from(format!("{key}="));
        setting.push(value.into());
        self.pair("--set", setting);
    }
}

fn rollbook(settings: &Settings, arguments: &mut Arguments) {
    let durability = if settings.durability == Durability::Async { "async" } else { "sync" };
    arguments.0.push("serve".into());
    arguments.set("server.port", settings.port.to_string());
    arguments.set("server.cores", settings.cores.to_string());
    arguments.set("data.dir", settings.dir.join("data"));
    arguments.set("log.durability", durability);
    arguments.set("checkpoint.node", if settings.node { "child" } else { "none" });
    arguments.set("checkpoint.port", settings.node_port.to_string());
    // Checkpoints are made only on request.
    arguments.set("checkpoint.every_edits", "1000000000000");
    arguments.set("checkpoint.every_seconds", "1000000");
}

/// What a program says when it is asked for its version.
fn says(path: &Path) -> Result<String, PeersError> {
    let asked = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output = asked.map_err(PeersError::system(path.display().to_string()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds a program in `PATH`, as a shell does.
fn which(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Extracts the version from a program's output: `v=7.0.15`, `v1.2`, `0.1.0`.
fn version(text: &str) -> Option<&str> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',');
    let numbers = words.map(|word| word.strip_prefix("v=").or(word.strip_prefix('v')).unwrap_or(word));
    numbers.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(kind: Kind) -> Program {
        Program { kind, path: PathBuf::from(kind.program()), version: "1.0".into(), is_other_build: false }
    }

    fn arguments(kind: Kind, durability: Durability) -> String {
        let settings = Settings { port: 7, node_port: 8, dir: "/d".into(), durability, cores: 2, node: false };
        let words = program(kind).arguments(&settings);
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d81b8ff71cfb150e";
        assert_eq!(version(redis), Some("7.0.15"));
        assert_eq!(version("dragonfly v1.25.1-abc\nbuild time: 2024-11-01"), Some("1.25.1-abc"));
        assert_eq!(version("rollbook 0.1.0\n"), Some("0.1.0"));
        assert_eq!(version("hello"), None);
    }

    #[test]
    fn the_same_durability_means_the_same_to_all() {
        assert!(arguments(Kind::Redis, Durability::Async).contains("--appendonly yes --appendfsync everysec"));
        assert!(arguments(Kind::Valkey, Durability::Sync).contains("--appendfsync always"));
        assert!(arguments(Kind::KeyDb, Durability::Async).ends_with("--server-threads 2"));
        let ours = arguments(Kind::Rollbook, Durability::Sync);
        assert!(ours.starts_with("serve --set server.port=7 ") && ours.contains("--set log.durability=sync"), "{ours}");
        assert!(!Kind::Dragonfly.has_log());
    }

    #[test]
    fn what_is_no_peer_is_refused() {
        let why = |name: &str| Program::named(name).unwrap_err().to_string();
        assert!(why("nginx").starts_with("nginx: no server that is known: redis-server, "));
        assert!(why("/nowhere/redis-server").starts_with("/nowhere/redis-server: "));
    }
}
