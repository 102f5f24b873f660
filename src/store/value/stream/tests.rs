//! Large streams in a store: captured in slices, freed in slices, small in memory.

use crate::encoding::edit::{Assignment, Change, Edit, EventIds, PendingEvents, Removal, StreamChange};
use crate::encoding::event::{EventId, Events};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, Partitions};
use crate::store::Store;
use crate::store::capture::STEP;
use crate::store::model::StreamChanges;
use crate::store::tests::check_sums;
use crate::time::UnixMillis;

const KEY: &[u8] = b"stream";

fn store() -> Store {
    Store::new(Partitions::new(1).unwrap(), 0..1)
}

fn edit(change: Change<'static>) -> Edit<'static> {
    Edit::Key { db: Db(0), slot: slot_of(KEY), key: KEY.into(), change }
}

fn apply(store: &mut Store, change: StreamChange<'static>) {
    store.apply(&edit(Change::Stream(change))).unwrap();
}

/// Events with the ids `from`-0 to `to - 1`-0, each with a value of `bytes` bytes.
fn events(from: u64, to: u64, bytes: usize) -> StreamChange<'static> {
    let mut events = Events::default();
    let value = vec![b'v'; bytes];
    (from..to).for_each(|ms| events.push(EventId::new(ms, 0), 1, [(&b"field"[..], &value[..])].into_iter()));
    StreamChange::AddEvents { events, added: to }
}

