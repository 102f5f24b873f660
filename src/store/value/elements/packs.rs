//! A table of packs that never stalls: it grows and shrinks by one pack at a time (linear hashing, as in
//! [`table`](crate::store::table)), and its directory in steps of some kilobytes.

use std::ops::ControlFlow;

use super::Element;
use super::pack::{Pack, Size};
use crate::store::memory::{allocated, shrink};
use crate::store::table::{Hash, Interval, Record, RecordRef, Seed, below, parent, part_of};
use crate::time::UnixMillis;

/// Average number of elements per pack above which a pack is added. Packs not yet split hold up to twice as many.
pub(super) const GROW_AT: usize = if cfg!(test) { 4 } else { 12 };
/// Average bytes of inline elements per pack above which a pack is added.
const GROW_AT_BYTES: usize = if cfg!(test) { 200 } else { 1024 };
/// The last pack is removed when the averages are below the ones above divided by this.
const SPARSE: usize = 3;

/// Number of packs in a part of the directory.
const PART: usize = if cfg!(test) { 16 } else { 512 };

/// Number of packs prefetched ahead when all are walked.
const AHEAD: usize = 2;

/// Elements in packs, found by name.
pub(in crate::store) struct Packs {
    /// The directory, in parts of [`PART`] packs; only the last one has fewer. There is always a pack.
    parts: Vec<Vec<Pack>>,
    /// Number of packs.
    count: usize,
    seed: Seed,
    /// Number, bytes and memory of all elements, with the memory of the directory and without that of records.
    total: Size,
    /// Bytes of memory that records take.
    records_memory: usize,
    /// Number of elements of the largest pack so far.
    most: usize,
}

/// Bytes of memory that a vector takes.
const fn room<T>(items: &Vec<T>) -> usize {
    allocated(items.capacity() * size_of::<T>())
}

impl Packs {
    /// Makes an empty table with packs for `count` elements.
    pub fn with_capacity(seed: Seed, count: usize) -> Self {
        let mut packs = Self { parts: Vec::new(), count: 0, seed, total: Size::default(), records_memory: 0, most: 0 };
        let count = count.div_ceil(GROW_AT).max(1);
        packs.parts.reserve_exact(count.div_ceil(PART));
        packs.total.memory += room(&packs.parts);
        while packs.count < count {
            let mut part = Vec::with_capacity((count - packs.count).min(PART));
            part.resize_with(part.capacity(), Pack::default);
            packs.count += part.len();
            packs.total.memory += room(&part);
            packs.parts.push(part);
        }
        packs
    }

    /// Number of elements.
    #[inline]
    pub const fn len(&self) -> usize {
        self.total.len
    }

    /// Bytes of memory that all of this takes.
    #[inline]
    pub const fn memory(&self) -> usize {
        self.total.memory + self.records_memory
    }

    /// Position of an element in the order of a sweep.
    pub fn turn(&self, name: &[u8]) -> u32 {
        self.seed.hash(name).turn()
    }

    #[inline]
    fn pack(&self, index: usize) -> &Pack {
        &self.parts[index / PART][index % PART]
    }

    #[inline]
    fn pack_mut(&mut self, index: usize) -> &mut Pack {
        &mut self.parts[index / PART][index % PART]
    }

    #[inline]
    fn pack_of(&self, hash: Hash) -> &Pack {
        self.pack(part_of(self.count, hash))
    }

    /// Changes the pack of a hash; `change` also gets the memory of all records.
    #[inline]
    fn change<R>(&mut self, hash: Hash, change: impl FnOnce(&mut Pack, &mut usize) -> R) -> R {
        let index = part_of(self.count, hash);
        let pack = &mut self.parts[index / PART][index % PART];
        let before = pack.size();
        let result = change(pack, &mut self.records_memory);
        let after = pack.size();
        self.total.exchange(before, after);
        self.most = self.most.max(after.len);
        result
    }

