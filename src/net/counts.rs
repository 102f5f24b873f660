//! What one core's clients have done and hold, for `INFO`.

use std::time::{Duration, Instant};

use crate::commands::Spec;
use crate::commands::registry::CommandId;
use crate::engine::{EngineCounts, ErrorCounts};

/// Samples that a rate is the mean of: those of about two seconds.
const SAMPLES: usize = 16;
/// The least time between two samples.
const SAMPLE_TIME: Duration = Duration::from_millis(50);

/// Counts of one core: its clients', and its engine's.
#[derive(Clone, Debug, Default)]
pub struct CoreCounts {
    /// What its clients have done and hold.
    pub clients: ClientCounts,
    /// What its engine has done and holds.
    pub engine: EngineCounts,
}

/// Counts of one core's clients: plain numbers, copied out several times a second.
#[derive(Clone, Debug, Default)]
pub struct ClientCounts {
    /// Commands executed for this core's connections.
    pub commands: u64,
    /// Executed commands by their row in the registry.
    pub calls: Calls,
    /// Errors that clients were answered with by the session, not by the data.
    pub errors: ErrorCounts,
    /// Commands, bytes received and bytes sent in a second.
    pub rates: Rates,
    /// Times that a connection had to wait for room.
    pub stalls: u64,
    /// Connections that were accepted since the start.
    pub accepted: u64,
    /// Connections that were refused: too many clients, or protected mode.
    pub rejected: u64,
    /// Connections that are open now.
    pub connections: u64,
    /// Open connections whose client waits in `WAIT`, `WAITAOF` or `SAVE`.
    pub blocked: u64,
    /// Times that no connection could be accepted for want of descriptors or memory.
    pub exhausted: u64,
    /// Connections ended because all clients together held too much.
    pub evicted: u64,
    /// Connections ended because they had sent too long a request.
    pub input_disconnections: u64,
    /// Connections ended because they did not take their replies.
    pub output_disconnections: u64,
    /// Attempts to authenticate with a wrong password.
    pub auth_failures: u64,
    /// Bytes received from clients.
    pub received_bytes: u64,
    /// Bytes sent to clients.
    pub sent_bytes: u64,
    /// Bytes of replies that clients have not taken yet.
    pub output_bytes: u64,
    /// Bytes of requests that are not executed yet.
    pub input_bytes: u64,
    /// Bytes of memory that clients take.
    pub client_bytes: u64,
    /// The longest that this core did not look at what may have been ready.
    pub loop_max: Duration,
}

impl ClientCounts {
    /// A command of this core's connections was executed, or was none.
    #[inline]
    pub fn note_command(&mut self, spec: Option<&Spec>) {
        self.commands += 1;
        if let Some(spec) = spec {
            self.calls.count(spec.id);
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

    /// Mean growth per second over the samples: commands, bytes received, bytes sent.
    pub fn mean(&self) -> [u64; 3] {
        std::array::from_fn(|i| self.samples.iter().map(|sample| sample[i]).sum::<u64>() / SAMPLES as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
