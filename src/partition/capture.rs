//! Snapshots that a core takes of its own partitions, of one or of several that are bound together
//! (`partition::transfers`): slot by slot, in slices, between other work. Pure.
//!
//! The barriers of all partitions are logged before the first slot is captured; a barrier's position is its snapshot's.
//! Each slot is captured as it is when its turn begins, and its section records the lsn of the last edit before that. A
//! slot too large for one slice continues in the next (`store::capture`).
//!
//! A value that an edit moves to another slot, m being the edit's lsn, must not fall between the two sections: recovery
//! gives the value to the slot that it comes to only if that slot's section, or its older snapshot, is from before m
//! and the section of the slot that it leaves, too ([`super::replica`] has the table). So a slot may be captured
//! *early*, just before such an edit: its section has the lsn m − 1, and is written when its turn comes.
//!
//! | the slot that the value leaves | the slot that it comes to | then |
//! |---|---|---|
//! | has been captured, or is not to be | any | both sections may be used: the value moves, or is deleted where it was |
//! | its turn is to come | its turn is to come, in the same partition | both sections are from after m, and in one file |
//! | its turn is to come | anywhere else | the slot that it leaves is captured early: its section has the value |
//! | is being captured, early or not, and the value is not written yet | any | the capture follows the value there |
//! | a capture follows the value | its turn is to come | the slot that it comes to is captured early, without the value |
//!
//! In the third row the snapshot of the other partition may never be installed, even if that is captured, too; in the
//! last row a value would be in two captures, each of which wants it as it was at another moment. A value may move any
//! number of times; a value that another one replaces, or that is deleted or has expired, stays with its capture until
//! it is written.

use std::collections::{BTreeMap, VecDeque};

use crate::encoding::edit::Edit;
use crate::ids::{Db, Lsn, PartitionId, Partitions, Slot};
use crate::planted::{Bug, is_planted};
use crate::storage::Transfer;
use crate::store::capture::{STEP, SlotCapture};
use crate::store::{ApplyError, Store};

/// Target size of a slice in bytes. A larger one would be copied repeatedly as its buffer grows.
const SLICE: usize = 256 << 10;
/// Largest size in bytes that a slice may reach through values saved because edits are about to overwrite them; beyond
/// it the capture is abandoned. Smaller in tests, so that they reach it.
const MOST: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };

/// A part of a snapshot: entries, and the starts of the sections among them.
#[derive(Debug, Default)]
pub struct Slice {
    /// The partition that is captured.
    pub partition: PartitionId,
    /// Lsn of the barrier before the first slot; it also distinguishes this snapshot from others of the partition.
    pub barrier: Lsn,
    /// Whether this is the snapshot's first slice.
    pub begins: bool,
    /// Entries; they begin with the rest of the section that the slice before left unfinished.
    pub bytes: Vec<u8>,
    /// In the first slice: the last transfers from the partition to others, as far as these may lack them.
    pub transfers: Vec<Transfer>,
    /// Sections that begin in this slice, in order.
    pub sections: Vec<SectionStart>,
    /// How the capture ended, in its last slice; `None` in the others.
    pub end: Option<End>,
}

/// Where a section begins in a slice, and what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionStart {
    /// Offset of the section's first entry in the slice's bytes.
    pub at: usize,
    /// The slot that the section holds.
    pub slot: Slot,
    /// Lsn of the last edit before the slot was captured.
    pub lsn: Lsn,
    /// Number of entries in the section.
    pub entries: u64,
    /// Digest of the slot.
    pub digest: u64,
}

impl Slice {
    /// A slice that tells the receiver that no snapshot of `partition` is taken, and why.
    pub fn refusal(partition: PartitionId, why: &'static str) -> Self {
        Self { partition, end: Some(End::Abandoned(why)), ..Self::default() }
    }
}

/// How a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All slots were captured.
    Complete,
    /// The snapshot is unusable, for this reason.
    Abandoned(&'static str),
}

