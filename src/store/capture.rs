//! Captures a slot for a snapshot in slices while edits go on. The snapshot shows the slot as it was when the capture
//! began.
//!
//! A sweep visits the slot's records in an order that no edit changes. Before an edit changes a key that the sweep has
//! not reached, [`Store::save_before`] writes the key's current content, and the sweep then skips the key. Keys that an
//! edit creates are skipped too. A large key is itself written in slices, in the way its type allows ([`Slices`]).
//!
//! Invariant: the entries written so far plus those the sweep has still to write make up the slot as it was at the
//! beginning.
//!
//! An edit of a whole partition ([`SlotCapture::is_ended_by`]) ends the capture: it changes too much for the old
//! content to be written first.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::pace::Pace;
use super::section::{head_of, write};
use super::table::Record;
use super::value::{Slices, Value};
use super::{Digest, Store};
use crate::encoding::edit::Edit;
use crate::ids::{Db, Slot};

pub use super::pace::STEP;

/// State of one slot's capture for a snapshot.
pub struct SlotCapture {
    slot: Slot,
    digest: Digest,
    /// Number of entries in the slot when the capture began, and number written so far.
    entries: u64,
    written: u64,
    /// Database and turn that the sweep has reached.
    db: u8,
    turn: u32,
    /// Per database, the keys ahead of the sweep that it must skip: they are already written, or were created after the
    /// capture began.
    settled: Vec<HashSet<Box<[u8]>>>,
    /// The large key being written, if any.
    large: Option<Large>,
    /// Entries that edits forced out while a large key was being written. They are appended once its entry is complete.
    behind: Vec<u8>,
}

/// State of one large key's capture.
struct Large {
    db: Db,
    key: Box<[u8]>,
    slices: Slices,
}

impl Large {
    /// Begins the entry of a record whose value is large. Returns `None` if the value is small.
    fn begin(db: Db, record: &Record, out: &mut Vec<u8>) -> Option<Self> {
        let slices = Slices::begin(head_of(db, record), Value::of(record), out)?;
        Some(Self { db, key: record.key().into(), slices })
    }
}

/// Why a sweep stopped.
enum Swept {
    /// Every record has been visited.
    All,
    /// The caller asked for a pause.
    Paused,
    /// A large key was reached and its entry has been begun.
    Large,
}

impl SlotCapture {
    /// The slot being captured.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Digest of the slot when the capture began.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Number of entries in the slot when the capture began.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of entries waiting to be appended to the output.
    pub const fn behind(&self) -> usize {
        self.behind.len()
    }

    /// Whether exactly the expected number of entries has been written. `false` after a complete capture means a bug.
    pub const fn is_whole(&self) -> bool {
        self.written == self.entries
    }

    /// Whether an edit changes so much that the capture must be given up.
    pub fn is_ended_by(&self, edit: &Edit<'_>) -> bool {
        matches!(edit, Edit::Flush { .. } | Edit::SwapDb { .. })
    }

    /// Whether the sweep has not yet reached the given turn of a database.
    fn is_ahead(&self, db: Db, turn: u32) -> bool {
        (db.0, turn) >= (self.db, self.turn)
    }

    fn settled(&mut self, db: Db) -> &mut HashSet<Box<[u8]>> {
        if self.settled.is_empty() {
            self.settled.resize_with(usize::from(crate::ids::DATABASES), HashSet::default);
        }
        &mut self.settled[usize::from(db.0)]
    }
}

impl Store {
    /// Begins to capture a slot as it is now.
    pub fn begin_capture(&self, slot: Slot) -> SlotCapture {
        let entries = self.maps(slot).map(|(_, map)| map.table.len() as u64).sum();
        let digest = self.digest(slot);
        let (settled, behind) = (Vec::new(), Vec::new());
        SlotCapture { slot, digest, entries, written: 0, db: 0, turn: 0, settled, large: None, behind }
    }

