//! Workloads: generators of requests.
//!
//! A *request* is the unit of a workload: usually one command, sometimes several that are sent together, of which the
//! last reply counts (creating a file creates an inode and an entry in a directory). Latencies, rates and pipelines
//! refer to requests.
//!
//! The n-th request of a connection depends only on the plan, the seed and the connection's number: not on time, on
//! replies, or on the number of generator threads. With the same seed, closed and open loops send the same requests;
//! only how far each connection gets, and how connections interleave, depends on the server.
//!
//! | module | workloads |
//! |---|---|
//! | [`simple`] | `set`, `get`, `incr` |
//! | [`ycsb`] | `ycsb-a` to `ycsb-f` |
//! | [`collections`] | `hset`, `sadd`, `zadd`, `lpush`, `xadd` and others, each also with `-large` |
//! | [`metadata`] | `metadata` |
//! | [`scheduler`] | `scheduler` |

pub mod collections;
pub mod metadata;
pub mod scheduler;
pub mod simple;
pub mod ycsb;

use super::distribution::{Chooser, Cursor, Distribution};
use super::ledger::{Ledger, Write};
use super::values::{Sizes, Values};

/// Description of a workload.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name on the command line.
    pub name: &'static str,
    /// Description in a few lines.
    pub text: &'static str,
    /// Names of the kinds of operation.
    pub operations: &'static [&'static str],
    /// Default distribution of keys.
    pub distribution: Distribution,
    /// Whether the values can identify themselves, which `--verify` needs.
    pub verifiable: bool,
}

/// Every workload, in the order in which they are listed.
pub fn all() -> Vec<About> {
    let simple = simple::ALL.iter().map(|(_, about)| *about);
    let ycsb = ycsb::ALL.iter().map(|(_, about)| *about);
    simple.chain(ycsb).chain(collections::all()).chain([metadata::ABOUT, scheduler::ABOUT]).collect()
}

/// Finds a workload's description by name.
pub fn find(name: &str) -> Option<About> {
    all().into_iter().find(|about| about.name == name)
}

/// Parameters of a workload.
#[derive(Clone, Debug)]
pub struct Ingredients {
    /// Number of records that exist from the beginning.
    pub keys: u64,
    /// Distribution of keys.
    pub distribution: Distribution,
    /// Sizes of values.
    pub values: Sizes,
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of connections.
    pub connections: u64,
}

/// Properties of a request that was written to an output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Kind of the operation: an index into [`About::operations`].
    pub operation: u8,
    /// Number of replies to the request.
    pub commands: u8,
    /// The write, if it is recorded in a ledger. Then it is the last of the request's commands.
    pub write: Option<Write>,
}

impl Issued {
    /// Makes a request of one command.
    const fn one(operation: u8) -> Self {
        Self { operation, commands: 1, write: None }
    }

    /// Makes a request of several commands.
    const fn of(operation: u8, commands: u8) -> Self {
        Self { operation, commands, write: None }
    }
}

/// Where a workload writes requests.
pub struct Sheet<'a> {
    /// Output buffer of the connection.
    pub out: &'a mut Vec<u8>,
    /// Ledger of the connection, if the run is verified.
    pub ledger: Option<&'a mut Ledger>,
}

/// Generators that all workloads use.
#[derive(Debug)]
struct Tools {
    keys: u64,
    connections: u64,
    chooser: Chooser,
    values: Values,
}

impl Tools {
    /// Chooses a key.
    #[inline]
    fn choose(&self, stream: &mut Stream) -> u64 {
        self.chooser.choose(&mut stream.cursor, &mut stream.random)
    }

    /// Chooses a key to be written. In a verified run, every connection writes only keys of its own.
    #[inline]
    fn choose_to_write(&self, stream: &mut Stream, sheet: &Sheet<'_>) -> u64 {
        let key = self.choose(stream);
        if sheet.ledger.is_none() || key >= self.keys {
            return key;
        }
        let own = key - key % self.connections + stream.connection;
        if own < self.keys { own } else { own - self.connections }
    }

    /// Appends the value of `cell`. Returns the write, if it is recorded in a ledger.
    #[inline]
    fn value(&self, stream: &mut Stream, sheet: &mut Sheet<'_>, cell: u64) -> Option<Write> {
        match &mut sheet.ledger {
            None => {
                self.values.write(sheet.out, &mut stream.random);
                None
            }
            Some(ledger) => {
                let write = ledger.issue(cell);
                self.values.write_stamped(sheet.out, &mut stream.random, cell, write.sequence);
                Some(write)
            }
        }
    }
}

