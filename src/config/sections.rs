//! The tables of the configuration with their defaults. What moving a setting costs stands in `config.toml`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Password;
use super::values;
use crate::ids::Partitions;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Segments that `log.max_bytes` has room for on each core, at least: one in use, one prepared, and enough others that the thresholds
/// below the bound lie apart.
pub const LEAST_SEGMENTS: u64 = 8;

/// `[server]`: who is served, where, and on how many cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Addresses to listen on. Never empty.
    #[serde(deserialize_with = "values::one_or_many")]
    pub bind: Vec<IpAddr>,
    /// TCP port of the Redis protocol.
    pub port: u16,
    /// Number of cores, each one thread on a CPU of its own; `None` (written 0) means one for each CPU that the process may use.
    #[serde(with = "values::zero_is_none")]
    pub cores: Option<u16>,
    /// What clients and the checkpoint node must give; `None` (written `""`) asks for nothing.
    #[serde(with = "values::empty_is_none")]
    pub password: Option<Password>,
    /// Whether clients from other machines are refused as long as there is no password.
    pub protected_mode: bool,
    /// Seconds that a client may take to give the password; `None` (written 0) means any time.
    #[serde(with = "values::zero_is_none")]
    pub auth_timeout_s: Option<u64>,
    /// Wrong passwords after which a client is disconnected.
    pub auth_attempts: u32,
    /// Most clients at a time, over all cores.
    pub max_clients: u32,
    /// Clients of this machine that are let in beyond `max_clients`, to administer the server.
    pub admin_clients: u32,
    /// Seconds after which a silent client is disconnected; `None` (written 0) means never.
    #[serde(with = "values::zero_is_none")]
    pub idle_timeout_s: Option<u64>,
    /// Seconds of silence after which the kernel asks a client's machine whether it is still there; `None` (written 0) means never.
    #[serde(with = "values::zero_is_none")]
    pub tcp_keepalive_s: Option<u64>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 6380,
            cores: None,
            password: None,
            protected_mode: true,
            auth_timeout_s: Some(10),
            auth_attempts: 3,
            max_clients: 10_000,
            admin_clients: 8,
            idle_timeout_s: None,
            tcp_keepalive_s: Some(300),
        }
    }
}

impl Server {
    /// Whether protected mode is in force: nobody proves who he is, so only this machine is trusted.
    pub fn is_protected(&self) -> bool {
        self.protected_mode && self.password.is_none()
    }

    /// Whether a connection from `peer` may be served at all. Both ports, the clients' and the checkpoint node's, ask this.
    pub fn admits(&self, peer: IpAddr) -> bool {
        !self.is_protected() || peer.to_canonical().is_loopback()
    }
}

/// `[data]`: where the data is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The data directory; created when missing. A relative path starts from the working directory.
    pub dir: PathBuf,
    /// How the slots are cut. Takes effect when the data directory is created, and can't be changed later.
    #[serde(with = "values::partitions")]
    pub partitions: Partitions,
}

impl Default for Data {
    fn default() -> Self {
        let partitions = const { Partitions::new(256).expect("256 is a power of two") };
        Self { dir: "data".into(), partitions }
    }
}

/// When a write is acknowledged. A client may ask for more per command with `WAITAOF` and `WAIT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// At once; a crash takes back at most the last `log.flush_interval_ms` and one disk sync.
    #[default]
    Async,
    /// When the edit is on disk.
    Sync,
    /// When the checkpoint node has the edit too.
    Mirrored,
}

/// `[log]`: how edits reach the disk. Sizes are for each core, but for `max_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Milliseconds after which, at the latest, the first unflushed edit is on its way to disk, in `async`.
    pub flush_interval_ms: u64,
    /// Bytes of a segment file, preallocated; a multiple of 4096.
    #[serde(deserialize_with = "values::bytes")]
    pub segment_bytes: u64,
    /// Bytes of a buffer, which is one frame at most; a multiple of 4096.
    #[serde(deserialize_with = "values::bytes")]
    pub buffer_bytes: usize,
    /// Number of buffers. When all are full or on their way to disk, writers wait.
    pub buffers: usize,
    /// Bytes that the log of all cores may take on disk, of all epochs that are kept; `None` (written 0) means no bound.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub max_bytes: Option<u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            durability: Durability::Async,
            flush_interval_ms: 10,
            segment_bytes: 64 * MIB as u64,
            buffer_bytes: MIB,
            buffers: 8,
            max_bytes: Some(64 * GIB as u64),
        }
    }
}

