//! All ways to read a value agree with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::super::model::{Content, Field, Held};
use super::super::{Entry, HashRef, ListRef, LiveHash, Member, SetRef, SortedSetRef, Value};
use crate::time::UnixMillis;

/// Checks that all ways to read a hash agree with each other.
fn check_hash(hash: HashRef<'_>, all: &BTreeMap<Vec<u8>, Field>) {
    assert_eq!(all.len(), hash.len());
    assert_eq!(all.values().filter_map(|(_, at)| *at).min(), hash.soonest_expiry());
    let times: &[u64] = if hash.expires() { &[0, 500, 1000] } else { &[0] };
    for now in times.iter().copied().map(UnixMillis::new) {
        let stays = all.iter().filter(|(_, (_, at))| at.is_none_or(|at| at >= now));
        let live: BTreeMap<_, _> = stays.map(|(name, (value, _))| (name.clone(), value.clone())).collect();
        assert_eq!(hash.at(now).is_some(), !live.is_empty());
        for name in all.keys() {
            let expected = live.get(name).map(|value| (&value[..], all[name].1));
            assert_eq!(hash.at(now).and_then(|hash| hash.field(name)), expected);
        }
        if let Some(hash) = hash.at(now) {
            check_live_hash(hash, &live);
        }
    }
}

fn check_live_hash(hash: LiveHash<'_>, all: &BTreeMap<Vec<u8>, Vec<u8>>) {
    assert_eq!(all.len(), hash.len());
    let mut visited = BTreeMap::new();
    let _ = hash.for_each(|name, value| {
        assert!(visited.insert(name.to_vec(), value.to_vec()).is_none());
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(visited, *all);
    for (name, value) in all {
        assert_eq!(hash.get(name), Some(&value[..]));
    }
    let mut scanned = BTreeSet::new();
    scan_all(|cursor| {
        hash.scan(cursor, 10, |name, value| {
            assert_eq!(all[name], value);
            scanned.insert(name.to_vec());
        })
    });
    assert!(scanned.iter().eq(all.keys()));
    let mut random = fastrand::Rng::with_seed(all.len() as u64);
    assert!(all.contains_key(hash.random_field(|| random.u64(..)).0));
    let mut left = 20;
    let _ = hash.random_fields(
        || random.u64(..),
        |(name, value)| {
            assert_eq!(all[name], value);
            left -= 1;
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    );
    for count in [0, 1, all.len() / 20, all.len() - 1, all.len(), all.len() + 1] {
        let mut drawn = BTreeSet::new();
        hash.distinct_fields(
            count,
            || random.u64(..),
            |(name, value)| {
                assert_eq!(all[name], value);
                assert!(drawn.insert(name.to_vec()));
            },
        );
        assert_eq!(drawn.len(), count.min(all.len()));
    }
}

/// Checks that all ways to read a set agree with each other.
fn check_set(set: SetRef<'_>, all: &BTreeSet<Vec<u8>>) {
    assert_eq!(all.len(), set.len());
    assert!(all.iter().all(|member| set.contains(Member::Bytes(member))));
    assert!(
        [&b"no"[..], b"", b"01", b"+1", b" 1", b"-0", b"9223372036854775808"]
            .iter()
            .all(|other| { all.contains(*other) == set.contains(Member::Bytes(other)) })
    );
    let mut scanned = BTreeSet::new();
    scan_all(|cursor| {
        set.scan(cursor, 10, |member| {
            scanned.insert(member.with(<[u8]>::to_vec));
        })
    });
    assert_eq!(scanned, *all);
    let mut random = fastrand::Rng::with_seed(all.len() as u64);
    assert!(all.contains(&set.random_member(|| random.u64(..)).with(<[u8]>::to_vec)));
    for count in [0, 1, all.len() / 20, all.len() - 1, all.len(), all.len() + 1] {
        let mut drawn = BTreeSet::new();
        set.distinct_members(
            count,
            || random.u64(..),
            |member| {
                assert!(drawn.insert(member.with(<[u8]>::to_vec)));
            },
        );
        assert!(drawn.is_subset(all) && drawn.len() == count.min(all.len()));
    }
}

fn scan_all(mut step: impl FnMut(u64) -> u64) {
    let mut cursor = 0;
    loop {
        cursor = step(cursor);
        if cursor == 0 {
            return;
        }
    }
}

/// Checks that all ways to read a list agree with each other.
fn check_list(list: ListRef<'_>, all: &[Vec<u8>]) {
    assert_eq!((all.len(), all.iter().map(Vec::len).sum::<usize>()), (list.len(), list.content_len()));
    assert!(list.iter().rev().eq(all.iter().rev().map(|element| &element[..])));
    for index in [0, 1, all.len() / 3, all.len() / 2, all.len() - 1, all.len()] {
        assert_eq!(list.get(index), all.get(index).map(|element| &element[..]));
        assert!(list.iter_from(index).eq(all.iter().skip(index).map(|element| &element[..])));
    }
}

/// Checks that all ways to read a sorted set agree with each other.
fn check_sorted_set(sorted_set: SortedSetRef<'_>, all: &BTreeMap<Vec<u8>, f64>) {
    let (mut ranked, mut turned) = (Vec::new(), Vec::new());
    let keep = |kept: &mut Vec<(Vec<u8>, f64)>, member: &[u8], score: f64| {
        kept.push((member.to_vec(), score));
        ControlFlow::<()>::Continue(())
    };
    let _ = sorted_set.for_each(|member, score| keep(&mut ranked, member, score));
    let _ = sorted_set.walk(0..sorted_set.len(), true, |member, score| keep(&mut turned, member, score));
    assert!(turned.iter().rev().eq(&ranked));
    assert!(ranked.is_sorted_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)).is_lt()));
    assert_eq!((ranked.len(), all.len()), (sorted_set.len(), sorted_set.len()));
    for (rank, (member, score)) in ranked.iter().enumerate() {
        assert_eq!(all[member], *score);
        assert_eq!(sorted_set.rank(member), Some((rank, *score)));
        assert_eq!(sorted_set.score(member), Some(*score));
        assert_eq!(sorted_set.at(rank), Some((&member[..], *score)));
        assert_eq!(sorted_set.below(|other| other < *score), ranked.partition_point(|other| other.1 < *score));
    }
    let mut scanned = BTreeMap::new();
    scan_all(|cursor| {
        sorted_set.scan(cursor, 10, |member, score| {
            scanned.insert(member.to_vec(), score);
        })
    });
    assert_eq!(scanned, *all);
    let mut random = fastrand::Rng::with_seed(all.len() as u64);
    for count in [0, 1, all.len() / 20, all.len() - 1, all.len(), all.len() + 1] {
        let mut drawn = BTreeSet::new();
        sorted_set.distinct_members(
            count,
            || random.u64(..),
            |member, score| {
                assert_eq!(all[member], score);
                assert!(drawn.insert(member.to_vec()));
            },
        );
        assert_eq!(drawn.len(), count.min(all.len()));
    }
}

/// What a key of a store holds, read in every way that its type has.
pub(super) fn content_of(entry: Entry<'_>) -> Content {
    let held = Held::of(entry.value);
    match (entry.value, &held) {
        (Value::Hash(hash), Held::Hash(all)) => check_hash(hash, all),
        (Value::Set(set), Held::Set(all)) => check_set(set, all),
        (Value::SortedSet(sorted_set), Held::SortedSet(all)) => check_sorted_set(sorted_set, all),
        (Value::List(list), Held::List(all)) => check_list(list, all),
        _ => {}
    }
    (held, entry.expire_at)
}
