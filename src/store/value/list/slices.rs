//! Writes a list that has chunks to a snapshot in slices, from its left end to its right.
//!
//! What the list is, seen from the snapshot, is a row of pieces ([`Piece`]): elements that are still to be written,
//! others that are not, and between them what edits have taken away since the capture began. An edit changes the row
//! as it changes the list, and only the old elements that it removes must be kept: chunks that it cuts off as they are.

use std::collections::VecDeque;

use super::chunks::Chunks;
use super::{ListRef, edits};
use crate::encoding::edit::{Change, End};
use crate::encoding::entry::{self, Head};
use crate::store::pace::{Pace, STEP};
use crate::store::value::Saved;

/// State of a list's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Number of elements from the beginning that are still to be written.
    left: usize,
    /// The present list and what is gone from it, from the left. The `New` and `Old` ones are the list.
    pieces: VecDeque<Piece>,
    /// Number of bytes in the `Gone` pieces.
    kept: usize,
    /// Chunks that were cut off and whose elements have all been written.
    spent: Vec<Chunks>,
}

/// A part of the row that the snapshot makes of the list.
enum Piece {
    /// So many elements that are in the list and need not be written: they have been, or came after the beginning.
    New(usize),
    /// So many elements that are in the list and are still to be written.
    Old(usize),
    /// Elements that are still to be written but no longer in the list.
    Gone(VecDeque<Block>),
    /// Chunks that were cut off.
    Cut(Cut),
}

/// Chunks that were cut off the list: a list with a row of its own.
struct Cut {
    /// `None` until they have been claimed.
    chunks: Option<Chunks>,
    pieces: VecDeque<Piece>,
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
    /// Whether what is removed are chunks that are cut off.
    cuts: bool,
}

impl Splice {
    const fn new(index: usize, removed: usize, inserted: usize) -> Self {
        Self { index, removed, inserted, cuts: false }
    }
}

impl Slices {
    /// Begins the entry of a list that has chunks; `None` for others.
    pub fn begin(head: Head<'_>, list: ListRef<'_>, out: &mut Vec<u8>) -> Option<Self> {
        if list.is_packed() {
            return None;
        }
        entry::begin_list(out, head, list.len(), list.content_len());
        let pieces = VecDeque::from([Piece::Old(list.len())]);
        Some(Self { left: list.len(), pieces, kept: 0, spent: Vec::new() })
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
        let Self { left, pieces, kept, spent } = self;
        Writer { left, kept, spent, pace: Pace::new(), out, go_on, goes_on: true }.write(list, pieces);
        self.is_whole()
    }

    /// Call before `change` is applied: keeps the elements that it removes.
    pub fn save_before(&mut self, list: ListRef<'_>, change: &Change<'_>) -> Saved {
        let len = list.len();
        let index = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        match change {
            // The expiry is part of the entry's head, which has been written.
            Change::SetExpiry(_) => {}
            Change::PushElements { end, elements } => {
                let index = if *end == End::Left { 0 } else { len };
                self.change(list, [Splice::new(index, 0, elements.len())]);
            }
            Change::PopElements { end, count } if index(*count) < len => return self.pop(list, *end, index(*count)),
            Change::SetElement { index: at, .. } if index(*at) < len => {
                self.change(list, [Splice::new(index(*at), 1, 1)]);
            }
            Change::InsertElement { index: at, .. } if index(*at) <= len => {
                self.change(list, [Splice::new(index(*at), 0, 1)]);
            }
            Change::RemoveElements(ranges) if edits::removed_by(ranges, len).is_some_and(|count| count < len) => {
                self.change(list, edits::spans(ranges).map(|range| Splice::new(range.start, range.len(), 0)));
            }
            // The last elements go; or the change contradicts the list.
            _ => return Saved::NotRest,
        }
        Saved::All
    }

    /// Keeps `count` elements at one end that are about to be removed.
    fn pop(&mut self, list: ListRef<'_>, end: End, count: usize) -> Saved {
        let (len, whole) = (list.len(), list.cut_off(end, count));
        let cut = |index| Splice { cuts: true, ..Splice::new(index, whole, 0) };
        match end {
            End::Left => self.change(list, [cut(0), Splice::new(whole, count - whole, 0)]),
            End::Right => self.change(list, [Splice::new(len - count, count - whole, 0), cut(len - whole)]),
        }
        if whole > 0 { Saved::ButParts } else { Saved::All }
    }

