//! A table of elements does what a map does, never in long steps, and gives each element the same chance.

use std::collections::{BTreeMap, BTreeSet};

use super::slices::Slices;
use super::*;
use crate::encoding::edit::{Change, Elements};

/// Content of a table: values and expiries by name.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<UnixMillis>)>;

/// A table beside its model, changed at random.
struct Rig {
    table: ElementTable,
    model: Model,
    random: fastrand::Rng,
    /// Number of names that are drawn from.
    names: u32,
    /// Whether values are empty, as in sets.
    is_set: bool,
    /// Whether every seventh name stays as it is.
    spares: bool,
}

/// A digest that tells elements apart.
fn digest(element: Element<'_>) -> u64 {
    let at = element.expire_at.map_or(1, UnixMillis::get);
    xxhash_rust::xxh3::xxh3_64_with_seed(&[element.name, b"=", element.value].concat(), at)
}

fn own(element: Element<'_>) -> (Vec<u8>, (Vec<u8>, Option<UnixMillis>)) {
    (element.name.to_vec(), (element.value.to_vec(), element.expire_at))
}

fn lend<'a>((name, (value, expire_at)): (&'a Vec<u8>, &'a (Vec<u8>, Option<UnixMillis>))) -> Element<'a> {
    Element { name, value, expire_at: *expire_at }
}

