//! Workloads: what is asked of the server.
//!
//! A *request* is what a workload asks for as one: usually one command, sometimes several that are sent together, of which the last answer
//! counts (creating a file makes an inode and an entry in a directory). Latency, rates and pipelines are of requests.
//!
//! The n-th request of a connection depends on the plan, the seed and the connection's number, and on nothing else: neither on time nor on
//! answers, nor on how many cores the generator has. With the same seed a run asks for the same in closed and open loops; only how far each
//! connection comes, and how connections mix, depends on the server.
//!
//! | module | workloads |
//! |---|---|
//! | [`simple`] | `set`, `get`, `incr` |
//! | [`ycsb`] | `ycsb-a` to `ycsb-f` |
//! | [`metadata`] | `metadata` |
//! | [`scheduler`] | `scheduler` |

pub mod metadata;
pub mod scheduler;
pub mod simple;
pub mod ycsb;

use super::distribution::{Chooser, Cursor, Distribution};
use super::ledger::{Ledger, Write};
use super::values::{Sizes, Values};

/// What is known of a workload before it runs.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a few lines.
    pub text: &'static str,
    /// Its kinds of operation.
    pub operations: &'static [&'static str],
    /// How it chooses keys unless told otherwise.
    pub distribution: Distribution,
    /// Whether its values can say what they are, so that `--verify` can tell what became of them.
    pub verifiable: bool,
}

/// All workloads, in the order in which they are listed.
pub fn all() -> Vec<About> {
    let simple = simple::ALL.iter().map(|(_, about)| *about);
    let ycsb = ycsb::ALL.iter().map(|(_, about)| *about);
    simple.chain(ycsb).chain([metadata::ABOUT, scheduler::ABOUT]).collect()
}

/// The workload of this name.
pub fn find(name: &str) -> Option<About> {
    all().into_iter().find(|about| about.name == name)
}

/// What a workload is made from.
#[derive(Clone, Debug)]
pub struct Ingredients {
    /// Records that are there from the beginning.
    pub keys: u64,
    /// How they are chosen.
    pub distribution: Distribution,
    /// Sizes of values.
    pub values: Sizes,
    /// The seed of all choices.
    pub seed: u64,
    /// The number of connections.
    pub connections: u64,
}

/// A request that was written to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its kind: an index into [`About::operations`].
    pub operation: u8,
    /// Answers that it gets.
    pub commands: u8,
    /// What it writes, if that is in a ledger. It is then the last of its commands.
    pub write: Option<Write>,
}

impl Issued {
    /// A request of one command.
    const fn one(operation: u8) -> Self {
        Self { operation, commands: 1, write: None }
    }

    /// A request of several commands.
    const fn of(operation: u8, commands: u8) -> Self {
        Self { operation, commands, write: None }
    }
}

/// Where requests are written to.
pub struct Sheet<'a> {
    /// A connection's output.
    pub out: &'a mut Vec<u8>,
    /// The connection's ledger, in a run that is to be verified.
    pub ledger: Option<&'a mut Ledger>,
}

/// What all workloads work with.
#[derive(Debug)]
struct Tools {
    keys: u64,
    connections: u64,
    chooser: Chooser,
    values: Values,
}

impl Tools {
    /// The next key.
    #[inline]
    fn choose(&self, stream: &mut Stream) -> u64 {
        self.chooser.choose(&mut stream.cursor, &mut stream.random)
    }

    /// The next key to be written. In a run that is to be verified every connection writes keys of its own.
    #[inline]
    fn choose_to_write(&self, stream: &mut Stream, sheet: &Sheet<'_>) -> u64 {
        let key = self.choose(stream);
        if sheet.ledger.is_none() || key >= self.keys {
            return key;
        }
        let own = key - key % self.connections + stream.connection;
        if own < self.keys { own } else { own - self.connections }
    }

    /// Appends the value of `cell`.
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

/// A workload: shared by all connections, and never changed.
#[derive(Debug)]
pub struct Workload {
    /// What is known of it.
    pub about: About,
    tools: Tools,
    seed: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Simple(simple::Simple),
    Ycsb(ycsb::Ycsb),
    Metadata(metadata::Metadata),
    Scheduler(scheduler::Scheduler),
}

/// What one connection asks for; where it has come to.
#[derive(Debug)]
pub struct Stream {
    connection: u64,
    random: fastrand::Rng,
    cursor: Cursor,
    /// Records that it has loaded.
    loaded: u64,
    own: metadata::Own,
    tasks: scheduler::Tasks,
}

impl Stream {
    /// The last `records` that it was given to load are to be loaded again.
    pub const fn load_again(&mut self, records: u64) {
        self.loaded -= records;
    }
}

impl Workload {
    /// The workload of this name, if there is one.
    pub fn new(name: &str, ingredients: &Ingredients) -> Option<Self> {
        let about = find(name)?;
        let kind = match name {
            metadata::NAME => Kind::Metadata(metadata::Metadata::new(ingredients.keys)),
            scheduler::NAME => Kind::Scheduler(scheduler::Scheduler::new()),
            _ => match simple::Simple::new(name) {
                Some(simple) => Kind::Simple(simple),
                None => Kind::Ycsb(ycsb::Ycsb::new(name)?),
            },
        };
        let tools = Tools {
            keys: ingredients.keys,
            connections: ingredients.connections,
            chooser: Chooser::new(ingredients.distribution, ingredients.keys),
            values: Values::new(ingredients.values.clone(), ingredients.seed),
        };
        Some(Self { about, tools, seed: ingredients.seed, kind })
    }

    /// The beginning of what connection number `connection` asks for.
    pub fn stream(&self, connection: u64) -> Stream {
        // Neighbouring seeds must not give related streams.
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
            Kind::Metadata(metadata) => metadata.next(&self.tools, stream, sheet),
            Kind::Scheduler(scheduler) => scheduler.next(&self.tools, stream, sheet),
        }
    }

    /// Writes the request that loads the connection's next record, if any is left. Connections share the records out among them.
    pub fn load_next(&self, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Option<Issued> {
        let record = stream.connection + stream.loaded * self.tools.connections;
        if record >= self.records() {
            return None;
        }
        stream.loaded += 1;
        Some(match &self.kind {
            Kind::Simple(simple) => simple.load(&self.tools, stream, sheet, record),
            Kind::Ycsb(ycsb) => ycsb.load(&self.tools, stream, sheet, record),
            Kind::Metadata(metadata) => metadata.load(stream, sheet, record),
            Kind::Scheduler(_) => Issued::one(0),
        })
    }

    /// How many records it wants loaded.
    pub fn records(&self) -> u64 {
        match &self.kind {
            Kind::Simple(simple) if !simple.wants_records() => 0,
            Kind::Scheduler(_) => 0,
            _ => self.tools.keys,
        }
    }

    /// Writes the request that reads a cell back, for `--verify`, and returns the cell's name for people.
    pub fn read_back(&self, cell: u64, out: &mut Vec<u8>) -> String {
        match &self.kind {
            Kind::Ycsb(ycsb) => ycsb.read_back(cell, out),
            _ => simple::read_back(cell, out),
        }
    }
}

/// Draws an operation; `upto` holds for each the sum of its own and all earlier weights.
#[inline]
fn draw(random: &mut fastrand::Rng, upto: &[u32]) -> u8 {
    let all = upto.last().copied().unwrap_or(1);
    let drawn = random.u32(0..all);
    upto.iter().position(|upto| drawn < *upto).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests;
