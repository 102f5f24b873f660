//! Captures a slot for a snapshot in slices while edits go on. The snapshot shows the slot as it was when the capture
//! began.
//!
//! A sweep visits the slot's records in an order that no edit changes. Before an edit changes a key that the sweep has
//! not reached, [`Store::save_before`] writes the key's current content, and the sweep then skips the key. Keys that an
//! edit creates are skipped too. A large key is itself written in slices, in the way its type allows ([`Slices`]): its
//! entry is begun when the sweep reaches the key, or before an edit changes it. Entries follow each other in the
//! output; so what is written of an entry before its turn is kept until those before it are complete.
//!
//! A large value that moves to another key of the slot takes its capture along: the entry has begun with the old key,
//! and goes on with the value under its new one. The new key is skipped like any other that an edit creates.
//!
//! Invariant: the entries written so far plus those the sweep has still to write make up the slot as it was at the
//! beginning.
//!
//! An edit of a whole partition ([`SlotCapture::is_ended_by`]) ends the capture: it changes too much for the old
//! content to be written first.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

use super::pace::Pace;
use super::section::{head_of, write};
use super::table::Record;
use super::value::{Slices, Value};
use super::{Digest, Store};
use crate::encoding::edit::{Change, Edit, Removal};
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
    /// The large keys whose entries have begun and are not complete. The first one's is being written to the output.
    large: VecDeque<Large>,
    /// Entries that edits forced out meanwhile. They are appended once no large key is left.
    behind: Vec<u8>,
}

/// State of one large key's capture.
struct Large {
    /// Where the value is now. Its entry has the key that it had when the capture began.
    db: Db,
    key: Box<[u8]>,
    slices: Slices,
    /// What has been written of the entry before its turn.
    begun: Vec<u8>,
}

impl Large {
    /// Begins the entry of a record whose value is large. Returns `None` if the value is small.
    fn begin(db: Db, record: &Record, out: &mut Vec<u8>) -> Option<Self> {
        let slices = Slices::begin(head_of(db, record), Value::of(record), out)?;
        Some(Self { db, key: record.key().into(), slices, begun: Vec::new() })
    }

    fn is_at(&self, db: Db, key: &[u8]) -> bool {
        self.db == db && *self.key == *key
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
    pub fn behind(&self) -> usize {
        self.behind.len() + self.large.iter().map(|large| large.begun.len()).sum::<usize>()
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

    /// Ends the entry of a large key of which nothing is left to write.
    fn complete(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(mut large) = self.large.remove(at) else { return };
        self.written += u64::from(large.slices.is_whole());
        match self.large.front_mut() {
            _ if at > 0 => self.behind.append(&mut large.begun),
            Some(next) => out.append(&mut next.begun),
            None => out.append(&mut self.behind),
        }
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
        let (settled, large, behind) = (Vec::new(), VecDeque::new(), Vec::new());
        SlotCapture { slot, digest, entries, written: 0, db: 0, turn: 0, settled, large, behind }
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

    /// Continues the large keys in progress, one after the other. Returns whether none is left unfinished.
    fn go_on_large(&self, capture: &mut SlotCapture, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        while let Some(large) = capture.large.front_mut() {
            let record = self.find(large.db, capture.slot, &large.key);
            if !record.is_none_or(|record| large.slices.go_on(Value::of(record), out, go_on)) {
                return false;
            }
            capture.complete(0, out);
            if !capture.large.is_empty() && !go_on(out.len()) {
                return false;
            }
        }
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
                    capture.large.extend(large);
                    return if capture.large.is_empty() { Swept::Paused } else { Swept::Large };
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
        const GONE: Change<'_> = Change::Delete(Removal::Deleted);
        let (leaves, arrives) = match edit.moves_to() {
            Some(to) => (*slot == capture.slot, to == capture.slot),
            None => (false, *slot == capture.slot),
        };
        if leaves {
            self.save(capture, (*db, key), &GONE, out);
        } else if *slot == capture.slot {
            self.save(capture, (*db, key), change, out);
        }
        if let Change::Move { to_db, to_key } = change
            && arrives
        {
            // What the other key holds is replaced.
            self.save(capture, (*to_db, to_key), &GONE, out);
            if *slot == capture.slot
                && let Some(large) = capture.large.iter_mut().find(|large| large.is_at(*db, key))
            {
                (large.db, large.key) = (*to_db, (**to_key).into());
            }
        }
    }

    /// Appends the old content of what `change` changes of one key, where that has not been written yet.
    fn save(&self, capture: &mut SlotCapture, (db, key): (Db, &[u8]), change: &Change<'_>, out: &mut Vec<u8>) {
        let record = self.find(db, capture.slot, key);
        let mut at = capture.large.iter().position(|large| large.is_at(db, key));
        if at.is_none() {
            if !capture.is_ahead(db, self.seed.hash(key).turn()) || !capture.settled(db).insert(key.into()) {
                return;
            }
            let Some(record) = record else { return };
            let to = if capture.large.is_empty() { &mut *out } else { &mut capture.behind };
            let end = to.len();
            match Large::begin(db, record, to) {
                None => {
                    write(to, db, record);
                    capture.written += 1;
                    return;
                }
                Some(mut large) => {
                    if !capture.large.is_empty() {
                        large.begun = capture.behind.split_off(end);
                    }
                    at = Some(capture.large.len());
                    capture.large.push_back(large);
                }
            }
        }
        let (Some(at), Some(record)) = (at, record) else { return };
        let large = &mut capture.large[at];
        let to = if at == 0 { &mut *out } else { &mut large.begun };
        if large.slices.save_before(Value::of(record), change, to) {
            large.slices.go_on(Value::of(record), to, &mut |_| true);
            capture.complete(at, out);
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
mod tests;
