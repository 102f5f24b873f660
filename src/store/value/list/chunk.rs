//! A chunk: some elements of a large list that follow each other.

use std::ops::Range;

use super::digest::Sum;
use super::ends::Ends;
use super::view::{NARROW, View, length, width};
use crate::config::Packing;
use crate::encoding::edit::End;

/// How large a chunk may grow, and a list that is packed.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    elements: usize,
    bytes: usize,
}

impl Limit {
    /// Size in bytes where the setting is a number of elements.
    const BYTES: usize = 8 << 10;
    /// Bytes that count for each element beside its own, and for a chunk, as in Redis's listpacks: lists then change
    /// their form at about the size at which they do there.
    const EACH: usize = 2;
    const FIXED: usize = 7;

    /// The limit that the setting `packing.list_chunk` states.
    pub fn of(packing: &Packing) -> Self {
        match usize::try_from(packing.list_chunk) {
            Ok(elements) => Self { elements: elements.max(1), bytes: Self::BYTES },
            Err(_) => Self { elements: usize::MAX, bytes: 2048 << packing.list_chunk.unsigned_abs().min(5) },
        }
    }

    /// Whether so many elements of so many bytes are within the limit.
    #[inline]
    pub const fn admits(self, elements: usize, bytes: usize) -> bool {
        elements <= self.elements && bytes + Self::EACH * elements + Self::FIXED <= self.bytes
    }

    /// The size below which a shrinking list is packed again; below the limit, so that a list seldom changes its form.
    pub const fn halved(self) -> Self {
        Self { elements: self.elements / 2, bytes: self.bytes / 2 }
    }
}

/// Number of elements, of their bytes, and of bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub len: usize,
    pub bytes: usize,
    pub memory: usize,
}

impl Size {
    /// Replaces the share of a part that had the size `before`, and has the size `after`.
    #[inline]
    pub const fn exchange(&mut self, before: Self, after: Self) {
        self.len = self.len + after.len - before.len;
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.memory = self.memory + after.memory - before.memory;
    }
}

/// Elements in two buffers: their lengths, and their bytes.
pub(super) struct Chunk {
    lengths: Ends,
    bytes: Ends,
    wide: bool,
    sum: Sum,
}

impl Chunk {
    /// Makes a chunk without elements.
    pub fn new() -> Self {
        Self { lengths: Ends::default(), bytes: Ends::default(), wide: false, sum: Sum::EMPTY }
    }

    /// Makes a chunk of these elements, which have this polynomial.
    pub fn of(view: View<'_>, sum: Sum) -> Self {
        let mut chunk = Self { wide: view.is_wide(), sum, ..Self::new() };
        chunk.lengths.push_right(view.lengths());
        chunk.bytes.push_right(view.bytes());
        chunk
    }

