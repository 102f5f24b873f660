//! Captures a slot for a snapshot in slices while edits go on. The snapshot shows the slot as it was when the capture
//! began.
//!
//! A sweep visits the slot's records in an order that no edit changes. Before an edit changes a key that the sweep has
//! not reached, [`Store::apply_in_captures`] writes the key's current content, and the sweep then skips the key. Keys
//! that an edit creates are skipped too. A large key is itself written in slices, in the way its type allows
//! ([`Slices`]): its entry is begun when the sweep reaches the key, or before an edit changes it. Entries follow each
//! other in the output; so what is written of an entry before its turn is kept until those before it are complete.
//!
//! A large value that moves to another key, of the slot or of any other one, is *followed*: its entry has begun with
//! the old key, and goes on with the value under its new one, wherever that is. In the captured slot the new key is
//! skipped like any other that an edit creates. A large value that is replaced or deleted, under whichever key, goes to
//! the capture, which owns it from then on, goes on writing it in slices, and hands it to the store's garbage once its
//! entry is complete; so it is with chunks of a list and blocks of a stream that are cut off. An edit never waits for
//! the rest of a large entry.
//!
//! Several slots may be captured at a time ([`Store::apply_in_captures`]). What an edit forces out of a slot is kept
//! until the slot's capture goes on.
//!
//! Invariants: the entries written so far plus those the sweep has still to write make up the slot as it was at the
//! beginning. A value is in one capture at most: a slot that a followed value comes to is not captured, or its capture
//! has begun before (`partition::capture` sees to that).
//!
//! An edit of a whole partition ([`SlotCapture::is_ended_by`]) ends the capture: it changes too much for the old
//! content to be written first.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

use super::pace::Pace;
use super::section::{head_of, write};
use super::table::Record;
use super::value::{Saved, Slices, Value};
use super::{ApplyError, Digest, Store};
use crate::encoding::edit::{Change, Edit, Removal};
use crate::ids::{Db, Slot};
use crate::planted::{Bug, is_planted};

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
    /// What edits forced out and the output gets next: entries, or more of the first large key's.
    forced: Vec<u8>,
    /// Entries that edits forced out meanwhile. They are appended once no large key is left.
    behind: Vec<u8>,
}

/// Where the value of a large key is.
enum Place {
    /// In the store, under this key of this slot.
    Key(Db, Slot, Box<[u8]>),
    /// Here, because an edit has replaced or deleted it. It still counts as used memory.
    Owned(Record),
}

/// Where a key is.
type Address<'k> = (Db, Slot, &'k [u8]);

/// State of one large key's capture.
struct Large {
    /// Where the value is now. Its entry has the key that it had when the capture began.
    place: Place,
    slices: Slices,
    /// What has been written of the entry before its turn.
    begun: Vec<u8>,
}

impl Large {
    /// Begins the entry of a record of a slot whose value is large. Returns `None` if the value is small.
    fn begin(db: Db, slot: Slot, record: &Record, out: &mut Vec<u8>) -> Option<Self> {
        let slices = Slices::begin(head_of(db, record), Value::of(record), out)?;
        Some(Self { place: Place::Key(db, slot, record.key().into()), slices, begun: Vec::new() })
    }

    fn key(&self) -> Option<&[u8]> {
        if let Place::Key(_, _, key) = &self.place { Some(key) } else { None }
    }

    fn is_in(&self, slot: Slot) -> bool {
        matches!(&self.place, Place::Key(_, at, _) if *at == slot)
    }