/// The state of a capture: how far the partitions' slots have been captured.
///
/// Always: a section that is from after a value has left its slot is in one file with the section of the slot that the
/// value has come to, which is from after that, too. So all that a snapshot has given away to other partitions, it gave
/// before its barrier.
pub(super) struct Capture {
    partitions: Partitions,
    /// The partitions that follow the present one, each with its barrier.
    rest: VecDeque<(PartitionId, Lsn)>,
    /// What each partition has given away to others.
    transfers: Vec<Transfer>,
    /// The next slot whose turn comes; slots from here up to `end` have not been begun, unless early.
    next: u16,
    end: u16,
    /// The slot in progress, if a slice has left it unfinished.
    slot: Option<SlotCapture>,
    /// The slots whose captures have begun early, each with the lsn of the last edit before that.
    early: BTreeMap<Slot, (Lsn, SlotCapture)>,
    /// The slice being filled; [`Self::slice`] returns it.
    slice: Slice,
    /// Whether the last slice was returned.
    is_over: bool,
}

impl Capture {
    /// Begins a capture of partitions, each with its barrier; these were logged one after the other. `transfers` are
    /// what they have given away. `None` if there are no partitions.
    pub fn new(partitions: Partitions, rest: VecDeque<(PartitionId, Lsn)>, transfers: Vec<Transfer>) -> Option<Self> {
        let (slot, early, slice, is_over) = (None, BTreeMap::new(), Slice::default(), false);
        let mut capture = Self { partitions, rest, transfers, next: 0, end: 0, slot, early, slice, is_over };
        capture.begin_next().then_some(capture)
    }

    /// Begins with the next partition. Returns whether there is one.
    fn begin_next(&mut self) -> bool {
        let Some((partition, barrier)) = self.rest.pop_front() else { return false };
        let slots = self.partitions.slots(partition);
        (self.next, self.end, self.slot) = (slots.start, slots.end, None);
        let transfers = self.transfers.iter().filter(|transfer| transfer.from == partition).copied().collect();
        self.slice = Slice { partition, barrier, begins: true, transfers, ..Slice::default() };
        true
    }

    /// Whether all partitions have been captured, or the capture has ended before.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a slot is to be captured and was not begun.
    fn is_ahead(&self, slot: Slot) -> bool {
        let partition = self.partitions.of(slot);
        let is_to_come =
            (self.next..self.end).contains(&slot.0) || self.rest.iter().any(|(rest, _)| *rest == partition);
        is_to_come && !self.early.contains_key(&slot)
    }

    /// The captures that have begun and are not complete.
    fn begun(&self) -> impl Iterator<Item = &SlotCapture> {
        self.slot.iter().chain(self.early.values().map(|(_, capture)| capture))
    }

    /// Captures slots into the next slice until `go_on`, asked every few KiB, returns false, or the slice has about
    /// [`SLICE`] bytes. `appended` is the last edit applied. Each partition has a slice with an `end`. Must not be
    /// called when the capture [`Self::is_over`].
    pub fn slice(&mut self, store: &mut Store, appended: Lsn, mut go_on: impl FnMut() -> bool) -> Slice {
        self.slice.bytes.reserve(SLICE + STEP);
        let mut go_on = |bytes| bytes < SLICE && go_on();
        while self.slice.end.is_none() {
            if !self.step(store, appended, &mut go_on) || !go_on(self.slice.bytes.len()) {
                break;
            }
        }
        let following = Slice { partition: self.slice.partition, barrier: self.slice.barrier, ..Slice::default() };
        let slice = std::mem::replace(&mut self.slice, following);
        if let Some(end) = slice.end {
            self.is_over = !self.begin_next();
            if let End::Abandoned(why) = end {
                // The snapshots of the other partitions would wait for this one.
                self.abandon(store, why);
            }
        }
        slice
    }

    /// Captures more of one slot. Returns whether the slot is complete.
    fn step(&mut self, store: &mut Store, appended: Lsn, go_on: &mut impl FnMut(usize) -> bool) -> bool {
        let slice = &mut self.slice;
        let mut capture = match self.slot.take() {
            Some(unfinished) => unfinished,
            None if self.next == self.end => {
                slice.end = Some(End::Complete);
                return true;
            }
            None => {
                let slot = Slot(self.next);
                self.next += 1;
                let early = self.early.remove(&slot);
                let (lsn, capture) = early.unwrap_or_else(|| (appended, store.begin_capture(slot)));
                let (entries, digest) = (capture.entries(), capture.digest().0);
                // A slot gets no section only if it was empty at the barrier.
                if entries > 0 || lsn > slice.barrier {
                    slice.sections.push(SectionStart { at: slice.bytes.len(), slot, lsn, entries, digest });
                }
                capture
            }
        };
        let complete = store.go_on_capture(&mut capture, &mut slice.bytes, go_on);
        if !complete {
            self.slot = Some(capture);
        } else if !capture.is_whole() {
            slice.end = Some(End::Abandoned("a slot was captured with other entries than it had"));
        }
        complete
    }

