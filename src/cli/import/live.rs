//! Copies a running server key by key: SCAN, then for some keys at a time their expiries and DUMP.
//!
//! The copy is no snapshot: each key is as it was when it was read. Keys that go meanwhile are no error; of those that
//! come or change, some are copied and some are not.

use indicatif::ProgressBar;

use super::address::Address;
use super::connection::{databases, failure, select};
use super::sender::Sender;
use super::summary::{Skipped, Summary};
use crate::bench::client::{Client, Value};
use crate::bench::request::request;
use crate::cli::{Exit, Failure};
use crate::time::{UnixMillis, unix_millis};

/// Size in bytes of the values that are asked for at once, about.
const WINDOW: usize = 1 << 20;
/// Maximum number of keys that are asked for at once.
const MOST: usize = 500;

/// Copies the keys of the server at this address.
///
/// # Errors
/// If a connection is lost, or the server that is copied refuses what all of it depends on.
pub(super) fn copy(
    from: &Address,
    sender: &mut Sender,
    summary: &mut Summary,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    sender.expect_repetitions();
    let mut source = Source::connect(from)?;
    let databases = databases(&mut source.client, 0)?;
    let databases: Vec<_> = databases.into_iter().filter(|(db, _)| from.db.is_none_or(|only| only == *db)).collect();
    bar.set_length(databases.iter().map(|(_, keys)| keys).sum());
    for (db, _) in databases {
        source.copy_database(db, sender, summary, bar)?;
    }
    source.skip_functions(summary)
}

/// The server that is copied.
struct Source {
    client: Client,
    name: String,
    /// Whether it tells the time at which a key expires; before Redis 7 only how long that will be.
    tells_time: bool,
    /// Number of keys that are asked for at once.
    window: usize,
}

impl Source {
    fn connect(address: &Address) -> Result<Self, Failure> {
        let target = address.target().map_err(failure)?;
        let mut client = target.connect().map_err(failure)?;
        let name = target.name;
        let tells_time = match client.call(&[b"PEXPIRETIME", b""]).map_err(failure)? {
            Value::Error(why) if why.starts_with("NOAUTH") => {
                let why = "asks for a password: give it as redis://user:password@host or redis://:password@host";
                return Err(Failure::new(Exit::Unavailable, format_args!("the server at {name} {why}")));
            }
            reply => !matches!(reply, Value::Error(_)),
        };
        Ok(Self { client, name, tells_time, window: 1 })
    }

    /// The failure for an error that the server replies to something that must work.
    fn refused(&self, what: &str, why: &str) -> Failure {
        Failure::new(Exit::Unavailable, format_args!("the server at {} refused {what}: {why}", self.name))
    }

    /// Calls a command that must work.
    fn call(&mut self, words: &[&[u8]]) -> Result<Value, Failure> {
        match self.client.call(words).map_err(failure)? {
            Value::Error(why) => Err(self.refused(&String::from_utf8_lossy(words[0]), &why)),
            reply => Ok(reply),
        }
    }

    fn copy_database(
        &mut self,
        db: u64,
        sender: &mut Sender,
        summary: &mut Summary,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        select(&mut self.client, db)?;
        let mut cursor = b"0".to_vec();
        loop {
            let reply = self.call(&[b"SCAN", &cursor, b"COUNT", b"500"])?;
            let (next, keys) = scanned(reply).ok_or_else(|| self.refused("SCAN", "not a cursor and keys"))?;
            let mut rest = &keys[..];
            while !rest.is_empty() {
                let (some, after) = rest.split_at(rest.len().min(self.window));
                self.copy_keys(db, some, sender, summary)?;
                bar.inc(some.len() as u64);
                rest = after;
            }
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Copies some keys, and chooses how many will be asked for next: twice as many, or half if their values are large,
    /// for the server holds all that was asked for until it is read.
    fn copy_keys(
        &mut self,
        db: u64,
        keys: &[Vec<u8>],
        sender: &mut Sender,
        summary: &mut Summary,
    ) -> Result<(), Failure> {
        let expiry: &[u8] = if self.tells_time { b"PEXPIRETIME" } else { b"PTTL" };
        let mut requests = Vec::new();
        for key in keys {
            request(&mut requests, &[expiry, key]);
            request(&mut requests, &[b"DUMP", key]);
        }
        self.client.send(&requests).map_err(failure)?;
        let mut bytes = 0;
        for key in keys {
            let (expiry, value) = (self.receive()?, self.receive()?);
            match (self.expire_at(&expiry), value) {
                (Ok(expire_at), Value::Text(payload)) => {
                    bytes += payload.len();
                    sender.restore((db, key), expire_at, &payload, summary)?;
                }
                // The key has gone meanwhile.
                (_, Value::Null) => {}
                (Err(why), _) | (_, Value::Error(why)) => {
                    summary.skip(key, Skipped::Key(format!("the server that is copied says {why}")));
                }
                (_, Value::Many(_)) => return Err(self.refused("DUMP", "not a text")),
            }
        }
        self.window = if bytes > WINDOW { (self.window / 2).max(1) } else { (self.window * 2).min(MOST) };
        Ok(())
    }

    fn receive(&mut self) -> Result<Value, Failure> {
        self.client.receive().map_err(failure)
    }

    /// When a key expires, by the reply to PEXPIRETIME or PTTL, in which negative numbers mean never.
    fn expire_at(&self, reply: &Value) -> Result<Option<UnixMillis>, String> {
        match reply {
            Value::Error(why) => Err(why.clone()),
            Value::Text(digits) => {
                let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
                let base = if self.tells_time { 0 } else { unix_millis().get() };
                Ok(number.map(|number| UnixMillis::new(base.saturating_add(number))))
            }
            Value::Null | Value::Many(_) => Ok(None),
        }
    }

    /// Reports the libraries of functions, which are no keys.
    fn skip_functions(&mut self, summary: &mut Summary) -> Result<(), Failure> {
        // A server without functions refuses the command.
        if let Value::Many(libraries) = self.client.call(&[b"FUNCTION", b"LIST"]).map_err(failure)? {
            libraries.iter().for_each(|_| summary.skip(b"", Skipped::Beside("a library of functions".to_owned())));
        }
        Ok(())
    }
}

/// The next cursor and the keys, from a reply to SCAN.
fn scanned(reply: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Many(parts) = reply else { return None };
    let Ok([Value::Text(cursor), Value::Many(keys)]) = <[Value; 2]>::try_from(parts) else { return None };
    let key = |key| if let Value::Text(key) = key { Some(key) } else { None };
    Some((cursor, keys.into_iter().map(key).collect::<Option<_>>()?))
}
