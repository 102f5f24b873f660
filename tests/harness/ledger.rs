//! What was acknowledged, and what is held of it.
//!
//! Every connection writes keys of its own, one numbered write after the other; a value names its key and its number
//! and can be made again from them. One connection's writes to one core are in one stream, in the order in which they
//! were sent, so whatever a crash left must be *exactly* the state after some first part of them: the search for that
//! cut is the whole check. Values that are half one write and half another, holes and reordering have no cut.
//!
//! Across connections only time orders: a write that was acknowledged before another of the same stream was sent stands
//! before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rollbook::ids::{CoreId, Partitions, Placement};

use super::journal::Journal;
use super::resp::Value;
use super::server::Server;

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
    /// How many were confirmed by WAITAOF or WAIT, and held, as all such must be.
    pub confirmed: usize,
    /// When the first of them was acknowledged.
    pub first: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(journals: Vec<Journal>, cores: u16) -> Self {
        Self { journals, cores }
    }

    /// Number of writes that the server refused, and the texts.
    pub fn refusals(&self) -> BTreeMap<&str, usize> {
        let mut texts = BTreeMap::new();
        for refusal in self.journals.iter().flat_map(|journal| &journal.refusals) {
            *texts.entry(refusal.as_str()).or_default() += 1;
        }
        texts
    }

    /// Panics if a client got neither a reply nor an end of its connection.
    pub fn assert_nobody_starved(&self) {
        let starved: Vec<_> = self.journals.iter().filter(|journal| journal.starved).map(|j| j.name.as_str()).collect();
        assert!(starved.is_empty(), "neither a reply nor an end: {starved:?}");
    }

    /// Reads every key and panics unless what is held is a first part of every stream that has all that WAITAOF or WAIT
    /// confirmed; says what acknowledged writes are lost. From then on exactly what was held is expected.
    pub fn settle(&mut self, server: &Server) -> Lost {
        let placement = Placement::new(Partitions::new(256).expect("a power of two"), self.cores).expect("cores");
        let mut lost = Lost::default();
        let mut conn = server.connect();
        let held: Vec<Vec<u64>> = self.journals.iter().map(|journal| journal.read(&mut conn)).collect();
        for core in (0..self.cores).map(CoreId) {
            let stream = self.settle_stream(&held, |journal| journal.keys_on(core, placement));
            lost.acknowledged += stream.acknowledged;
            lost.count += stream.count;
            lost.confirmed += stream.confirmed;
            lost.first = [lost.first, stream.first].into_iter().flatten().min();
        }
        self.journals.iter_mut().zip(&held).for_each(|(journal, held)| journal.keep(held));
        lost
    }

    fn settle_stream(&mut self, held: &[Vec<u64>], keys: impl Fn(&Journal) -> BTreeSet<usize>) -> Lost {
        let mut lost = Lost::default();
        let mut last_sent: Option<Instant> = None;
        for (journal, held) in self.journals.iter_mut().zip(held) {
            let keys = keys(journal);
            let own = journal.writes_to(&keys);
            let (least, most) = journal.cut(&keys, &own, held);
            last_sent = last_sent.max(own[..least].last().map(|write| journal.writes[*write].sent));
            journal.survived.extend(own[..most].iter().map(|write| *write as u64 + 1));
            let acknowledged = |writes: &[usize]| -> Vec<Instant> {
                writes.iter().filter_map(|write| journal.writes[*write].acknowledged).collect()
            };
            let confirmed =
                |write: &&usize| **write < journal.confirmed && journal.writes[**write].acknowledged.is_some();
            if let Some(first) = own[most..].iter().find(confirmed) {
                panic!("{}: write {} was confirmed and is lost", journal.name, first + 1);
            }
            let gone = acknowledged(&own[most..]);
            lost.confirmed += own[..most].iter().filter(confirmed).count();
            lost.acknowledged += acknowledged(&own).len();
            lost.count += gone.len();
            lost.first = [lost.first, gone.into_iter().min()].into_iter().flatten().min();
        }
        if let (Some(sent), Some(acknowledged)) = (last_sent, lost.first) {
            let early = sent.saturating_duration_since(acknowledged);
            assert!(
                early.is_zero(),
                "a hole: a write is lost that was acknowledged {early:?} before one that is held was sent"
            );
        }
        lost
    }

    /// Panics unless every acknowledged write is held.
    pub fn settle_without_loss(&mut self, server: &Server) {
        let lost = self.settle(server);
        assert_eq!(lost.count, 0, "acknowledged writes are lost: {lost:?}");
    }

    /// After [`Self::settle`]: panics if the write that a client was shown under `key`, or the deletion after it, is
    /// lost.
    pub fn assert_survived(&self, key: &str, seen: &Seen) {
        let (journal, key) = key.rsplit_once(':').expect("a key that a load made");
        let journal = self.journals.iter().find(|found| found.name == journal).expect("a connection of this load");
        let key: usize = key.parse().expect("a key's number");
        let survived = |number: u64| number == 0 || journal.survived.contains(&number);
        assert!(survived(seen.number), "{}: write {} was shown and is lost", journal.key_name(key), seen.number);
        if seen.deleted {
            let mut later =
                (1..).zip(&journal.writes).filter(|(number, write)| write.key == key && *number > seen.number);
            let (deletion, _) = later.find(|(_, write)| write.deletes).expect("a deletion was sent");
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