    /// Applies an edit of any partition, once what it would overwrite in the slots in progress is saved. `before` is
    /// the lsn of the last edit before it.
    ///
    /// # Errors
    /// As [`Store::apply`].
    #[inline]
    pub fn apply(&mut self, store: &mut Store, edit: &Edit<'_>, before: Lsn) -> Result<(), ApplyError> {
        let Edit::Key { db, slot, key, .. } = edit else { return self.apply_to_partition(store, edit) };
        let to = edit.moves_to();
        if let Some(to) = to.filter(|_| self.slice.end.is_none()) {
            self.begin_early(store, (*db, *slot, key), to, before);
        }
        if !self.begun().any(|capture| capture.touches(*slot) || to.is_some_and(|to| capture.touches(to))) {
            return store.apply(edit);
        }
        let early = self.early.values_mut().map(|(_, capture)| capture);
        let applied = store.apply_in_captures(self.slot.iter_mut().chain(early), edit);
        if self.slice.bytes.len() + self.begun().map(SlotCapture::behind).sum::<usize>() > MOST {
            self.abandon(store, "too much was overwritten in the middle of a slot");
        }
        applied
    }

    fn apply_to_partition(&mut self, store: &mut Store, edit: &Edit<'_>) -> Result<(), ApplyError> {
        // A value that is followed may be in any partition.
        if self.begun().any(|capture| capture.is_ended_by(edit)) {
            self.abandon(store, "all keys were flushed or databases swapped in the middle of a slot");
        }
        store.apply(edit)
    }

    /// Before a value moves from a key to the slot `to`: begins to capture the slots that must be captured before that.
    #[cold]
    fn begin_early(&mut self, store: &Store, (db, from, key): (Db, Slot, &[u8]), to: Slot, before: Lsn) {
        let begin = |early: &mut BTreeMap<_, _>, slot| early.insert(slot, (before, store.begin_capture(slot)));
        let stays = self.partitions.of(from) == self.partitions.of(to) && self.is_ahead(to);
        if self.is_ahead(from) && !stays && !is_planted(Bug::MovedPastCapture) {
            begin(&mut self.early, from);
        }
        let is_followed = self.begun().any(|capture| store.is_awaited(capture, db, from, key));
        if is_followed && self.is_ahead(to) && !is_planted(Bug::FollowedTwice) {
            begin(&mut self.early, to);
        }
    }

    /// Whether values that edits have replaced or deleted take memory until they are captured.
    pub fn owns_values(&self) -> bool {
        self.begun().any(SlotCapture::owns_values)
    }