    fn is_at(&self, (db, slot, key): Address<'_>) -> bool {
        matches!(&self.place, Place::Key(own, at, name) if (*own, *at) == (db, slot) && **name == *key)
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

    /// Bytes of entries waiting to be appended to the output, and of old content kept for them.
    pub fn behind(&self) -> usize {
        let of_large = self.large.iter().map(|large| large.begun.len() + large.slices.kept());
        self.forced.len() + self.behind.len() + of_large.sum::<usize>()
    }

    /// Whether values, or parts of them, that edits have replaced or deleted take memory until they are written.
    pub fn owns_values(&self) -> bool {
        self.large.iter().any(|large| matches!(large.place, Place::Owned(_)) || large.slices.owns_parts())
    }

    /// Whether exactly the expected number of entries has been written. `false` after a complete capture means a bug.
    pub const fn is_whole(&self) -> bool {
        self.written == self.entries
    }

    /// Whether an edit changes so much that the capture must be given up.
    pub fn is_ended_by(&self, edit: &Edit<'_>) -> bool {
        matches!(edit, Edit::Flush { .. } | Edit::SwapDb { .. })
    }

    /// Whether an edit of a key in `slot` may change what is still to be written: the slot is the captured one, or a
    /// value that is followed is there.
    #[inline]
    pub fn touches(&self, slot: Slot) -> bool {
        let is_followed_there = || self.large.iter().any(|large| large.is_in(slot));
        slot == self.slot || !is_planted(Bug::FollowedEditsForgotten) && is_followed_there()
    }

    /// Whether the sweep has not yet reached the given turn of a database.
    fn is_ahead(&self, db: Db, turn: u32) -> bool {
        (db.0, turn) >= (self.db, self.turn)
    }

    /// Ends the entry of a large key of which nothing is left to write. Returns the key's state, to be released.
    fn complete(&mut self, at: usize, out: &mut Vec<u8>) -> Option<Large> {
        let mut large = self.large.remove(at)?;
        self.written += u64::from(large.slices.is_whole());
        match self.large.front_mut() {
            _ if at > 0 => self.behind.append(&mut large.begun),
            Some(next) => out.append(&mut next.begun),
            None => out.append(&mut self.behind),
        }
        Some(large)
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
        let (settled, large, forced, behind) = (Vec::new(), VecDeque::new(), Vec::new(), Vec::new());
        SlotCapture { slot, digest, entries, written: 0, db: 0, turn: 0, settled, large, forced, behind }
    }

    /// Appends entries to `out` until the slot is complete or `go_on` returns false. `go_on` is called at least every
    /// [`STEP`] bytes with the length of `out`. Returns whether the slot is complete.
    pub fn go_on_capture(
        &mut self,
        capture: &mut SlotCapture,
        out: &mut Vec<u8>,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> bool {
        self.forget_passed(capture);
        out.append(&mut capture.forced);
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

    /// Gives up a capture. What it owns is freed like other deleted data.
    pub fn end_capture(&mut self, capture: SlotCapture) {
        capture.large.into_iter().for_each(|large| self.release(large));
    }

    /// Frees what a capture owns of a large value.
    fn release(&mut self, large: Large) {
        if let Place::Owned(record) = large.place {
            self.discard(record);
        }
        large.slices.into_parts().into_iter().for_each(|part| self.discard_structure(part));
    }

    /// Continues the large keys in progress, one after the other. Returns whether none is left unfinished.
    fn go_on_large(
        &mut self,
        capture: &mut SlotCapture,
        out: &mut Vec<u8>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        while let Some(Large { place, slices, .. }) = capture.large.front_mut() {
            let record = match place {
                Place::Key(db, slot, key) => self.find((*db, *slot, key)),
                Place::Owned(record) => Some(&*record),
            };
            if !record.is_none_or(|record| slices.go_on(Value::of(record), out, go_on)) {
                return false;
            }
            capture.complete(0, out).into_iter().for_each(|large| self.release(large));
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
                    large = Large::begin(db, capture.slot, record, out);
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
                    let begun = large.as_ref().and_then(|large: &Large| large.key());
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

    /// Whether the capture has still to write the value of a key, or some of it.
    pub fn is_awaited(&self, capture: &SlotCapture, db: Db, slot: Slot, key: &[u8]) -> bool {
        let is_to_come = || {
            let settled = capture.settled.get(usize::from(db.0));
            capture.is_ahead(db, self.seed.hash(key).turn()) && !settled.is_some_and(|keys| keys.contains(key))
        };
        capture.large.iter().any(|large| large.is_at((db, slot, key))) || slot == capture.slot && is_to_come()
    }

    /// Applies an edit that does not end the captures. First saves for each of them the old content of what the edit
    /// changes, where that has not been written yet; what is large and replaced or deleted goes to its capture.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_in_captures<'c>(
        &mut self,
        captures: impl IntoIterator<Item = &'c mut SlotCapture>,
        edit: &Edit<'_>,
    ) -> Result<(), ApplyError> {
        let mut claims = None;
        for capture in captures {
            if let Some(at) = self.save_before(capture, edit) {
                claims = Some((capture, at));
            }
        }
        let Some((capture, at)) = claims else { return self.apply(edit) };
        self.garbage.withhold();
        let applied = self.apply(edit);
        let parts = self.garbage.take_withheld();
        parts
            .into_iter()
            .filter_map(|part| capture.large[at].slices.claim(part))
            .for_each(|part| self.discard_structure(part));
        applied
    }

    /// Saves what `edit` changes. Returns the position of the large key that claims the parts that the edit cuts off.
    fn save_before(&mut self, capture: &mut SlotCapture, edit: &Edit<'_>) -> Option<usize> {
        let Edit::Key { db, slot, key, change } = edit else { return None };
        let mut out = std::mem::take(&mut capture.forced);
        let claims = self.save(capture, (*db, *slot, key), change, &mut out);
        if let Change::Move { to_db, to_key } = change {
            // What the other key holds is replaced.
            let to = (*to_db, edit.moves_to().unwrap_or(*slot), &**to_key);
            self.save(capture, to, &Change::Delete(Removal::Deleted), &mut out);
            if let Some(large) = capture.large.iter_mut().find(|large| large.is_at((*db, *slot, key))) {
                large.place = Place::Key(to.0, to.1, to.2.into());
            }
        }
        capture.forced = out;
        claims
    }

    /// Saves what `change` changes of one key. Returns the position of the key among the large ones if it claims the
    /// parts that the change cuts off.
    fn save(
        &mut self,
        capture: &mut SlotCapture,
        key: Address<'_>,
        change: &Change<'_>,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let at = capture.large.iter().position(|large| large.is_at(key));
        let at = if at.is_some() { at } else { self.save_first(capture, key, out) };
        let (at, value) = (at?, Value::of(self.find(key)?));
        let large = &mut capture.large[at];
        if change.replaces_all() {
            if let Some(record) = self.set_aside(key.0, key.1, key.2) {
                large.place = Place::Owned(record);
            }
            return None;
        }
        let to = if at == 0 { &mut *out } else { &mut large.begun };
        match large.slices.save_before(value, change, to) {
            Saved::All => {}
            Saved::ButParts => return Some(at),
            Saved::NotRest => {
                large.slices.go_on(value, to, &mut |_| true);
                capture.complete(at, out).into_iter().for_each(|large| self.release(large));
            }
        }
        None
    }

    /// Writes a key of the slot that the sweep has not reached, or begins its entry if its value is large: returns its
    /// position among the large ones then.
    fn save_first(&self, capture: &mut SlotCapture, address: Address<'_>, out: &mut Vec<u8>) -> Option<usize> {
        let (db, slot, key) = address;
        if slot != capture.slot
            || !capture.is_ahead(db, self.seed.hash(key).turn())
            || !capture.settled(db).insert(key.into())
        {
            return None;
        }
        let record = self.find(address)?;
        let to = if capture.large.is_empty() { out } else { &mut capture.behind };
        let end = to.len();
        let Some(mut large) = Large::begin(db, slot, record, to) else {
            write(to, db, record);
            capture.written += 1;
            return None;
        };
        if !capture.large.is_empty() {
            large.begun = capture.behind.split_off(end);
        }
        capture.large.push_back(large);
        Some(capture.large.len() - 1)
    }

    fn find(&self, (db, slot, key): Address<'_>) -> Option<&Record> {
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
