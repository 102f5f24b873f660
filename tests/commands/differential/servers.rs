//! Whom the requests go to: Redis, our plans in this process, our server.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollbook::commands::registry::Route;
use rollbook::commands::{Context, Scratch, plan};
use rollbook::encoding::edit::{Edit, EncodedEdits, split};
use rollbook::encoding::resp::{Args, Protocol, Reply, Span};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{Db, Partitions};
use rollbook::net::COMMANDS;
use rollbook::store::Store;
use rollbook::time::UnixMillis;

use super::replies::{Value, read};
use crate::fuzz::targets::tell::tell;
use crate::harness::Port;

/// What answers requests.
pub trait Target {
    /// Answers one.
    fn ask(&mut self, words: &[Vec<u8>]) -> Value;
}

/// A connection to a process that ends with it.
pub struct Connection {
    process: Child,
    stream: BufReader<TcpStream>,
    _dir: tempfile::TempDir,
    _port: Port,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Connection {
    /// Starts a process that listens on the port, which `command` is told, and connects.
    fn start(command: impl FnOnce(u16, &std::path::Path) -> Command) -> std::io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let held = Port::take();
        let port = held.number();
        let mut process = command(port, dir.path()).stdout(Stdio::null()).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(30);
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline || process.try_wait()?.is_some() => {
                    let _ = process.kill();
                    return Err(error);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { process, stream: BufReader::new(stream), _dir: dir, _port: held })
    }
}

impl Target for Connection {
    fn ask(&mut self, words: &[Vec<u8>]) -> Value {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).unwrap();
        read(&mut self.stream).unwrap_or_else(|error| panic!("no reply to {words:?}: {error}"))
    }
}

/// Redis.
pub struct RedisServer;

/// Which Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that is installed: 7.0 in Debian.
    Usual,
    /// One of version 8.2, which `ROLLBOOK_TEST_REDIS` names.
    Eight,
}

impl RedisServer {
    /// Starts it; says so and returns nothing if it is not there.
    pub fn start(version: Version) -> Option<Connection> {
        let program = match version {
            Version::Usual => Some("redis-server".into()),
            Version::Eight => std::env::var_os("ROLLBOOK_TEST_REDIS"),
        };
        let Some(program) = program else {
            eprintln!("skipped: ROLLBOOK_TEST_REDIS names no server of Redis 8.2");
            return None;
        };
        let start = Connection::start(|port, dir| {
            let mut command = Command::new(program);
            let port = port.to_string();
            command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.arg("--dir").arg(dir);
            command
        });
        match start {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && version == Version::Usual => {
                eprintln!("skipped: there is no redis-server here");
                None
            }
            started => Some(started.expect("redis-server starts")),
        }
    }
}

/// Our server.
pub struct Process;

impl Process {
    /// Starts it on so many cores, or all.
    pub fn start(cores: Option<u16>) -> Connection {
        Connection::start(|port, dir| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
            command.current_dir(dir).arg("serve");
            let mut set = |setting: String| {
                command.args(["--set", &setting]);
            };
            set(format!("server.port={port}"));
            set(format!("data.dir={}", dir.join("data").display()));
            set("checkpoint.node=none".into());
            if let Some(cores) = cores {
                set(format!("server.cores={cores}"));
            }
            command
        })
        .expect("rollbook starts")
    }
}

/// Our plans, in this process.
pub struct Plans {
    store: Store,
    protocol: Protocol,
    db: Db,
}

const PARTITIONS: u16 = 16;

impl Plans {
    /// On an empty store.
    pub fn new() -> Self {
        let partitions = Partitions::new(PARTITIONS).unwrap();
        Self { store: Store::new(partitions, 0..PARTITIONS), protocol: Protocol::Resp2, db: Db(0) }
    }

    fn answer(&mut self, args: Args<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.protocol);
        let spec = match COMMANDS.registry.resolve(args) {
            Ok(spec) => spec,
            Err(refusal) => {
                refusal.reply(&mut reply);
                return out;
            }
        };
        match spec.name {
            // What the network layer answers, as far as this test needs it.
            "select" => {
                self.db = Db::new(String::from_utf8_lossy(args.at(1)).parse().unwrap()).unwrap();
                reply.ok();
                return out;
            }
            "hello" => {
                self.protocol = if args.get(1) == Some(b"3") { Protocol::Resp3 } else { Protocol::Resp2 };
                reply.ok();
                return out;
            }
            _ if tell(spec, args, &mut reply) => return out,
            _ => {}
        }
        let partitions = Partitions::new(PARTITIONS).unwrap();
        let context = Context {
            db: self.db,
            slot: spec.first_key(args).map(slot_of).unwrap_or_default(),
            now: UnixMillis::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64),
            random: fastrand::u64(..),
            touch: true,
            max_string: 512 << 20,
            max_reply: 1 << 30,
            partitions,
            owned: 0..PARTITIONS,
        };
        self.store.set_clock(context.coarse_now());
        let mut scratch = Scratch::default();
        let mut encoded = EncodedEdits::new();
        let effects = plan(spec, &self.store, &context, args, &mut scratch, &mut reply);
        if effects.waits {
            reply.null();
        }
        for edit in effects.edits {
            let partition = match &edit {
                Edit::Key { slot, .. } => partitions.of(*slot),
                Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => {
                    *partition
                }
            };
            encoded.push(partition, &edit);
        }
        for edit in split(encoded.as_bytes()) {
            self.store.apply(&Edit::decode(edit.unwrap()).unwrap()).unwrap();
        }
        if spec.route != Route::Random {
            return out;
        }
        // Each core answers with what is to be drawn from; of one core, that is its key, if it has one.
        let drawn = out.splitn(4, |byte| *byte == b'\n').nth(3).unwrap_or_default().to_vec();
        if drawn.is_empty() {
            out.clear();
            Reply::new(&mut out, self.protocol).null();
            return out;
        }
        drawn
    }
}

impl Target for Plans {
    fn ask(&mut self, words: &[Vec<u8>]) -> Value {
        let bytes = words.concat();
        let mut start = 0;
        let mut spans = Vec::new();
        for word in words {
            spans.push(Span { start, len: word.len() as u32 });
            start += word.len() as u32;
        }
        let reply = self.answer(Args::new(&bytes, &spans));
        let mut rest = &reply[..];
        let value = read(&mut rest).unwrap_or_else(|error| panic!("no reply to {words:?}: {error}"));
        assert!(rest.is_empty(), "more than one reply to {words:?}: {}", reply.escape_ascii());
        value
    }
}
