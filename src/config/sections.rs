//! The tables of the configuration, with their defaults. `config.toml` explains the cost of changing each setting.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Password;
use super::values;
use crate::ids::Partitions;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Minimum number of segments per core that `log.max_bytes` must have room for: one in use, one prepared, and enough
/// others to keep the thresholds below the limit apart.
pub const LEAST_SEGMENTS: u64 = 8;

/// `[server]`: listeners, clients and the number of cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Addresses to listen on. Never empty.
    #[serde(deserialize_with = "values::one_or_many")]
    pub bind: Vec<IpAddr>,
    /// TCP port of the Redis protocol.
    pub port: u16,
    /// Number of cores, each a thread on a CPU of its own; `None` (written 0) means one per CPU that the process may
    /// use.
    #[serde(with = "values::zero_is_none")]
    pub cores: Option<u16>,
    /// Password of clients and the checkpoint node; `None` (written `""`) means that none is required.
    #[serde(with = "values::empty_is_none")]
    pub password: Option<Password>,
    /// Whether clients from other machines are refused while no password is set.
    pub protected_mode: bool,
    /// Seconds within which a client must authenticate; `None` (written 0) means no limit.
    #[serde(with = "values::zero_is_none")]
    pub auth_timeout_s: Option<u64>,
    /// Number of wrong passwords after which a client is disconnected.
    pub auth_attempts: u32,
    /// Maximum number of clients on all cores together.
    pub max_clients: u32,
    /// Number of clients from this machine admitted beyond `max_clients`, to administer the server.
    pub admin_clients: u32,
    /// Seconds without a request after which a client is disconnected; `None` (written 0) means never.
    #[serde(with = "values::zero_is_none")]
    pub idle_timeout_s: Option<u64>,
    /// Seconds without traffic before TCP keepalive probes a client's machine; `None` (written 0) means never.
    #[serde(with = "values::zero_is_none")]
    pub tcp_keepalive_s: Option<u64>,
    /// Who may use DEBUG.
    pub debug_command: DebugCommand,
}

/// Clients that may use the command DEBUG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DebugCommand {
    /// Nobody.
    #[default]
    No,
    /// Clients from this machine.
    Local,
    /// Every client.
    Yes,
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
            debug_command: DebugCommand::No,
        }
    }
}

impl Server {
    /// Whether protected mode is in force: without a password, only clients from this machine are served.
    pub fn is_protected(&self) -> bool {
        self.protected_mode && self.password.is_none()
    }

    /// Whether a connection from `peer` may be served at all. Both ports, the clients' and the checkpoint node's, ask
    /// this.
    pub fn admits(&self, peer: IpAddr) -> bool {
        !self.is_protected() || peer.to_canonical().is_loopback()
    }
}

/// `[data]`: where the data is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The data directory; created if missing. A relative path is relative to the working directory.
    pub dir: PathBuf,
    /// Number of partitions. Takes effect when the data directory is created, and cannot be changed later.
    #[serde(with = "values::partitions")]
    pub partitions: Partitions,
}

impl Default for Data {
    fn default() -> Self {
        let partitions = const { Partitions::new(256).expect("256 is a power of two") };
        Self { dir: "data".into(), partitions }
    }
}

/// `[packing]`: how large a value may grow before it leaves its packed form, in which it takes less memory and each
/// operation costs time in proportion to its size. Changes apply to values when they are next written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Packing {
    /// Maximum number of fields of a packed hash.
    pub hash_entries: u32,
    /// Maximum length in bytes of a name or value in a packed hash.
    pub hash_bytes: u32,
    /// Maximum number of members of a set packed as integers.
    pub set_integers: u32,
    /// Maximum number of members of a set packed as bytes.
    pub set_entries: u32,
    /// Maximum length in bytes of a member of a packed set.
    pub set_bytes: u32,
    /// Maximum number of members of a packed sorted set.
    pub sorted_set_entries: u32,
    /// Maximum length in bytes of a member of a packed sorted set.
    pub sorted_set_bytes: u32,
    /// Maximum size of a chunk of a list, and of a list that is one chunk: if positive, a number of elements (0 counts
    /// as 1); -1 to -5 mean 4, 8, 16, 32 and 64 KiB, and so does what is below.
    pub list_chunk: i32,
    /// Redis's `list-compress-depth`, which CONFIG GET and CONFIG SET know and nothing goes by: lists are not
    /// compressed. No configuration file has it.
    #[serde(skip)]
    pub list_compress_depth: u32,
    /// Maximum size in bytes of a block of stream entries.
    pub stream_block_bytes: u32,
    /// Maximum number of entries in a block of stream entries.
    pub stream_block_entries: u32,
    /// Maximum size in bytes of a HyperLogLog in its sparse form.
    pub hyperloglog_bytes: u32,
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            hash_entries: 512,
            hash_bytes: 64,
            set_integers: 512,
            set_entries: 128,
            set_bytes: 64,
            sorted_set_entries: 128,
            sorted_set_bytes: 64,
            list_chunk: -2,
            list_compress_depth: 0,
            stream_block_bytes: 4096,
            stream_block_entries: 100,
            hyperloglog_bytes: 3000,
        }
    }
}