/// Who runs the checkpoint node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeMode {
    /// The master, as a child process that it restarts when it dies.
    #[default]
    Child,
    /// Somebody else, with `rollbook checkpoint`; the master waits for it on `checkpoint.port`.
    External,
    /// Nobody: no mirror and no snapshots, the log grows.
    None,
}

/// `[checkpoint]`: the checkpoint node and when it checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Who runs the node.
    pub node: NodeMode,
    /// Address on which the master waits for the node.
    pub bind: IpAddr,
    /// TCP port on which the master waits for the node.
    pub port: u16,
    /// `host:port` of the master's checkpoint port, for a node that runs by itself.
    pub master: String,
    /// The node's own directory; `None` (written `""`) means `node` in the data directory, see [`super::Config::node_dir`].
    #[serde(with = "values::empty_is_none")]
    pub dir: Option<PathBuf>,
    /// Edits that a core logs before each of its partitions that changed gets a new snapshot.
    pub every_edits: u64,
    /// Seconds after which a partition that has changed gets a new snapshot, however few its edits.
    pub every_seconds: u64,
    /// Most bytes a second that the node uploads; `None` (written 0) means no bound.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub upload_bytes_per_second: Option<u64>,
    /// Seconds that master and node may take to answer each other, or to show that they live.
    pub timeout_s: u64,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            node: NodeMode::Child,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 6381,
            master: "127.0.0.1:6381".into(),
            dir: None,
            every_edits: 250_000,
            every_seconds: 300,
            upload_bytes_per_second: Some(64 * MIB as u64),
            timeout_s: 60,
        }
    }
}

/// `[memory]`: how much memory the data may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Bytes that the data of all cores may take before writes are refused; `None` (written 0) means no bound.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub max_bytes: Option<u64>,
    /// Bytes that the buffers of all clients may take together before the largest are disconnected; `None` (written 0) means no bound.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub clients_max_bytes: Option<u64>,
}

/// `[limits]`: how much one client may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one argument, and so of a key, a field or a value.
    #[serde(deserialize_with = "values::bytes")]
    pub bulk_bytes: usize,
    /// Arguments of one command.
    pub args: usize,
    /// Bytes of a request that is not complete yet.
    #[serde(deserialize_with = "values::bytes")]
    pub query_buffer_bytes: usize,
    /// Bytes of replies that a client has not taken yet; it is disconnected beyond that.
    #[serde(deserialize_with = "values::bytes")]
    pub output_buffer_bytes: usize,
    /// Bytes of replies beyond which a client may be for [`Self::output_buffer_soft_s`] at most; `None` (written 0) means that there is no
    /// such bound.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub output_buffer_soft_bytes: Option<u64>,
    /// Seconds after which a client is disconnected that takes its replies too slowly.
    pub output_buffer_soft_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes: 512 * MIB,
            args: 1 << 20,
            query_buffer_bytes: GIB,
            output_buffer_bytes: GIB,
            output_buffer_soft_bytes: None,
            output_buffer_soft_s: 60,
        }
    }
}

/// The least weighty event that is still logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed and needs somebody.
    Error,
    /// Something may come to need somebody.
    Warn,
    /// Starts, stops, checkpoints, nodes coming and going.
    #[default]
    Info,
    /// What was decided, and why.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// As it is written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line to be read by people.
    #[default]
    Text,
    /// A JSON object in a line.
    Json,
}

/// `[logging]`: what the program says of itself, on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// The least weighty event that is still logged.
    pub level: Level,
    /// How an event is written.
    pub format: LogFormat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_mode_trusts_this_machine_alone_until_there_is_a_password() {
        let peers = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.7", "::ffff:10.0.0.7", "fe80::1"];
        let peers = peers.map(|peer| peer.parse::<IpAddr>().unwrap());
        let open = Server { protected_mode: false, ..Server::default() };
        let locked = Server { password: Some(Password::new("secret")), ..Server::default() };
        for (at, peer) in peers.into_iter().enumerate() {
            assert_eq!(Server::default().admits(peer), at < 4, "{peer}");
            assert!(open.admits(peer) && locked.admits(peer), "{peer}");
        }
    }
}
