//! What was acknowledged, and what is held of it.
//!
//! Every connection writes keys of its own, one numbered write after the other; a value names its key and its number and can be
//! made again from them. One connection's writes to one core are in one stream, in the order in which they were sent, so whatever
//! a crash left must be *exactly* the state after some first part of them: the search for that cut is the whole check. Values that
//! are half one write and half another, holes and reordering have no cut.
//!
//! Across connections only time orders: a write that was acknowledged before another of the same stream was sent stands before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{CoreId, Partitions, Placement};

use super::resp::{Conn, Value, encode};
use super::server::Server;

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Begins every key; loads of different names do not touch each other's keys.
    pub name: String,
    /// Number of connections.
    pub connections: usize,
    /// Keys of each connection: strings and hashes by turns.
    pub keys: usize,
    /// Most commands in flight on a connection.
    pub pipeline: usize,
    /// Most bytes of padding in a value.
    pub padding: usize,
    /// Longest pause between batches.
    pub pause: Duration,
    /// Most writes of a connection.
    pub writes: usize,
    /// Number of cores of the server.
    pub cores: u16,
}

impl Load {
    /// Four connections that write as fast as they can.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            connections: 4,
            keys: 300,
            pipeline: 32,
            padding: 300,
            pause: Duration::ZERO,
            writes: 100_000,
            cores: 2,
        }
    }

    /// Begins to write.
    pub fn start(&self, server: &Server, rng: &mut Rng) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..self.connections)
            .map(|connection| {
                let mut conn = server.connect();
                let mut journal = Journal::new(self, connection);
                conn.command(&["SELECT", &journal.db.to_string()]);
                let (load, stop, mut rng) = (self.clone(), Arc::clone(&stop), rng.fork());
                thread::spawn(move || {
                    // The error is the server's death: what was not acknowledged by then stays so.
                    let _ = journal.run(&load, &mut conn, &stop, &mut rng);
                    journal
                })
            })
            .collect();
        Running { stop, threads, cores: self.cores }
    }
}

/// Clients at work.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Journal>>,
    cores: u16,
}

impl Running {
    /// Waits until every connection has come to its end: its last write, or the server's death.
    pub fn join(self) -> Ledger {
        let journals = self.threads.into_iter().map(|thread| thread.join().expect("a client's thread"));
        Ledger { journals: journals.collect(), cores: self.cores }
    }

    /// Lets the clients read what is under way and stop.
    pub fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}

/// What the clients wrote and what was acknowledged.
pub struct Ledger {
    journals: Vec<Journal>,
    cores: u16,
}

/// What a crash took of the acknowledged writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many were acknowledged.
    pub acknowledged: usize,
    /// How many of them are lost.
    pub count: usize,
    /// When the first of them was acknowledged.
    pub first: Option<Instant>,
}

impl Ledger {
    /// Number of writes that the server refused, and the texts.
    pub fn refusals(&self) -> BTreeMap<&str, usize> {
        let mut texts = BTreeMap::new();
        for refusal in self.journals.iter().flat_map(|journal| &journal.refusals) {
            *texts.entry(refusal.as_str()).or_default() += 1;
        }
        texts
    }

    /// Reads every key and panics unless what is held is a first part of every stream; says what acknowledged writes are lost. From
    /// then on exactly what was held is expected.
    pub fn settle(&mut self, server: &Server) -> Lost {
        let placement = Placement::new(Partitions::new(256).expect("a power of two"), self.cores).expect("cores");
        let mut lost = Lost::default();
        let mut conn = server.connect();
        let held: Vec<Vec<u64>> = self.journals.iter().map(|journal| journal.read(&mut conn)).collect();
        for core in (0..self.cores).map(CoreId) {
            let mut last_sent: Option<Instant> = None;
            let mut first_lost: Option<Instant> = None;
            for (journal, held) in self.journals.iter_mut().zip(&held) {
                let keys = journal.keys_on(core, placement);
                let own = journal.writes_to(&keys);
                let (least, most) = journal.cut(&keys, &own, held);
                last_sent = last_sent.max(own[..least].last().map(|write| journal.writes[*write].sent));
                journal.survived.extend(own[..most].iter().map(|write| *write as u64 + 1));
                let gone = own[most..].iter().filter_map(|write| journal.writes[*write].acknowledged);
                lost.count += gone.clone().count();
                lost.acknowledged += own.iter().filter(|write| journal.writes[**write].acknowledged.is_some()).count();
                first_lost = [first_lost, gone.min()].into_iter().flatten().min();
            }
            if let (Some(sent), Some(acknowledged)) = (last_sent, first_lost) {
                assert!(
                    acknowledged >= sent,
                    "a hole on core {core}: a write is lost that was acknowledged {:?} before one that is held was sent",
                    sent - acknowledged
                );
            }
            lost.first = [lost.first, first_lost].into_iter().flatten().min();
        }
        self.journals.iter_mut().zip(&held).for_each(|(journal, held)| journal.keep(held));
        lost
    }