    /// Ends the capture as unusable, for the reason `why`.
    pub fn abandon(&mut self, store: &mut Store, why: &'static str) {
        let early = std::mem::take(&mut self.early).into_values().map(|(_, capture)| capture);
        self.slot.take().into_iter().chain(early).for_each(|capture| store.end_capture(capture));
        self.slice.end = Some(End::Abandoned(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::edit::{Change, Fields, Removal};
    use crate::encoding::slot::slot_of;
    use crate::planted::plant;

    #[test]
    fn a_refusal_says_of_which_partition_nothing_comes_and_why() {
        let slice = Slice::refusal(PartitionId(7), "busy");
        assert_eq!((slice.partition, slice.end), (PartitionId(7), Some(End::Abandoned("busy"))));
        assert!(!slice.begins && slice.bytes.is_empty() && slice.sections.is_empty());
    }

    /// How a capture of one slot has ended, if it has, after edits have overwritten `changed` of the slot's keys, of
    /// `len` bytes each, in the middle of the slot.
    fn end_after(changed: u8, len: usize) -> Option<End> {
        let partitions = Partitions::new(1).unwrap();
        let mut store = Store::new(partitions, 0..1);
        let edit = |n: u8, value| {
            let key = format!("{{slot}}{n}").into_bytes();
            let change = Change::PutString { value: vec![value; len].into(), expire_at: None };
            Edit::Key { db: Db(0), slot: slot_of(&key), key: key.into(), change }
        };
        (0..150).for_each(|n| store.apply(&edit(n, 1)).unwrap());
        let mut capture = Capture::new(partitions, [(PartitionId(0), Lsn(9))].into(), Vec::new()).unwrap();
        while capture.slot.is_none() {
            capture.slice(&mut store, Lsn(9), || false);
        }
        for n in 0..changed {
            capture.apply(&mut store, &edit(n, 2), Lsn(9)).unwrap();
        }
        capture.slice.end
    }

    #[test]
    fn a_capture_ends_when_too_much_must_be_written_before_it_is_changed() {
        let small = 60 << 10;
        assert_eq!(end_after(2, small), None);
        let Some(End::Abandoned(why)) = end_after(150, small) else { panic!("9 MB are held in memory") };
        assert!(why.contains("overwritten"), "{why}");
        // Of large values nothing is written before their turn.
        assert_eq!(end_after(150, 70 << 10), None);
    }

    /// Captures a partition while a value moves from a slot that is to come to one that was captured, from there to
    /// another one that is to come, and is deleted in the middle of that. Returns how the capture ended, and the
    /// entries of the sections that have any.
    fn move_twice_and_delete() -> (Option<End>, Vec<(Slot, u64)>) {
        let partitions = Partitions::new(1).unwrap();
        let mut store = Store::new(partitions, 0..1);
        let key_in = |slots: std::ops::Range<u16>| {
            let mut keys = (0..).map(|n: u32| n.to_string().into_bytes());
            keys.find(|key| slots.contains(&slot_of(key).0)).unwrap()
        };
        let [first, second, third] = [key_in(0..5000), key_in(6000..10_000), key_in(12_000..16_000)];
        let edit = |key: &[u8], change| Edit::Key { db: Db(0), slot: slot_of(key), key: key.to_vec().into(), change };
        let mut fields = Fields::default();
        (0..50_000).for_each(|n: u32| fields.push(&n.to_le_bytes(), b"value"));
        store.apply(&edit(&third, Change::PutHash { fields, expire_at: None })).unwrap();
        let (barrier, mut sections) = (Lsn(9), Vec::new());
        let mut capture = Capture::new(partitions, [(PartitionId(0), barrier)].into(), Vec::new()).unwrap();
        let mut go_on = |capture: &mut Capture, store: &mut Store, until: Slot| {
            while capture.next <= until.0 && !capture.is_over() {
                let slice = capture.slice(store, barrier, || false);
                sections.extend(slice.sections.iter().map(|section| (section.slot, section.entries)));
                if slice.end.is_some() {
                    return slice.end;
                }
            }
            None
        };
        assert_eq!(go_on(&mut capture, &mut store, slot_of(&first)), None);
        for (from, to) in [(&third, &first), (&first, &second)] {
            let moves = edit(from, Change::Move { to_db: Db(0), to_key: to.clone().into() });
            capture.apply(&mut store, &moves, barrier).unwrap();
        }
        assert_eq!(go_on(&mut capture, &mut store, slot_of(&second)), None);
        capture.apply(&mut store, &edit(&second, Change::Delete(Removal::Expired)), barrier).unwrap();
        assert!(capture.owns_values());
        let end = go_on(&mut capture, &mut store, Slot(u16::MAX));
        sections.retain(|(_, entries)| *entries > 0);
        (end, sections)
    }

    #[test]
    fn a_value_that_moves_again_and_again_is_in_the_section_of_the_slot_that_it_was_in() {
        let (end, sections) = move_twice_and_delete();
        assert_eq!(end, Some(End::Complete));
        assert!(sections.len() == 1 && sections[0].0.0 >= 12_000 && sections[0].1 == 1, "{sections:?}");
    }

    #[test]
    fn two_captures_of_one_value_would_take_it_from_each_other() {
        plant(Some(Bug::FollowedTwice));
        let (end, _) = move_twice_and_delete();
        plant(None);
        assert!(matches!(end, Some(End::Abandoned(why)) if why.contains("other entries")), "{end:?}");
    }
}
