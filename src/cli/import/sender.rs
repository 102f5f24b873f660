//! The connection to the server: keys go out in batches, and each batch is answered before the next one is sent.

use std::collections::VecDeque;

use super::summary::{Skipped, Summary};
use crate::bench::client::{Client, Target, Value};
use crate::bench::error::BenchError;
use crate::bench::request::request;
use crate::cli::{Exit, Failure};
use crate::encoding::rdb::file::Key;
use crate::encoding::rdb::payload::seal;
use crate::time::{UnixMillis, unix_millis};

/// Size in bytes from which on a batch is sent.
const BATCH: usize = 256 << 10;
/// Longest argument that a server takes if it does not say otherwise: Redis's own default.
const USUAL_ARGUMENT: usize = 512 << 20;

/// Sends keys to a server.
pub(super) struct Sender {
    client: Client,
    replace: bool,
    /// Longest argument that the server takes.
    longest: usize,
    /// When the import began: keys that expired before are skipped, as a start of Redis does.
    now: UnixMillis,
    /// The database of the keys; `None` if the server has no such database, whose keys are skipped.
    db: Option<u64>,
    /// The database of the last key.
    last_db: u64,
    batch: Vec<u8>,
    /// Names of the keys in the batch.
    names: VecDeque<Vec<u8>>,
    payload: Vec<u8>,
}

/// The failure for an error of the connection.
pub(super) fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Lost { address, why } => {
            Failure::new(Exit::Unavailable, format_args!("the server at {address} closed the connection ({why})"))
        }
        other => Failure::new(Exit::Unavailable, other),
    }
}

impl Sender {
    /// Connects to the server.
    ///
    /// # Errors
    /// If nobody answers, or the server asks for another password.
    pub(super) fn connect(target: &Target, replace: bool) -> Result<Self, Failure> {
        let mut client = target.connect().map_err(failure)?;
        let longest = match client.call(&[b"CONFIG", b"GET", b"proto-max-bulk-len"]).map_err(failure)? {
            Value::Error(why) if why.starts_with("NOAUTH") => {
                return Err(failure(BenchError::PasswordNeeded(target.name.clone())));
            }
            Value::Many(pair) => pair.get(1).and_then(number),
            _ => None,
        };
        Ok(Self {
            client,
            replace,
            longest: longest.unwrap_or(USUAL_ARGUMENT),
            now: unix_millis(),
            db: Some(0),
            last_db: 0,
            batch: Vec::new(),
            names: VecDeque::new(),
            payload: Vec::new(),
        })
    }

    /// Sends a key, at the latest with [`Self::settle`].
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn restore(&mut self, key: &Key<'_>, version: u16, summary: &mut Summary) -> Result<(), Failure> {
        if key.db != self.last_db {
            self.select(key.db, summary)?;
        }
        if self.db.is_none() {
            summary.skip(&key.key, Skipped::Key(format!("the server has no database {}", key.db)));
            return Ok(());
        }
        if key.expire_at.is_some_and(|at| at < self.now) {
            summary.skip(b"", Skipped::Beside("a key that has expired".to_owned()));
            return Ok(());
        }
        self.payload.clear();
        self.payload.push(key.kind);
        self.payload.extend_from_slice(key.value);
        seal(&mut self.payload, version);
        if self.payload.len().max(key.key.len()) > self.longest {
            summary.skip(&key.key, Skipped::Key("the value is larger than the server takes at once".to_owned()));
            return Ok(());
        }
        let mut digits = itoa::Buffer::new();
        let expire_at = digits.format(key.expire_at.map_or(0, |at| at.get())).as_bytes();
        let words: [&[u8]; 6] = [b"RESTORE", &key.key, expire_at, &self.payload, b"ABSTTL", b"REPLACE"];
        request(&mut self.batch, &words[..if self.replace { 6 } else { 5 }]);
        self.names.push_back(key.key.to_vec());
        if self.batch.len() >= BATCH { self.settle(summary) } else { Ok(()) }
    }

    /// Sends what has not been sent yet, and waits for all replies.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn settle(&mut self, summary: &mut Summary) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.client.send(&batch).map_err(failure)?;
        while let Some(name) = self.names.pop_front() {
            match self.client.receive().map_err(failure)? {
                Value::Error(why) => summary.skip(&name, Skipped::Key(format!("the server says {why}"))),
                _ => summary.imported += 1,
            }
        }
        Ok(())
    }

    fn select(&mut self, db: u64, summary: &mut Summary) -> Result<(), Failure> {
        self.settle(summary)?;
        let reply = self.client.call(&[b"SELECT", db.to_string().as_bytes()]).map_err(failure)?;
        self.db = (!matches!(reply, Value::Error(_))).then_some(db);
        self.last_db = db;
        Ok(())
    }
}

fn number(value: &Value) -> Option<usize> {
    let Value::Text(text) = value else { return None };
    str::from_utf8(text).ok()?.parse().ok()
}
