//! A core's own snapshot of one of its partitions: slot by slot, in slices, between other work. Pure.
//!
//! A barrier stands before the first slot; its place in the log is the snapshot's position. Each slot is captured as it
//! is when its turn begins, and its section bears the last edit before that. A slot too large for one slice goes on in
//! the next (`store::capture`).

use crate::encoding::edit::Edit;
use crate::ids::{Lsn, PartitionId, Partitions, Slot};
use crate::store::Store;
use crate::store::capture::{STEP, SlotCapture};

/// Bytes that a slice is to have: more would be copied to and fro while it grows.
const SLICE: usize = 256 << 10;
/// Most bytes of a slice with what edits have made necessary: beyond it the capture ends. Less in tests, which meet it.
const MOST: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };

/// A part of a snapshot: entries, and the sections that begin in them.
#[derive(Debug, Default)]
pub struct Slice {
    /// The partition.
    pub partition: PartitionId,
    /// The barrier before the first slot, which also tells this snapshot from others of the partition.
    pub barrier: Lsn,
    /// It is the first.
    pub begins: bool,
    /// Entries: first those of the section that the slice before has left unfinished.
    pub bytes: Vec<u8>,
    /// The sections that begin here, in order.
    pub sections: Vec<SectionStart>,
    /// The last slice says how it ended.
    pub end: Option<End>,
}

/// A section that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionStart {
    /// Where in the slice's bytes.
    pub at: usize,
    /// The slot.
    pub slot: Slot,
    /// The last edit before it was captured.
    pub lsn: Lsn,
    /// Its entries.
    pub entries: u64,
    /// Its digest.
    pub digest: u64,
}

impl Slice {
    /// What says that no snapshot of `partition` is taken.
    pub fn refusal(partition: PartitionId, why: &'static str) -> Self {
        Self { partition, end: Some(End::Abandoned(why)), ..Self::default() }
    }
}

/// How a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All slots are in it.
    Complete,
    /// It is of no use, because …
    Abandoned(&'static str),
}

/// A partition on its way into a snapshot.
pub(super) struct Capture {
    /// Slots from here on have not had their turn.
    next: u16,
    end: u16,
    /// The slot whose turn it is, if a slice has left it unfinished.
    slot: Option<SlotCapture>,
    /// What the next slice will bring.
    slice: Slice,
}

impl Capture {
    /// Of `partition`, after its barrier.
    pub fn new(partitions: Partitions, partition: PartitionId, barrier: Lsn) -> Self {
        let slots = partitions.slots(partition);
        let slice = Slice { partition, barrier, begins: true, ..Slice::default() };
        Self { next: slots.start, end: slots.end, slot: None, slice }
    }

    /// Captures as long as `go_on` says so, which is asked every few KiB, and not much more than [`SLICE`] bytes;
    /// `appended` is the last edit applied. After a slice with an end there is none.
    pub fn slice(&mut self, store: &Store, appended: Lsn, mut go_on: impl FnMut() -> bool) -> Slice {
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

    /// Goes on with one slot; whether it is complete.
    fn step(&mut self, store: &Store, appended: Lsn, go_on: &mut impl FnMut(usize) -> bool) -> bool {
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
                // A slot without a section is one that was empty at the barrier.
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

    /// An edit of any partition is about to be applied.
    #[inline]
    pub fn before(&mut self, store: &Store, partition: PartitionId, edit: &Edit<'_>) {
        if partition == self.slice.partition
            && let Some(slot) = &mut self.slot
        {
            if slot.is_ended_by(edit) {
                self.abandon("all keys were flushed or databases swapped in the middle of a slot");
            } else {
                store.save_before(slot, edit, &mut self.slice.bytes);
                if self.slice.bytes.len() + slot.behind() > MOST {
                    self.abandon("too much was overwritten in the middle of a slot");
                }
            }
        }
    }

    /// Ends it; what is captured is of no use.
    pub fn abandon(&mut self, why: &'static str) {
        self.slot = None;
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

    /// What a capture of one slot says after it has begun, and edits have then changed `changed` of the slot's keys, of
    /// a MiB each.
    fn end_after(changed: u8) -> Option<End> {
        let partitions = Partitions::new(1).unwrap();
        let mut store = Store::new(partitions, 0..1);
        let edit = |n: u8, value| {
            let key = format!("{{slot}}{n}").into_bytes();
            let change = Change::PutString { value: vec![value; 1 << 20].into(), expire_at: None };
            Edit::Key { db: Db(0), slot: slot_of(&key), key: key.into(), change }
        };
        (0..9).for_each(|n| store.apply(&edit(n, 1)).unwrap());
        let mut capture = Capture::new(partitions, PartitionId(0), Lsn(9));
        while capture.slot.is_none() {
            capture.slice(&store, Lsn(9), || false);
        }
        for n in 0..changed {
            capture.before(&store, PartitionId(0), &edit(n, 2));
            store.apply(&edit(n, 2)).unwrap();
        }
        capture.slice.end
    }

    #[test]
    fn a_capture_ends_when_too_much_must_be_written_before_it_is_changed() {
        assert_eq!(end_after(2), None);
        let Some(End::Abandoned(why)) = end_after(9) else { panic!("9 MiB are held in memory") };
        assert!(why.contains("overwritten"), "{why}");
    }
}
