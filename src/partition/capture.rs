//! Snapshots that a core takes of its own partitions, of one or of several that are bound together
//! (`partition::transfers`): slot by slot, in slices, between other work. Pure.
//!
//! The barriers of all partitions are logged before the first slot is captured; a barrier's position is its snapshot's.
//! Each slot is captured as it is when its turn begins, and its section records the lsn of the last edit before that. A
//! slot too large for one slice continues in the next (`store::capture`).

use std::collections::VecDeque;

use crate::encoding::edit::Edit;
use crate::ids::{Lsn, PartitionId, Partitions, Slot};
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
/// Always: a slot that is captured after a value has left it is captured after the value has come to its new slot, if
/// that is captured, too ([`Self::would_lose`]). So all that the snapshots have given away, they gave before their
/// barriers.
pub(super) struct Capture {
    partitions: Partitions,
    /// The partitions that follow the present one, each with its barrier.
    rest: VecDeque<(PartitionId, Lsn)>,
    /// What each partition has given away to others.
    transfers: Vec<Transfer>,
    /// The next slot to capture; slots from here up to `end` have not been begun.
    next: u16,
    end: u16,
    /// The slot in progress, if a slice has left it unfinished.
    slot: Option<SlotCapture>,
    /// The slice being filled; [`Self::slice`] returns it.
    slice: Slice,
    /// Whether the last slice was returned.
    is_over: bool,
}

impl Capture {
    /// Begins a capture of partitions, each with its barrier; these were logged one after the other. `transfers` are
    /// what they have given away. `None` if there are no partitions.
    pub fn new(partitions: Partitions, rest: VecDeque<(PartitionId, Lsn)>, transfers: Vec<Transfer>) -> Option<Self> {
        let (slot, slice, is_over) = (None, Slice::default(), false);
        let mut capture = Self { partitions, rest, transfers, next: 0, end: 0, slot, slice, is_over };
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

    /// Whether a value that moved now from one slot to another would be in neither slot's section: the slot that it
    /// leaves is captured later, and the one that it comes to was captured before. While the slot that it leaves is
    /// being captured, the value has to stay where it is, too.
    pub fn would_lose(&self, from: Slot, to: Slot) -> bool {
        let is_in_progress = self.slot.as_ref().is_some_and(|capture| capture.slot() == from);
        !is_planted(Bug::MovedPastCapture) && (is_in_progress || self.is_ahead(from) && !self.is_ahead(to))
    }

    /// Whether a slot is to be captured and was not begun.
    fn is_ahead(&self, slot: Slot) -> bool {
        let partition = self.partitions.of(slot);
        (self.next..self.end).contains(&slot.0) || self.rest.iter().any(|(rest, _)| *rest == partition)
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
                let capture = store.begin_capture(Slot(self.next));
                self.next += 1;
                let (slot, entries, digest) = (capture.slot(), capture.entries(), capture.digest().0);
                // A slot gets no section only if it was empty at the barrier.
                if entries > 0 || appended > slice.barrier {
                    slice.sections.push(SectionStart { at: slice.bytes.len(), slot, lsn: appended, entries, digest });
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

    /// Applies an edit of any partition, once what it would overwrite in the slot in progress is saved.
    ///
    /// # Errors
    /// As [`Store::apply`].
    #[inline]
    pub fn apply(&mut self, store: &mut Store, partition: PartitionId, edit: &Edit<'_>) -> Result<(), ApplyError> {
        let Some(slot) = &mut self.slot else { return store.apply(edit) };
        let arrives = || edit.moves_to().is_some_and(|to| self.partitions.of(to) == self.slice.partition);
        if partition != self.slice.partition && !arrives() {
            return store.apply(edit);
        }
        if slot.is_ended_by(edit) {
            self.abandon(store, "all keys were flushed or databases swapped in the middle of a slot");
            return store.apply(edit);
        }
        let applied = store.apply_in_capture(slot, edit, &mut self.slice.bytes);
        if self.slice.bytes.len() + slot.behind() > MOST {
            self.abandon(store, "too much was overwritten in the middle of a slot");
        }
        applied
    }

    /// Whether values that edits have replaced or deleted take memory until they are captured.
    pub fn owns_values(&self) -> bool {
        self.slot.as_ref().is_some_and(SlotCapture::owns_values)
    }

    /// Ends the capture as unusable, for the reason `why`.
    pub fn abandon(&mut self, store: &mut Store, why: &'static str) {
        self.slot.take().into_iter().for_each(|slot| store.end_capture(slot));
        self.slice.end = Some(End::Abandoned(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::edit::Change;
    use crate::encoding::slot::slot_of;
    use crate::ids::Db;

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
            capture.apply(&mut store, PartitionId(0), &edit(n, 2)).unwrap();
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
}
