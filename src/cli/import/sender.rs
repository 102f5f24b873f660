//! The connection to the server: keys and commands go out in batches, and each batch is answered before the next one
//! is sent.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::connection::{databases, failure, select};
use super::expiry::PutOff;
use super::settle;
use super::summary::{Skipped, Summary};
use crate::bench::client::{Client, Target, Value};
use crate::bench::error::BenchError;
use crate::bench::request::request;
use crate::cli::{Exit, Failure};
use crate::encoding::rdb::file::Key;
use crate::encoding::rdb::payload::seal;
use crate::encoding::resp::{Args, Limits, Partial, Requests};
use crate::time::{UnixMillis, unix_millis};

/// Size in bytes from which on a batch is sent.
const BATCH: usize = 256 << 10;
/// Number of requests from which on a batch is sent, so that replies larger than requests do not pile up.
const MOST: usize = 1000;
/// Longest argument that a server takes if it does not say otherwise: Redis's own default.
const USUAL_ARGUMENT: usize = 512 << 20;

/// Sends keys and commands to a server.
pub(super) struct Sender {
    client: Client,
    replace: bool,
    /// Longest argument that the server takes.
    longest: usize,
    /// When the import began: keys that expired before are skipped, as a start of Redis does.
    now: UnixMillis,
    /// Whether commands may be sent: the server was empty, or what it holds may be overwritten.
    takes_commands: bool,
    /// The database of the connection, and that of what is added to the batch.
    db: u64,
    next_db: u64,
    /// Whether the server has a database.
    known: BTreeMap<u64, bool>,
    batch: Vec<u8>,
    requests: Vec<Request>,
    /// Size of the batch and number of its requests before a transaction, of which nothing is sent yet.
    held: Option<(usize, usize)>,
    payload: Vec<u8>,
    copied: Option<Copied>,
    /// Expiries that must wait for the end of the commands.
    put_off: PutOff,
}

/// A request in the batch.
#[derive(Clone, Copy)]
struct Request {
    bytes: usize,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// RESTORE of a key.
    Key,
    /// A command of an append-only file.
    Command,
    /// SELECT of a database that the server has.
    Select(u64),
}

/// Hashes of the keys that the server took. A server that is copied may name a key twice: the second time it is there
/// already. Names that happen to share a hash are told apart by nothing, so a hash only explains a refusal.
#[derive(Default)]
struct Copied {
    hasher: RandomState,
    keys: HashSet<u64>,
}

