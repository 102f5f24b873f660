//! A store does what a map of maps does, and its numbers add up: random edits against a model. A failure prints its seed; with
//! `ROLLBOOK_SEED` set, only that seed runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::*;
use crate::encoding::edit::{Change, Edit, Fields, Removal};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, PartitionId, Slot};

#[derive(Clone, Debug, PartialEq)]
enum Held {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

type Content = (Held, Option<UnixMillis>);

#[derive(Default)]
struct Model(BTreeMap<(u8, Vec<u8>), Content>);

fn partitions() -> Partitions {
    Partitions::new(4).unwrap()
}

fn partition_of(key: &[u8]) -> PartitionId {
    partitions().of(slot_of(key))
}

impl Model {
    /// Applies an edit; false if it contradicts the state.
    fn apply(&mut self, edit: &Edit<'_>) -> bool {
        match edit {
            Edit::Key { db, key, change, .. } => return self.change((db.0, key.to_vec()), change),
            Edit::Flush { partition, db } => self.0.retain(|(d, k), _| *d != db.0 || partition_of(k) != *partition),
            Edit::SwapDb { partition, a, b } => {
                let swapped = |(d, k): &(u8, Vec<u8>)| match () {
                    () if partition_of(k) != *partition => *d,
                    () if *d == a.0 => b.0,
                    () if *d == b.0 => a.0,
                    () => *d,
                };
                let old = std::mem::take(&mut self.0);
                self.0 = old.into_iter().map(|(k, v)| ((swapped(&k), k.1), v)).collect();
            }
            Edit::Barrier { .. } => {}
        }
        true
    }

