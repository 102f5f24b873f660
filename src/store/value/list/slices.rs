//! Writes a list that has chunks to a snapshot in slices, from its left end to its right.
//!
//! What the list is, seen from the snapshot, is a row of pieces ([`Piece`]): elements that are still to be written,
//! others that are not, and between them what edits have taken away since the capture began. An edit changes the row
//! as it changes the list, and only the old elements that it removes must be kept.

use std::collections::VecDeque;

use super::{ListRef, edits};
use crate::encoding::edit::{Change, End};
use crate::encoding::entry::{self, Head};
use crate::store::pace::{Pace, STEP};

/// State of a list's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Number of elements from the beginning that are still to be written.
    left: usize,
    /// The present list and what is gone from it, from the left. The `New` and `Old` ones are the list.
    pieces: VecDeque<Piece>,
    /// Number of bytes in the `Gone` pieces.
    kept: usize,
}

/// A part of the row that the snapshot makes of the list.
enum Piece {
    /// So many elements that are in the list and need not be written: they have been, or came after the beginning.
    New(usize),
    /// So many elements that are in the list and are still to be written.
    Old(usize),
    /// Elements that are still to be written but no longer in the list.
    Gone(VecDeque<Block>),
}

/// Some elements in the form in which a snapshot has them.
#[derive(Default)]
struct Block {
    count: usize,
    bytes: Vec<u8>,
}

/// A change of the list: so many elements from `index` on are removed, and so many others take their place.
struct Splice {
    index: usize,
    removed: usize,
    inserted: usize,
}

impl Slices {
    /// Begins the entry of a list that has chunks; `None` for others.
    pub fn begin(head: Head<'_>, list: ListRef<'_>, out: &mut Vec<u8>) -> Option<Self> {
        if list.is_packed() {
            return None;
        }
        entry::begin_list(out, head, list.len(), list.content_len());
        Some(Self { left: list.len(), pieces: VecDeque::from([Piece::Old(list.len())]), kept: 0 })
    }

    /// Whether exactly the elements from the beginning have been written.
    pub const fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// Number of bytes of elements that are kept.
    pub const fn kept(&self) -> usize {
        self.kept
    }

    /// Writes elements until none is left or `go_on`, called with the length of `out`, returns false. Returns whether
    /// none is left.
    pub fn go_on(&mut self, list: ListRef<'_>, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        let (mut pace, mut at, mut goes_on) = (Pace::new(), 0, true);
        while self.left > 0 && goes_on {
            let Some(piece) = self.pieces.pop_front() else { break };
            match piece {
                Piece::New(count) => at += count,
                Piece::Old(count) => {
                    let mut written = 0;
                    let mut elements = list.iter_from(at).take(count);
                    while goes_on && let Some(element) = elements.next() {
                        entry::write_element(out, element);
                        written += 1;
                        goes_on = pace.count(element.len(), || go_on(out.len())).is_continue();
                    }
                    at += written;
                    self.left -= written;
                    if written < count {
                        self.pieces.push_front(Piece::Old(count - written));
                    }
                }
                Piece::Gone(mut blocks) => {
                    while goes_on && let Some(block) = blocks.pop_front() {
                        out.extend_from_slice(&block.bytes);
                        self.left -= block.count;
                        self.kept -= block.bytes.len();
                        goes_on = pace.count(block.bytes.len(), || go_on(out.len())).is_continue();
                    }
                    if !blocks.is_empty() {
                        self.pieces.push_front(Piece::Gone(blocks));
                    }
                }
            }
        }
        self.pieces.push_front(Piece::New(at));
        self.left == 0
    }