    /// Panics unless every acknowledged write is held.
    pub fn settle_without_loss(&mut self, server: &Server) {
        let lost = self.settle(server);
        assert_eq!(lost.count, 0, "acknowledged writes are lost: {lost:?}");
    }

    /// After [`Self::settle`]: panics if the write that a client was shown under `key`, or the deletion after it, is lost.
    pub fn assert_survived(&self, key: &str, seen: &Seen) {
        let (journal, key) = key.rsplit_once(':').expect("a key that a load made");
        let journal = self.journals.iter().find(|found| found.name == journal).expect("a connection of this load");
        let key: usize = key.parse().expect("a key's number");
        let survived = |number: u64| number == 0 || journal.survived.contains(&number);
        assert!(survived(seen.number), "{}: write {} was shown and is lost", journal.key_name(key), seen.number);
        let later = || (1..).zip(&journal.writes).filter(|(number, write)| write.key == key && *number > seen.number);
        if seen.number > 0 && seen.deleted {
            let (deletion, _) = later().find(|(_, write)| write.deletes).expect("a deletion was sent");
            assert!(survived(deletion), "{}: its deletion was shown and is lost", journal.key_name(key));
        }
    }
}

/// The last that a client saw of a key.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The greatest number seen in a value, 0 if none was.
    pub number: u64,
    /// Whether there was no value after it.
    pub deleted: bool,
}

impl Seen {
    /// Takes in a reply to GET.
    pub fn note(&mut self, reply: &Value) {
        match reply.bytes() {
            Some(value) => {
                let value = String::from_utf8_lossy(value);
                let number = value.split('#').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
                assert!(number >= self.number, "write {} was seen, then the older write {number}", self.number);
                self.deleted = self.deleted && number == self.number;
                self.number = number;
            }
            None => self.deleted = self.number > 0,
        }
    }
}

struct Write {
    key: usize,
    deletes: bool,
    sent: Instant,
    acknowledged: Option<Instant>,
    refused: bool,
}

/// The writes of one connection; a write's number is its place here, counted from 1.
struct Journal {
    name: String,
    db: u8,
    keys: usize,
    padding: usize,
    writes: Vec<Write>,
    refusals: BTreeSet<String>,
    /// Numbers of the writes that the last crash left.
    survived: HashSet<u64>,
}

impl Journal {
    fn new(load: &Load, connection: usize) -> Self {
        Self {
            name: format!("{}:{connection}", load.name),
            // Two databases are enough to see one being taken for another.
            db: (connection % 2) as u8,
            keys: load.keys,
            padding: load.padding,
            writes: Vec::new(),
            refusals: BTreeSet::new(),
            survived: HashSet::new(),
        }
    }

    fn key_name(&self, key: usize) -> String {
        format!("{}:{key}", self.name)
    }

    fn is_hash(key: usize) -> bool {
        key % 2 == 1
    }

    /// The value of write `number` to `key`.
    fn value(&self, key: usize, number: u64) -> String {
        let padding = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % (self.padding + 1);
        format!("{}#{number}#{}", self.key_name(key), ".".repeat(padding))
    }

    fn run(&mut self, load: &Load, conn: &mut Conn, stop: &AtomicBool, rng: &mut Rng) -> io::Result<()> {
        let mut batch = Vec::new();
        let mut replies = 0;
        while !stop.load(Ordering::Relaxed) && self.writes.len() < load.writes {
            batch.clear();
            let room = load.pipeline - (self.writes.len() - replies);
            for _ in 0..rng.usize(1..=room) {
                self.plan(&mut batch, rng);
            }
            conn.send(&batch)?;
            let rest = rng.usize(0..load.pipeline);
            while self.writes.len() - replies > rest {
                self.note(replies, conn.read()?);
                replies += 1;
            }
            if !load.pause.is_zero() {
                thread::sleep(load.pause.mul_f64(rng.f64()));
            }
        }
        while replies < self.writes.len() {
            self.note(replies, conn.read()?);
            replies += 1;
        }
        Ok(())
    }

    fn plan(&mut self, batch: &mut Vec<u8>, rng: &mut Rng) {
        let key = rng.usize(0..self.keys);
        let name = self.key_name(key);
        let deletes = rng.u8(0..8) == 0;
        let number = self.writes.len() as u64 + 1;
        if deletes {
            encode(batch, &["DEL", &name]);
        } else if Self::is_hash(key) {
            encode(batch, &["HSET", &name, "value", &self.value(key, number), "number", &number.to_string()]);
        } else {
            encode(batch, &["SET", &name, &self.value(key, number)]);
        }
        self.writes.push(Write { key, deletes, sent: Instant::now(), acknowledged: None, refused: false });
    }

