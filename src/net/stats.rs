//! What one core has done and holds, for `INFO`.

use std::time::{Duration, Instant};

use crate::commands::Spec;
use crate::commands::registry::CommandId;
use crate::ids::{DATABASES, Lsn};
use crate::storage::LogStats;

/// Kinds of errors that are counted each by itself; clients choose the words of some, so their number is bounded.
const ERROR_KINDS: usize = 128;
/// Samples that a rate is the mean of: those of about two seconds.
const SAMPLES: usize = 16;
/// The least time between two samples.
const SAMPLE_TIME: Duration = Duration::from_millis(50);

/// Counts of one core. Plain numbers on the core, copied out several times a second.
#[derive(Clone, Debug, Default)]
pub struct CoreStats {
    /// Commands executed for this core's connections.
    pub commands: u64,
    /// Of them, how many of each kind.
    pub calls: Calls,
    /// Error replies.
    pub errors: u64,
    /// Error replies by their codes.
    pub error_kinds: Vec<(Box<str>, u64)>,
    /// Commands, bytes received and bytes sent in a second.
    pub rates: Rates,
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
    /// Times that no connection could be accepted for want of descriptors or memory.
    pub exhausted: u64,
    /// Connections ended because all clients together held too much.
    pub evicted: u64,
    /// Connections ended because they had sent too long a request.
    pub input_disconnections: u64,
    /// Connections ended because they did not take their replies.
    pub output_disconnections: u64,
    /// Wrong passwords.
    pub auth_failures: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes of replies that clients have not taken yet.
    pub output_bytes: u64,
    /// Bytes of requests that are not executed yet.
    pub input_bytes: u64,
    /// Bytes of memory that clients take.
    pub client_bytes: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// The longest that this core did not look at what may have been ready.
    pub loop_max: Duration,
    /// Slices of snapshots that this core has taken itself.
    pub capture_slices: u64,
    /// The longest of them, in microseconds.
    pub capture_max_us: u64,
    /// Keys, per database.
    pub keys: [u64; DATABASES as usize],
    /// Keys that will expire, per database.
    pub expiring: [u64; DATABASES as usize],
    /// Bytes that the data takes.
    pub data_bytes: u64,
    /// The most that the data has taken.
    pub peak_data_bytes: u64,
    /// Tables of deleted hashes and databases that are not freed yet.
    pub unfreed: u64,
    /// Edits appended in this epoch.
    pub appended: Lsn,
    /// Of them, those on disk.
    pub synced: Lsn,
    /// Of them, those that no crash can take away.
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

impl CoreStats {
    /// A command of this core's connections was executed, or was none.
    #[inline]
    pub fn note_command(&mut self, spec: Option<&Spec>) {
        self.commands += 1;
        if let Some(spec) = spec {
            self.calls.count(spec.id);
        }
    }

    /// Counts a reply if it is an error.
    #[inline]
    pub fn note_reply(&mut self, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.note_error(reply);
        }
    }

    #[cold]
    fn note_error(&mut self, reply: &[u8]) {
        self.errors += 1;
        let end = reply.iter().position(u8::is_ascii_whitespace).unwrap_or(reply.len());
        let code = String::from_utf8_lossy(&reply[1..end]);
        if let Some((_, count)) = self.error_kinds.iter_mut().find(|(kind, _)| **kind == *code) {
            *count += 1;
        } else if self.error_kinds.len() < ERROR_KINDS {
            self.error_kinds.push((code.into(), 1));
        }
    }

    /// Something may have been ready for so long before it was looked at.
    #[inline]
    pub fn note_look(&mut self, late: Duration) {
        self.loop_max = self.loop_max.max(late);
    }

    /// Takes a sample of the rates, unless the last one was only just taken.
    pub fn sample_rates(&mut self, now: Instant) {
        self.rates.sample(now, [self.commands, self.received_bytes, self.sent_bytes]);
    }

    /// Starts the counters again from zero (`CONFIG RESETSTAT`); what is a state and no counter stays.
    pub fn reset(&mut self) {
        *self = Self {
            connections: self.connections,
            blocked: self.blocked,
            output_bytes: self.output_bytes,
            input_bytes: self.input_bytes,
            client_bytes: self.client_bytes,
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

/// How often each command was executed, by its number in the registry; grows up to the last one that was.
#[derive(Clone, Debug, Default)]
pub struct Calls(Vec<u64>);

impl Calls {
    #[inline]
    fn count(&mut self, command: CommandId) {
        let index = usize::from(command.0);
        if index >= self.0.len() {
            self.0.resize(index + 1, 0);
        }
        self.0[index] += 1;
    }

    /// How often this command was executed.
    pub fn of(&self, command: CommandId) -> u64 {
        self.0.get(usize::from(command.0)).copied().unwrap_or(0)
    }
}

/// Growth in a second of three counters: commands, bytes received, bytes sent.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    last: Option<(Instant, [u64; 3])>,
    samples: [[u64; 3]; SAMPLES],
    next: usize,
}

impl Rates {
    fn sample(&mut self, now: Instant, counters: [u64; 3]) {
        if let Some((at, before)) = self.last {
            let elapsed = now.saturating_duration_since(at);
            if elapsed < SAMPLE_TIME {
                return;
            }
            let a_second = |i: usize| (counters[i].saturating_sub(before[i]) as f64 / elapsed.as_secs_f64()) as u64;
            self.samples[self.next] = std::array::from_fn(a_second);
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last = Some((now, counters));
    }

    /// The mean of the samples.
    pub fn mean(&self) -> [u64; 3] {
        std::array::from_fn(|i| self.samples.iter().map(|sample| sample[i]).sum::<u64>() / SAMPLES as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_codes() {
        let mut stats = CoreStats::default();
        for reply in ["-ERR a\r\n", "+OK\r\n", "-WRONGTYPE b\r\n", "-ERR\r\n", ""] {
            stats.note_reply(reply.as_bytes());
        }
        assert_eq!(stats.errors, 3);
        assert_eq!(stats.error_kinds, [("ERR".into(), 2), ("WRONGTYPE".into(), 1)]);
    }

    #[test]
    fn a_rate_is_the_mean_of_its_samples() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        for n in 0..=SAMPLES as u64 {
            rates.sample(start + Duration::from_millis(100 * n), [10 * n, 0, n]);
            rates.sample(start + Duration::from_millis(100 * n + 10), [99 * n, 0, n]);
        }
        assert_eq!(rates.mean(), [100, 0, 10]);
    }
}
