//! What a store says a key holds, as the model has it: read in every way that the type has, all of which must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::store::model::{Content, Held};
use crate::store::{Entry, HashRef, SortedSetRef, Value};

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

fn sorted_set_of(sorted_set: SortedSetRef<'_>) -> BTreeMap<Vec<u8>, f64> {
    let (mut ranked, mut turned) = (Vec::new(), Vec::new());
    let keep = |all: &mut Vec<(Vec<u8>, f64)>, member: &[u8], score: f64| {
        all.push((member.to_vec(), score));
        ControlFlow::<()>::Continue(())
    };
    let _ = sorted_set.for_each(|member, score| keep(&mut ranked, member, score));
    let _ = sorted_set.walk(0..sorted_set.len(), true, |member, score| keep(&mut turned, member, score));
    assert!(turned.iter().rev().eq(&ranked));
    assert!(ranked.is_sorted_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)).is_lt()));
    assert_eq!(ranked.len(), sorted_set.len());
    for (rank, (member, score)) in ranked.iter().enumerate() {
        assert_eq!(sorted_set.rank(member), Some((rank, *score)));
        assert_eq!(sorted_set.score(member), Some(*score));
        assert_eq!(sorted_set.at(rank), Some((&member[..], *score)));
        assert_eq!(sorted_set.below(|other| other < *score), ranked.partition_point(|other| other.1 < *score));
    }
    let (mut scanned, mut cursor) = (BTreeMap::new(), 0);
    loop {
        cursor = sorted_set.scan(cursor, 10, |member, score| {
            scanned.insert(member.to_vec(), score);
        });
        if cursor == 0 {
            break;
        }
    }
    assert!(scanned == ranked.into_iter().collect());
    scanned
}

/// What an entry holds, read in every way that there is.
pub(super) fn content_of(entry: Entry<'_>) -> Content {
    let held = match entry.value {
        Value::String(bytes) => Held::String(bytes.to_vec()),
        Value::Hash(hash) => Held::Hash(hash_of(hash)),
        Value::SortedSet(sorted_set) => Held::SortedSet(sorted_set_of(sorted_set)),
    };
    (held, entry.expire_at)
}
