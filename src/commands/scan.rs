//! Commands that iterate over keys and elements: SCAN, KEYS, HSCAN, SSCAN.
//!
//! A SCAN cursor consists of a slot (the low 14 bits) and a position within it (the rest). Slots are visited in order,
//! across all cores; within a slot the store guarantees that a key present throughout the scan is visited.

use super::glob;
use super::parse::{self, integer_argument};
use super::registry::row::{KEYSPACE, READ, READ_FROM, VARIES, generic, hash, set};
use super::registry::{Categories, Gather, Route, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::resp::Reply;
use crate::ids::{SLOTS, Slot};
use crate::store::Entry;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    generic("keys", |p, _| p.keys(), 2, "pattern")
        .route(Route::EveryCore(Gather::Concat))
        .flags(READ, KEYSPACE.and(Categories::DANGEROUS))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .about("1.0.0", "O(N), N being the number of keys in the database", "Names all keys that fit a pattern"),
    generic("scan", |p, _| p.scan(), -2, "cursor [MATCH pattern] [COUNT count] [TYPE type]")
        .route(Route::Cursor)
        .flags(READ, KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .about("2.8.0", "O(1) a call, O(N) for all N keys", "Names some keys, and where to go on"),
    hash("hscan", |p, _| p.hscan(), -3, "key cursor [MATCH pattern] [COUNT count] [NOVALUES]", READ)
        .keys(READ_FROM)
        .tips(VARIES)
        .about(
            "2.8.0",
            "O(1) a call, O(N) for all N fields",
            "Tells some fields with their values, and where to go on",
        ),
    set("sscan", |p, _| p.sscan(), -3, "key cursor [MATCH pattern] [COUNT count]", READ)
        .keys(READ_FROM)
        .tips(VARIES)
        .about("2.8.0", "O(1) a call, O(N) for all N members", "Tells some members, and where to go on"),
];

const SLOT_BITS: u32 = SLOTS.trailing_zeros();
const BAD_CURSOR: Refused = Refused::Because("ERR invalid cursor");
/// Number of elements that a call examines if `COUNT` is not given.
const COUNT: usize = 10;

/// Slot from which SCAN continues with this cursor argument, which determines its core. Arbitrary if the argument is
/// not a cursor; the plan then refuses it.
pub fn cursor_slot(cursor: &[u8]) -> Slot {
    parse::cursor(cursor).map_or(Slot(0), |cursor| split(cursor).0)
}

/// Parses a cursor argument.
pub(super) fn cursor_argument(cursor: &[u8]) -> Result<u64, Refused> {
    parse::cursor(cursor).ok_or(BAD_CURSOR)
}

/// Splits a cursor into slot and position within the slot.
const fn split(cursor: u64) -> (Slot, u64) {
    (Slot((cursor & (SLOTS as u64 - 1)) as u16), cursor >> SLOT_BITS)
}

/// The command that options belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// SCAN.
    Keys,
    /// HSCAN.
    Hash,
    /// SSCAN, ZSCAN.
    Other,
}

/// Options of SCAN, and of the commands that iterate over a value's elements.
pub(super) struct Options<'a> {
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
    pub(super) count: usize,
    /// Whether only the names of fields are replied.
    no_values: bool,
}

impl<'a> Options<'a> {
    pub(super) fn parse(mut words: impl Iterator<Item = &'a [u8]>, of: Of) -> Result<Self, Refused> {
        let mut options = Self { pattern: None, type_name: None, count: COUNT, no_values: false };
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"NOVALUES") {
                if of != Of::Hash {
                    return Err(Refused::Because("ERR NOVALUES option can only be used in HSCAN"));
                }
                options.no_values = true;
                continue;
            }
            let value = words.next().ok_or(Refused::Syntax)?;
            if word.eq_ignore_ascii_case(b"COUNT") {
                let count = integer_argument(value)?;
                options.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Refused::Syntax)?;
            } else if word.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = Some(value).filter(|pattern| !glob::is_everything(pattern));
            } else if of == Of::Keys && word.eq_ignore_ascii_case(b"TYPE") {
                options.type_name = Some(value);
            } else {
                return Err(Refused::Syntax);
            }
        }
        Ok(options)
    }

    pub(super) fn fits(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }

    fn fits_entry(&self, key: &[u8], entry: &Entry<'_>) -> bool {
        let type_fits = |name: &[u8]| entry.value.type_name().as_bytes().eq_ignore_ascii_case(name);
        self.type_name.is_none_or(type_fits) && self.fits(key)
    }
}

