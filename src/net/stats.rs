//! What one core has done and holds, for `INFO`.

use crate::ids::{DATABASES, Lsn};
use crate::storage::LogStats;

/// Counts of one core. Plain numbers on the core, copied out several times a second.
#[derive(Clone, Debug, Default)]
pub struct CoreStats {
    /// Commands executed for this core's connections.
    pub commands: u64,
    /// Error replies.
    pub errors: u64,
    /// Parts of commands sent to other cores.
    pub forwarded: u64,
    /// Times that a connection had to wait for room.
    pub stalls: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused.
    pub rejected: u64,
    /// Connections now.
    pub connections: u64,
    /// Of them, those that wait for a reply (`WAIT`, `SAVE`).
    pub blocked: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes of replies that clients have not taken yet.
    pub output_bytes: u64,
    /// Bytes of requests that are not executed yet.
    pub input_bytes: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Keys, per database.
    pub keys: [u64; DATABASES as usize],
    /// Keys that will expire, per database.
    pub expiring: [u64; DATABASES as usize],
    /// Bytes that the data takes.
    pub data_bytes: u64,
    /// Edits appended in this epoch.
    pub appended: Lsn,
    /// Of them, those on disk.
    pub durable: Lsn,
    /// Of them, those that the checkpoint node has.
    pub mirrored: Lsn,
    /// Bytes in the log's buffers that are not on disk.
    pub unflushed_bytes: u64,
    /// Why nothing becomes durable any more.
    pub poisoned: Option<String>,
    /// The log's writing.
    pub log: LogStats,
}
