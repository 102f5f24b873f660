//! Promise: what is captured in slices is the slot as it was when the capture began, however it changes meanwhile.

use super::super::model::{Generator, Stream, partitions};
use super::super::tests::check_sums;
use super::*;
use crate::encoding::edit::{
    Assignment, Change, Elements, End, ExpiringFields, Fields, PendingEvents, Ranges, Removal, Scored, StreamChange,
};
use crate::encoding::event::{EventId, Events};
use crate::encoding::slot::slot_of;
use crate::ids::Partitions;
use crate::time::UnixMillis;

/// Captures slots in slices among random edits; each must load as the slot was when its capture began.
#[test]
fn what_is_captured_is_the_slot_as_it_was_at_the_beginning() {
    let mut interrupted = 0;
    for seed in 0..60 {
        let mut store = Store::new(partitions(), 0..4);
        let mut generator = Generator::new(seed);
        (0..2000).for_each(|_| drop(store.apply(&generator.edit())));
        let busy = (0..crate::ids::SLOTS).map(Slot).filter(|slot| store.begin_capture(*slot).entries() > 0);
        for slot in busy.take(20).collect::<Vec<_>>() {
            let (mut out, mut capture) = (Vec::new(), store.begin_capture(slot));
            let mut expected = Vec::new();
            assert_eq!(store.write_section(slot, &mut expected), capture.entries());
            let mut steps = 0;
            let whole = loop {
                steps += 1;
                let before = out.len();
                if store.go_on_capture(&mut capture, &mut out, |_| false) {
                    break true;
                }
                assert!(out.len() > before, "seed {seed}: no progress");
                let edits: Vec<_> = (0..generator.random.usize(..40)).map(|_| generator.edit()).collect();
                if edits.iter().any(|edit| capture.is_ended_by(edit)) {
                    break false;
                }
                for edit in &edits {
                    let _ = store.apply_in_captures([&mut capture], edit);
                }
            };
            interrupted += usize::from(whole && steps > 1);
            if whole {
                assert!(capture.is_whole(), "seed {seed}");
                assert_eq!(out.len(), expected.len(), "seed {seed}");
                let mut loaded = Store::new(partitions(), 0..4);
                loaded.load_section(slot, capture.entries(), &out).unwrap();
                assert_eq!(loaded.digest(slot), capture.digest(), "seed {seed}");
            }
        }
    }
    assert!(interrupted > 50, "only {interrupted} captures had edits in between");
}

/// Changes of large keys of one slot, at random.
struct Changes(fastrand::Rng);

