//! A slot's keys as a section of a snapshot, written bit by bit: what is written is the slot as it was when that began, whatever edits
//! come in between.
//!
//! A sweep visits the slot's records in an order that no edit changes. An edit of a key that the sweep has not come to yet is preceded by
//! [`Store::save_before`], which writes what the key holds; the sweep then passes it over. So it does with a key that was not there.
//!
//! Always: what is written and what the sweep has still to come to make up the slot as it was at the beginning.
//!
//! A key is written in one go, however much it holds: that takes about 0.1 ms for each MiB of a string, and 70 ns for each field of a
//! hash. Edits of a whole partition ([`SlotCapture::is_ended_by`]) end the capture: what
//! they change is too much to be written before.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::section::write;
use super::{Digest, Store};
use crate::encoding::edit::Edit;
use crate::ids::{Db, Slot};

/// How much is written before it is asked again whether to go on, in bytes; also what each key counts for at least.
const STEP: usize = 16 << 10;
const LEAST: usize = 128;

/// A slot on its way into a snapshot.
pub struct SlotCapture {
    slot: Slot,
    digest: Digest,
    /// Entries there were at the beginning, and those written so far.
    entries: u64,
    written: u64,
    /// How far the sweep has come.
    db: u8,
    turn: u32,
    /// By database: keys that the sweep has not passed and is not to write, because that is done or because they are new.
    settled: Vec<HashSet<Box<[u8]>>>,
}

impl SlotCapture {
    /// The slot.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// The slot's digest at the beginning.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The number of its entries at the beginning.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether all of its entries are written, and no more. Only otherwise a mistake here.
    pub const fn is_whole(&self) -> bool {
        self.written == self.entries
    }

    /// Whether the capture cannot go on after an edit.
    pub fn is_ended_by(&self, edit: &Edit<'_>) -> bool {
        matches!(edit, Edit::Flush { .. } | Edit::SwapDb { .. })
    }

    /// Whether the sweep has yet to come to a key of the slot.
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
        SlotCapture { slot, digest, entries, written: 0, db: 0, turn: 0, settled: Vec::new() }
    }

    /// Appends entries to `out` as long as `go_on` says so, which is asked every now and then. Returns whether the slot is complete.
    pub fn go_on_capture(&self, capture: &mut SlotCapture, out: &mut Vec<u8>, mut go_on: impl FnMut() -> bool) -> bool {
        self.forget_passed(capture);
        let mut credit = STEP;
        let first = capture.db;
        for (db, map) in self.maps(capture.slot).skip_while(|(db, _)| db.0 < first) {
            if db.0 > capture.db {
                (capture.db, capture.turn) = (db.0, 0);
            }
            let mut next = Some(capture.turn);
            while let Some(turn) = next {
                capture.turn = turn;
                let mut visited = Vec::new();
                let settled = capture.settled.get(usize::from(db.0)).filter(|keys| !keys.is_empty());
                let swept = map.table.sweep(self.seed, turn, |record| {
                    if settled.is_some_and(|keys| keys.contains(record.key())) {
                        return ControlFlow::Continue(());
                    }
                    let before = out.len();
                    write(out, db, record);
                    visited.push(record.key());
                    let cost = (out.len() - before).max(LEAST);
                    if cost < credit {
                        credit -= cost;
                        return ControlFlow::Continue(());
                    }
                    credit = STEP;
                    if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                capture.written += visited.len() as u64;
                let ControlFlow::Continue(following) = swept else {
                    capture.settled(db).extend(visited.into_iter().map(Box::from));
                    return false;
                };
                next = following;
            }
        }
        (capture.db, capture.turn) = (crate::ids::DATABASES, 0);
        true
    }

    /// An edit is about to be applied: appends the entry that it changes, if it is still to be written.
    pub fn save_before(&self, capture: &mut SlotCapture, edit: &Edit<'_>, out: &mut Vec<u8>) {
        let Edit::Key { db, slot, key, .. } = edit else { return };
        let hash = self.seed.hash(key);
        if *slot != capture.slot || !capture.is_ahead(*db, hash.turn()) || !capture.settled(*db).insert((**key).into())
        {
            return;
        }
        if let Some(record) = self.map(*db, *slot).and_then(|map| map.table.find(hash, key)) {
            write(out, *db, record);
            capture.written += 1;
        }
    }

    /// Keys that the sweep has passed need not be remembered.
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

    /// Captures slots bit by bit among random edits; each must load as the slot was when its capture began.
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
                    if store.go_on_capture(&mut capture, &mut out, || false) {
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
}