    fn change(&mut self, at: (u8, Vec<u8>), change: &Change<'_>) -> bool {
        let owned = |fields: &Fields<'_>| -> BTreeMap<Vec<u8>, Vec<u8>> {
            fields.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
        };
        match change {
            Change::PutString { value, expire_at } => {
                self.0.insert(at, (Held::String(value.to_vec()), *expire_at));
            }
            Change::WriteString { offset, bytes } => {
                let held = self.0.entry(at).or_insert((Held::String(Vec::new()), None));
                let Held::String(string) = &mut held.0 else { return false };
                let offset = *offset as usize;
                string.resize(string.len().max(offset + bytes.len()), 0);
                string[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::PutHash { fields, expire_at } => {
                self.0.insert(at, (Held::Hash(owned(fields)), *expire_at));
            }
            Change::SetFields(fields) => {
                let held = self.0.entry(at).or_insert((Held::Hash(BTreeMap::new()), None));
                let Held::Hash(hash) = &mut held.0 else { return false };
                hash.extend(owned(fields));
            }
            Change::RemoveFields(fields) => {
                let Some(held) = self.0.get_mut(&at) else { return true };
                let Held::Hash(hash) = &mut held.0 else { return false };
                for (name, _) in fields.iter() {
                    hash.remove(name);
                }
                if hash.is_empty() {
                    self.0.remove(&at);
                }
            }
            Change::SetExpiry(expire_at) => match self.0.get_mut(&at) {
                Some(held) => held.1 = *expire_at,
                None => return false,
            },
            Change::Delete(_) => {
                self.0.remove(&at);
            }
        }
        true
    }
}

fn hash_of(hash: HashRef<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    let _ = hash.for_each(|name, value| {
        assert!(all.insert(name.to_vec(), value.to_vec()).is_none());
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(all.len(), hash.len());
    for (name, value) in &all {
        assert_eq!(hash.get(name), Some(&value[..]));
    }
    let mut scanned = BTreeSet::new();
    let mut cursor = 0;
    loop {
        cursor = hash.scan(cursor, 10, |name, value| {
            assert_eq!(all[name], value);
            scanned.insert(name.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert!(scanned.iter().eq(all.keys()));
    assert!(all.contains_key(hash.random_field((all.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).0));
    all
}

fn content_of(entry: Entry<'_>) -> Content {
    let held = match entry.value {
        Value::String(bytes) => Held::String(bytes.to_vec()),
        Value::Hash(hash) => Held::Hash(hash_of(hash)),
    };
    (held, entry.expire_at)
}

/// Everything that a store says of itself is as in the model, and as counted from the ground up.
fn check(store: &mut Store, model: &Model) {
    for ((db, key), content) in &model.0 {
        let found = store.get(Db(*db), slot_of(key), key).map(content_of);
        assert_eq!(found.as_ref(), Some(content), "{}", key.escape_ascii());
        assert!(store.memory_of(Db(*db), slot_of(key), key).unwrap() >= key.len());
    }
    for db in Db::all() {
        let keys: Vec<_> = model.0.iter().filter(|((d, _), _)| *d == db.0).collect();
        assert_eq!(store.len(db), keys.len());
        assert_eq!(store.expiring(db), keys.iter().filter(|(_, content)| content.1.is_some()).count());
        let mut random = fastrand::Rng::with_seed(1);
        let key = store.random_key(db, || random.u64(..));
        assert_eq!(key.is_some(), !keys.is_empty());
        if let Some((slot, key)) = key {
            assert_eq!(slot, slot_of(key));
            assert!(model.0.contains_key(&(db.0, key.to_vec())));
        }
    }
    check_sums(store);
}

fn check_sums(store: &mut Store) {
    while !store.garbage.is_empty() {
        store.memory -= store.garbage.free(10);
    }
    let databases = || store.databases.iter().flatten();
    let slots: usize = databases().flat_map(|d| &d.slots).map(SlotMap::memory).sum();
    let vecs: usize = databases().map(|d| Database::memory_of(d.slots.len())).sum();
    assert_eq!(store.used_memory(), slots + vecs);
    for map in databases().flat_map(|d| &d.slots) {
        let times: Vec<_> = map.table.iter().filter_map(record::Record::expire_at).collect();
        assert_eq!(map.expiring as usize, times.len());
    }
}

struct Generator {
    random: fastrand::Rng,
    keys: u32,
    fields: u32,
    slots: u32,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (keys, fields) = (random.choice([5, 300, 3000]).unwrap(), random.choice([10, 200, 2000]).unwrap());
        let slots = random.choice([1, 20, 16_384]).unwrap();
        Self { random, keys, fields, slots }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random.u32(..self.keys);
        format!("{{{}}}{number}", number % self.slots).into_bytes()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.random.u8(..20) {
            0 => 0,
            1 => self.random.usize(..20_000),
            2..5 => 64,
            _ => self.random.usize(..80),
        };
        vec![self.random.u8(..); len]
    }

    fn expiry(&mut self) -> Option<UnixMillis> {
        (self.random.u8(..3) == 0).then(|| UnixMillis::new(self.random.u64(1..1000)))
    }

    fn fields(&mut self, with_values: bool) -> Fields<'static> {
        let mut fields = Fields::default();
        let count = if self.random.u8(..10) == 0 { self.fields } else { self.random.u32(1..5) };
        for _ in 0..count {
            let name = self.random.u32(..self.fields).to_string();
            let value = if with_values { self.bytes() } else { Vec::new() };
            fields.push(name.as_bytes(), &value[..value.len().min(100)]);
        }
        fields
    }

    fn edit(&mut self) -> Edit<'static> {
        let key = self.key();
        let (slot, partition) = (slot_of(&key), partition_of(&key));
        let mut db = || Db(if self.random.u8(..4) == 0 { self.random.u8(..16) } else { 0 });
        let (db, other) = (db(), db());
        let change = match self.random.u16(..1000) {
            0 => return Edit::Flush { partition, db },
            1..5 => return Edit::SwapDb { partition, a: db, b: other },
            5..10 => return Edit::Barrier { partition, checkpoint: false, digests: Cow::default() },
            10..300 => Change::PutString { value: self.bytes().into(), expire_at: self.expiry() },
            300..400 => Change::WriteString { offset: self.random.u64(..9000), bytes: self.bytes().into() },
            400..430 => Change::PutHash { fields: self.fields(true), expire_at: self.expiry() },
            430..650 => Change::SetFields(self.fields(true)),
            650..800 => Change::RemoveFields(self.fields(false)),
            800..850 => Change::SetExpiry(self.expiry()),
            _ => Change::Delete(Removal::Deleted),
        };
        Edit::Key { db, slot, key: key.into(), change }
    }
}

/// Runs `test` with many seeds, or with the one in `ROLLBOOK_SEED`.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    let only = std::env::var("ROLLBOOK_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..count, |seed: u64| seed..seed + 1) {
        println!("ROLLBOOK_SEED={seed}");
        test(seed);
    }
}

fn whole() -> Store {
    Store::new(partitions(), 0..4)
}

/// A store and its model after random edits.
fn random_content(seed: u64, edits: usize) -> (Store, Model) {
    let (mut store, mut model, mut generator) = (whole(), Model::default(), Generator::new(seed));
    for _ in 0..edits {
        let edit = generator.edit();
        assert_eq!(store.apply(&edit).is_ok(), model.apply(&edit), "{edit:?}");
    }
    (store, model)
}

fn assert_same_digests(a: &Store, b: &Store) {
    for partition in 0..4 {
        assert_eq!(a.digests(PartitionId(partition)), b.digests(PartitionId(partition)));
    }
}

/// A store that got the model's content in one go.
fn rebuilt(model: &Model) -> Store {
    let mut store = whole();
    for ((db, key), (held, expire_at)) in model.0.iter().rev() {
        let expire_at = *expire_at;
        let change = match held {
            Held::String(value) => Change::PutString { value: value.into(), expire_at },
            Held::Hash(hash) => {
                let mut fields = Fields::default();
                hash.iter().rev().for_each(|(name, value)| fields.push(name, value));
                Change::PutHash { fields, expire_at }
            }
        };
        store.apply(&Edit::Key { db: Db(*db), slot: slot_of(key), key: key.into(), change }).unwrap();
    }
    store
}

#[test]
fn a_store_does_what_a_map_does() {
    with_seeds(15, |seed| {
        let (mut store, mut model, mut generator) = (whole(), Model::default(), Generator::new(seed));
        for step in 0..3000 {
            let edit = generator.edit();
            assert_eq!(store.apply(&edit).is_ok(), model.apply(&edit), "{edit:?}");
            if step % 1000 == 999 {
                check(&mut store, &model);
            }
        }
    });
}

#[test]
fn digests_depend_on_the_content_alone() {
    with_seeds(10, |seed| {
        let (mut store, model) = random_content(seed, 2000);
        assert_same_digests(&store, &rebuilt(&model));
        let Some(((db, key), _)) = model.0.first_key_value() else { return };
        let (db, slot) = (Db(*db), slot_of(key));
        let before = store.digest(slot);
        let change = Change::SetExpiry(Some(UnixMillis::new(77_777)));
        store.apply(&Edit::Key { db, slot, key: key.into(), change }).unwrap();
        assert_ne!(store.digest(slot), before);
    });
}

#[test]
fn digests_tell_databases_apart() {
    let put = |db| Edit::Key {
        db: Db(db),
        slot: slot_of(b"key"),
        key: b"key".into(),
        change: Change::PutString { value: b"value".into(), expire_at: None },
    };
    let (mut zero, mut one) = (whole(), whole());
    zero.apply(&put(0)).unwrap();
    one.apply(&put(1)).unwrap();
    assert_ne!(zero.digest(slot_of(b"key")), one.digest(slot_of(b"key")));
    zero.apply(&Edit::SwapDb { partition: partition_of(b"key"), a: Db(0), b: Db(1) }).unwrap();
    assert_eq!(zero.digest(slot_of(b"key")), one.digest(slot_of(b"key")));
}

#[test]
fn sections_bring_a_slot_back() {
    with_seeds(10, |seed| {
        let (store, model) = random_content(seed, 2000);
        let mut loaded = whole();
        for slot in (0..crate::ids::SLOTS).map(Slot) {
            let mut section = Vec::new();
            let count = store.write_section(slot, &mut section);
            let digest = loaded.digest(slot);
            assert!(loaded.load_section(slot, count + 1, &section).is_err());
            if let Some(last) = section.len().checked_sub(1) {
                assert!(loaded.load_section(slot, count, &section[..last]).is_err());
            }
            assert_eq!(loaded.digest(slot), digest);
            loaded.load_section(slot, count, &section).unwrap();
            assert_eq!(loaded.load_section(slot, count, &section).is_err(), count > 0);
        }
        check(&mut loaded, &model);
        assert_same_digests(&loaded, &store);
    });
}

#[test]
fn partitions_move_between_stores() {
    with_seeds(10, |seed| {
        let (mut store, model) = random_content(seed, 1000);
        let whole_digests: Vec<_> = (0..4).flat_map(|p| store.digests(PartitionId(p))).collect();
        let mut last = store.split_off(3..4);
        let mut first = store.split_off(0..1);
        assert_eq!((first.owned(), store.owned(), last.owned()), (0..1, 1..3, 3..4));
        for part in [&mut first, &mut store, &mut last] {
            check_sums(part);
            for ((db, key), content) in &model.0 {
                let here = part.owned().contains(&partition_of(key).0);
                let found = part.get(Db(*db), slot_of(key), key).map(content_of);
                assert_eq!(found.as_ref(), here.then_some(content));
            }
        }
        let mut all = Store::new(partitions(), 0..0);
        all.merge(store);
        all.merge(first);
        all.merge(last);
        check(&mut all, &model);
        assert!((0..4).flat_map(|p| all.digests(PartitionId(p))).eq(whole_digests));
        all.clear_partition(PartitionId(2));
        assert_eq!(all.digests(PartitionId(2)), vec![0; 4096]);
        check_sums(&mut all);
    });
}

#[test]
fn what_is_deleted_is_freed_in_the_end_and_bit_by_bit() {
    let (mut store, db, slot) = (whole(), Db(0), slot_of(b"key"));
    let edit = |key: &'static [u8], change| Edit::Key { db, slot, key: key.into(), change };
    let big = || {
        let mut fields = Fields::default();
        (0..10_000).for_each(|n: u32| fields.push(&n.to_le_bytes(), b"value"));
        Change::PutHash { fields, expire_at: None }
    };
    store.apply(&edit(b"a", Change::Delete(Removal::Deleted))).unwrap();
    let empty = store.used_memory();
    let gone = [
        edit(b"a", Change::Delete(Removal::Deleted)),
        edit(b"a", Change::PutString { value: b"".into(), expire_at: None }),
        edit(b"a", big()),
        Edit::Flush { partition: partition_of(b"key"), db },
    ];
    for change in gone {
        store.apply(&edit(b"a", big())).unwrap();
        let full = store.used_memory();
        store.apply(&change).unwrap();
        assert!(store.used_memory() > full - 10_000);
        store.apply(&edit(b"a", Change::Delete(Removal::Deleted))).unwrap();
        let mut slices = 0;
        while !store.expired(UnixMillis::new(1), 100, |_, _, _| ()) {
            slices += 1;
        }
        assert!(slices > 80);
        assert_eq!(store.used_memory(), empty);
    }
}

#[test]
fn uses_are_noted_and_writes_count() {
    let (mut store, db, slot) = (whole(), Db(0), slot_of(b"key"));
    let edit = |change| Edit::Key { db, slot, key: b"key".into(), change };
    let mut fields = Fields::default();
    (0..200u8).for_each(|n| fields.push(&[n], b"value"));
    let mut field = Fields::default();
    field.push(&[7], b"");
    assert_eq!(store.last_use(db, slot, b"key"), None);
    store.apply(&edit(Change::SetFields(Fields::default()))).unwrap();
    assert_eq!(store.last_use(db, slot, b"key"), None);
    let changes = [
        Change::PutString { value: b"short".into(), expire_at: None },
        Change::PutString { value: b"a longer value".into(), expire_at: Some(UnixMillis::new(5)) },
        Change::SetExpiry(None),
        Change::WriteString { offset: 100, bytes: b"x".into() },
        Change::PutHash { fields, expire_at: None },
        Change::SetFields(field.clone()),
        Change::RemoveFields(field),
    ];
    for (now, change) in (1..).zip(changes) {
        store.set_clock(10 * now);
        store.apply(&edit(change)).unwrap();
        assert_eq!(store.last_use(db, slot, b"key"), Some(10 * now));
        assert!(store.get_used(db, slot, b"key", 10 * now + 1).is_some());
        assert_eq!(store.last_use(db, slot, b"key"), Some(10 * now + 1));
    }
    let sought = store.seek(db, slot, b"key");
    store.seek_bucket(&sought);
    store.seek_record(&sought);
    assert!(store.memory_of(db, slot, b"key").unwrap() > 199 * 32);
}

#[test]
fn edits_of_partitions_elsewhere_are_refused() {
    let mut store = Store::new(partitions(), 1..2);
    for partition in [PartitionId(0), PartitionId(2)] {
        let slot = Slot(partitions().slots(partition).start);
        let change = Change::Delete(Removal::Deleted);
        assert!(store.apply(&Edit::Key { db: Db(0), slot, key: b"".into(), change }).is_err());
        assert!(store.apply(&Edit::Flush { partition, db: Db(0) }).is_err());
        assert!(store.apply(&Edit::SwapDb { partition, a: Db(0), b: Db(1) }).is_err());
        assert!(store.load_section(slot, 0, b"").is_err());
        assert!(store.get(Db(0), slot, b"").is_none());
    }
}

#[test]
fn what_stays_is_scanned_whatever_comes_and_goes() {
    with_seeds(4, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut store = whole();
        let slot = slot_of(b"tag");
        let edit = |name: String, change: Change<'static>| Edit::Key {
            db: Db(0),
            slot,
            key: format!("{{tag}}{name}").into_bytes().into(),
            change,
        };
        let put = || Change::PutString { value: b"".into(), expire_at: None };
        let stays = 500;
        (0..stays).for_each(|n| store.apply(&edit(format!("stays{n}"), put())).unwrap());
        for growing in [true, false, true, false] {
            let (mut cursor, mut seen) = (0, BTreeSet::new());
            loop {
                cursor = store.scan_slot(Db(0), slot, cursor, random.usize(1..50), |key, _| {
                    seen.insert(key.to_vec());
                });
                if cursor == 0 {
                    break;
                }
                for _ in 0..1000 {
                    let name = random.u32(..30_000).to_string();
                    let change = if growing { put() } else { Change::Delete(Removal::Deleted) };
                    store.apply(&edit(name, change)).unwrap();
                }
            }
            assert_eq!(seen.iter().filter(|key| key.starts_with(b"{tag}stays")).count(), stays);
        }
        (0..30_000).for_each(|n| store.apply(&edit(n.to_string(), Change::Delete(Removal::Deleted))).unwrap());
        assert_eq!(store.len(Db(0)), stays);
        check_sums(&mut store);
    });
}

#[test]
fn all_that_is_due_is_found_and_nothing_else() {
    with_seeds(10, |seed| {
        let (mut store, mut model, mut generator) = (whole(), Model::default(), Generator::new(seed));
        for now in (1..1200).step_by(10).map(UnixMillis::new) {
            for _ in 0..20 {
                let edit = generator.edit();
                assert_eq!(store.apply(&edit).is_ok(), model.apply(&edit));
            }
            for _ in 0..generator.random.u8(..5) {
                let mut due = Vec::new();
                let budget = generator.random.usize(1..200);
                store.expired(now, budget, |db, slot, key| due.push((db, slot, key.to_vec())));
                for (db, slot, key) in due {
                    let content = &model.0[&(db.0, key.clone())];
                    assert!(content.1.is_some_and(|time| time <= now));
                    if generator.random.bool() {
                        let change = Change::Delete(Removal::Expired);
                        let edit = Edit::Key { db, slot, key: key.into(), change };
                        store.apply(&edit).unwrap();
                        model.apply(&edit);
                    }
                }
            }
        }
        let now = UnixMillis::new(5000);
        let mut due = BTreeSet::new();
        for _ in 0..2 {
            while !store.expired(now, 50, |db, _, key| {
                due.insert((db.0, key.to_vec()));
            }) {}
        }
        let expected = model.0.iter().filter(|(_, content)| content.1.is_some()).map(|(at, _)| at);
        assert!(due.iter().eq(expected));
    });
}