/// A workload: shared by all connections, and immutable.
#[derive(Debug)]
pub struct Workload {
    /// Description of the workload.
    pub about: About,
    tools: Tools,
    seed: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Simple(simple::Simple),
    Ycsb(ycsb::Ycsb),
    Collections(collections::Collections),
    Metadata(metadata::Metadata),
    Scheduler(scheduler::Scheduler),
}

/// Position of one connection in its sequence of requests.
#[derive(Debug)]
pub struct Stream {
    connection: u64,
    random: fastrand::Rng,
    cursor: Cursor,
    /// Number of records that the connection has loaded.
    loaded: u64,
    own: metadata::Own,
    tasks: scheduler::Tasks,
}

impl Stream {
    /// Makes the last `records` load requests be repeated.
    pub const fn load_again(&mut self, records: u64) {
        self.loaded -= records;
    }
}

impl Workload {
    /// Makes the workload of this name, if it exists.
    pub fn new(name: &str, ingredients: &Ingredients) -> Option<Self> {
        let about = find(name)?;
        let kind = match name {
            metadata::NAME => Kind::Metadata(metadata::Metadata::new(ingredients.keys)),
            scheduler::NAME => Kind::Scheduler(scheduler::Scheduler::new()),
            _ => (simple::Simple::new(name).map(Kind::Simple))
                .or_else(|| collections::Collections::new(name).map(Kind::Collections))
                .or_else(|| ycsb::Ycsb::new(name).map(Kind::Ycsb))?,
        };
        let tools = Tools {
            keys: ingredients.keys,
            connections: ingredients.connections,
            chooser: Chooser::new(ingredients.distribution, ingredients.keys),
            values: Values::new(ingredients.values.clone(), ingredients.seed),
        };
        Some(Self { about, tools, seed: ingredients.seed, kind })
    }

    /// Start of the request sequence of connection number `connection`.
    pub fn stream(&self, connection: u64) -> Stream {
        // Hashing ensures that neighbouring seeds give unrelated sequences.
        let seed = xxhash_rust::xxh3::xxh3_64_with_seed(&connection.to_le_bytes(), self.seed);
        Stream {
            connection,
            random: fastrand::Rng::with_seed(seed),
            cursor: Cursor::new(connection, self.tools.connections),
            loaded: 0,
            own: metadata::Own::default(),
            tasks: scheduler::Tasks::default(),
        }
    }

    /// Writes the connection's next request.
    #[inline]
    pub fn next(&self, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        match &self.kind {
            Kind::Simple(simple) => simple.next(&self.tools, stream, sheet),
            Kind::Ycsb(ycsb) => ycsb.next(&self.tools, stream, sheet),
            Kind::Collections(collections) => collections.next(&self.tools, stream, sheet),
            Kind::Metadata(metadata) => metadata.next(&self.tools, stream, sheet),
            Kind::Scheduler(scheduler) => scheduler.next(&self.tools, stream, sheet),
        }
    }

    /// Writes the request that loads the connection's next record, if any is left. The connections divide the records
    /// among them.
    pub fn load_next(&self, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Option<Issued> {
        let record = stream.connection + stream.loaded * self.tools.connections;
        if record >= self.records() {
            return None;
        }
        stream.loaded += 1;
        Some(match &self.kind {
            Kind::Simple(simple) => simple.load(&self.tools, stream, sheet, record),
            Kind::Ycsb(ycsb) => ycsb.load(&self.tools, stream, sheet, record),
            Kind::Collections(collections) => collections.load(&self.tools, stream, sheet, record),
            Kind::Metadata(metadata) => metadata.load(stream, sheet, record),
            Kind::Scheduler(_) => Issued::one(0),
        })
    }

    /// Number of records that the workload wants loaded.
    pub fn records(&self) -> u64 {
        match &self.kind {
            Kind::Simple(simple) if !simple.wants_records() => 0,
            Kind::Scheduler(_) => 0,
            _ => self.tools.keys,
        }
    }

    /// Writes the request that reads a cell back, for `--verify`. Returns the cell's name for messages.
    pub fn read_back(&self, cell: u64, out: &mut Vec<u8>) -> String {
        match &self.kind {
            Kind::Ycsb(ycsb) => ycsb.read_back(cell, out),
            _ => simple::read_back(cell, out),
        }
    }
}

/// Draws an operation; `upto` has the cumulated weights.
#[inline]
fn draw(random: &mut fastrand::Rng, upto: &[u32]) -> u8 {
    let all = upto.last().copied().unwrap_or(1);
    let drawn = random.u32(0..all);
    upto.iter().position(|upto| drawn < *upto).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests;
