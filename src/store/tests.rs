//! A store does what a map of maps does, and its numbers add up: random edits against a model. A failure prints its
//! seed; with `ROLLBOOK_SEED` set, only that seed runs.

mod reads;
mod reload;

use std::collections::BTreeSet;

use self::reads::content_of;
use super::model::{Generator, Held, Model, partition_of, partitions};
use super::*;
use crate::encoding::edit::{Change, Edit, Elements, End, Fields, Removal};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, PartitionId, Slot};

/// Checks that everything a store reports agrees with the model, and with a recount.
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

/// Checks the totals against a recount, once all that waits to be freed is freed.
pub(super) fn check_sums(store: &mut Store) {
    while !store.garbage.is_empty() {
        store.memory -= store.garbage.free(10);
    }
    let databases = || store.databases.iter().flatten();
    let slots: usize = databases().flat_map(|d| &d.slots).map(SlotMap::memory).sum();
    let vecs: usize = databases().map(|d| Database::memory_of(d.slots.len())).sum();
    assert_eq!(store.used_memory(), slots + vecs);
    for map in databases().flat_map(|d| &d.slots) {
        let times: Vec<_> = map.table.iter().filter_map(table::Record::expire_at).collect();
        assert_eq!(map.expiring as usize, times.len());
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

/// Makes a store and its model, and applies the same random edits to both.
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

/// Makes a store with the model's content, written in one go.
fn rebuilt(model: &Model) -> Store {
    let mut store = whole();
    for ((db, key), (held, expire_at)) in model.0.iter().rev() {
        let change = held.put(*expire_at);
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
fn the_digest_of_a_value_is_the_same_under_every_key() {
    let other_name = |key: &[u8]| [b"other ", key].concat();
    with_seeds(5, |seed| {
        let (mut store, mut other, mut generator) = (whole(), whole(), Generator::new(seed));
        let mut keys = BTreeSet::new();
        for _ in 0..2000 {
            let edit = generator.edit();
            let Edit::Key { db, key, change, .. } = &edit else { continue };
            let _ = store.apply(&edit);
            let key = other_name(key);
            let change = match change {
                Change::Move { to_db, to_key } => Change::Move { to_db: *to_db, to_key: other_name(to_key).into() },
                change => change.clone(),
            };
            let _ = other.apply(&Edit::Key { db: *db, slot: slot_of(&key), key: key.into(), change });
        }
        for db in Db::all() {
            keys.extend(store.keys_from(db, Slot(0)).map(|(key, _)| (db.0, key.to_vec())));
        }
        assert!(!keys.is_empty());
        for (db, key) in keys {
            let digest = |store: &Store, key: &[u8]| store.get(Db(db), slot_of(key), key).unwrap().value.digest();
            assert_eq!(digest(&store, &key), digest(&other, &other_name(&key)), "{}", key.escape_ascii());
            assert_ne!(store.digest(slot_of(&key)), Digest(0));
        }
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
fn keys_that_sections_brought_expire_without_being_read() {
    with_seeds(10, |seed| {
        let (store, model) = random_content(seed, 2000);
        let mut loaded = whole();
        for slot in (0..crate::ids::SLOTS).map(Slot) {
            let mut section = Vec::new();
            let count = store.write_section(slot, &mut section);
            loaded.load_section(slot, count, &section).unwrap();
        }
        let (full, now) = (loaded.memory, UnixMillis::new(5000));
        let mut due = Vec::new();
        while !loaded.expired(now, 50, |db, slot, key, change| {
            due.push(Edit::Key { db, slot, key: key.to_vec().into(), change });
        }) {}
        due.iter().for_each(|edit| loaded.apply(edit).unwrap());
        while !loaded.expired(now, 50, |_, _, _, _| panic!("all that was due is gone")) {}
        let left = what_stays(model.clone(), now);
        assert!(left.0.len() < model.0.len());
        assert!(loaded.memory < full);
        check(&mut loaded, &left);
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
    // It keeps its database in use.
    let stays = edit(b"stays", Change::PutString { value: b"".into(), expire_at: None });
    store.apply(&stays).unwrap();
    let empty = store.used_memory();
    let list = || {
        let mut elements = Elements::default();
        (0..2_000).for_each(|n: u32| elements.push(&[n as u8; 5_000]));
        Change::PutList { elements, expire_at: None }
    };
    let trimmed = Change::PopElements { end: End::Right, count: 1_999 };
    let gone = [
        edit(b"a", Change::Delete(Removal::Deleted)),
        edit(b"a", Change::PutString { value: b"".into(), expire_at: None }),
        edit(b"a", big()),
        Edit::Flush { partition: partition_of(b"key"), db },
    ];
    let of_hash = gone.into_iter().map(|change| (big(), change, 80));
    let of_list = [Change::Delete(Removal::Deleted), trimmed].map(|change| (list(), edit(b"a", change), 25));
    for (value, change, least) in of_hash.chain(of_list) {
        store.apply(&edit(b"a", value)).unwrap();
        let full = store.used_memory();
        store.apply(&change).unwrap();
        assert!(store.used_memory() > full - full / 4);
        store.apply(&edit(b"a", Change::Delete(Removal::Deleted))).unwrap();
        store.apply(&stays).unwrap();
        let mut slices = 0;
        while !store.expired(UnixMillis::new(1), 100, |_, _, _, _| ()) {
            slices += 1;
        }
        assert!(slices > least, "{slices} slices");
        // A flush takes it, too.
        store.apply(&stays).unwrap();
        assert_eq!(store.used_memory(), empty, "{change:?}");
    }
}

#[test]
fn uses_are_noted_and_writes_count() {
    let (mut store, db, slot) = (whole(), Db(0), slot_of(b"key"));
    let edit = |change| Edit::Key { db, slot, key: b"key".into(), change };
    let mut fields = Fields::default();
    (0..600u16).for_each(|n| fields.push(&n.to_le_bytes(), b"value"));
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
    assert!(store.memory_of(db, slot, b"key").unwrap() > 599 * 7);
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
                store.expired(now, budget, |db, slot, key, change| {
                    due.push(Edit::Key { db, slot, key: key.to_vec().into(), change });
                });
                for edit in due {
                    assert!(is_due(&model, &edit, now), "{edit:?}");
                    if generator.random.bool() {
                        store.apply(&edit).unwrap();
                        model.apply(&edit);
                    }
                }
            }
        }
        let now = UnixMillis::new(5000);
        let mut left = model.clone();
        for _ in 0..2 {
            while !store.expired(now, 50, |db, slot, key, change| {
                let edit = Edit::Key { db, slot, key: key.to_vec().into(), change };
                assert!(is_due(&model, &edit, now), "{edit:?}");
                left.apply(&edit);
            }) {}
        }
        assert_eq!(left.0, what_stays(model, now).0);
    });
}

/// Whether all that an edit deletes is there and has expired.
fn is_due(model: &Model, edit: &Edit<'_>, now: UnixMillis) -> bool {
    let Edit::Key { db, key, change, .. } = edit else { return false };
    let Some((held, expire_at)) = model.0.get(&(db.0, key.to_vec())) else { return false };
    match (change, held) {
        (Change::Delete(Removal::Expired), _) => expire_at.is_some_and(|at| at <= now),
        (Change::ExpireFields(fields), Held::Hash(all)) => {
            !fields.is_empty() && fields.iter().all(|(name, _)| all[name].1.is_some_and(|at| at <= now))
        }
        _ => false,
    }
}

/// What a model holds once all that has expired is deleted.
fn what_stays(mut model: Model, now: UnixMillis) -> Model {
    let stays = |at: &Option<UnixMillis>| at.is_none_or(|at| at > now);
    model.0.retain(|_, (held, expire_at)| {
        let Held::Hash(fields) = held else { return stays(expire_at) };
        fields.retain(|_, (_, at)| stays(at));
        stays(expire_at) && !fields.is_empty()
    });
    model
}

#[test]
fn a_database_that_nobody_uses_any_more_takes_no_memory() {
    let mut store = whole();
    let change = |store: &mut Store, db, key: &[u8], change| {
        store.apply(&Edit::Key { db: Db(db), slot: slot_of(key), key: key.into(), change }).unwrap();
    };
    let put = || Change::PutString { value: b"value".into(), expire_at: None };
    let round = |store: &mut Store| while !store.expired(UnixMillis::new(1), 1_000_000, |_, _, _, _| {}) {};
    let empty = store.used_memory();
    for n in 0..1_000u32 {
        change(&mut store, 3, &n.to_be_bytes(), put());
    }
    change(&mut store, 5, b"stays", put());
    for n in 0..1_000u32 {
        change(&mut store, 3, &n.to_be_bytes(), Change::Delete(Removal::Deleted));
    }
    round(&mut store);
    assert!(store.databases[3].is_some(), "it may be used again at once");
    // It is used and emptied between two rounds: it may go nevertheless, and comes back with the next key.
    change(&mut store, 3, b"key", put());
    change(&mut store, 3, b"key", Change::Delete(Removal::Deleted));
    round(&mut store);
    assert!(store.databases[3].is_none() && store.databases[5].is_some());
    check_sums(&mut store);
    change(&mut store, 3, b"key", put());
    round(&mut store);
    round(&mut store);
    assert_eq!(store.len(Db(3)), 1);
    change(&mut store, 3, b"key", Change::Delete(Removal::Deleted));
    for partition in 0..partitions().count() {
        store.apply(&Edit::Flush { partition: PartitionId(partition), db: Db(5) }).unwrap();
    }
    round(&mut store);
    round(&mut store);
    assert_eq!(store.used_memory(), empty);
}

#[test]
fn what_keys_take_adds_up_to_what_the_store_takes() {
    let mut store = whole();
    let mut random = fastrand::Rng::new();
    let mut keys = Vec::new();
    for n in 0..3_000u32 {
        let key = format!("key {n}").into_bytes();
        let change = if n % 3 == 0 {
            let mut fields = Fields::default();
            (0..random.u32(1..600)).for_each(|field| fields.push(&field.to_be_bytes(), b"value"));
            Change::SetFields(fields)
        } else {
            Change::PutString { value: vec![0; random.usize(..5_000)].into(), expire_at: None }
        };
        let edit = Edit::Key { db: Db(0), slot: slot_of(&key), key: (&key[..]).into(), change };
        store.apply(&edit).unwrap();
        keys.push(key);
    }
    let sum: usize = keys.iter().filter_map(|key| store.memory_of(Db(0), slot_of(key), key)).sum();
    let slots = Database::memory_of(usize::from(store.slots));
    let told = store.used_memory() - slots;
    // A key's share of its slot's table is rounded down.
    assert!(sum <= told && told - sum < keys.len(), "{sum} of {told}");
}