impl Changes {
    fn fields(&mut self, most: usize) -> Fields<'static> {
        let count = self.0.usize(1..=most);
        let names: std::collections::BTreeSet<u32> = (0..count).map(|_| self.0.u32(..600)).collect();
        let mut fields = Fields::default();
        for name in names {
            fields.push(format!("field:{name}").as_bytes(), &vec![self.0.u8(..); self.0.usize(..300)]);
        }
        fields
    }

    fn members(&mut self, most: usize) -> Elements<'static> {
        let mut members = Elements::default();
        for (name, _) in self.fields(most).iter() {
            members.push(&name.repeat(20));
        }
        members
    }

    fn string(&mut self) -> Vec<u8> {
        vec![self.0.u8(..); self.0.usize(..200_000)]
    }

    fn scored(&mut self, most: usize) -> Scored<'static> {
        let mut scored = Scored::default();
        for _ in 0..self.0.usize(1..=most) {
            scored.push(format!("member:{}", self.0.u32(..600)).as_bytes(), self.0.i8(..).into());
        }
        scored
    }

    fn elements(&mut self, most: usize) -> Elements<'static> {
        let mut elements = Elements::default();
        for _ in 0..self.0.usize(..=most) {
            let len = if self.0.u8(..100) == 0 { 20_000 } else { 300 };
            elements.push(&vec![self.0.u8(..); self.0.usize(..len)]);
        }
        elements
    }

    fn list_change(&mut self, expire_at: Option<UnixMillis>) -> Change<'static> {
        let end = if self.0.bool() { End::Left } else { End::Right };
        let index = self.0.u64(..600);
        let value = vec![self.0.u8(..); self.0.usize(..300)].into();
        match self.0.u8(..30) {
            0 => Change::Delete(Removal::Deleted),
            1 => Change::SetExpiry(expire_at),
            2 => Change::PutList { elements: self.elements(600), expire_at },
            3 | 4 => Change::PopElements { end, count: index },
            5..12 => Change::PopElements { end, count: self.0.u64(..10) },
            12..16 => Change::SetElement { index, value },
            16..20 => Change::InsertElement { index, value },
            20..23 => {
                let (mut ranges, mut at) = (Ranges::default(), index / 2);
                for _ in 0..self.0.u32(..20) {
                    let count = self.0.u64(1..5);
                    ranges.push(at, count);
                    at += count + self.0.u64(..9);
                }
                Change::RemoveElements(ranges)
            }
            _ => Change::PushElements { end, elements: self.elements(60) },
        }
    }

    fn move_to(&mut self) -> Change<'static> {
        Change::Move { to_db: Db(self.0.u8(..2)), to_key: self.key(8).1.into() }
    }

    /// A key of the slot or, once in so many times, of another one; and the number of its type.
    fn key(&mut self, elsewhere: u8) -> (u8, Vec<u8>) {
        let (n, tag) = (self.0.u8(..10), if self.0.u8(..elsewhere) == 0 { "other" } else { "slot" });
        (n, format!("{{{tag}}}{n}").into_bytes())
    }

    fn edit(&mut self) -> Edit<'static> {
        let ((n, key), at) = (self.key(4), UnixMillis::new(self.0.u64(1..1 << 40)));
        let expire_at = Some(at);
        let change = match (self.0.u8(..20), n) {
            (18, _) => self.move_to(),
            (_, 8 | 9) => self.list_change(expire_at),
            (0, _) => Change::Delete(Removal::Deleted),
            (1, _) => Change::SetExpiry(expire_at),
            (2, 0 | 1) => Change::PutHash { fields: self.fields(600), expire_at },
            (3..=4, 0 | 1) => Change::RemoveFields(self.fields(30)),
            (5, 0 | 1) => Change::ExpireFields(self.fields(30)),
            (6, 0 | 1) => Change::RemoveFields(self.fields(600)),
            (7..=9, 0 | 1) => {
                let expire_at = if self.0.bool() { None } else { expire_at };
                Change::SetFieldExpiry { fields: self.fields(300), expire_at }
            }
            (10..=12, 0 | 1) => Change::SetExpiringFields(ExpiringFields::new(self.fields(30), &[(0, at)])),
            (_, 0 | 1) => Change::SetFields(self.fields(30)),
            (2, 2 | 3) => Change::PutSet { members: self.members(600), expire_at },
            (3..=6, 2 | 3) => Change::RemoveMembers(self.members(30)),
            (7, 2 | 3) => Change::RemoveMembers(self.members(600)),
            (_, 2 | 3) => Change::AddMembers(self.members(30)),
            (2, 4 | 5) => Change::PutSortedSet { members: self.scored(900), expire_at },
            (3..=6, 4 | 5) => Change::RemoveScored(self.members(30)),
            (7, 4 | 5) => Change::RemoveRanks { first: self.0.u64(..200), count: self.0.u64(..100) },
            (_, 4 | 5) => Change::SetScores(self.scored(30)),
            (2, _) => Change::PutString { value: self.string().into(), expire_at },
            (_, _) => {
                let value = self.string();
                Change::WriteString { offset: self.0.u64(..150_000), bytes: value[..value.len() / 50].to_vec().into() }
            }
        };
        Edit::Key { db: Db(self.0.u8(..2)), slot: slot_of(&key), key: key.into(), change }
    }
}