/// Point at which a write is acknowledged. A client may demand more for single commands with `WAITAOF` and `WAIT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Writes are acknowledged immediately. A crash loses at most the writes of the last `log.flush_interval_ms` plus
    /// two commits: a write waits for the commit under way, and then for its own.
    #[default]
    Async,
    /// Writes are acknowledged when the edit is on disk.
    Sync,
    /// Writes are acknowledged when the edit is on disk and the checkpoint node has it too.
    Mirrored,
}

/// `[log]`: how edits reach the disk. Sizes are per core, except `max_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Maximum delay, in milliseconds, before an edit is submitted to the disk in `async` mode.
    pub flush_interval_ms: u64,
    /// Size of a segment file in bytes, preallocated; a multiple of 4096.
    #[serde(deserialize_with = "values::bytes")]
    pub segment_bytes: u64,
    /// Size of a buffer in bytes, which is also the maximum size of a frame; a multiple of 4096.
    #[serde(deserialize_with = "values::bytes")]
    pub buffer_bytes: usize,
    /// Number of buffers. When all are full or being written, writers wait.
    pub buffers: usize,
    /// Maximum bytes of log on disk, over all cores and all epochs that are kept; `None` (written 0) means no limit.
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
    /// The master runs it as a child process, and restarts it when it dies.
    #[default]
    Child,
    /// The operator runs it with `rollbook checkpoint`; the master waits for it on `checkpoint.port`.
    External,
    /// There is no node: no mirror and no snapshots, so the log grows.
    None,
}

/// `[checkpoint]`: the checkpoint node, and when it checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Who runs the node.
    pub node: NodeMode,
    /// Address on which the master listens for the node.
    pub bind: IpAddr,
    /// TCP port on which the master listens for the node.
    pub port: u16,
    /// `host:port` of the master's checkpoint port, for a node that is run separately.
    pub master: String,
    /// The node's own directory; `None` (written `""`) means `node` in the data directory, see
    /// [`super::Config::node_dir`].
    #[serde(with = "values::empty_is_none")]
    pub dir: Option<PathBuf>,
    /// Number of edits that a core logs before its changed partitions each get a new snapshot.
    pub every_edits: u64,
    /// Seconds after which a changed partition gets a new snapshot, however few its edits.
    pub every_seconds: u64,
    /// Maximum upload rate of the node in bytes per second; `None` (written 0) means no limit.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub upload_bytes_per_second: Option<u64>,
    /// Seconds after which master or node gives up on the other if it does not respond.
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

/// `[memory]`: memory limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Maximum memory of the data of all cores, in bytes, above which writes are refused; `None` (written 0) means no
    /// limit.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub max_bytes: Option<u64>,
    /// Maximum memory of all clients' buffers together, in bytes, above which the largest clients are disconnected;
    /// `None` (written 0) means no limit.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub clients_max_bytes: Option<u64>,
}

/// `[limits]`: limits of a single client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Maximum bytes of one argument, and so of a key, a field or a value.
    #[serde(deserialize_with = "values::bytes")]
    pub bulk_bytes: usize,
    /// Maximum number of arguments of one command.
    pub args: usize,
    /// Maximum bytes of an incomplete request.
    #[serde(deserialize_with = "values::bytes")]
    pub query_buffer_bytes: usize,
    /// Maximum bytes of unsent replies; a client above this is disconnected.
    #[serde(deserialize_with = "values::bytes")]
    pub output_buffer_bytes: usize,
    /// Bytes of unsent replies that a client may exceed for at most [`Self::output_buffer_soft_s`]; `None` (written 0)
    /// means no such limit.
    #[serde(serialize_with = "values::zero_is_none::serialize", deserialize_with = "values::bytes_or_none")]
    pub output_buffer_soft_bytes: Option<u64>,
    /// Seconds above the soft limit after which a client is disconnected.
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

/// Severity of a log message, from most to least severe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed and requires action.
    Error,
    /// Something may come to require action.
    Warn,
    /// Starts, stops, checkpoints, nodes connecting and disconnecting.
    #[default]
    Info,
    /// Decisions and their reasons.
    Debug,
    /// Details of every step, for debugging.
    Trace,
}

impl Level {
    /// Name of the level as written in the configuration.
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

/// Format of log messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// `[logging]`: the program's own log messages, written to standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// Least severe level that is still logged.
    pub level: Level,
    /// Format of log messages.
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