/// Runs `test` for some seeds; a failing one is named.
fn with_seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in 0..count {
        let result = std::panic::catch_unwind(|| test(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

impl Rig {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let table = ElementTable::with_capacity(Seed::get(), random.usize(..200));
        let names = 1 << random.u32(0..11);
        Self { table, model: Model::new(), names, is_set: random.bool(), spares: false, random }
    }

    /// Fills a table some of whose elements stay from now on.
    fn filled(seed: u64) -> Self {
        let mut rig = Self::new(seed);
        rig.names = rig.names.min(256);
        (0..rig.random.usize(..1000)).for_each(|_| rig.change(14));
        rig.spares = true;
        rig
    }

    /// Lets the table grow or shrink, often as far as it goes.
    fn swing(&mut self) {
        let adds = [0, 16][self.random.usize(..2)];
        (0..self.random.usize(..800)).for_each(|_| self.change(adds));
    }

    /// A name: one in eight is long, one is empty.
    fn name(&mut self) -> Vec<u8> {
        let number = self.random.u32(..self.names);
        let number = if self.spares && number % 7 == 3 { number + 1 } else { number };
        let length = if number % 8 == 7 { 120 + number as usize % 16 } else { 4 };
        if number == 0 { Vec::new() } else { [&number.to_le_bytes()[..], &vec![b'n'; length]].concat() }
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.u8(..8) {
            _ if self.is_set => 0,
            0 => 0,
            1 => self.random.usize(100..300),
            2..5 => self.random.usize(..100),
            _ => 7,
        };
        vec![self.random.u8(..); length]
    }

    fn expiry(&mut self) -> Option<UnixMillis> {
        (!self.is_set && self.random.u8(..8) == 0).then(|| UnixMillis::new(self.random.u64(1..9)))
    }

    /// Sets, adds, removes, or changes the expiry of an element; `adds` of 16 changes add.
    fn change(&mut self, adds: u8) {
        let name = self.name();
        if self.random.u8(..16) >= adds {
            self.table.remove(&name, digest);
            self.model.remove(&name);
            return;
        }
        let (value, expire_at) = (self.value(), self.expiry());
        let element = Element { name: &name, value: &value, expire_at };
        let record = match self.random.u8(..4) {
            0 => {
                let times = self.model.get_mut(&name).map(|(_, at)| at);
                times.into_iter().for_each(|at| *at = expire_at);
                self.table.set_expiry(&name, expire_at, digest)
            }
            1 => {
                self.table.add(Element { expire_at: None, ..element }, digest);
                self.model.entry(name.clone()).or_insert((value, None));
                return;
            }
            _ => {
                self.model.insert(name.clone(), (value.clone(), expire_at));
                self.table.set(element, digest)
            }
        };
        // What expires has a record, at the address that was told.
        let expires = self.model.get(&name).is_some_and(|(_, at)| at.is_some());
        assert!(record.is_some() || !expires);
        let found = self.table.record(&name).map(|record| record.reference().address());
        assert_eq!(record.map(RecordRef::address), found);
    }

    fn check(&self) {
        let (table, model) = (&self.table, &self.model);
        assert_eq!(table.len(), model.len());
        assert_eq!(table.digest(), model.iter().map(lend).fold(0u64, |sum, e| sum.wrapping_add(digest(e))));
        assert_eq!(table.content_len(), model.iter().map(lend).map(|e| e.len()).sum::<usize>());
        assert!(model.iter().map(lend).all(|e| table.find(e.name) == Some(e)));
        assert_eq!(table.iter().map(own).collect::<Model>(), *model);
        assert_eq!(table.iter().count(), model.len());
    }
}

#[test]
fn a_table_does_what_a_map_does() {
    with_seeds(60, |seed| {
        let mut rig = Rig::new(seed);
        for _ in 0..12 {
            let adds = rig.random.u8(..17);
            (0..rig.random.usize(..600)).for_each(|_| rig.change(adds));
            rig.check();
        }
        let names: Vec<_> = rig.model.keys().cloned().collect();
        names.iter().for_each(|name| rig.table.remove(name, digest));
        rig.model.clear();
        rig.check();
    });
}

#[test]
fn memory_adds_up_to_nothing_when_all_is_freed() {
    with_seeds(30, |seed| {
        let mut rig = Rig::new(seed);
        for _ in 0..6 {
            let adds = rig.random.u8(4..17);
            (0..1000).for_each(|_| rig.change(adds));
        }
        let memory = rig.table.memory();
        assert!(memory >= rig.table.content_len());
        let (mut packs, mut freed) = (rig.table.into_packs(), 0);
        while let Some(bytes) = packs.give_up() {
            freed += bytes;
        }
        assert_eq!((freed, packs.memory()), (memory, 0));
    });
}

#[test]
fn a_scan_visits_what_stays_whatever_comes_and_goes() {
    with_seeds(60, |seed| {
        let mut rig = Rig::filled(seed);
        let (mut stays, mut seen, mut cursor) = (rig.model.clone(), BTreeSet::new(), 0);
        loop {
            let count = rig.random.usize(..30);
            cursor = rig.table.scan(cursor, count, |element| _ = seen.insert(element.name.to_vec()));
            if cursor == 0 {
                break;
            }
            rig.swing();
            stays.retain(|name, _| rig.model.contains_key(name));
        }
        assert!(stays.keys().all(|name| seen.contains(name)));
    });
}

#[test]
fn a_sweep_visits_what_stays_exactly_once() {
    with_seeds(60, |seed| {
        let mut rig = Rig::filled(seed);
        let (mut stays, mut seen, mut next) = (rig.model.clone(), BTreeMap::new(), Some(0));
        while let Some(turn) = next {
            let swept = rig.table.sweep(turn, |element| {
                *seen.entry(element.name.to_vec()).or_insert(0) += 1;
                ControlFlow::Continue(())
            });
            next = swept.continue_value().unwrap();
            rig.swing();
            stays.retain(|name, _| rig.model.contains_key(name));
        }
        assert!(stays.keys().all(|name| seen[name] == 1));
    });
}

#[test]
fn a_table_is_captured_as_it_was_at_the_beginning() {
    fn write(out: &mut Vec<u8>, element: Element<'_>) {
        out.extend_from_slice(&digest(element).to_le_bytes());
    }
    with_seeds(60, |seed| {
        let mut rig = Rig::filled(seed);
        let digests = rig.model.iter().map(lend).map(digest).collect::<BTreeSet<_>>();
        let (mut out, mut slices) = (Vec::new(), Slices::new(&rig.table, write));
        while !slices.go_on(Some(&rig.table), &mut out, &mut |_| false) {
            let removes = rig.random.bool();
            for _ in 0..rig.random.usize(..200) {
                let (name, value, expire_at) = (rig.name(), rig.value(), rig.expiry());
                let mut names = Elements::default();
                names.push(&name);
                if slices.save_before(Some(&rig.table), &Change::RemoveMembers(names), &mut out) {
                    break;
                }
                if removes {
                    rig.table.remove(&name, digest);
                } else {
                    rig.table.set(Element { name: &name, value: &value, expire_at }, digest);
                }
            }
        }
        assert!(slices.is_whole());
        let written: Vec<_> = out.as_chunks().0.iter().copied().map(u64::from_le_bytes).collect();
        assert_eq!(written.len(), digests.len());
        assert_eq!(written.into_iter().collect::<BTreeSet<_>>(), digests);
    });
}

#[test]
fn short_elements_take_little_more_than_their_bytes() {
    let directory = size_of::<pack::Pack>() * 5 / 4 / packs::GROW_AT;
    for (name_len, value_len) in [(10, 0), (16, 0), (10, 10), (16, 60)] {
        let mut table = ElementTable::with_capacity(Seed::get(), 0);
        for number in 0..20_000u32 {
            let name = [&number.to_le_bytes()[..], &vec![0; name_len - 4]].concat();
            table.add(Element::new((&name, &vec![0; value_len])), |_| 0);
        }
        let (each, most) = (table.memory() / table.len(), (name_len + value_len + 2) * 5 / 4 + directory);
        assert!(each <= most, "{each} bytes for an element of {name_len} and {value_len}, not {most}");
    }
}

#[test]
fn a_few_elements_of_many_are_drawn_without_a_walk() {
    let mut table = ElementTable::with_capacity(Seed::get(), 100_000);
    (0..100_000u32).for_each(|n| table.add(Element::new((&n.to_le_bytes(), b"")), |_| 1));
    let mut random = fastrand::Rng::with_seed(1);
    for count in [0, 1, 10, 100] {
        let (mut numbers, mut drawn) = (0, BTreeSet::new());
        let next = || {
            numbers += 1;
            random.u64(..)
        };
        table.distinct(count, next, |element| assert!(drawn.insert(element.name.to_vec())));
        assert_eq!(drawn.len(), count);
        assert!(numbers <= 50 + 20 * count, "{numbers} random numbers for {count} elements");
    }
}

#[test]
fn every_element_is_drawn_as_often_as_any_other() {
    let mut table = ElementTable::with_capacity(Seed::get(), 1000);
    (0..1000u32).for_each(|n| table.add(Element::new((&n.to_le_bytes(), b"")), |_| 1));
    let mut random = fastrand::Rng::with_seed(1);
    for count in [20, 700] {
        let mut times = vec![0; 1000];
        for _ in 0..200_000 / count {
            table.distinct(
                count,
                || random.u64(..),
                |element| times[u32::from_le_bytes(element.name.try_into().unwrap()) as usize] += 1,
            );
        }
        assert!(times.iter().all(|times| (120..300).contains(times)), "{times:?}");
    }
}