/// Captures a slot of large keys in slices among random edits; it must load as it was at the beginning.
#[test]
fn large_keys_are_captured_as_they_were_however_they_change_meanwhile() {
    let slot = slot_of(b"{slot}");
    let (mut in_between, mut owned, mut followed) = (0, 0, 0);
    for seed in 0..150 {
        let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
        let mut changes = Changes(fastrand::Rng::with_seed(seed));
        (0..200).for_each(|_| drop(store.apply(&changes.edit())));
        let (mut out, mut capture) = (Vec::new(), store.begin_capture(slot));
        let mut expected = Vec::new();
        assert_eq!(store.write_section(slot, &mut expected), capture.entries());
        let (mut steps, most) = (0, changes.0.u32(1..12));
        loop {
            let mut left = changes.0.u32(..most);
            if store.go_on_capture(&mut capture, &mut out, |_| left.checked_sub(1).map(|less| left = less).is_some()) {
                break;
            }
            steps += 1;
            assert!(steps < 10_000, "seed {seed}: no end");
            in_between += usize::from(!capture.large.is_empty());
            owned += usize::from(capture.owns_values());
            followed += usize::from(capture.large.iter().any(|large| large.is_in(slot_of(b"{other}"))));
            for _ in 0..changes.0.usize(..4) {
                let edit = changes.edit();
                let _ = store.apply_in_captures([&mut capture], &edit);
            }
        }
        assert!(capture.is_whole() && capture.behind() == 0, "seed {seed}");
        assert_eq!(out.len(), expected.len(), "seed {seed}");
        let mut loaded = Store::new(Partitions::new(1).unwrap(), 0..1);
        loaded.load_section(slot, capture.entries(), &out).unwrap();
        assert_eq!(loaded.digest(slot), capture.digest(), "seed {seed}");
        assert!(!capture.owns_values(), "seed {seed}");
        check_sums(&mut store);
    }
    assert!(in_between > 300, "only {in_between} times something came in between");
    assert!(owned > 100, "only {owned} times the capture owned a value");
    assert!(followed > 30, "only {followed} times a value was followed to another slot");
}

#[test]
fn little_is_written_before_a_large_key_changes_or_moves() {
    let slot = slot_of(b"{slot}");
    let edit = |n: u8, change| Edit::Key { db: Db(0), slot, key: format!("{{slot}}{n}").into_bytes().into(), change };
    let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
    for n in 0..3 {
        let mut fields = Fields::default();
        (0..50_000).for_each(|n: u32| fields.push(&n.to_le_bytes(), b"value"));
        store.apply(&edit(n, Change::PutHash { fields, expire_at: None })).unwrap();
    }
    let (mut out, mut capture) = (Vec::new(), store.begin_capture(slot));
    while !store.go_on_capture(&mut capture, &mut out, |_| false) {
        // One of the three is being written: each gets a field more and another key.
        if out.len() > 10 * STEP && store.len(Db(1)) == 0 {
            for n in 0..3 {
                let before = out.len() + capture.behind();
                let mut fields = Fields::default();
                fields.push(b"new", b"value");
                let to_key = format!("{{slot}}{}", n + 3).into_bytes().into();
                for change in [Change::SetFields(fields), Change::Move { to_db: Db(1), to_key }] {
                    let edit = edit(n, change);
                    store.apply_in_captures([&mut capture], &edit).unwrap();
                }
                assert!(out.len() + capture.behind() - before < 1000);
            }
            assert_eq!(capture.large.len(), 3);
        }
    }
    assert!(capture.is_whole() && store.len(Db(1)) == 3);
    let mut loaded = Store::new(Partitions::new(1).unwrap(), 0..1);
    loaded.load_section(slot, capture.entries(), &out).unwrap();
    assert_eq!((loaded.digest(slot), loaded.len(Db(0))), (capture.digest(), 3));
}

