//! Workloads `ycsb-a` to `ycsb-f`: the core workloads of the Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010).
//!
//! A record is a hash `user<n>` of ten fields; `--values` is the size of a field (100 bytes by default). A read gets
//! the whole record, an update sets one field. Two things differ from YCSB: there are no ordered keys to scan, so a
//! scan of `ycsb-e` reads 1 to 100 records with consecutive numbers; and a read-modify-write of `ycsb-f` sends both of
//! its commands together.

use super::super::distribution::Distribution::{self, Latest, Zipfian};
use super::super::request::{self, Template};
use super::{About, Issued, Sheet, Stream, Tools, draw};

/// Number of fields per record.
const FIELDS: u64 = 10;
/// Maximum number of records in a scan.
const LONGEST_SCAN: u64 = 100;
/// Number of cells reserved per record: the number of fields, rounded up.
const CELLS: u64 = 16;

const OPERATIONS: [&str; 5] = ["read", "update", "insert", "scan", "read-modify-write"];
const READ: u8 = 0;
const UPDATE: u8 = 1;
const INSERT: u8 = 2;
const SCAN: u8 = 3;

const fn about(name: &'static str, text: &'static str, distribution: Distribution, verifiable: bool) -> About {
    About { name, text, operations: &OPERATIONS, distribution, verifiable }
}

/// Every YCSB workload, with the cumulated weights of [`OPERATIONS`] in percent.
pub const ALL: [([u32; 5], About); 6] = [
    ([50, 100, 100, 100, 100], about("ycsb-a", "Half reads, half updates; zipfian. The default.", Zipfian, true)),
    ([95, 100, 100, 100, 100], about("ycsb-b", "95 % reads, 5 % updates; zipfian.", Zipfian, true)),
    ([100, 100, 100, 100, 100], about("ycsb-c", "Only reads; zipfian.", Zipfian, false)),
    (
        [95, 95, 100, 100, 100],
        about("ycsb-d", "95 % reads, 5 % inserts; the latest records most often.", Latest, false),
    ),
    ([0, 0, 5, 100, 100], about("ycsb-e", "95 % scans of 1 to 100 records, 5 % inserts; zipfian.", Zipfian, false)),
    ([50, 50, 50, 50, 100], about("ycsb-f", "Half reads, half read-modify-writes; zipfian.", Zipfian, true)),
];

/// A workload of YCSB.
#[derive(Debug)]
pub struct Ycsb {
    upto: [u32; 5],
    read: Template<1>,
    update: Template<1>,
    insert: Template<1>,
    /// Field names as encoded arguments.
    fields: Vec<Vec<u8>>,
}

impl Ycsb {
    /// Makes the workload of this name, if it exists.
    pub fn new(name: &str) -> Option<Self> {
        let (upto, _) = ALL.iter().find(|(_, about)| about.name == name)?;
        let field = |number| {
            let mut out = Vec::new();
            request::argument(&mut out, format!("field{number}").as_bytes());
            out
        };
        Some(Self {
            upto: *upto,
            read: Template::new(&["HGETALL", "user#"], 0),
            update: Template::new(&["HSET", "user#"], 2),
            insert: Template::new(&["HSET", "user#"], 2 * FIELDS as usize),
            fields: (0..FIELDS).map(field).collect(),
        })
    }

    /// Writes the next request.
    #[inline]
    pub(super) fn next(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let operation = draw(&mut stream.random, &self.upto);
        match operation {
            READ => {
                self.read.write(sheet.out, [tools.choose(stream)]);
                Issued::one(READ)
            }
            UPDATE => {
                let key = tools.choose_to_write(stream, sheet);
                self.set_field(tools, stream, sheet, key, UPDATE, 1)
            }
            INSERT => {
                let key = tools.chooser.insert(&mut stream.cursor);
                self.set_all(tools, stream, sheet, key)
            }
            SCAN => {
                let (first, length) = (tools.choose(stream), stream.random.u64(1..=LONGEST_SCAN.min(tools.keys)));
                // After the last record, a scan continues with the first.
                (first..first + length).for_each(|record| self.read.write(sheet.out, [record % tools.keys]));
                Issued::of(SCAN, length as u8)
            }
            both => {
                let key = tools.choose_to_write(stream, sheet);
                self.read.write(sheet.out, [key]);
                self.set_field(tools, stream, sheet, key, both, 2)
            }
        }
    }

    fn set_field(
        &self,
        tools: &Tools,
        stream: &mut Stream,
        sheet: &mut Sheet<'_>,
        key: u64,
        operation: u8,
        commands: u8,
    ) -> Issued {
        let field = stream.random.u64(0..FIELDS);
        self.update.write(sheet.out, [key]);
        sheet.out.extend_from_slice(&self.fields[field as usize]);
        Issued { operation, commands, write: tools.value(stream, sheet, key * CELLS + field) }
    }

    /// Appends all fields of a record. Their cells enter the ledger only when they are written individually; until then
    /// they hold write 0.
    fn set_all(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>, key: u64) -> Issued {
        self.insert.write(sheet.out, [key]);
        for (cell, field) in (key * CELLS..).zip(&self.fields) {
            sheet.out.extend_from_slice(field);
            match sheet.ledger {
                Some(_) => tools.values.write_stamped(sheet.out, &mut stream.random, cell, 0),
                None => tools.values.write(sheet.out, &mut stream.random),
            }
        }
        Issued::one(INSERT)
    }

    /// Writes the request that loads a record.
    pub(super) fn load(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>, record: u64) -> Issued {
        self.set_all(tools, stream, sheet, record)
    }

    /// Writes the request that reads a field back. Returns the field's name.
    pub(super) fn read_back(&self, cell: u64, out: &mut Vec<u8>) -> String {
        let (record, field) = (cell / CELLS, cell % CELLS);
        Template::<1>::new(&["HGET", "user#"], 1).write(out, [record]);
        out.extend_from_slice(&self.fields[(field % FIELDS) as usize]);
        format!("user{record:012} field{field}")
    }
}
