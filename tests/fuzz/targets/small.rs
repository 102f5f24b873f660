//! A store so small that a target can make one for each input: one partition of sixteen slots.

use std::sync::OnceLock;

use rollbook::encoding::edit::Edit;
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{Db, PartitionId, Partitions};
use rollbook::store::Store;

use super::model::{Held, Model};

/// Number of slots.
const SLOTS: u16 = 16;

/// How the slots are cut, for a partition to have so few of them.
pub fn partitions() -> Partitions {
    Partitions::new(rollbook::ids::SLOTS / SLOTS).expect("a power of two")
}

/// An empty store that owns the first partition.
pub fn store() -> Store {
    Store::new(partitions(), 0..1)
}

/// The key with a tag before it that brings it into one of the slots.
pub fn tagged(key: &[u8]) -> Vec<u8> {
    static TAGS: OnceLock<Vec<String>> = OnceLock::new();
    let tags = TAGS.get_or_init(|| {
        let tags = (0..).map(|n: u32| format!("{{{n}}}")).filter(|tag| slot_of(tag.as_bytes()).0 < SLOTS);
        tags.take(usize::from(SLOTS)).collect()
    });
    let tag = &tags[usize::from(key.first().copied().unwrap_or(0)) % tags.len()];
    [tag.as_bytes(), key].concat()
}

/// The partition that an edit is of.
pub fn partition(edit: &Edit<'_>) -> PartitionId {
    match edit {
        Edit::Key { slot, .. } => partitions().of(*slot),
        Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => *partition,
    }
}

/// The store holds what the model holds, and nothing else; and its digests are those of a store that got the same in
/// one go.
pub fn assert_same(store: &Store, model: &Model) {
    for db in Db::all() {
        assert_eq!(store.len(db), model.0.keys().filter(|(d, _)| *d == db.0).count(), "keys in database {db}");
    }
    let mut rebuilt = self::store();
    for ((db, key), (held, expire_at)) in &model.0 {
        let (db, slot, expire_at) = (Db(*db), slot_of(key), *expire_at);
        let entry = store.get(db, slot, key);
        let entry = entry.unwrap_or_else(|| panic!("key \"{}\" is lost", key.escape_ascii()));
        assert_eq!((&Held::of(entry.value), entry.expire_at), (held, expire_at), "key \"{}\"", key.escape_ascii());
        let change = held.put(expire_at);
        rebuilt.apply(&Edit::Key { db, slot, key: key.into(), change }).expect("an empty place takes everything");
    }
    assert_eq!(store.digests(PartitionId(0)), rebuilt.digests(PartitionId(0)), "digests are not of the content alone");
}
