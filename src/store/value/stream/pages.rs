//! A sorted sequence in pages: items are found in O(log n), and added and removed anywhere by moving one page's items.
//!
//! The pages stand in a ring, which has a hundredth as many elements as there are items, and so may be moved as a
//! whole even with tens of millions of items. Unlike the nodes of `BTreeMap`, pages tell how much memory they take,
//! items that arrive in order fill them, and the front can be cut off without looking at what is in it.
//!
//! Invariants: no page is empty or has more than [`PAGE`] items.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::store::memory::{allocated, shrink};

/// Maximum number of items in a page.
const PAGE: usize = 128;

/// Sorted sequence of items. Its users know the order, and state it with each search.
pub(super) struct Pages<T> {
    pages: VecDeque<Vec<T>>,
    len: usize,
    /// Bytes of memory that the pages take, without their ring.
    memory: usize,
}

/// Position of an item in [`Pages`], valid until the next change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    page: usize,
    at: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: VecDeque::new(), len: 0, memory: 0 }
    }
}

impl<T> Pages<T> {
    /// Place of the first item.
    pub const FIRST: Place = Place { page: 0, at: 0 };

    /// Number of items.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Number of pages.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Whether there are no items.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that this takes, without what the items own.
    pub fn memory(&self) -> usize {
        self.memory + allocated(self.pages.capacity() * size_of::<Vec<T>>())
    }

    const fn page_memory(page: &Vec<T>) -> usize {
        allocated(page.capacity() * size_of::<T>())
    }

    /// Finds an item; `order` compares an item with the one wanted. Without such an item, returns where it belongs.
    pub fn search(&self, mut order: impl FnMut(&T) -> Ordering) -> Result<Place, Place> {
        let mut begins_before = |page: &Vec<T>| page.first().is_some_and(|first| order(first).is_le());
        // What is looked for mostly is in the last page.
        let after = match self.pages.back() {
            Some(last) if begins_before(last) => self.pages.len(),
            _ => self.pages.partition_point(begins_before),
        };
        let Some(page) = after.checked_sub(1) else { return Err(Place::default()) };
        match self.pages[page].binary_search_by(order) {
            Ok(at) => Ok(Place { page, at }),
            Err(at) => Err(Place { page, at }),
        }
    }

    /// Item at a place.
    pub fn get(&self, place: Place) -> Option<&T> {
        self.pages.get(place.page)?.get(place.at)
    }