    fn note(&mut self, write: usize, reply: Value) {
        let write = &mut self.writes[write];
        if let Value::Error(text) = reply {
            write.refused = true;
            self.refusals.insert(text);
        } else {
            write.acknowledged = Some(Instant::now());
        }
    }

    /// The number that each key holds; panics if a value is not exactly what one write made.
    fn read(&self, conn: &mut Conn) -> Vec<u64> {
        conn.command(&["SELECT", &self.db.to_string()]);
        let commands: Vec<Vec<String>> = (0..self.keys)
            .map(|key| vec![if Self::is_hash(key) { "HGETALL" } else { "GET" }.to_owned(), self.key_name(key)])
            .collect();
        let replies = commands.chunks(100).flat_map(|chunk| conn.pipeline(chunk));
        replies.enumerate().map(|(key, reply)| self.number(key, &reply)).collect()
    }

    fn number(&self, key: usize, reply: &Value) -> u64 {
        let value = if Self::is_hash(key) {
            let fields: BTreeMap<_, _> = reply.pairs().into_iter().collect();
            let field =
                |name: &str| fields.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned());
            let value = field("value");
            let number = value.as_deref().and_then(|value| value.split('#').nth(1)).map(str::to_owned);
            assert!(field("number") == number && fields.len() != 1, "half a write: {reply:?}");
            value
        } else {
            reply.bytes().map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let Some(value) = value else { return 0 };
        let number = value.split('#').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        assert_eq!(value, self.value(key, number), "a value that no write made, under {}", self.key_name(key));
        number
    }

    fn keys_on(&self, core: CoreId, placement: Placement) -> BTreeSet<usize> {
        let on_core = |key: &usize| placement.core_of_slot(slot_of(self.key_name(*key).as_bytes())) == core;
        (0..self.keys).filter(on_core).collect()
    }

    fn writes_to(&self, keys: &BTreeSet<usize>) -> Vec<usize> {
        let writes = self.writes.iter().enumerate();
        writes.filter(|(_, write)| !write.refused && keys.contains(&write.key)).map(|(at, _)| at).collect()
    }

    /// The least and the greatest number of first writes out of `own` after which `keys` hold what `held` says.
    fn cut(&self, keys: &BTreeSet<usize>, own: &[usize], held: &[u64]) -> (usize, usize) {
        let mut state: HashMap<usize, u64> = HashMap::new();
        let mut wrong = keys.iter().filter(|key| held[**key] != 0).count();
        let mut cuts = (wrong == 0).then_some((0, 0));
        let mut best = (wrong, 0);
        for (place, write) in own.iter().enumerate() {
            let Write { key, deletes, .. } = self.writes[*write];
            let number = if deletes { 0 } else { *write as u64 + 1 };
            let before = state.insert(key, number).unwrap_or(0);
            wrong = wrong + usize::from(before == held[key]) - usize::from(number == held[key]);
            if wrong == 0 {
                cuts = Some((cuts.map_or(place + 1, |(least, _)| least), place + 1));
            }
            best = best.min((wrong, place + 1));
        }
        cuts.unwrap_or_else(|| self.explain(keys, own, held, best.1))
    }

    fn explain(&self, keys: &BTreeSet<usize>, own: &[usize], held: &[u64], nearest: usize) -> ! {
        let mut state: BTreeMap<usize, u64> = BTreeMap::new();
        for write in &own[..nearest] {
            let Write { key, deletes, .. } = self.writes[*write];
            state.insert(key, if deletes { 0 } else { *write as u64 + 1 });
        }
        let wrong = keys.iter().filter(|key| state.get(key).copied().unwrap_or(0) != held[**key]);
        let lines: Vec<String> = wrong
            .take(10)
            .map(|key| {
                let expected = state.get(key).copied().unwrap_or(0);
                format!("{}: held {}, expected {expected}", self.key_name(*key), held[*key])
            })
            .collect();
        let acknowledged = own.iter().filter(|write| self.writes[**write].acknowledged.is_some()).count();
        panic!(
            "what is held of connection {} is no first part of its {} writes ({acknowledged} acknowledged); after {nearest} of them, \
             the nearest, these differ:\n{}",
            self.name,
            own.len(),
            lines.join("\n")
        );
    }

    /// Forgets the past: from now on what is held now is expected, nothing else.
    fn keep(&mut self, held: &[u64]) {
        let now = Instant::now();
        for (at, write) in self.writes.iter_mut().enumerate() {
            // A write that is not what a key holds changes nothing that can be seen any more.
            write.refused = held[write.key] != at as u64 + 1;
            write.acknowledged = Some(now);
        }
    }
}