    /// Call before `change` is applied: keeps the elements that it removes. Returns whether the caller must first have
    /// all remaining elements written.
    pub fn save_before(&mut self, list: ListRef<'_>, change: &Change<'_>) -> bool {
        let len = list.len();
        let index = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        match change {
            // The expiry is part of the entry's head, which has been written.
            Change::SetExpiry(_) => {}
            Change::PushElements { end, elements } => {
                let index = if *end == End::Left { 0 } else { len };
                self.change(list, [Splice { index, removed: 0, inserted: elements.len() }]);
            }
            Change::PopElements { end, count } if index(*count) < len => {
                let removed = index(*count);
                let index = if *end == End::Left { 0 } else { len - removed };
                self.change(list, [Splice { index, removed, inserted: 0 }]);
            }
            Change::SetElement { index: at, .. } if index(*at) < len => {
                self.change(list, [Splice { index: index(*at), removed: 1, inserted: 1 }]);
            }
            Change::InsertElement { index: at, .. } if index(*at) <= len => {
                self.change(list, [Splice { index: index(*at), removed: 0, inserted: 1 }]);
            }
            Change::RemoveElements(ranges) if edits::removed_by(ranges, len).is_some_and(|count| count < len) => {
                let splice =
                    |range: std::ops::Range<usize>| Splice { index: range.start, removed: range.len(), inserted: 0 };
                self.change(list, edits::spans(ranges).map(splice));
            }
            // The last elements go; or the change contradicts the list.
            _ => return true,
        }
        false
    }

    /// Changes the row of pieces as the list is changed by these splices, which ascend and count what is there before.
    fn change(&mut self, list: ListRef<'_>, splices: impl IntoIterator<Item = Splice>) {
        let mut row = Row { from: std::mem::take(&mut self.pieces), to: VecDeque::new() };
        let mut at = 0;
        for Splice { index, removed, inserted } in splices {
            while let Some((piece, count)) = row.next(index - at) {
                at += count;
                row.add(piece);
            }
            while let Some((piece, count)) = row.next(index + removed - at) {
                match piece {
                    Piece::Old(_) => {
                        let gone = blocks(list.iter_from(at).take(count));
                        self.kept += gone.iter().map(|block| block.bytes.len()).sum::<usize>();
                        row.add(Piece::Gone(gone));
                    }
                    Piece::Gone(_) => row.add(piece),
                    Piece::New(_) => {}
                }
                at += count;
            }
            if inserted > 0 {
                row.add(Piece::New(inserted));
            }
        }
        while let Some(piece) = row.from.pop_front() {
            row.add(piece);
        }
        self.pieces = row.to;
    }
}

/// A row of pieces that is being made from another one.
struct Row {
    from: VecDeque<Piece>,
    to: VecDeque<Piece>,
}

impl Row {
    /// Takes the next piece, or as much of it as has at most `most` elements of the list, and the number of these.
    /// `None` once `most` is 0.
    fn next(&mut self, most: usize) -> Option<(Piece, usize)> {
        if most == 0 {
            return None;
        }
        Some(match self.from.pop_front()? {
            Piece::Gone(blocks) => (Piece::Gone(blocks), 0),
            Piece::New(count) if count > most => {
                self.from.push_front(Piece::New(count - most));
                (Piece::New(most), most)
            }
            Piece::Old(count) if count > most => {
                self.from.push_front(Piece::Old(count - most));
                (Piece::Old(most), most)
            }
            Piece::New(count) => (Piece::New(count), count),
            Piece::Old(count) => (Piece::Old(count), count),
        })
    }

    /// Adds a piece to the new row, in one with the last piece where both are of the same sort.
    fn add(&mut self, piece: Piece) {
        match (self.to.back_mut(), piece) {
            (Some(Piece::New(before)), Piece::New(count)) | (Some(Piece::Old(before)), Piece::Old(count)) => {
                *before += count;
            }
            (Some(Piece::Gone(before)), Piece::Gone(mut after)) => {
                // The shorter one is moved: elements taken away one by one from either end are moved once.
                if before.len() < after.len() {
                    while let Some(block) = before.pop_back() {
                        after.push_front(block);
                    }
                    *before = after;
                } else {
                    before.append(&mut after);
                }
            }
            (_, piece) => self.to.push_back(piece),
        }
    }
}

/// Encodes elements in blocks of about [`STEP`] bytes.
fn blocks<'e>(elements: impl Iterator<Item = &'e [u8]>) -> VecDeque<Block> {
    let (mut blocks, mut block) = (VecDeque::new(), Block::default());
    for element in elements {
        entry::write_element(&mut block.bytes, element);
        block.count += 1;
        if block.bytes.len() >= STEP {
            blocks.push_back(std::mem::take(&mut block));
        }
    }
    if block.count > 0 {
        blocks.push_back(block);
    }
    blocks
}