    /// Item at a place, for modification that keeps the order.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.pages.get_mut(place.page)?.get_mut(place.at)
    }

    /// Last item.
    pub fn last(&self) -> Option<&T> {
        self.pages.back()?.last()
    }

    /// Place before one where an item belongs; the first place if there is none before it.
    pub const fn before(place: Place) -> Place {
        Place { page: place.page, at: place.at.saturating_sub(1) }
    }

    /// All items in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// The items from `place` on, in order.
    pub fn iter_from(&self, place: Place) -> impl Iterator<Item = &T> {
        let first = self.pages.get(place.page).and_then(|page| page.get(place.at..)).unwrap_or_default();
        first.iter().chain(self.pages.range(self.pages.len().min(place.page + 1)..).flatten())
    }

    /// The items up to the one at `place`, backwards.
    pub fn iter_back_from(&self, place: Place) -> impl Iterator<Item = &T> {
        let last = self.pages.get(place.page).map_or(&[][..], |page| &page[..page.len().min(place.at + 1)]);
        last.iter().rev().chain(self.pages.range(..self.pages.len().min(place.page)).rev().flat_map(|p| p.iter().rev()))
    }

    /// Removes and returns the last item.
    pub fn pop(&mut self) -> Option<T> {
        let at = self.pages.back()?.len().checked_sub(1)?;
        Some(self.remove(Place { page: self.pages.len() - 1, at }))
    }

    /// Adds an item behind all others.
    pub fn push(&mut self, item: T) {
        let page = self.pages.len().saturating_sub(1);
        let at = self.pages.back().map_or(0, Vec::len);
        self.insert(Place { page, at }, item);
    }

    /// Adds an item where a search said that it belongs.
    pub fn insert(&mut self, place: Place, item: T) {
        self.len += 1;
        let Place { mut page, mut at } = place;
        let full = self.pages.get(page).is_none_or(|page| page.len() == PAGE);
        if full && page + 1 >= self.pages.len() && self.pages.get(page).is_none_or(|page| page.len() == at) {
            let new = vec![item];
            self.memory += Self::page_memory(&new);
            return self.pages.push_back(new);
        }
        if full {
            let before = Self::page_memory(&self.pages[page]);
            let rest = self.pages[page].split_off(PAGE / 2);
            self.memory = self.memory - before + Self::page_memory(&self.pages[page]) + Self::page_memory(&rest);
            self.pages.insert(page + 1, rest);
            if at > PAGE / 2 {
                (page, at) = (page + 1, at - PAGE / 2);
            }
        }
        let page = &mut self.pages[page];
        let before = Self::page_memory(page);
        page.insert(at, item);
        self.memory = self.memory - before + Self::page_memory(page);
    }

    /// Removes the item at a place that a search found.
    pub fn remove(&mut self, place: Place) -> T {
        let page = &mut self.pages[place.page];
        let before = Self::page_memory(page);
        let item = page.remove(place.at);
        if page.len() * 4 <= page.capacity() {
            shrink(page, page.len() * 2);
        }
        self.memory = self.memory - before + Self::page_memory(page);
        self.len -= 1;
        if self.pages[place.page].len() <= PAGE / 4 {
            self.merge(place.page);
        }
        item
    }

    /// Removes a page that is empty; joins one that has few items with a neighbour, if both fit into half a page.
    fn merge(&mut self, page: usize) {
        if self.pages[page].is_empty() {
            let empty = self.pages.remove(page).unwrap_or_default();
            self.memory -= Self::page_memory(&empty);
            return self.shrink_ring();
        }
        let fits = |first: usize| {
            let both = self.pages.get(first).zip(self.pages.get(first + 1));
            both.is_some_and(|(one, other)| one.len() + other.len() <= PAGE / 2)
        };
        let Some(first) = page.checked_sub(1).into_iter().chain([page]).find(|first| fits(*first)) else { return };
        let next = self.pages.remove(first + 1).unwrap_or_default();
        let own = &mut self.pages[first];
        self.memory -= Self::page_memory(own) + Self::page_memory(&next);
        own.extend(next);
        self.memory += Self::page_memory(own);
        self.shrink_ring();
    }

    /// Cuts off all items before `place` and returns them.
    pub fn cut(&mut self, place: Place) -> Self {
        let mut cut = Self { pages: self.pages.drain(..place.page).collect(), len: 0, memory: 0 };
        if place.at > 0
            && let Some(page) = self.pages.front_mut()
        {
            let before = Self::page_memory(page);
            let rest = page.split_off(place.at);
            cut.pages.push_back(std::mem::replace(page, rest));
            self.memory = self.memory - before + Self::page_memory(page);
            // What it took is counted with the other pages that went.
            self.memory += before;
        }
        cut.len = cut.pages.iter().map(Vec::len).sum();
        cut.memory = cut.pages.iter().map(Self::page_memory).sum();
        self.memory -= cut.memory;
        self.len -= cut.len;
        if self.pages.front().is_some_and(Vec::is_empty) {
            self.merge(0);
        }
        self.shrink_ring();
        cut
    }

    /// Removes and returns the last page.
    pub fn pop_page(&mut self) -> Option<Vec<T>> {
        let page = self.pages.pop_back()?;
        self.len -= page.len();
        self.memory -= Self::page_memory(&page);
        Some(page)
    }

    fn shrink_ring(&mut self) {
        if self.pages.capacity() > 8 && self.pages.len() * 4 < self.pages.capacity() {
            self.pages.shrink_to(self.pages.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pages: &Pages<u32>, model: &std::collections::BTreeSet<u32>) {
        assert!(pages.iter().eq(model) && pages.len() == model.len());
        assert_eq!(pages.last(), model.last());
        assert!(pages.pages.iter().all(|page| (1..=PAGE).contains(&page.len())));
        assert_eq!(pages.memory, pages.pages.iter().map(Pages::page_memory).sum::<usize>());
    }

    #[test]
    fn pages_are_a_sorted_set() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for most in [10, 1000, 100_000] {
            let (mut pages, mut model) = (Pages::default(), std::collections::BTreeSet::new());
            for step in 0..20_000 {
                let item = if random.u8(..3) == 0 { step * most / 20_000 } else { random.u32(..most) };
                let found = pages.search(|other: &u32| other.cmp(&item));
                assert_eq!(found.is_ok(), model.contains(&item), "seed {seed}");
                match found {
                    Ok(place) if random.u8(..10) < if step < 10_000 { 3 } else { 8 } => {
                        assert_eq!(pages.remove(place), item);
                        model.remove(&item);
                    }
                    Ok(place) => assert_eq!(pages.get(place), Some(&item), "seed {seed}"),
                    Err(place) => {
                        pages.insert(place, item);
                        model.insert(item);
                    }
                }
                let (Ok(place) | Err(place)) = pages.search(|other| other.cmp(&item));
                if random.u16(..200) == 0 {
                    assert!(pages.iter_from(place).eq(model.range(item..)), "seed {seed}");
                    let back = pages.search(|other| other.cmp(&item)).unwrap_or_else(Pages::<u32>::before);
                    let back = pages.iter_back_from(back).filter(|other| **other <= item);
                    assert!(back.eq(model.range(..=item).rev()), "seed {seed}");
                }
                if random.u16(..3000) == 0 {
                    let cut = pages.cut(place);
                    let rest = model.split_off(&item);
                    check(&cut, &std::mem::replace(&mut model, rest));
                }
                if step % 500 == 0 {
                    check(&pages, &model);
                }
            }
            check(&pages, &model);
            let mut left = model.len();
            while let Some(page) = pages.pop_page() {
                left -= page.len();
            }
            assert_eq!((left, pages.memory), (0, 0), "seed {seed}");
        }
    }

    #[test]
    fn few_items_take_little_memory_however_many_there_were() {
        let mut pages = Pages::default();
        (0..100_000).for_each(|n: u32| pages.push(n));
        let full = pages.memory();
        assert!(full < 100_000 * 4 * 5 / 4, "{full}");
        for n in (0..100_000).filter(|n| n % 100 != 0) {
            let place = pages.search(|other| other.cmp(&n)).unwrap();
            pages.remove(place);
        }
        assert!(pages.memory() < full / 20, "{} of {full}", pages.memory());
    }
}
