//! The elements of a large list: chunks in runs of at most [`RUN`].
//!
//! Runs and chunks know how many elements they have, so that an element of a list of a hundred million is found by way
//! of some hundred runs and at most [`RUN`] chunks. They also know their polynomials, so that a change in the middle
//! touches its chunk, and what is known of the other runs is added up again.
//!
//! Invariants: no run and no chunk is empty; what a run or a list knows is the sum over its parts.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Range;

use super::chunk::{Chunk, Limit, Size};
use super::digest::Sum;
use crate::encoding::edit::End;
use crate::store::memory::allocated;

/// Maximum number of chunks in a run.
const RUN: usize = 256;

/// Chunks that follow each other.
struct Run {
    chunks: VecDeque<Chunk>,
    size: Size,
    sum: Sum,
}

/// A list in chunks.
pub(in crate::store) struct Chunks {
    runs: VecDeque<Run>,
    size: Size,
    sum: Sum,
}

/// Where an element is.
#[derive(Clone, Copy)]
struct Place {
    /// Position of its run in the list.
    run: usize,
    /// Index of the element in its run.
    in_run: usize,
    /// Position of its chunk in the run.
    chunk: usize,
    /// Index of the element in its chunk.
    in_chunk: usize,
}

/// Bytes of memory that the buffer of a deque takes.
fn room<T>(deque: &VecDeque<T>) -> usize {
    allocated(deque.capacity() * size_of::<T>())
}

fn outer<T>(parts: &mut VecDeque<T>, end: End) -> Option<&mut T> {
    match end {
        End::Left => parts.front_mut(),
        End::Right => parts.back_mut(),
    }
}

/// The parts from one end to the other.
fn from<T>(parts: &VecDeque<T>, end: End) -> impl Iterator<Item = &T> {
    let (left, right) = match end {
        End::Left => (Some(parts.iter()), None),
        End::Right => (None, Some(parts.iter().rev())),
    };
    left.into_iter().flatten().chain(right.into_iter().flatten())
}

fn put<T>(parts: &mut VecDeque<T>, end: End, part: T) {
    match end {
        End::Left => parts.push_front(part),
        End::Right => parts.push_back(part),
    }
}

fn take<T>(parts: &mut VecDeque<T>, end: End) -> Option<T> {
    match end {
        End::Left => parts.pop_front(),
        End::Right => parts.pop_back(),
    }
}

/// Finds the part that has the element at `index` of `total`, from the nearer end. Returns the part's position and the
/// element's index in it.
fn seek<T>(parts: &VecDeque<T>, total: usize, index: usize, len: impl Fn(&T) -> usize) -> (usize, usize) {
    if index < total / 2 {
        let mut before = 0;
        for (at, part) in parts.iter().enumerate() {
            if index - before < len(part) {
                return (at, index - before);
            }
            before += len(part);
        }
    } else {
        let mut end = total;
        for (at, part) in parts.iter().enumerate().rev() {
            end -= len(part);
            if index >= end {
                return (at, index - end);
            }
        }
    }
    unreachable!("the lengths of the parts add up to the total")
}

impl Run {
    const fn new() -> Self {
        Self { chunks: VecDeque::new(), size: Size { len: 0, bytes: 0, memory: 0 }, sum: Sum::EMPTY }
    }

    /// Adds up what the chunks know.
    fn add_up(&mut self) {
        self.size = Size { memory: room(&self.chunks), ..Size::default() };
        self.sum = Sum::EMPTY;
        for chunk in &self.chunks {
            self.size.exchange(Size::default(), chunk.size());
            self.sum = self.sum.then(chunk.sum());
        }
    }

    /// Splits the chunk at `at` until all its parts are within the limit.
    fn split_chunk(&mut self, at: usize, limit: Limit) {
        let (mut at, mut end) = (at, at + 1);
        while at < end {
            if self.chunks[at].is_within(limit) {
                at += 1;
            } else {
                let right = self.chunks[at].split();
                self.chunks.insert(at + 1, right);
                end += 1;
            }
        }
    }