    /// Finds an element.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<Element<'_>> {
        let hash = self.seed.hash(name);
        self.pack_of(hash).find(hash, name)
    }

    /// Record of an element, if it has one; one that expires does.
    pub fn record(&self, name: &[u8]) -> Option<&Record> {
        let hash = self.seed.hash(name);
        self.pack_of(hash).record(hash, name)
    }

    /// Adds an element, unless there is one of its name. Returns whether it did.
    #[inline]
    pub fn add(&mut self, element: Element<'_>) -> bool {
        let hash = self.seed.hash(element.name);
        let is_new = self.change(hash, |pack, memory| pack.add(hash, element, memory));
        if is_new {
            self.grow();
        }
        is_new
    }

    /// Sets an element. `before` is told what the element of this name was, if there is one. Returns the address of the
    /// element's record, if it has one; one that expires does. The record keeps its address until the element changes.
    #[inline]
    pub fn set(&mut self, element: Element<'_>, before: impl FnOnce(Option<Element<'_>>)) -> Option<RecordRef> {
        let hash = self.seed.hash(element.name);
        let record = self.change(hash, |pack, memory| pack.set(hash, element, before, memory));
        self.grow();
        record
    }

    /// Changes when an element expires, if it exists. `before` is told what it was. Returns as [`Self::set`] does.
    pub fn set_expiry(
        &mut self,
        name: &[u8],
        expire_at: Option<UnixMillis>,
        before: impl FnOnce(Element<'_>),
    ) -> Option<RecordRef> {
        let hash = self.seed.hash(name);
        self.change(hash, |pack, memory| pack.set_expiry(hash, name, expire_at, before, memory))
    }

    /// Removes an element, if it exists. `before` is told what it was.
    pub fn remove(&mut self, name: &[u8], before: impl FnOnce(Element<'_>)) {
        let hash = self.seed.hash(name);
        self.change(hash, |pack, memory| pack.remove(hash, name, before, memory));
        self.shrink();
    }

    /// Appends a pack, if elements have become too many for those that there are.
    #[inline]
    fn grow(&mut self) {
        if self.total.len > GROW_AT * self.count || self.total.inline_len > GROW_AT_BYTES * self.count {
            self.split();
        }
    }

    /// Removes the last pack, if elements have become few.
    #[inline]
    fn shrink(&mut self) {
        let is_sparse = self.total.len * SPARSE < GROW_AT * self.count
            && self.total.inline_len * SPARSE < GROW_AT_BYTES * self.count;
        if is_sparse && self.count > 1 {
            self.merge();
        }
    }

    /// Appends a pack and moves its elements there, all from one other pack.
    #[cold]
    fn split(&mut self) {
        let new = self.count;
        self.count += 1;
        let (seed, count) = (self.seed, self.count);
        let from = self.pack_mut(parent(new));
        let before = from.size();
        let pack = from.split(|name| part_of(count, seed.hash(name)) == new);
        let (stay, go) = (from.size(), pack.size());
        self.total.exchange(before, stay);
        self.total.exchange(Size::default(), go);
        self.push(pack);
    }

    /// Appends a pack to the directory.
    fn push(&mut self, pack: Pack) {
        if self.parts.last().is_none_or(|part| part.len() == PART) {
            self.total.memory -= room(&self.parts);
            self.parts.push(Vec::new());
            self.total.memory += room(&self.parts);
        }
        let Some(part) = self.parts.last_mut() else { return };
        self.total.memory -= room(part);
        if part.len() == part.capacity() {
            part.reserve_exact(part.len().clamp(1, PART - part.len()));
        }
        part.push(pack);
        self.total.memory += room(part);
    }

    /// Takes the last pack out of the directory.
    fn pop(&mut self) -> Option<Pack> {
        let part = self.parts.last_mut()?;
        let pack = part.pop()?;
        self.total.memory -= room(part);
        let len = part.len();
        if len * 4 < part.capacity() {
            shrink(part, len * 2);
        }
        self.total.memory += room(part);
        if part.is_empty() {
            let before = room(&self.parts);
            self.parts.pop();
            let len = self.parts.len();
            if len * 4 < self.parts.capacity() {
                shrink(&mut self.parts, len * 2);
            }
            self.total.memory = self.total.memory + room(&self.parts) - before;
        }
        Some(pack)
    }

    /// Removes the last pack and moves its elements to where they now belong.
    #[cold]
    fn merge(&mut self) {
        let Some(pack) = self.pop() else { return };
        self.count -= 1;
        self.total.exchange(pack.size(), Size::default());
        let (seed, index) = (self.seed, parent(self.count));
        let target = &mut self.parts[index / PART][index % PART];
        let before = target.size();
        target.absorb(pack, seed, &mut self.records_memory);
        let after = target.size();
        self.total.exchange(before, after);
        self.most = self.most.max(after.len);
    }

    /// Frees the last pack. Returns the bytes of memory freed; `None` once there is nothing left. What is left is good
    /// for nothing else.
    pub fn give_up(&mut self) -> Option<usize> {
        let before = self.memory();
        let pack = self.pop()?;
        self.records_memory -= pack.records_memory();
        self.total.exchange(pack.size(), Size::default());
        Some(before - self.memory())
    }

    /// The elements, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        (0..self.count).flat_map(|index| {
            if index + AHEAD < self.count {
                self.pack(index + AHEAD).prefetch();
            }
            self.pack(index).iter()
        })
    }

    /// Visits at least `count` elements from `cursor` on (0 begins), always whole packs. Returns the next cursor, 0 at
    /// the end; cursors are below 2^32. An element present throughout the scan is visited at least once, some perhaps
    /// twice.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'a>)) -> u64 {
        let (mut turn, mut left) = (cursor as u32, count.max(1));
        loop {
            let interval = Interval::at(self.count, turn);
            let pack = self.pack(interval.index);
            pack.iter().for_each(&mut visit);
            left = left.saturating_sub(pack.len());
            match interval.next() {
                Some(next) if left > 0 => turn = next,
                next => return next.unwrap_or(0).into(),
            }
        }
    }

    /// Visits the elements of one pack whose turn is `from` or later; a sweep begins with 0. Returns the turn at which
    /// the next pack begins, `None` at the end. However the table grows and shrinks between calls, a sweep visits an
    /// element present throughout exactly once. `visit` may stop early; the sweep is then still at `from`.
    pub fn sweep<'a>(
        &'a self,
        from: u32,
        visit: impl FnMut(Element<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        let interval = Interval::at(self.count, from);
        let is_whole = interval.begins() == from;
        // Packs that were split earlier may have been merged back: part of this one has been swept already.
        let mut left = self.pack(interval.index).iter().filter(|e| is_whole || self.turn(e.name) >= from);
        left.try_for_each(visit)?;
        ControlFlow::Continue(interval.next())
    }

    /// A random element, uniformly distributed.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Element<'_>> {
        if self.len() == 0 {
            return None;
        }
        // Draws a pack and a number, as if all packs were as large as the largest, until there is such an element.
        loop {
            let pack = self.pack(below(random(), self.count));
            if let Some(element) = pack.nth(below(random(), self.most)) {
                return Some(element);
            }
        }
    }
}