fn group(name: &'static [u8]) -> StreamChange<'static> {
    StreamChange::PutGroup { group: name.into(), last_delivered: EventId::ZERO, read: None }
}

fn assignment(consumer: &'static [u8], ids: impl Iterator<Item = u64>) -> StreamChange<'static> {
    let mut pending = PendingEvents::default();
    ids.for_each(|ms| pending.push(EventId::new(ms, 0), 1));
    let put = Assignment { group: b"group 1".into(), consumer: consumer.into(), pending, ..Assignment::default() };
    StreamChange::PutConsumer(Box::new(put))
}

/// A store with a stream of so many events, all of them pending.
fn filled(count: u64, bytes: usize) -> Store {
    let mut store = store();
    apply(&mut store, events(1, count + 1, bytes));
    apply(&mut store, group(b"group 1"));
    apply(&mut store, assignment(b"consumer 1", 1..count / 2 + 1));
    apply(&mut store, assignment(b"consumer 2", count / 2 + 1..count + 1));
    store
}

#[test]
fn a_large_stream_is_captured_as_it_was_however_it_changes_meanwhile() {
    let slot = slot_of(KEY);
    let (mut in_between, mut claimed) = (0, 0);
    for seed in 0..120 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut store = filled(1200, 60);
        apply(&mut store, group(b"group 0"));
        let mut changes = StreamChanges { clock: 1200 };
        let (mut out, mut capture) = (Vec::new(), store.begin_capture(slot));
        let mut expected = Vec::new();
        assert_eq!(store.write_section(slot, &mut expected), 1);
        let most = random.u32(1..12);
        loop {
            let mut left = random.u32(..most);
            if store.go_on_capture(&mut capture, &mut out, |_| left.checked_sub(1).map(|less| left = less).is_some()) {
                break;
            }
            for _ in 0..random.usize(..4) {
                let change = match random.u8(..200) {
                    0 => Change::Delete(Removal::Deleted),
                    1 => Change::SetExpiry(Some(UnixMillis::new(random.u64(1..100)))),
                    _ => changes.change(&mut random, None),
                };
                let edit = edit(change);
                in_between += usize::from(store.apply_in_captures([&mut capture], &edit).is_ok());
                claimed += usize::from(capture.owns_values());
            }
        }
        assert!(capture.is_whole() && capture.behind() == 0, "seed {seed}");
        assert_eq!(out.len(), expected.len(), "seed {seed}");
        let mut loaded = self::store();
        loaded.load_section(slot, 1, &out).unwrap();
        assert_eq!(loaded.digest(slot), capture.digest(), "seed {seed}");
        check_sums(&mut store);
    }
    assert!(in_between > 500, "only {in_between} edits came in between");
    assert!(claimed > 100, "only {claimed} times the capture owned a part");
}

#[test]
fn no_slice_of_a_capture_is_long() {
    let mut store = filled(20_000, 20);
    let (mut out, mut capture, mut before) = (Vec::new(), store.begin_capture(slot_of(KEY)), 0);
    while !store.go_on_capture(&mut capture, &mut out, |_| false) {
        assert!((1..=2 * STEP).contains(&(out.len() - before)), "{} bytes in one go", out.len() - before);
        before = out.len();
    }
    assert!(capture.is_whole());
}

#[test]
fn what_is_cut_off_is_freed_bit_by_bit_and_in_the_end() {
    let nothing = {
        let mut store = store();
        apply(&mut store, events(1, 2, 0));
        store.apply(&edit(Change::Delete(Removal::Deleted))).unwrap();
        store.used_memory()
    };
    let trim = StreamChange::TrimStream { through: EventId::MAX, pending_too: false };
    let ways = [
        vec![Change::Delete(Removal::Deleted)],
        vec![Change::Stream(trim), Change::Stream(StreamChange::RemoveGroup(b"group 1".into()))],
        vec![Change::PutString { value: b"".into(), expire_at: None }],
    ];
    for way in ways {
        let mut store = filled(20_000, 20);
        let full = store.used_memory();
        for change in way {
            store.apply(&edit(change)).unwrap();
        }
        assert!(store.used_memory() > full - full / 10, "{} of {full}", store.used_memory());
        store.apply(&edit(Change::Delete(Removal::Deleted))).unwrap();
        let mut slices = 0;
        while !store.expired(UnixMillis::new(1), 7, |_, _, _, _| ()) {
            slices += 1;
        }
        assert!(slices > 80, "{slices}");
        assert_eq!(store.used_memory(), nothing);
    }
}

#[test]
fn a_small_stream_takes_little_memory_and_a_large_one_little_for_each_event() {
    let memory = |store: &Store| store.memory_of(Db(0), slot_of(KEY), KEY).unwrap();
    let mut store = store();
    apply(&mut store, events(1, 2, 10));
    assert!(memory(&store) < 512, "{}", memory(&store));
    // The name is in each block's template once; an event takes 4 bytes and its value 1 and its own.
    apply(&mut store, events(2, 20_001, 10));
    assert!(memory(&store) < 20_000 * 19, "{}", memory(&store));
    let events = memory(&store);
    apply(&mut store, group(b"group 1"));
    apply(&mut store, assignment(b"consumer", 1..20_001));
    assert!(memory(&store) - events < 20_000 * 60, "{}", memory(&store) - events);
    let ids: EventIds<'_> = (1..20_001).map(|ms| EventId::new(ms, 0)).collect();
    apply(&mut store, StreamChange::RemovePending { group: b"group 1".into(), ids });
    assert!(memory(&store) - events < 1024, "{}", memory(&store) - events);
}

#[test]
fn contradictions_change_nothing() {
    let mut store = store();
    let of_nothing = [
        StreamChange::SetStreamIds { last: EventId::MAX, greatest_deleted: EventId::ZERO, added: 1 },
        assignment(b"consumer", 1..2),
    ];
    for change in of_nothing {
        assert!(store.apply(&edit(Change::Stream(change))).is_err());
    }
    apply(&mut store, events(5, 9, 3));
    let (digest, memory) = (store.digest(slot_of(KEY)), store.used_memory());
    let contradictions = [
        events(8, 12, 3),
        StreamChange::SetStreamIds { last: EventId::new(7, 0), greatest_deleted: EventId::ZERO, added: 1 },
        assignment(b"consumer", 5..6),
    ];
    for change in contradictions {
        assert!(store.apply(&edit(Change::Stream(change))).is_err());
        assert_eq!((store.digest(slot_of(KEY)), store.used_memory()), (digest, memory));
    }
}
