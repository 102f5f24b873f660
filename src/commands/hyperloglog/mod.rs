//! Commands that count different elements by estimate: PFADD, PFCOUNT, PFMERGE, PFDEBUG.
//!
//! A HyperLogLog is a string in Redis's own format, so that values copied from a Redis count the same here. PFCOUNT
//! of one key keeps its number in the string, as Redis does, and takes it from there until an element is added.
//!
//! | file | what it is |
//! |---|---|
//! | this one | the commands |
//! | `sketch` | a HyperLogLog as the bytes of a string |
//! | `registers`, `sparse` | the two forms of its registers |
//! | `estimate` | from registers to the number of elements |

mod estimate;
mod registers;
mod sketch;
mod sparse;

use std::borrow::Cow;

use self::estimate::estimate;
use self::registers::{Registers, register_of};
use self::sketch::Sketch;
use super::registry::row::{PUT, PUT_FAST, READ, hyperloglog, key, run};
use super::registry::{Flags, KeyFlags, Route, Spec};
use super::{Plan, Planned, Refused, Scratch, Text};
use crate::encoding::edit::Change;
use crate::store::{Entry, Value};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    hyperloglog("pfadd", |p, s| p.pfadd(s), -2, "key [element ...]", PUT_FAST)
        .route(Route::Key)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::INSERT))])
        .about(
            "2.8.9",
            "O(1) for each element",
            "Adds elements to a HyperLogLog; tells whether its estimate may change",
        ),
    hyperloglog("pfcount", |p, s| p.pfcount(s), -2, "key ...", READ)
        .route(Route::OneCore)
        .keys(&[run(1, -1, 1, KeyFlags::RW.and(KeyFlags::ACCESS))])
        .about("2.8.9", "O(1) for each key", "Estimates how many different elements HyperLogLogs have seen together"),
    hyperloglog("pfdebug", |p, s| p.pfdebug(s), 3, "subcommand key", PUT.and(Flags::ADMIN))
        .route(Route::Key)
        .keys(&[key(2, KeyFlags::RW.and(KeyFlags::ACCESS))])
        .about("2.8.9", "O(1)", "Looks into a HyperLogLog: GETREG, DECODE, ENCODING, TODENSE"),
    hyperloglog("pfmerge", |p, s| p.pfmerge(s), -2, "destkey [sourcekey ...]", PUT)
        .route(Route::OneCore)
        .keys(&[
            key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::INSERT)),
            run(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ])
        .about("2.8.9", "O(1) for each key", "Merges HyperLogLogs into one"),
];

