//! The writes of one connection, numbered; and the search for the first part of them that is held.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{CoreId, Placement};

use super::form::Form;
use super::load::Load;
use super::resp::{Conn, Value, encode};

/// How the refusals of a log that has failed begin.
pub const LOG_FAILED: &str = "MISCONF the log cannot be written";

/// A write. Its number is its place in the journal, counted from 1.
pub struct Write {
    /// The key's number.
    pub key: usize,
    /// Whether it deletes the key.
    pub deletes: bool,
    /// Just before it was sent.
    pub sent: Instant,
    /// Just after its reply was received.
    pub acknowledged: Option<Instant>,
    /// Whether it changed nothing, or nothing that can be seen any more.
    pub refused: bool,
}

/// The writes of one connection.
pub struct Journal {
    /// Begins its keys.
    pub name: String,
    /// The database that it writes to.
    pub db: u8,
    keys: usize,
    padding: usize,
    /// Every write that was sent, in order.
    pub writes: Vec<Write>,
    /// The errors that were answered.
    pub refusals: BTreeSet<String>,
    /// Numbers of the writes that the last crash left.
    pub survived: HashSet<u64>,
    /// So many first writes were confirmed by WAITAOF or WAIT: none of them may be lost, whatever the server's
    /// durability is.
    pub confirmed: usize,
    /// Whether its connection ended by a reply that did not come.
    pub starved: bool,
}

impl Journal {
    /// An empty journal of a load's connection.
    pub fn new(load: &Load, connection: usize) -> Self {
        Self {
            name: format!("{}:{connection}", load.name),
            // Two databases are enough to see one being taken for another.
            db: (connection % 2) as u8,
            keys: load.keys,
            padding: load.padding,
            writes: Vec::new(),
            refusals: BTreeSet::new(),
            survived: HashSet::new(),
            confirmed: 0,
            starved: false,
        }
    }

    /// The name of a key.
    pub fn key_name(&self, key: usize) -> String {
        format!("{}:{key}", self.name)
    }

    /// The value of write `number` to `key`.
    fn value(&self, key: usize, number: u64) -> String {
        let padding = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % (self.padding + 1);
        format!("{}#{number}#{}", self.key_name(key), ".".repeat(padding))
    }

    /// Writes and notes the replies. An error is the end of the connection.
    pub fn run(&mut self, load: &Load, conn: &mut Conn, stop: &AtomicBool, rng: &mut Rng) -> io::Result<()> {
        let mut batch = Vec::new();
        let mut replies = 0;
        while !stop.load(Ordering::Relaxed) && self.writes.len() < load.writes {
            batch.clear();
            let room = load.pipeline - (self.writes.len() - replies);
            for _ in 0..rng.usize(1..=room) {
                self.plan(load, &mut batch, rng);
            }
            conn.send(&batch)?;
            let confirm = load.confirm.filter(|_| rng.u8(0..4) == 0);
            let rest = if confirm.is_some() { 0 } else { rng.usize(0..load.pipeline) };
            while self.writes.len() - replies > rest {
                self.note(replies, conn.read()?);
                replies += 1;
            }
            if let Some(confirm) = confirm
                && confirm.ask(conn)?
            {
                self.confirmed = self.writes.len();
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

    fn plan(&mut self, load: &Load, batch: &mut Vec<u8>, rng: &mut Rng) {
        let key = rng.usize(0..self.keys);
        let name = self.key_name(key);
        let deletes = load.deletes && rng.u8(0..8) == 0;
        let number = self.writes.len() as u64 + 1;
        if deletes {
            encode(batch, &["DEL", &name]);
        } else {
            encode(batch, &Form::of(key).write(&name, &self.value(key, number), number));
        }
        self.writes.push(Write { key, deletes, sent: Instant::now(), acknowledged: None, refused: false });
    }

    fn note(&mut self, write: usize, reply: Value) {
        let write = &mut self.writes[write];
        if let Value::Error(text) = reply {
            // What was under way when the log failed may be on disk or not: nobody knows before the next start.
            write.refused = !text.starts_with(LOG_FAILED);
            self.refusals.insert(text);
        } else {
            // Nothing was there to be deleted: no edit was made, and none can be held.
            write.refused = write.deletes && reply == Value::Int(0);
            write.acknowledged = Some(Instant::now());
        }
    }

    /// The number of the last write that each key holds, 0 for none; panics if a value is not exactly what writes made.
    pub fn read(&self, conn: &mut Conn) -> Vec<u64> {
        conn.command(&["SELECT", &self.db.to_string()]);
        let commands: Vec<Vec<String>> = (0..self.keys).map(|key| Form::of(key).read(&self.key_name(key))).collect();
        let replies = commands.chunks(100).flat_map(|chunk| conn.pipeline(chunk));
        let mut writes: Vec<Vec<u64>> = vec![Vec::new(); self.keys];
        for (write, number) in self.writes.iter().zip(1..) {
            writes[write.key].push(number);
        }
        replies.zip(&writes).enumerate().map(|(key, (reply, own))| self.number(key, own, &reply)).collect()
    }

    /// The last write that `reply` tells of; `own` are the numbers of all writes to the key.
    fn number(&self, key: usize, own: &[u64], reply: &Value) -> u64 {
        let made = Form::of(key).writes(reply);
        for (number, value) in &made {
            let is_own = own.binary_search(number).is_ok() && !self.write(*number).deletes;
            let is_value = value.as_ref().is_none_or(|value| *value == self.value(key, *number));
            assert!(is_own && is_value, "what no write made, under {}: {number} {value:?}", self.key_name(key));
        }
        let (Some((first, _)), Some((last, _))) = (made.first(), made.last()) else { return 0 };
        if Form::of(key).keeps_all() {
            let between = own.iter().filter(|number| (first..=last).contains(number));
            let known =
                between.filter(|number| self.write(**number).acknowledged.is_some() && !self.write(**number).refused);
            for number in known {
                let held = made.binary_search_by_key(number, |(number, _)| *number).is_ok();
                assert!(held && !self.write(*number).deletes, "{}: write {number} left no trace", self.key_name(key));
            }
        }
        *last
    }

    fn write(&self, number: u64) -> &Write {
        &self.writes[number as usize - 1]
    }

    /// The numbers of the keys that live on `core`.
    pub fn keys_on(&self, core: CoreId, placement: Placement) -> BTreeSet<usize> {
        let on_core = |key: &usize| placement.core_of_slot(slot_of(self.key_name(*key).as_bytes())) == core;
        (0..self.keys).filter(on_core).collect()
    }

    /// The places of the writes to `keys`, without those that were refused.
    pub fn writes_to(&self, keys: &BTreeSet<usize>) -> Vec<usize> {
        let writes = self.writes.iter().enumerate();
        writes.filter(|(_, write)| !write.refused && keys.contains(&write.key)).map(|(at, _)| at).collect()
    }

    /// The least and the greatest number of first writes out of `own` after which `keys` hold what `held` says.
    pub fn cut(&self, keys: &BTreeSet<usize>, own: &[usize], held: &[u64]) -> (usize, usize) {
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
    pub fn keep(&mut self, held: &[u64]) {
        let now = Instant::now();
        for (at, write) in self.writes.iter_mut().enumerate() {
            // A write that is not what a key holds changes nothing that can be seen any more.
            write.refused = held[write.key] != at as u64 + 1;
            write.acknowledged = Some(now);
        }
        self.confirmed = self.writes.len();
    }
}
