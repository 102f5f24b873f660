//! A snapshot that a core takes of one of its own partitions: slot by slot, in slices, between other work. Pure.
//!
//! A barrier is logged before the first slot is captured; the barrier's position is the snapshot's position. Each slot
//! is captured as it is when its turn begins, and its section records the lsn of the last edit before that. A slot too
//! large for one slice continues in the next (`store::capture`).

use crate::encoding::edit::Edit;
use crate::ids::{Lsn, PartitionId, Partitions, Slot};
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

/// The state of a capture: how far the partition's slots have been captured.
pub(super) struct Capture {
    /// The next slot to capture; slots from here up to `end` have not been begun.
    next: u16,
    end: u16,
    /// The slot in progress, if a slice has left it unfinished.
    slot: Option<SlotCapture>,
    /// The slice being filled; [`Self::slice`] returns it.
    slice: Slice,
}

impl Capture {
    /// Begins a capture of `partition`, whose barrier was logged at `barrier`.
    pub fn new(partitions: Partitions, partition: PartitionId, barrier: Lsn) -> Self {
        let slots = partitions.slots(partition);
        let slice = Slice { partition, barrier, begins: true, ..Slice::default() };
        Self { next: slots.start, end: slots.end, slot: None, slice }
    }

    /// Captures slots into the next slice until `go_on`, asked every few KiB, returns false, or the slice has about
    /// [`SLICE`] bytes. `appended` is the last edit applied. After it has returned a slice with an `end`, it must not
    /// be called again.
    pub fn slice(&mut self, store: &mut Store, appended: Lsn, mut go_on: impl FnMut() -> bool) -> Slice {
        self.slice.bytes.reserve(SLICE + STEP);
        let mut go_on = |bytes| bytes < SLICE && go_on();
        while self.slice.end.is_none() {
            if !self.step(store, appended, &mut go_on) || !go_on(self.slice.bytes.len()) {
                break;
            }
        }
        let following = Slice { partition: self.slice.partition, barrier: self.slice.barrier, ..Slice::default() };
        std::mem::replace(&mut self.slice, following)
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
        let Some(slot) = self.slot.as_mut().filter(|_| partition == self.slice.partition) else {
            return store.apply(edit);
        };
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
        let mut capture = Capture::new(partitions, PartitionId(0), Lsn(9));
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