    /// Takes in chunks that were cut off. Returns them if nothing in them is still to be written.
    pub fn claim(&mut self, chunks: Chunks) -> Option<Chunks> {
        let cuts =
            self.pieces.iter_mut().filter_map(|piece| if let Piece::Cut(cut) = piece { Some(cut) } else { None });
        let Some(place) = cuts.map(|cut| &mut cut.chunks).find(|place| place.is_none()) else { return Some(chunks) };
        *place = Some(chunks);
        None
    }

    /// Whether chunks were claimed.
    pub fn owns_parts(&self) -> bool {
        !self.spent.is_empty() || self.pieces.iter().any(|piece| matches!(piece, Piece::Cut(_)))
    }

    /// The chunks that were claimed.
    pub fn into_parts(self) -> Vec<Chunks> {
        let (mut parts, mut pieces) = (self.spent, self.pieces);
        while let Some(piece) = pieces.pop_front() {
            if let Piece::Cut(cut) = piece {
                parts.extend(cut.chunks);
                pieces.extend(cut.pieces);
            }
        }
        parts
    }

    /// Changes the row of pieces as the list is changed by these splices, which ascend and count what is there before.
    fn change(&mut self, list: ListRef<'_>, splices: impl IntoIterator<Item = Splice>) {
        let mut row = Row { from: std::mem::take(&mut self.pieces), to: VecDeque::new() };
        let mut at = 0;
        for Splice { index, removed, inserted, cuts } in splices {
            while let Some((piece, count)) = row.next(index - at) {
                at += count;
                row.add(piece);
            }
            if cuts {
                let mut cut = Row { from: row.from, to: VecDeque::new() };
                while let Some((piece, count)) = cut.next(index + removed - at) {
                    at += count;
                    cut.add(piece);
                }
                row.from = cut.from;
                if removed > 0 {
                    row.add(Piece::Cut(Cut { chunks: None, pieces: cut.to }));
                }
            }
            while let Some((piece, count)) = row.next(index + removed - at) {
                match piece {
                    Piece::Old(_) => {
                        let gone = blocks(list.iter_from(at).take(count));
                        self.kept += gone.iter().map(|block| block.bytes.len()).sum::<usize>();
                        row.add(Piece::Gone(gone));
                    }
                    Piece::Gone(_) | Piece::Cut(_) => row.add(piece),
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

/// Writes pieces of a list, and of what is cut off it.
struct Writer<'w> {
    left: &'w mut usize,
    kept: &'w mut usize,
    spent: &'w mut Vec<Chunks>,
    pace: Pace,
    out: &'w mut Vec<u8>,
    go_on: &'w mut dyn FnMut(usize) -> bool,
    goes_on: bool,
}

impl Writer<'_> {
    /// Writes the pieces of `list` until none is left or there is no time for more. Returns whether none is left.
    fn write(&mut self, list: ListRef<'_>, pieces: &mut VecDeque<Piece>) -> bool {
        let mut at = 0;
        while self.goes_on
            && let Some(piece) = pieces.pop_front()
        {
            match piece {
                Piece::New(count) => at += count,
                Piece::Old(count) => {
                    let mut written = 0;
                    let mut elements = list.iter_from(at).take(count);
                    while self.goes_on
                        && let Some(element) = elements.next()
                    {
                        entry::write_element(self.out, element);
                        written += 1;
                        self.count(element.len());
                    }
                    at += written;
                    *self.left -= written;
                    if written < count {
                        pieces.push_front(Piece::Old(count - written));
                    }
                }
                Piece::Gone(mut blocks) => {
                    while self.goes_on
                        && let Some(block) = blocks.pop_front()
                    {
                        self.out.extend_from_slice(&block.bytes);
                        *self.left -= block.count;
                        *self.kept -= block.bytes.len();
                        self.count(block.bytes.len());
                    }
                    if !blocks.is_empty() {
                        pieces.push_front(Piece::Gone(blocks));
                    }
                }
                Piece::Cut(Cut { chunks: None, .. }) => {}
                Piece::Cut(Cut { chunks: Some(chunks), pieces: mut own }) => {
                    if self.write(ListRef::chunks(&chunks), &mut own) {
                        self.spent.push(chunks);
                    } else {
                        pieces.push_front(Piece::Cut(Cut { chunks: Some(chunks), pieces: own }));
                    }
                }
            }
        }
        let is_done = pieces.is_empty();
        pieces.push_front(Piece::New(at));
        is_done
    }

    fn count(&mut self, bytes: usize) {
        self.goes_on = self.pace.count(bytes, || (self.go_on)(self.out.len())).is_continue();
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
            gone @ (Piece::Gone(_) | Piece::Cut(_)) => (gone, 0),
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