    /// The elements.
    #[inline]
    pub fn view(&self) -> View<'_> {
        View::new(self.lengths.bytes(), self.wide, self.bytes.bytes())
    }

    /// Number of elements.
    #[inline]
    pub const fn len(&self) -> usize {
        self.lengths.len() / width(self.wide)
    }

    /// Size of the chunk, without the memory of the struct itself.
    #[inline]
    pub const fn size(&self) -> Size {
        let memory = self.lengths.memory() + self.bytes.memory();
        Size { len: self.len(), bytes: self.bytes.len(), memory }
    }

    /// The polynomial of the elements.
    #[inline]
    pub const fn sum(&self) -> Sum {
        self.sum
    }

    /// Whether the chunk takes another element. An empty one takes any.
    #[inline]
    pub const fn takes(&self, element: &[u8], limit: Limit) -> bool {
        self.len() == 0 || limit.admits(self.len() + 1, self.bytes.len() + element.len())
    }

    /// Whether the chunk takes all elements of another one.
    pub const fn takes_all(&self, other: &Self, limit: Limit) -> bool {
        limit.admits(self.len() + other.len(), self.bytes.len() + other.bytes.len())
    }

    /// Whether the chunk is as small as it must be. One element is never too large.
    pub const fn is_within(&self, limit: Limit) -> bool {
        self.len() <= 1 || limit.admits(self.len(), self.bytes.len())
    }

    /// Adds an element, which has the polynomial `one`, at one end.
    #[inline]
    pub fn push(&mut self, end: End, element: &[u8], one: Sum) {
        self.widen_for(element);
        let length = &length(element)[..width(self.wide)];
        match end {
            End::Left => {
                self.lengths.push_left(length);
                self.bytes.push_left(element);
            }
            End::Right => {
                self.lengths.push_right(length);
                self.bytes.push_right(element);
            }
        }
        self.sum = self.sum.with(end, one);
    }

    /// Removes `count` elements, of which there must be more, from one end. Returns their polynomial.
    pub fn pop(&mut self, end: End, count: usize) -> Sum {
        let view = self.view();
        let gone = match end {
            End::Left => view.split_at(count).0,
            End::Right => view.split_at(view.len() - count).1,
        };
        let (sum, lengths, bytes) = (gone.sum(), gone.lengths().len(), gone.bytes().len());
        match end {
            End::Left => {
                self.lengths.pop_left(lengths);
                self.bytes.pop_left(bytes);
            }
            End::Right => {
                self.lengths.pop_right(lengths);
                self.bytes.pop_right(bytes);
            }
        }
        self.sum = self.sum.without(end, sum);
        sum
    }

    /// Replaces an element. `old` and `new` are the polynomials of the two.
    pub fn set(&mut self, index: usize, element: &[u8], old: Sum, new: Sum) {
        self.splice(index, 1, Some(element));
        self.sum = self.sum.exchange(index, old, new);
    }

    /// Inserts an element, so that it is the one at `index`.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        let (left, right) = self.view().split_at(index);
        let sum = left.sum().then(Sum::of(element)).then(right.sum());
        self.splice(index, 0, Some(element));
        self.sum = sum;
    }

    fn splice(&mut self, index: usize, removed: usize, inserted: Option<&[u8]>) {
        self.widen_for(inserted.unwrap_or_default());
        let (view, width) = (self.view(), width(self.wide));
        let (start, end) = (view.offset(index), view.offset(index + removed));
        let length = inserted.map(length);
        let length = length.as_ref().map_or(&[][..], |length| &length[..width]);
        self.lengths.splice(index * width, removed * width, length);
        self.bytes.splice(start, end - start, inserted.unwrap_or_default());
    }

    /// Removes these elements, in ranges that ascend.
    pub fn remove(&mut self, ranges: &[Range<usize>]) {
        let (mut kept, mut rest, mut at) = (Self { wide: self.wide, ..Self::new() }, self.view(), 0);
        for range in ranges {
            let (before, from) = rest.split_at(range.start - at);
            kept.append_view(before);
            (rest, at) = (from.split_at(range.len()).1, range.end);
        }
        kept.append_view(rest);
        kept.sum = kept.view().sum();
        kept.shrink();
        *self = kept;
    }

    /// Adds the elements of another chunk at the right end.
    pub fn append(&mut self, other: &Self) {
        if self.wide == other.wide {
            self.append_view(other.view());
            self.sum = self.sum.then(other.sum);
        } else {
            other.view().iter().for_each(|element| self.push(End::Right, element, Sum::of(element)));
        }
    }

    fn append_view(&mut self, view: View<'_>) {
        self.lengths.push_right(view.lengths());
        self.bytes.push_right(view.bytes());
    }

    /// Splits a chunk of at least two elements into two of about as many bytes. Returns the right one.
    pub fn split(&mut self) -> Self {
        let view = self.view();
        let mut left = 0;
        let half = view.bytes().len() / 2;
        let middle = view.iter().position(|element| {
            left += element.len();
            left > half
        });
        // An element across the middle goes where fewer bytes are; all elements may be empty.
        let at = middle.map_or(view.len() / 2, |index| {
            let before = left - view.get(index).len();
            if half - before > left - half { index + 1 } else { index }
        });
        let (left, right) = view.split_at(at.clamp(1, view.len() - 1));
        let right = Self::of(right, right.sum());
        *self = Self::of(left, left.sum());
        right
    }

    /// Gives up room for more elements.
    pub fn shrink(&mut self) {
        self.lengths.shrink();
        self.bytes.shrink();
    }

    /// Makes lengths take four bytes if that of `element` needs them.
    #[inline]
    fn widen_for(&mut self, element: &[u8]) {
        if element.len() > NARROW && !self.wide {
            self.widen();
        }
    }

    #[cold]
    fn widen(&mut self) {
        let narrow = self.lengths.bytes();
        let mut lengths = Ends::with_capacity(width(true) * (narrow.len() + 1));
        narrow.iter().for_each(|length| lengths.push_right(&u32::from(*length).to_le_bytes()));
        (self.lengths, self.wide) = (lengths, true);
    }
}