    /// Removes the elements in `ranges`, whose indexes count from `base` elements before this run. Ranges that end in
    /// this run are consumed.
    fn remove(&mut self, mut base: usize, ranges: &mut Peekable<impl Iterator<Item = Range<usize>>>, limit: Limit) {
        let mut cuts = Vec::new();
        for mut chunk in std::mem::take(&mut self.chunks) {
            let end = base + chunk.len();
            cuts.clear();
            while let Some(range) = ranges.peek().filter(|range| range.start < end).cloned() {
                cuts.push(range.start.max(base) - base..range.end.min(end) - base);
                if range.end > end {
                    break;
                }
                ranges.next();
            }
            if cuts.iter().map(Range::len).sum::<usize>() < chunk.len() {
                if !cuts.is_empty() {
                    chunk.remove(&cuts);
                }
                match self.chunks.back_mut() {
                    Some(last) if last.takes_all(&chunk, limit) => last.append(&chunk),
                    _ => self.chunks.push_back(chunk),
                }
            }
            base = end;
        }
        self.add_up();
    }
}

impl Chunks {
    /// Makes a list without elements, to be filled at once.
    pub const fn new() -> Self {
        Self { runs: VecDeque::new(), size: Size { len: 0, bytes: 0, memory: 0 }, sum: Sum::EMPTY }
    }

    /// Makes a list of one chunk.
    pub(super) fn of(chunk: Chunk) -> Self {
        let mut list = Self::new();
        if chunk.len() > 0 {
            let mut run = Run::new();
            run.chunks.push_back(chunk);
            run.add_up();
            list.runs.push_back(run);
            list.add_up();
        }
        list
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.size.len
    }

    /// Total bytes of all elements.
    pub const fn content_len(&self) -> usize {
        self.size.bytes
    }

    /// Bytes of memory that the list takes.
    pub const fn memory(&self) -> usize {
        self.size.memory
    }

    /// The polynomial of the elements.
    pub(super) const fn sum(&self) -> Sum {
        self.sum
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.runs.iter().map(|run| run.chunks.len()).sum()
    }

    /// The only chunk, if there is one only.
    pub(super) fn only_chunk(&self) -> Option<&Chunk> {
        match (self.runs.front(), self.runs.len()) {
            (Some(run), 1) if run.chunks.len() == 1 => run.chunks.front(),
            _ => None,
        }
    }