/// Bytes that are compared at a time to find what has changed; changes that are closer together are one edit.
const COMPARED: usize = 64;

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// PFADD key [element ...]
    pub(super) fn pfadd(&mut self, scratch: &'a mut Scratch) -> Planned {
        let old = self.first_string()?;
        let mut sketch = old.map_or_else(|| Ok(Sketch::new()), |(value, _)| Sketch::read(value))?;
        let mut changed = old.is_none();
        if self.args.len() > 2 {
            sketch.check()?;
            let most = self.store.packing().hyperloglog_bytes as usize;
            for element in self.args.from(2) {
                let (index, value) = register_of(element);
                changed |= sketch.raise(index, value, most);
            }
        }
        if changed {
            sketch.make_stale();
            self.rewrite_first(old, sketch.bytes(), scratch);
        }
        self.reply.int(changed.into());
        Ok(())
    }

    /// PFCOUNT key ...
    pub(super) fn pfcount(&mut self, scratch: &'a mut Scratch) -> Planned {
        let count = if self.args.len() == 2 {
            self.count_of_first(scratch)?
        } else {
            let mut registers = Registers::new();
            self.sketches(1)?.iter().flatten().try_for_each(|sketch| sketch.merge_into(&mut registers))?;
            estimate(&registers.histogram())
        };
        self.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Estimated number of elements of the first key's HyperLogLog, which keeps it.
    fn count_of_first(&mut self, scratch: &'a mut Scratch) -> Result<u64, Refused> {
        let Some(old) = self.first_string()? else { return Ok(0) };
        let mut sketch = Sketch::read(old.0)?;
        if let Some(kept) = sketch.kept() {
            return Ok(kept);
        }
        let mut registers = Registers::new();
        sketch.merge_into(&mut registers)?;
        let count = estimate(&registers.histogram());
        sketch.keep(count);
        self.rewrite_first(Some(old), sketch.bytes(), scratch);
        Ok(count)
    }

    /// PFMERGE destkey [sourcekey ...]
    pub(super) fn pfmerge(&mut self, scratch: &'a mut Scratch) -> Planned {
        let sketches = self.sketches(1)?;
        let mut registers = Registers::new();
        sketches.iter().flatten().try_for_each(|sketch| sketch.merge_into(&mut registers))?;
        let dense = sketches.iter().flatten().any(Sketch::is_dense);
        let old = self.first_string()?;
        let mut merged = sketches.into_iter().next().flatten().unwrap_or_else(Sketch::new);
        merged.put(&registers, dense, self.store.packing().hyperloglog_bytes as usize);
        merged.make_stale();
        self.rewrite_first(old, merged.bytes(), scratch);
        self.reply.ok();
        Ok(())
    }

    /// PFDEBUG GETREG | DECODE | ENCODING | TODENSE key
    pub(super) fn pfdebug(&mut self, scratch: &'a mut Scratch) -> Planned {
        let old = match self.find(self.slot(), self.args.at(2)) {
            None => return Err(Refused::Because("ERR The specified key does not exist")),
            Some(Entry { value: Value::String(bytes), expire_at }) => (bytes, expire_at),
            Some(_) => return Err(Refused::WrongType),
        };
        let mut sketch = Sketch::read(old.0)?;
        match self.args.at(1).to_ascii_uppercase().as_slice() {
            b"GETREG" => {
                let mut registers = Registers::new();
                sketch.merge_into(&mut registers)?;
                self.reply.array(registers.0.len());
                registers.0.iter().for_each(|value| self.reply.int((*value).into()));
            }
            b"DECODE" if sketch.is_dense() => return Err(Refused::Because("ERR HLL encoding is not sparse")),
            b"DECODE" => {
                sketch.check()?;
                let runs = sketch.runs().map(|run| match run.value {
                    0 if run.is_long() => format!("Z:{}", run.len),
                    0 => format!("z:{}", run.len),
                    value => format!("v:{value},{}", run.len),
                });
                self.reply.bulk(runs.collect::<Vec<_>>().join(" ").as_bytes());
            }
            b"ENCODING" => self.reply.simple(if sketch.is_dense() { "dense" } else { "sparse" }),
            b"TODENSE" => {
                let is_sparse = !sketch.is_dense();
                if is_sparse {
                    sketch.check()?;
                    sketch.make_dense();
                    self.rewrite(self.args.at(2), Some(old), sketch.bytes(), scratch);
                }
                self.reply.int(is_sparse.into());
            }
            _ => {
                self.reply.error_bytes(&[b"ERR Unknown PFDEBUG subcommand '", self.args.at(1), b"'"].concat());
            }
        }
        Ok(())
    }

    /// HyperLogLogs of the keys from argument `from` on; `None` for a missing key.
    fn sketches(&mut self, from: usize) -> Result<Vec<Option<Sketch<'p>>>, Refused> {
        let strings = self.strings_from(from)?;
        strings.into_iter().map(|value| value.map(Sketch::read).transpose()).collect()
    }

    /// Plans to change the first key's string from `old` to `new`, by writing only what differs if that is possible.
    fn rewrite_first(&mut self, old: Option<Text<'p>>, new: &[u8], scratch: &'a mut Scratch) {
        self.rewrite(self.args.at(1), old, new, scratch);
    }

    /// As [`Self::rewrite_first`], for the command's key at another position.
    fn rewrite(&mut self, key: &'a [u8], old: Option<Text<'p>>, new: &[u8], scratch: &'a mut Scratch) {
        scratch.clear();
        scratch.bytes.extend_from_slice(new);
        let new: &'a [u8] = &scratch.bytes;
        let (db, slot) = (self.context.db, self.slot());
        match old {
            Some((old, _)) if old.len() <= new.len() => {
                for (start, bytes) in differences(old, new) {
                    let change = Change::WriteString { offset: start as u64, bytes: Cow::Borrowed(bytes) };
                    self.edit(db, slot, key, change);
                }
            }
            _ => {
                let expire_at = old.and_then(|(_, expire_at)| expire_at);
                self.edit(db, slot, key, Change::PutString { value: Cow::Borrowed(new), expire_at });
            }
        }
    }
}

/// Parts of `new` that differ from `old`, which is not longer, with their positions.
fn differences<'n>(old: &[u8], new: &'n [u8]) -> Vec<(usize, &'n [u8])> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (number, part) in new.chunks(COMPARED).enumerate() {
        let start = number * COMPARED;
        let rest = old.get(start..).unwrap_or_default();
        let before = &rest[..rest.len().min(part.len())];
        if before == part {
            continue;
        }
        let differs = |at: &usize| before.get(*at) != Some(&part[*at]);
        let first = (0..part.len()).find(differs).unwrap_or(0);
        let last = (0..part.len()).rev().find(differs).unwrap_or(0);
        match found.last_mut() {
            Some((_, end)) if *end + COMPARED > start + first => *end = start + last + 1,
            _ => found.push((start + first, start + last + 1)),
        }
    }
    found.into_iter().map(|(start, end)| (start, &new[start..end])).collect()
}

#[cfg(test)]
mod tests;