/// Names of large keys of every type and form, and the changes that make them.
fn large_keys() -> [(&'static [u8], Change<'static>); 7] {
    let mut fields = Fields::default();
    (0..20_000).for_each(|n: u32| fields.push(&n.to_le_bytes(), b"value"));
    let expiring = ExpiringFields::new(fields.clone(), &[(7, UnixMillis::new(7))]);
    let expiring = Change::PutExpiringHash { fields: expiring, expire_at: None };
    let hash = Change::PutHash { fields, expire_at: None };
    let mut members = Elements::default();
    (0..20_000).for_each(|n: u32| members.push(&n.to_le_bytes()));
    let set = Change::PutSet { members, expire_at: None };
    let string = Change::PutString { value: vec![1; 2 << 20].into(), expire_at: None };
    let mut scored = Scored::default();
    (0..20_000).for_each(|n: u32| scored.push(&n.to_le_bytes(), n.into()));
    let sorted_set = Change::PutSortedSet { members: scored, expire_at: None };
    let mut elements = Elements::default();
    (0..100_000).for_each(|n: u32| elements.push(&n.to_le_bytes()));
    let list = Change::PutList { elements, expire_at: None };
    let (mut events, mut stream) = (Events::default(), Stream::default());
    (1..=20_000).for_each(|n| events.push(EventId::new(n, 0), 1, [(&b"name"[..], &b"value"[..])].into_iter()));
    let mut pending = PendingEvents::default();
    (1..=20_000).for_each(|n| pending.push(EventId::new(n, 0), 1));
    let assignment = Assignment { group: b"group".into(), consumer: b"one".into(), pending, ..Assignment::default() };
    for change in [
        StreamChange::AddEvents { events, added: 20_000 },
        StreamChange::PutGroup { group: b"group".into(), last_delivered: EventId::ZERO, read: None },
        StreamChange::PutConsumer(Box::new(assignment)),
    ] {
        assert!(stream.apply(&change));
    }
    let stream = Change::PutStream { stream: stream.payload().into(), expire_at: None };
    [
        (b"{slot}hash", hash),
        (b"{slot}hash with an expiry", expiring),
        (b"{slot}set", set),
        (b"{slot}sorted set", sorted_set),
        (b"{slot}string", string),
        (b"{slot}list", list),
        (b"{slot}stream", stream),
    ]
}

#[test]
fn no_step_is_long_however_large_a_key_is() {
    let (mut store, slot) = (Store::new(Partitions::new(1).unwrap(), 0..1), slot_of(b"{slot}"));
    for (key, change) in large_keys() {
        store.apply(&Edit::Key { db: Db(0), slot, key: key.into(), change }).unwrap();
    }
    let (mut out, mut capture, mut before) = (Vec::new(), store.begin_capture(slot), 0);
    while !store.go_on_capture(&mut capture, &mut out, |_| false) {
        assert!((1..=2 * STEP).contains(&(out.len() - before)), "{} bytes in one go", out.len() - before);
        before = out.len();
    }
    assert!(capture.is_whole());
}

