//! Workloads `set`, `get`, `incr`: one command each, on strings.

use super::super::distribution::Distribution;
use super::super::request::Template;
use super::{About, Issued, Sheet, Stream, Tools};

/// Kind of simple workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `SET key:<n> <value>`
    Set,
    /// `GET key:<n>`
    Get,
    /// `INCR counter:<n>`
    Incr,
}

/// Every simple workload, with its description.
pub const ALL: [(Which, About); 3] = [
    (
        Which::Set,
        About {
            name: "set",
            text: "SET of keys of 16 bytes. Loads all keys first.",
            operations: &["set"],
            distribution: Distribution::Uniform,
            verifiable: true,
        },
    ),
    (
        Which::Get,
        About {
            name: "get",
            text: "GET of keys of 16 bytes. Loads all keys first.",
            operations: &["get"],
            distribution: Distribution::Uniform,
            verifiable: false,
        },
    ),
    (
        Which::Incr,
        About {
            name: "incr",
            text: "INCR of counters. Loads nothing.",
            operations: &["incr"],
            distribution: Distribution::Uniform,
            verifiable: false,
        },
    ),
];

/// A simple workload.
#[derive(Debug)]
pub struct Simple {
    which: Which,
    /// Template of the measured request with its key; a value may follow.
    measured: Template<1>,
    set: Template<1>,
}

impl Simple {
    /// Makes the workload of this name, if it exists.
    pub fn new(name: &str) -> Option<Self> {
        let (which, _) = ALL.iter().find(|(_, about)| about.name == name)?;
        let set = Template::new(&["SET", "key:#"], 1);
        let measured = match which {
            Which::Set => set.clone(),
            Which::Get => Template::new(&["GET", "key:#"], 0),
            Which::Incr => Template::new(&["INCR", "counter:#"], 0),
        };
        Some(Self { which: *which, measured, set })
    }

    /// Whether the workload needs records to be loaded.
    pub fn wants_records(&self) -> bool {
        self.which != Which::Incr
    }

    /// Writes the next request.
    #[inline]
    pub(super) fn next(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        if self.which == Which::Set {
            let key = tools.choose_to_write(stream, sheet);
            self.measured.write(sheet.out, [key]);
            return Issued { operation: 0, commands: 1, write: tools.value(stream, sheet, key) };
        }
        let key = tools.choose(stream);
        self.measured.write(sheet.out, [key]);
        Issued::one(0)
    }

    /// Writes the request that loads a record.
    pub(super) fn load(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>, record: u64) -> Issued {
        self.set.write(sheet.out, [record]);
        Issued { operation: 0, commands: 1, write: tools.value(stream, sheet, record) }
    }
}

/// Writes the request that reads a key back. Returns the key.
pub fn read_back(key: u64, out: &mut Vec<u8>) -> String {
    Template::<1>::new(&["GET", "key:#"], 0).write(out, [key]);
    format!("key:{key:012}")
}