    /// The element at `index`, if there are so many.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let place = self.place(index)?;
        Some(self.runs[place.run].chunks[place.chunk].view().get(place.in_chunk))
    }

    /// The elements from `index` on.
    pub(super) fn iter_from(&self, index: usize) -> impl DoubleEndedIterator<Item = &[u8]> {
        let place = self.place(index);
        let first = place.map(|place| {
            let run = &self.runs[place.run];
            let chunk = run.chunks[place.chunk].view().split_at(place.in_chunk).1;
            chunk.iter().chain(elements(run.chunks.range(place.chunk + 1..)))
        });
        let others = self.runs.range(place.map_or(self.runs.len(), |place| place.run + 1)..);
        first.into_iter().flatten().chain(others.flat_map(|run| elements(run.chunks.iter())))
    }

    fn place(&self, index: usize) -> Option<Place> {
        if index >= self.size.len {
            return None;
        }
        let (run, in_run) = seek(&self.runs, self.size.len, index, |run| run.size.len);
        let (chunk, in_chunk) = seek(&self.runs[run].chunks, self.runs[run].size.len, in_run, Chunk::len);
        Some(Place { run, in_run, chunk, in_chunk })
    }

    /// Adds up what the runs know.
    fn add_up(&mut self) {
        self.size = Size { memory: room(&self.runs), ..Size::default() };
        self.sum = Sum::EMPTY;
        for run in &self.runs {
            self.size.exchange(Size::default(), run.size);
            self.sum = self.sum.then(run.sum);
        }
    }

    /// Puts an element at one end.
    pub(super) fn push(&mut self, end: End, element: &[u8], limit: Limit) {
        let chunk = outer(&mut self.runs, end).and_then(|run| outer(&mut run.chunks, end));
        if !chunk.is_some_and(|chunk| chunk.takes(element, limit)) {
            self.add_chunk(end);
        }
        let one = Sum::of(element);
        let Some(run) = outer(&mut self.runs, end) else { return };
        let Some(chunk) = outer(&mut run.chunks, end) else { return };
        let before = chunk.size();
        chunk.push(end, element, one);
        run.size.exchange(before, chunk.size());
        self.size.exchange(before, chunk.size());
        run.sum = run.sum.with(end, one);
        self.sum = self.sum.with(end, one);
    }

    /// Adds an empty chunk at one end, and gives up the room of the one that was there.
    #[cold]
    fn add_chunk(&mut self, end: End) {
        if outer(&mut self.runs, end).is_none_or(|run| run.chunks.len() >= RUN) {
            let before = room(&self.runs);
            put(&mut self.runs, end, Run::new());
            self.size.memory = self.size.memory + room(&self.runs) - before;
        }
        let Some(run) = outer(&mut self.runs, end) else { return };
        let before = run.size;
        if let Some(chunk) = outer(&mut run.chunks, end) {
            let before = chunk.size();
            chunk.shrink();
            run.size.exchange(before, chunk.size());
        }
        let before_room = room(&run.chunks);
        put(&mut run.chunks, end, Chunk::new());
        run.size.memory = run.size.memory + room(&run.chunks) - before_room;
        self.size.exchange(before, run.size);
    }

    /// Number of elements in the chunks that [`Self::pop`] of `count` elements removes whole.
    pub(super) fn whole(&self, end: End, count: usize) -> usize {
        let mut whole = 0;
        for run in from(&self.runs, end) {
            if whole + run.size.len <= count {
                whole += run.size.len;
                continue;
            }
            let mut chunks = from(&run.chunks, end);
            while let Some(chunk) = chunks.next().filter(|chunk| whole + chunk.len() <= count) {
                whole += chunk.len();
            }
            break;
        }
        whole
    }

    /// Removes `count` elements, of which there must be more, from one end. Returns the chunks that it removed whole,
    /// in order, which may be too many to be freed at once.
    pub(super) fn pop(&mut self, end: End, mut count: usize) -> Option<Self> {
        let (mut removed, mut rest) = (Self::new(), Run::new());
        while count > 0 {
            let Some(run) = outer(&mut self.runs, end) else { break };
            let before = run.size;
            if before.len <= count {
                count -= before.len;
                self.sum = self.sum.without(end, run.sum);
                self.size.exchange(before, Size::default());
                if let Some(run) = take(&mut self.runs, end) {
                    put(&mut removed.runs, end.opposite(), run);
                }
                continue;
            }
            let Some(chunk) = outer(&mut run.chunks, end) else { break };
            let chunk_before = chunk.size();
            let (after, gone) = if chunk_before.len <= count {
                let sum = chunk.sum();
                if let Some(chunk) = take(&mut run.chunks, end) {
                    put(&mut rest.chunks, end.opposite(), chunk);
                }
                (Size::default(), sum)
            } else {
                let sum = chunk.pop(end, count);
                (chunk.size(), sum)
            };
            count -= chunk_before.len - after.len;
            run.size.exchange(chunk_before, after);
            run.sum = run.sum.without(end, gone);
            self.sum = self.sum.without(end, gone);
            self.size.exchange(before, run.size);
        }
        if !rest.chunks.is_empty() {
            rest.add_up();
            put(&mut removed.runs, end.opposite(), rest);
        }
        removed.add_up();
        (!removed.is_empty()).then_some(removed)
    }

    /// Replaces the element at `index`, which must exist.
    pub(super) fn set(&mut self, index: usize, element: &[u8], limit: Limit) {
        let Some(place) = self.place(index) else { return };
        let run = &mut self.runs[place.run];
        let chunk = &mut run.chunks[place.chunk];
        let (old, new) = (Sum::of(chunk.view().get(place.in_chunk)), Sum::of(element));
        let before = chunk.size();
        chunk.set(place.in_chunk, element, old, new);
        if !chunk.is_within(limit) {
            return self.split_at(place, limit);
        }
        run.size.exchange(before, chunk.size());
        self.size.exchange(before, chunk.size());
        run.sum = run.sum.exchange(place.in_run, old, new);
        self.sum = self.sum.exchange(index, old, new);
    }

    /// Inserts an element so that it is at `index`, at most the number of elements.
    pub(super) fn insert(&mut self, index: usize, element: &[u8], limit: Limit) {
        match self.place(index) {
            None => self.push(End::Right, element, limit),
            Some(_) if index == 0 => self.push(End::Left, element, limit),
            Some(place) => {
                self.runs[place.run].chunks[place.chunk].insert(place.in_chunk, element);
                self.split_at(place, limit);
            }
        }
    }

    /// Brings the chunk at `place`, which was changed, and its run within their limits, and adds all up.
    fn split_at(&mut self, place: Place, limit: Limit) {
        let run = &mut self.runs[place.run];
        run.split_chunk(place.chunk, limit);
        if run.chunks.len() > RUN {
            let mut right = Run { chunks: run.chunks.split_off(run.chunks.len() / 2), ..Run::new() };
            right.add_up();
            run.add_up();
            self.runs.insert(place.run + 1, right);
        } else {
            run.add_up();
        }
        self.add_up();
    }

    /// Removes the elements in these ranges, which ascend. At least one element must be left.
    pub(super) fn remove(&mut self, ranges: impl Iterator<Item = Range<usize>>, limit: Limit) {
        let mut ranges = ranges.peekable();
        let mut base = 0;
        for mut run in std::mem::take(&mut self.runs) {
            let end = base + run.size.len;
            if ranges.peek().is_some_and(|range| range.start < end) {
                run.remove(base, &mut ranges, limit);
            }
            base = end;
            if run.chunks.is_empty() {
                continue;
            }
            match self.runs.back_mut() {
                Some(last) if last.chunks.len() + run.chunks.len() <= RUN => {
                    last.chunks.append(&mut run.chunks);
                    last.add_up();
                }
                _ => self.runs.push_back(run),
            }
        }
        self.add_up();
    }

    /// Frees a chunk, with its run if it is the last one of that, and with the list's own memory if it is the last of
    /// all. Returns the bytes of memory freed; `None` if nothing is left.
    pub fn give_up(&mut self) -> Option<usize> {
        let run = self.runs.back_mut()?;
        let mut freed = run.chunks.pop_back().map_or(0, |chunk| chunk.size().memory);
        if run.chunks.is_empty() {
            freed += room(&run.chunks);
            self.runs.pop_back();
        }
        if self.runs.is_empty() {
            freed += room(&self.runs);
            self.runs = VecDeque::new();
        }
        Some(freed)
    }
}