/// Replaces and deletes large keys in every way, before the sweep reaches them and in the middle of their entries.
#[test]
fn no_edit_waits_for_the_rest_of_a_large_key() {
    let (slot, other) = (slot_of(b"{slot}"), &b"{slot}other"[..]);
    let put = |value: Vec<u8>| Change::PutString { value: value.into(), expire_at: None };
    let onto = |to_key: &[u8]| Change::Move { to_db: Db(0), to_key: to_key.to_vec().into() };
    for (key, change) in large_keys() {
        let ways = [
            (key, Change::Delete(Removal::Deleted)),
            (key, Change::Delete(Removal::Expired)),
            (key, put(b"short".to_vec())),
            (key, put(vec![2; 3 << 20])),
            (key, change.clone()),
            (other, onto(key)),
        ];
        let elsewhere = &b"{elsewhere}"[..];
        let cuts: Vec<Change<'_>> = match key {
            b"{slot}list" => [End::Left, End::Right].map(|end| Change::PopElements { end, count: 90_000 }).into(),
            b"{slot}stream" => vec![
                Change::Stream(StreamChange::TrimStream { through: EventId::new(19_990, 0), pending_too: false }),
                Change::Stream(StreamChange::RemoveGroup(b"group".into())),
            ],
            _ => Vec::new(),
        };
        let ways: Vec<_> = ways.into_iter().chain(cuts.into_iter().map(|change| (key, change))).collect();
        for ((way, (edited, edit)), moved) in ways.iter().enumerate().flat_map(|way| [(way, false), (way, true)]) {
            for slices_before in [0, 1, 9] {
                let what = format!("{}, way {way}, {slices_before} slices before, {moved}", key.escape_ascii());
                let edit_of =
                    |key: &[u8], change| Edit::Key { db: Db(0), slot: slot_of(key), key: key.to_vec().into(), change };
                let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
                store.apply(&edit_of(key, change.clone())).unwrap();
                store.apply(&edit_of(other, put(b"small".to_vec()))).unwrap();
                let (mut out, mut capture) = (Vec::new(), store.begin_capture(slot));
                for _ in 0..slices_before {
                    assert!(!store.go_on_capture(&mut capture, &mut out, |_| false), "{what}");
                }
                let (before, memory) = (out.len() + capture.behind(), store.used_memory());
                if moved {
                    store.apply_in_captures([&mut capture], &edit_of(key, onto(elsewhere))).unwrap();
                }
                let edit = match (edit, moved) {
                    (Change::Move { .. }, true) => edit_of(other, onto(elsewhere)),
                    (change, true) => edit_of(elsewhere, change.clone()),
                    (change, false) => edit_of(edited, change.clone()),
                };
                store.apply_in_captures([&mut capture], &edit).unwrap();
                let written = out.len() + capture.behind() - before;
                assert!(written <= STEP, "{what}: {written} bytes");
                assert!(capture.owns_values() && store.used_memory() + STEP > memory, "{what}");
                // The value is freed after it is written, as other deleted data is.
                let (mut at, mut steps) = (out.len(), 0);
                while !store.go_on_capture(&mut capture, &mut out, |_| false) {
                    assert!(out.len() - at <= 2 * STEP, "{what}: {} bytes in one go", out.len() - at);
                    (at, steps) = (out.len(), steps + 1);
                }
                assert!(steps > 10 && capture.is_whole() && !capture.owns_values(), "{what}: {steps} steps");
                check_sums(&mut store);
                let mut loaded = Store::new(Partitions::new(1).unwrap(), 0..1);
                loaded.load_section(slot, capture.entries(), &out).unwrap();
                assert_eq!(loaded.digest(slot), capture.digest(), "{what}");
            }
        }
    }
}

#[test]
fn a_write_into_a_long_string_keeps_only_what_it_overwrites() {
    let (slot, mut random) = (slot_of(b"{slot}"), fastrand::Rng::with_seed(1));
    let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
    let edit = |change| Edit::Key { db: Db(0), slot, key: b"{slot}".into(), change };
    let value = (0..5 << 20).map(|_| random.u8(..)).collect::<Vec<_>>();
    store.apply(&edit(Change::PutString { value: value.into(), expire_at: None })).unwrap();
    let (mut out, mut capture, mut steps) = (Vec::new(), store.begin_capture(slot), 0);
    while !store.go_on_capture(&mut capture, &mut out, |_| false) {
        steps += 1;
        for _ in 0..3 {
            let len = random.usize(..5000);
            let write = Change::WriteString { offset: random.u64(..6 << 20), bytes: vec![0; len].into() };
            let before = out.len() + capture.behind();
            store.apply_in_captures([&mut capture], &edit(write)).unwrap();
            assert!(out.len() + capture.behind() - before <= len + 8192);
        }
    }
    assert!(steps > 100 && capture.is_whole() && capture.behind() == 0);
    let mut loaded = Store::new(Partitions::new(1).unwrap(), 0..1);
    loaded.load_section(slot, capture.entries(), &out).unwrap();
    assert_eq!(loaded.digest(slot), capture.digest());
}

#[test]
fn a_capture_that_is_given_up_leaves_what_it_owns_to_be_freed() {
    for (key, change) in large_keys() {
        let (slot, mut store) = (slot_of(b"{slot}"), Store::new(Partitions::new(1).unwrap(), 0..1));
        let edit = |change| Edit::Key { db: Db(0), slot, key: key.into(), change };
        store.apply(&edit(change)).unwrap();
        let (mut out, mut capture) = (Vec::new(), store.begin_capture(slot));
        assert!(!store.go_on_capture(&mut capture, &mut out, |_| false));
        let delete = edit(Change::Delete(Removal::Deleted));
        store.apply_in_captures([&mut capture], &delete).unwrap();
        let memory = store.used_memory();
        store.end_capture(capture);
        assert!(store.used_memory() + STEP > memory || key == b"{slot}string", "{}", key.escape_ascii());
        check_sums(&mut store);
    }
}
