//! What one core's engine has done and holds, for `INFO`.

use super::Engine;
use crate::ids::{DATABASES, Db, Lsn};
use crate::storage::{Disk, LogStats};

/// Kinds of errors that are counted each by itself; clients choose the words of some, so their number is bounded.
const ERROR_KINDS: usize = 128;

/// Counts of error replies.
#[derive(Clone, Debug, Default)]
pub struct ErrorCounts {
    /// Number of error replies.
    pub all: u64,
    /// Number of error replies by their code, such as `WRONGTYPE`.
    pub kinds: Vec<(Box<str>, u64)>,
}

impl ErrorCounts {
    /// Counts a reply if it is an error.
    #[inline]
    pub fn note_reply(&mut self, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.note_error(reply);
        }
    }

    #[cold]
    fn note_error(&mut self, reply: &[u8]) {
        self.all += 1;
        let end = reply.iter().position(u8::is_ascii_whitespace).unwrap_or(reply.len());
        let code = String::from_utf8_lossy(&reply[1..end]);
        if let Some((_, count)) = self.kinds.iter_mut().find(|(kind, _)| **kind == *code) {
            *count += 1;
        } else if self.kinds.len() < ERROR_KINDS {
            self.kinds.push((code.into(), 1));
        }
    }
}

/// Counts of one core's engine: plain numbers, copied out several times a second.
#[derive(Clone, Debug, Default)]
pub struct EngineCounts {
    /// Errors that commands on data were answered with, whichever core's client had sent them.
    pub errors: ErrorCounts,
    /// Commands, and pieces of some, sent to other cores.
    pub forwarded: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Number of fields of hashes removed because their time had come.
    pub expired_fields: u64,
    /// Slices of snapshots that this core has taken itself.
    pub capture_slices: u64,
    /// Longest time that such a slice has taken, in microseconds.
    pub capture_max_us: u64,
    /// Number of keys, by database.
    pub keys: [u64; DATABASES as usize],
    /// Number of keys with an expiry, by database.
    pub expiring: [u64; DATABASES as usize],
    /// Bytes of memory that the data takes.
    pub data_bytes: u64,
    /// Largest number of bytes that the data has taken.
    pub peak_data_bytes: u64,
    /// Tables of deleted hashes and databases that are not freed yet.
    pub unfreed: u64,
    /// Last edit of this epoch that was appended to the log.
    pub appended: Lsn,
    /// Last edit of this epoch that is on disk.
    pub synced: Lsn,
    /// Last edit of this epoch that no crash can take away.
    pub durable: Lsn,
    /// Last edit of this epoch that the checkpoint node holds.
    pub mirrored: Lsn,
    /// Bytes in the log's buffers that are not on disk.
    pub unflushed_bytes: u64,
    /// Why nothing becomes durable any more.
    pub poisoned: Option<String>,
    /// Commits, bytes and times of the log.
    pub log: LogStats,
}

impl EngineCounts {
    /// Starts the counters again from zero (`CONFIG RESETSTAT`); what is a state and no counter stays.
    fn reset(&mut self) {
        *self = Self {
            keys: self.keys,
            expiring: self.expiring,
            data_bytes: self.data_bytes,
            peak_data_bytes: self.data_bytes,
            unfreed: self.unfreed,
            appended: self.appended,
            synced: self.synced,
            durable: self.durable,
            mirrored: self.mirrored,
            unflushed_bytes: self.unflushed_bytes,
            poisoned: self.poisoned.take(),
            log: self.log,
            ..Self::default()
        };
    }
}

impl<D: Disk> Engine<D> {
    /// Brings the counts up to date and returns them.
    pub fn counts(&mut self) -> &EngineCounts {
        let counts = &mut self.counts;
        let expired = self.shard.take_expired();
        counts.expired += expired.keys;
        counts.expired_fields += expired.fields;
        let store = self.shard.store();
        for db in Db::all() {
            counts.keys[usize::from(db.0)] = store.len(db) as u64;
            counts.expiring[usize::from(db.0)] = store.expiring(db) as u64;
        }
        let log = self.shard.log();
        counts.data_bytes = store.used_memory() as u64;
        counts.peak_data_bytes = counts.peak_data_bytes.max(counts.data_bytes);
        counts.unfreed = store.unfreed() as u64;
        counts.appended = log.appended();
        counts.synced = log.synced();
        counts.durable = log.durable();
        counts.mirrored = log.marks().mirrored();
        counts.unflushed_bytes = log.unflushed_bytes();
        counts.log = log.stats();
        counts.poisoned = log.is_poisoned().map(|why| why.to_string());
        counts
    }

    /// Starts the counters again from zero (`CONFIG RESETSTAT`).
    pub fn reset_counts(&mut self) {
        self.counts.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_codes() {
        let mut errors = ErrorCounts::default();
        for reply in ["-ERR a\r\n", "+OK\r\n", "-WRONGTYPE b\r\n", "-ERR\r\n", ""] {
            errors.note_reply(reply.as_bytes());
        }
        assert_eq!(errors.all, 3);
        assert_eq!(errors.kinds, [("ERR".into(), 2), ("WRONGTYPE".into(), 1)]);
    }
}