/// The elements of these chunks.
fn elements<'c>(chunks: impl DoubleEndedIterator<Item = &'c Chunk>) -> impl DoubleEndedIterator<Item = &'c [u8]> {
    chunks.flat_map(|chunk| chunk.view().iter())
}

#[cfg(test)]
impl Chunks {
    /// Checks the invariants, and that what list, runs and chunks know is what a recount gives.
    pub(super) fn check(&self, limit: Limit) {
        let mut list =
            Self { runs: VecDeque::new(), size: Size { memory: room(&self.runs), ..Size::default() }, ..Self::new() };
        for run in &self.runs {
            assert!((1..=RUN).contains(&run.chunks.len()), "a run of {} chunks", run.chunks.len());
            let mut again = Run { size: Size { memory: room(&run.chunks), ..Size::default() }, ..Run::new() };
            for chunk in &run.chunks {
                assert!(chunk.len() > 0 && chunk.is_within(limit), "a chunk of {:?}", chunk.size());
                assert_eq!(chunk.sum(), chunk.view().sum());
                again.size.exchange(Size::default(), chunk.size());
                again.sum = again.sum.then(chunk.sum());
            }
            assert_eq!((again.size, again.sum), (run.size, run.sum));
            list.size.exchange(Size::default(), run.size);
            list.sum = list.sum.then(run.sum);
        }
        assert_eq!((list.size, list.sum), (self.size, self.sum));
    }
}