    /// Appends entries to `out` until the slot is complete or `go_on` returns false. `go_on` is called at least every
    /// [`STEP`] bytes with the length of `out`. Returns whether the slot is complete.
    pub fn go_on_capture(
        &self,
        capture: &mut SlotCapture,
        out: &mut Vec<u8>,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> bool {
        self.forget_passed(capture);
        loop {
            if !self.go_on_large(capture, out, &mut go_on) {
                return false;
            }
            match self.sweep(capture, out, &mut go_on) {
                Swept::All => return true,
                Swept::Paused => return false,
                Swept::Large => {}
            }
        }
    }

    /// Continues the large key in progress, if any. Returns whether no large key is left unfinished.
    fn go_on_large(&self, capture: &mut SlotCapture, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        let Some(mut large) = capture.large.take() else { return true };
        let record = self.find(large.db, capture.slot, &large.key);
        if !record.is_none_or(|record| large.slices.go_on(Value::of(record), out, go_on)) {
            capture.large = Some(large);
            return false;
        }
        capture.written += u64::from(large.slices.is_whole());
        out.append(&mut capture.behind);
        true
    }

    fn sweep(&self, capture: &mut SlotCapture, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> Swept {
        let mut pace = Pace::new();
        let first = capture.db;
        for (db, map) in self.maps(capture.slot).skip_while(|(db, _)| db.0 < first) {
            if db.0 > capture.db {
                (capture.db, capture.turn) = (db.0, 0);
            }
            let mut next = Some(capture.turn);
            while let Some(turn) = next {
                capture.turn = turn;
                let (mut visited, mut large) = (Vec::new(), None);
                let settled = capture.settled.get(usize::from(db.0)).filter(|keys| !keys.is_empty());
                let swept = map.table.sweep(self.seed, turn, |record| {
                    if settled.is_some_and(|keys| keys.contains(record.key())) {
                        return ControlFlow::Continue(());
                    }
                    large = Large::begin(db, record, out);
                    if large.is_some() {
                        return ControlFlow::Break(());
                    }
                    let before = out.len();
                    write(out, db, record);
                    visited.push(record.key());
                    pace.count(out.len() - before, || go_on(out.len()))
                });
                capture.written += visited.len() as u64;
                let ControlFlow::Continue(following) = swept else {
                    let begun = large.as_ref().map(|large: &Large| &*large.key);
                    capture.settled(db).extend(visited.into_iter().chain(begun).map(Box::from));
                    capture.large = large;
                    return if capture.large.is_some() { Swept::Large } else { Swept::Paused };
                };
                next = following;
            }
        }
        (capture.db, capture.turn) = (crate::ids::DATABASES, 0);
        Swept::All
    }

    /// Call before `edit` is applied: appends the old content of what it changes, where that has not been written yet.
    pub fn save_before(&self, capture: &mut SlotCapture, edit: &Edit<'_>, out: &mut Vec<u8>) {
        let Edit::Key { db, slot, key, change } = edit else { return };
        if *slot != capture.slot {
            return;
        }
        if let Some(large) = capture.large.as_mut().filter(|large| large.db == *db && *large.key == **key) {
            let record = self.find(*db, *slot, key);
            if record.is_some_and(|record| large.slices.save_before(Value::of(record), change, out)) {
                self.go_on_large(capture, out, &mut |_| true);
            }
            return;
        }
        if !capture.is_ahead(*db, self.seed.hash(key).turn()) || !capture.settled(*db).insert((**key).into()) {
            return;
        }
        if let Some(record) = self.find(*db, *slot, key) {
            write(if capture.large.is_some() { &mut capture.behind } else { out }, *db, record);
            capture.written += 1;
        }
    }

    fn find(&self, db: Db, slot: Slot, key: &[u8]) -> Option<&Record> {
        self.map(db, slot).and_then(|map| map.table.find(self.seed.hash(key), key))
    }

    /// Forgets settled keys that the sweep has passed.
    fn forget_passed(&self, capture: &mut SlotCapture) {
        for (db, keys) in (0..).zip(&mut capture.settled) {
            match db.cmp(&capture.db) {
                std::cmp::Ordering::Less => keys.clear(),
                std::cmp::Ordering::Equal => keys.retain(|key| self.seed.hash(key).turn() >= capture.turn),
                std::cmp::Ordering::Greater => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Generator, partitions};
    use super::*;
    use crate::encoding::edit::{Change, Elements, End, ExpiringFields, Fields, Ranges, Removal, Scored};
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
                        store.save_before(&mut capture, edit, &mut out);
                        let _ = store.apply(edit);
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
                3 => Change::PopElements { end, count: index },
                4..12 => Change::PopElements { end, count: self.0.u64(..10) },
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

        fn edit(&mut self) -> Edit<'static> {
            let (n, at) = (self.0.u8(..10), UnixMillis::new(self.0.u64(1..1 << 40)));
            let expire_at = Some(at);
            let key = format!("{{slot}}{n}").into_bytes();
            let change = match (self.0.u8(..20), n) {
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
                    Change::WriteString {
                        offset: self.0.u64(..150_000),
                        bytes: value[..value.len() / 50].to_vec().into(),
                    }
                }
            };
            Edit::Key { db: Db(self.0.u8(..2)), slot: slot_of(&key), key: key.into(), change }
        }
    }

    /// Captures a slot of large keys in slices among random edits; it must load as it was at the beginning.
    #[test]
    fn large_keys_are_captured_as_they_were_however_they_change_meanwhile() {
        let slot = slot_of(b"{slot}");
        let mut in_between = 0;
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
                if store
                    .go_on_capture(&mut capture, &mut out, |_| left.checked_sub(1).map(|less| left = less).is_some())
                {
                    break;
                }
                steps += 1;
                assert!(steps < 10_000, "seed {seed}: no end");
                in_between += usize::from(capture.large.is_some());
                for _ in 0..changes.0.usize(..4) {
                    let edit = changes.edit();
                    store.save_before(&mut capture, &edit, &mut out);
                    let _ = store.apply(&edit);
                }
            }
            assert!(capture.is_whole() && capture.behind() == 0, "seed {seed}");
            assert_eq!(out.len(), expected.len(), "seed {seed}");
            let mut loaded = Store::new(Partitions::new(1).unwrap(), 0..1);
            loaded.load_section(slot, capture.entries(), &out).unwrap();
            assert_eq!(loaded.digest(slot), capture.digest(), "seed {seed}");
        }
        assert!(in_between > 300, "only {in_between} times something came in between");
    }

    #[test]
    fn no_step_is_long_however_large_a_key_is() {
        let mut store = Store::new(Partitions::new(1).unwrap(), 0..1);
        let slot = slot_of(b"{slot}");
        let mut fields = Fields::default();
        (0..50_000).for_each(|n: u32| fields.push(&n.to_le_bytes(), b"value"));
        let expiring = ExpiringFields::new(fields.clone(), &[(7, UnixMillis::new(7))]);
        let expiring = Change::PutExpiringHash { fields: expiring, expire_at: None };
        let hash = Change::PutHash { fields, expire_at: None };
        let mut members = Elements::default();
        (0..50_000).for_each(|n: u32| members.push(&n.to_le_bytes()));
        let set = Change::PutSet { members, expire_at: None };
        let string = Change::PutString { value: vec![1; 5 << 20].into(), expire_at: None };
        let mut scored = Scored::default();
        (0..50_000).for_each(|n: u32| scored.push(&n.to_le_bytes(), n.into()));
        let sorted_set = Change::PutSortedSet { members: scored, expire_at: None };
        let mut elements = Elements::default();
        (0..100_000).for_each(|n: u32| elements.push(&n.to_le_bytes()));
        let list = Change::PutList { elements, expire_at: None };
        let large = [
            (&b"{slot}hash"[..], hash),
            (b"{slot}hash with an expiry", expiring),
            (b"{slot}set", set),
            (b"{slot}sorted set", sorted_set),
            (b"{slot}string", string),
            (b"{slot}list", list),
        ];
        for (key, change) in large {
            store.apply(&Edit::Key { db: Db(0), slot, key: key.into(), change }).unwrap();
        }
        let (mut out, mut capture, mut before) = (Vec::new(), store.begin_capture(slot), 0);
        while !store.go_on_capture(&mut capture, &mut out, |_| false) {
            assert!((1..=2 * STEP).contains(&(out.len() - before)), "{} bytes in one go", out.len() - before);
            before = out.len();
        }
        assert!(capture.is_whole());
    }
}