impl Plan<'_, '_, '_> {
    /// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]: one step, within the slots of this store.
    pub(super) fn scan(&mut self) -> Planned {
        let cursor = cursor_argument(self.args.at(1))?;
        let options = Options::parse(self.args.from(2), Of::Keys)?;
        let end = u32::from(self.context.owned.end) * u32::from(self.context.partitions.slots_each());
        let (mut slot, mut place) = split(cursor);
        let mut left = options.count;
        let (store, db, now) = (self.store, self.context.db, self.context.now);
        let mut keys = Vec::new();
        let mut found = 0;
        let mut elements = Reply::new(&mut keys, self.reply.protocol());
        let next = loop {
            place = store.scan_slot(db, slot, place, left, |key, entry| {
                left = left.saturating_sub(1);
                if entry.expire_at.is_none_or(|at| at >= now) && options.fits_entry(key, &entry) {
                    elements.bulk(key);
                    found += 1;
                }
            });
            if place != 0 {
                if left == 0 {
                    break place << SLOT_BITS | u64::from(slot.0);
                }
                continue;
            }
            let following = u32::from(slot.0) + 1;
            if following >= u32::from(SLOTS) {
                break 0;
            }
            slot = Slot(following as u16);
            if left == 0 || following >= end {
                break following.into();
            }
        };
        self.scanned(next, found, &keys)
    }

    /// KEYS pattern: the matching keys of this store.
    pub(super) fn keys(&mut self) -> Planned {
        let pattern = Some(self.args.at(1)).filter(|pattern| !glob::is_everything(pattern));
        let options = Options { pattern, type_name: None, count: usize::MAX, no_values: false };
        let each = self.context.partitions.slots_each();
        let slots = self.context.owned.start * each..self.context.owned.end * each;
        let (store, db, now) = (self.store, self.context.db, self.context.now);
        self.reply.array_of(|reply| {
            let mut found = 0;
            for slot in slots {
                let mut place = 0;
                loop {
                    place = store.scan_slot(db, Slot(slot), place, usize::MAX, |key, entry| {
                        if entry.expire_at.is_none_or(|at| at >= now) && options.fits(key) {
                            reply.bulk(key);
                            found += 1;
                        }
                    });
                    if place == 0 {
                        break;
                    }
                }
            }
            found
        });
        Ok(())
    }

    /// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
    pub(super) fn hscan(&mut self) -> Planned {
        let cursor = cursor_argument(self.args.at(2))?;
        let Some(hash) = self.first_hash()? else { return self.scanned(0, 0, b"") };
        let options = Options::parse(self.args.from(3), Of::Hash)?;
        let (mut fields, mut found) = (Vec::new(), 0);
        let mut elements = Reply::new(&mut fields, self.reply.protocol());
        let next = hash.scan(cursor, options.count, |name, value| {
            if options.fits(name) {
                elements.bulk(name);
                found += 1;
                if !options.no_values {
                    elements.bulk(value);
                    found += 1;
                }
            }
        });
        self.scanned(next, found, &fields)
    }

    /// SSCAN key cursor [MATCH pattern] [COUNT count]
    pub(super) fn sscan(&mut self) -> Planned {
        let cursor = cursor_argument(self.args.at(2))?;
        let Some(set) = self.first_set()? else { return self.scanned(0, 0, b"") };
        let options = Options::parse(self.args.from(3), Of::Other)?;
        let (mut members, mut found) = (Vec::new(), 0);
        let mut elements = Reply::new(&mut members, self.reply.protocol());
        let next = set.scan(cursor, options.count, |member| {
            member.with(|member| {
                if options.fits(member) {
                    elements.bulk(member);
                    found += 1;
                }
            });
        });
        self.scanned(next, found, &members)
    }

    /// Replies the next cursor and the elements of one step, `found` in all.
    pub(super) fn scanned(&mut self, next: u64, found: usize, elements: &[u8]) -> Planned {
        self.reply.array(2);
        self.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
        self.reply.array(found);
        self.reply.raw(elements);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::testing::Rig;

    /// Parses the reply of one step: next cursor and elements.
    fn step(rig: &mut Rig, request: &str) -> (String, Vec<String>) {
        let reply = rig.line(request);
        let words: Vec<&str> = reply.split(' ').collect();
        let elements = words[4..].chunks(2).map(|pair| pair[1].to_owned()).collect();
        (words[2].to_owned(), elements)
    }

    #[test]
    fn a_walk_sees_what_is_there_all_along_while_keys_come_and_go() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new();
        for n in 0..300 {
            rig.line(&format!("SET stay{n} v"));
            // Many keys in one slot, so that its table grows and shrinks during the scan.
            rig.line(&format!("SET {{one}}stay{n} v"));
        }
        for _ in 0..20 {
            let mut seen = HashSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let count = random.u32(1..40);
                let (next, keys) = step(&mut rig, &format!("SCAN {cursor} COUNT {count}"));
                seen.extend(keys);
                for _ in 0..random.u32(..200) {
                    let n = random.u32(..1000);
                    let tag = if random.bool() { "{one}" } else { "" };
                    let verb = if random.bool() { "DEL" } else { "INCR" };
                    rig.line(&format!("{verb} {tag}go{n}"));
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
            for n in 0..300 {
                assert!(seen.contains(&format!("stay{n}")), "seed {seed}: stay{n}");
                assert!(seen.contains(&format!("{{one}}stay{n}")), "seed {seed}: {{one}}stay{n}");
            }
        }
    }

    #[test]
    fn a_walk_over_a_set_sees_what_is_there_all_along_while_members_come_and_go() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new();
        for n in 0..400 {
            rig.line(&format!("SADD s stay{n}"));
        }
        for growing in [true, false, true, false] {
            let (mut seen, mut cursor) = (HashSet::new(), "0".to_owned());
            loop {
                let reply = rig.line(&format!("SSCAN s {cursor} COUNT {}", random.u32(1..40)));
                let words: Vec<&str> = reply.split(' ').collect();
                cursor = words[2].to_owned();
                seen.extend(words[4..].chunks(2).map(|pair| pair[1].to_owned()));
                let names: Vec<String> = (0..200).map(|_| format!("go{}", random.u32(..5000))).collect();
                rig.line(&format!("{} s {}", if growing { "SADD" } else { "SREM" }, names.join(" ")));
                if cursor == "0" {
                    break;
                }
            }
            assert!((0..400).all(|n| seen.contains(&format!("stay{n}"))), "seed {seed}");
        }
        assert_eq!(rig.line("SSCAN s 0 MATCH nothing COUNT 100000"), "*2 $1 0 *0");
        assert_eq!(rig.line("SSCAN none 7"), "*2 $1 0 *0");
        rig.line("SADD few 1 2 x");
        assert_eq!(rig.line("SSCAN few 0 COUNT 1 MATCH [12]"), "*2 $1 0 *2 $1 1 $1 2");
    }

    #[test]
    fn any_number_is_a_cursor_and_ends_somewhere() {
        let mut rig = Rig::new();
        for n in 0..100 {
            rig.line(&format!("SET k{n} v"));
            rig.line(&format!("HSET h f{n} v"));
        }
        for cursor in ["18446744073709551615", "9223372036854775807", "16383", "123456789012", "4294967296"] {
            let mut cursor = cursor.to_owned();
            for steps in 0.. {
                assert!(steps < 1000, "{cursor}");
                cursor = step(&mut rig, &format!("SCAN {cursor}")).0;
                if cursor == "0" {
                    break;
                }
            }
            assert!(rig.line(&format!("HSCAN h {cursor}")).starts_with("*2 "));
        }
        for request in ["SCAN x", "SCAN -1", "HSCAN h -1", "SSCAN missing -1"] {
            assert_eq!(rig.line(request), "-ERR invalid cursor", "{request}");
        }
    }

    #[test]
    fn keys_whose_time_has_come_are_not_told() {
        let mut rig = Rig::new();
        rig.line("SET gone v PX 5");
        rig.line("SET here v");
        rig.now += 6;
        assert_eq!(rig.line("KEYS *"), "*1 $4 here");
        assert_eq!(step(&mut rig, "SCAN 0 COUNT 100").1, ["here"]);
        assert!(rig.line("RANDOMKEY").ends_with(" $4 here"));
        assert_eq!(step(&mut rig, "SCAN 0 COUNT 100 TYPE hash").1, [""; 0]);
    }
}
