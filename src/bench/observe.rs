//! Watches the server during a run: identifies it, and checks once a second whether one of its checkpoints has ended.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::{Client, Target};
use super::driver::Clock;
use super::error::BenchError;
use super::process;
use super::result::{Event, EventKind, Server};

/// Interval between checks.
const EVERY: Duration = Duration::from_secs(1);
/// Timeout for the server's reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// Collects what is known of the server before the run.
///
/// # Errors
/// If the server cannot be reached, requires a password, or does not speak the protocol.
pub fn introduce(target: &Target, pid: Option<u32>) -> Result<Server, BenchError> {
    let mut client = target.connect()?;
    let info = client.info()?;
    let pid = pid.or_else(|| if client.is_local() { process::listener(target.address.port()) } else { None });
    let (name, version) = identity(&info);
    Ok(Server { address: target.name.clone(), name, version, pid, info_before: info, ..Server::default() })
}

/// Name and version of a server, from its `INFO`.
fn identity(info: &BTreeMap<String, String>) -> (String, String) {
    for name in ["rollbook", "valkey", "dragonfly", "keydb", "redis"] {
        if let Some(version) = info.get(&format!("{name}_version")) {
            return (name.to_owned(), version.clone());
        }
    }
    ("unknown".to_owned(), String::new())
}

/// Watches the server from a thread with its own connection.
pub struct Observer {
    /// Dropped to end the thread.
    end: Sender<()>,
    /// The thread; it returns the times at which checkpoints ended, in nanoseconds of the run's clock.
    thread: JoinHandle<Vec<u64>>,
}

impl Observer {
    /// Starts watching.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(target: Target, clock: Clock) -> std::io::Result<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("observer".to_owned()).spawn(move || {
            let (mut events, mut seen, mut client) = (Vec::new(), None, None);
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(saved) = last_save(&target, &mut client) else { continue };
                if seen.replace(saved).is_some_and(|before| before != saved) {
                    events.push(clock.now());
                }
            }
            events
        })?;
        Ok(Self { end, thread })
    }

    /// Stops watching. Returns the events seen since `zero`, in nanoseconds of the run's clock.
    pub fn finish(self, zero: u64) -> Vec<Event> {
        drop(self.end);
        // The thread does not panic; if it did, only the events would be missing.
        let seen = self.thread.join().unwrap_or_default().into_iter().filter_map(|instant| instant.checked_sub(zero));
        let event = |since: u64| Event {
            at: since as f64 / 1e9,
            kind: EventKind::Checkpoint,
            text: "a checkpoint ended".to_owned(),
        };
        seen.map(event).collect()
    }
}

/// When the last checkpoint ended, by the server's clock. If the connection is lost, the next check reconnects.
fn last_save(target: &Target, client: &mut Option<Client>) -> Option<u64> {
    if client.is_none() {
        *client = target.connect_within(PATIENCE, Some(PATIENCE)).ok();
    }
    match client.as_mut()?.info() {
        Ok(info) => info.get("rdb_last_save_time")?.parse().ok(),
        Err(_) => {
            *client = None;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_own_version_first() {
        let info = |fields: &[(&str, &str)]| fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let both = identity(&info(&[("redis_version", "7.0.0"), ("rollbook_version", "0.1.0")]));
        assert_eq!(both, ("rollbook".to_owned(), "0.1.0".to_owned()));
        assert_eq!(identity(&info(&[("redis_version", "7.0.15")])).0, "redis");
        assert_eq!(identity(&info(&[])).0, "unknown");
    }
}
