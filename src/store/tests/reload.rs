//! Promise: a store that writes its content and loads it again holds the same, in the forms that a restart gives.

use super::*;

#[test]
fn a_store_that_is_loaded_again_holds_the_same_in_the_forms_of_a_restart() {
    with_seeds(10, |seed| {
        let (mut store, model) = random_content(seed, 2000);
        let digest = store.digest_of_all();
        let _ = store.expired(UnixMillis::new(0), 1, |_, _, _, _| ());
        store.reload().unwrap();
        assert_eq!((store.digest_of_all(), store.unfreed()), (digest, 0));
        check(&mut store, &model);
    });
    let mut store = whole();
    let mut fields = Fields::default();
    (0..1000).for_each(|n: u32| fields.push(&n.to_le_bytes(), b""));
    let edit = |change| Edit::Key { db: Db(0), slot: slot_of(b"key"), key: b"key".into(), change };
    store.apply(&edit(Change::PutHash { fields, expire_at: None })).unwrap();
    let mut gone = Fields::default();
    (1..1000).for_each(|n: u32| gone.push(&n.to_le_bytes(), b""));
    store.apply(&edit(Change::RemoveFields(gone))).unwrap();
    let is_packed = |store: &Store| match store.get(Db(0), slot_of(b"key"), b"key").unwrap().value {
        Value::Hash(hash) => hash.is_packed(),
        _ => false,
    };
    assert!(!is_packed(&store));
    store.reload().unwrap();
    assert!(is_packed(&store));
}

#[test]
fn a_section_that_is_not_what_the_slot_held_is_found_out() {
    let slot = slot_of(b"key");
    let with = |value: &[u8]| {
        let mut store = whole();
        let change = Change::PutString { value: value.into(), expire_at: None };
        store.apply(&Edit::Key { db: Db(0), slot, key: b"key".into(), change }).unwrap();
        let mut entries = Vec::new();
        (store.write_section(slot, &mut entries), store.digest(slot), entries)
    };
    let (count, digest, entries) = with(b"value");
    whole().load_again(slot, count, digest, &entries).unwrap();
    let (_, _, others) = with(b"other");
    let error = whole().load_again(slot, count, digest, &others).unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
}