impl Copied {
    fn hash(&self, db: u64, key: &[u8]) -> u64 {
        self.hasher.hash_one((db, key))
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
            takes_commands: replace,
            db: 0,
            next_db: 0,
            known: BTreeMap::from([(0, true)]),
            batch: Vec::new(),
            requests: Vec::new(),
            held: None,
            payload: Vec::new(),
            copied: None,
            put_off: PutOff::default(),
        })
    }

    /// Says that the keys come from a server that may name a key twice.
    pub(super) fn expect_repetitions(&mut self) {
        self.copied = (!self.replace).then(Copied::default);
    }

    /// Says that commands follow. They change what is there, so they are for an empty server unless keys may be
    /// overwritten.
    ///
    /// # Errors
    /// If the server holds keys that may not be overwritten, or the connection is lost.
    pub(super) fn begin_commands(&mut self) -> Result<(), Failure> {
        self.put_off.begin();
        if self.takes_commands {
            return Ok(());
        }
        if let Some((db, keys)) = databases(&mut self.client, self.db)?.first() {
            return Err(Failure::new(
                Exit::Unavailable,
                format_args!(
                    "the server holds {keys} keys already in database {db}, which the commands of an append-only file may change or \
                     delete: give it an empty server, or --replace"
                ),
            ));
        }
        self.takes_commands = true;
        Ok(())
    }

    /// Sends a key of a file, at the latest with [`Self::settle`].
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn restore_from(&mut self, key: &Key<'_>, version: u16, summary: &mut Summary) -> Result<(), Failure> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        payload.push(key.kind);
        payload.extend_from_slice(key.value);
        let mut version = version;
        if let Some(delayed) = self.put_off.delay_fields(key.db, &key.key, &payload, version) {
            (payload, version) = delayed;
        }
        seal(&mut payload, version);
        let sent = self.restore((key.db, &key.key), key.expire_at, &payload, summary);
        self.payload = payload;
        sent
    }

    /// Sends a key with the payload of its value, at the latest with [`Self::settle`].
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn restore(
        &mut self,
        (db, key): (u64, &[u8]),
        expire_at: Option<UnixMillis>,
        payload: &[u8],
        summary: &mut Summary,
    ) -> Result<(), Failure> {
        if !self.choose(db, summary)? {
            summary.skip(key, Skipped::Key(format!("the server has no database {db}")));
            return Ok(());
        }
        let expire_at = expire_at.map(|at| self.put_off.delay(db, key, at));
        if expire_at.is_some_and(|at| at < self.now) {
            summary.skip(b"", Skipped::Beside("a key that has expired".to_owned()));
            return Ok(());
        }
        if payload.len().max(key.len()) > self.longest {
            summary.skip(key, Skipped::Key("the value is larger than the server takes at once".to_owned()));
            return Ok(());
        }
        let mut digits = itoa::Buffer::new();
        let expire_at = digits.format(expire_at.map_or(0, |at| at.get())).as_bytes();
        let words: [&[u8]; 6] = [b"RESTORE", key, expire_at, payload, b"ABSTTL", b"REPLACE"];
        let words = &words[..if self.replace { 6 } else { 5 }];
        self.add(What::Key, summary, |batch| request(batch, words))
    }

    /// Sends a command, at the latest with [`Self::settle`].
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn command(&mut self, words: Args<'_>, bytes: &[u8], summary: &mut Summary) -> Result<(), Failure> {
        if self.known.get(&self.next_db) == Some(&true) {
            match self.put_off.rewritten(self.next_db, words) {
                Some(words) => self.add(What::Command, summary, |batch| {
                    request(batch, &words.iter().map(|word| &word[..]).collect::<Vec<_>>());
                }),
                None => self.add(What::Command, summary, |batch| batch.extend_from_slice(bytes)),
            }
        } else {
            let why = format!("the server has no database {}", self.next_db);
            summary.refuse(words.at(0), || (why, shown(bytes)));
            Ok(())
        }
    }

    /// Chooses the database of the commands that follow, by the argument of SELECT.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn select_word(&mut self, word: &[u8], summary: &mut Summary) -> Result<(), Failure> {
        let db = str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        // A word that is no number names a database that no server has.
        self.choose(db.unwrap_or(u64::MAX), summary).map(drop)
    }

    /// Chooses the database of what follows. Returns whether the server has it.
    fn choose(&mut self, db: u64, summary: &mut Summary) -> Result<bool, Failure> {
        if db != self.next_db {
            let is_known = match self.known.get(&db) {
                Some(known) => *known,
                None => self.probe(db, summary)?,
            };
            self.next_db = db;
            if is_known {
                let text = db.to_string();
                self.add(What::Select(db), summary, |batch| request(batch, &[b"SELECT", text.as_bytes()]))?;
            }
        }
        Ok(self.known.get(&db) == Some(&true))
    }

    /// Finds out whether the server has a database.
    fn probe(&mut self, db: u64, summary: &mut Summary) -> Result<bool, Failure> {
        self.settle(summary)?;
        let is_known = select(&mut self.client, db)?;
        // What is held back belongs to the database from before.
        select(&mut self.client, self.db)?;
        self.known.insert(db, is_known);
        Ok(is_known)
    }

    /// Holds back all that follows, up to [`Self::release`].
    pub(super) fn hold(&mut self) {
        self.held = Some((self.batch.len(), self.requests.len()));
    }

    /// Lets go what was held back.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn release(&mut self, summary: &mut Summary) -> Result<(), Failure> {
        self.held = None;
        if self.is_full() { self.settle(summary) } else { Ok(()) }
    }

    /// Drops what is held back.
    pub(super) fn drop_held(&mut self) {
        if let Some((bytes, requests)) = self.held.take() {
            self.batch.truncate(bytes);
            self.requests.truncate(requests);
        }
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH || self.requests.len() >= MOST
    }

    fn add(&mut self, what: What, summary: &mut Summary, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Failure> {
        let before = self.batch.len();
        write(&mut self.batch);
        self.requests.push(Request { bytes: self.batch.len() - before, what });
        if self.held.is_none() && self.is_full() { self.settle(summary) } else { Ok(()) }
    }

    /// Sends all that has not been sent yet, and then lets the keys and fields expire whose expiry had to wait.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn finish(&mut self, summary: &mut Summary) -> Result<(), Failure> {
        self.settle(summary)?;
        settle::settle(&mut self.client, std::mem::take(&mut self.put_off), summary)
    }

    /// Sends what has not been sent yet and is not held back, and waits for all replies.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn settle(&mut self, summary: &mut Summary) -> Result<(), Failure> {
        let (bytes, requests) = self.held.unwrap_or((self.batch.len(), self.requests.len()));
        self.client.send(&self.batch[..bytes]).map_err(failure)?;
        let mut start = 0;
        for at in 0..requests {
            let Request { bytes, what } = self.requests[at];
            let reply = self.client.receive().map_err(failure)?;
            self.answered(what, start..start + bytes, reply, summary)?;
            start += bytes;
        }
        self.batch.drain(..bytes);
        self.requests.drain(..requests);
        self.held = self.held.map(|_| (0, 0));
        Ok(())
    }

    /// Counts the reply to the request that stands here in the batch.
    fn answered(
        &mut self,
        what: What,
        at: std::ops::Range<usize>,
        reply: Value,
        summary: &mut Summary,
    ) -> Result<(), Failure> {
        let request = &self.batch[at];
        match (what, reply) {
            (What::Key, Value::Error(why)) => with_words(request, |words| {
                let key = words.get(1).unwrap_or_default();
                let is_known = |copied: &Copied| copied.keys.contains(&copied.hash(self.db, key));
                if !(why.starts_with("BUSYKEY") && self.copied.as_ref().is_some_and(is_known)) {
                    summary.skip(key, Skipped::Key(format!("the server says {why}")));
                }
            }),
            (What::Key, _) => {
                summary.imported += 1;
                if let Some(copied) = &mut self.copied {
                    let db = self.db;
                    with_words(request, |words| {
                        let hash = copied.hash(db, words.get(1).unwrap_or_default());
                        copied.keys.insert(hash);
                    });
                }
            }
            (What::Command, Value::Error(why)) => {
                let name = &mut Vec::new();
                with_words(request, |words| name.extend_from_slice(words.at(0)));
                summary.refuse(name, || (why, shown(request)));
            }
            (What::Command, _) => summary.executed += 1,
            (What::Select(_), Value::Error(why)) => {
                return Err(Failure::new(Exit::Unavailable, format_args!("the server refused SELECT: {why}")));
            }
            (What::Select(db), _) => self.db = db,
        }
        Ok(())
    }
}

/// Calls `visit` with the words of a request.
fn with_words(request: &[u8], visit: impl FnOnce(Args<'_>)) {
    const ANY: Limits = Limits { args: i32::MAX as usize, bulk_bytes: usize::MAX, unauthenticated: false };
    let (mut requests, mut partial) = (Requests::default(), Partial::default());
    // What is in a batch was written as a request or read as one.
    if requests.parse(request, &mut partial, &ANY, 1).is_ok() && !requests.is_empty() {
        visit(requests.args(0, request));
    }
}

/// The beginning of a request in words, as an example.
fn shown(request: &[u8]) -> String {
    const WORDS: usize = 6;
    const LONGEST: usize = 40;
    let mut text = String::new();
    with_words(request, |words| {
        for word in words.from(0).take(WORDS) {
            let end = word.len().min(LONGEST);
            let more = if end < word.len() { "…" } else { "" };
            text += &format!("{}{}{more}", if text.is_empty() { "" } else { " " }, word[..end].escape_ascii());
        }
        if words.len() > WORDS {
            text += " …";
        }
    });
    text
}

fn number(value: &Value) -> Option<usize> {
    let Value::Text(text) = value else { return None };
    str::from_utf8(text).ok()?.parse().ok()
}
