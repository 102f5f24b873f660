//! A counted B+tree: a sequence that is searched by comparison as well as by position, both in O(log n).
//!
//! Items stand in the leaves. Beside each child an inner node keeps a [`Slot`]: the mark of the child's first item, for
//! searches by comparison, and the weight of all its items, for searches by position. An item weighs 1 unless its type
//! says otherwise, as a chunk of elements does; then a position (*offset*) is that of an element, and any of its
//! elements finds an item.
//!
//! Invariants: all leaves have the same depth; no node but the first and the last of its level has fewer than a
//! quarter of the items that it may hold; slots agree with what they stand for; `memory` is the sum of the nodes'
//! allocations.
//!
//! | file | what it is |
//! |---|---|
//! | this one | the tree: searching, inserting, removing |
//! | `node` | nodes: how they grow, split, shrink and merge |
//! | `iter` | walking over items, forwards and backwards |
//! | `leaves` | freeing a tree leaf by leaf |

mod iter;
mod leaves;
mod node;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use self::node::{Edge, Node, Slot};

pub(in crate::store) use self::iter::Iter;
pub(in crate::store) use self::leaves::Leaves;

/// Something that a tree holds.
pub(in crate::store) trait Item {
    /// What a search compares; `()` where the tree is never searched by comparison.
    type Mark: Copy;

    /// The item's mark. It must not change while the item is in a tree.
    fn mark(&self) -> Self::Mark;

    /// Number of elements that the item stands for, at least 1.
    #[inline]
    fn weight(&self) -> usize {
        1
    }
}

/// A sequence of items, in the order of their marks where it is searched by comparison.
pub(in crate::store) struct Tree<T: Item> {
    root: Node<T>,
    weight: usize,
    memory: usize,
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()), weight: 0, memory: 0 }
    }
}

impl<T: Item> Tree<T> {
    /// Total weight of all items, which for items of weight 1 is their number.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Bytes of memory that the nodes take, without what their items own.
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// Finds an item by comparison, as `slice::binary_search_by` does: `Ok` has the offset of an item for which
    /// `compare` returns `Equal`, `Err` the offset at which such an item could be inserted.
    pub fn search(&self, mut compare: impl FnMut(&T::Mark) -> Ordering) -> Result<usize, usize> {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Inner(slots) => {
                    let at = Node::slot_by_mark(slots, &mut compare);
                    before += slots[..at].iter().map(|slot| slot.weight).sum::<usize>();
                    node = &slots[at].node;
                }
                Node::Leaf(items) => {
                    let offset = |at: usize| before + items[..at].iter().map(T::weight).sum::<usize>();
                    return items.binary_search_by(|item| compare(&item.mark())).map(offset).map_err(offset);
                }
            }
        }
    }

    /// The item at `offset`, and where within the item that is.
    pub fn at(&self, offset: usize) -> Option<(&T, usize)> {
        let (mut node, mut aim) = (&self.root, Offset(offset));
        loop {
            match node {
                Node::Inner(slots) => node = &slots[aim.slot(slots)].node,
                Node::Leaf(items) => return aim.place(items).ok().map(|at| (&items[at], aim.0)),
            }
        }
    }

    /// The last item.
    pub fn last(&self) -> Option<&T> {
        let mut node = &self.root;
        while let Node::Inner(slots) = node {
            node = &slots.last()?.node;
        }
        if let Node::Leaf(items) = node { items.last() } else { None }
    }

    /// Inserts an item where `compare`, given the marks of other items, says that it belongs.
    pub fn insert(&mut self, compare: impl FnMut(&T::Mark) -> Ordering, item: T) {
        self.insert_by(&mut ByMark(compare), item);
    }

    /// Inserts an item before the item that has `offset`; at the end if there is none.
    pub fn insert_at(&mut self, offset: usize, item: T) {
        self.insert_by(&mut Offset(offset), item);
    }

    fn insert_by(&mut self, aim: &mut impl Aim<T>, item: T) {
        self.weight += item.weight();
        if let Some(right) = self.root.insert(aim, item, Edge::BOTH, &mut self.memory) {
            self.root.become_parent(right, &mut self.memory);
        }
    }

    /// Removes the item for which `compare` returns `Equal`.
    pub fn remove(&mut self, compare: impl FnMut(&T::Mark) -> Ordering) -> Option<T> {
        let mut removed = None;
        self.take(&mut ByMark(compare), 1, &mut |item| removed = Some(item));
        removed
    }

    /// Removes `count` items, beginning with the one that has `offset`, and passes them to `removed` in order. Fewer
    /// if the tree ends before.
    pub fn remove_at(&mut self, offset: usize, count: usize, mut removed: impl FnMut(T)) {
        // Where the first item began, the next one will begin.
        let begins = offset - self.at(offset).map_or(0, |(_, inside)| inside);
        let mut left = count;
        while left > 0 {
            let taken = self.take(&mut Offset(begins), left, &mut removed);
            if taken == 0 {
                return;
            }
            left -= taken;
        }
    }

    /// Removes up to `most` items from one leaf, beginning with the one aimed at. Returns their number.
    fn take(&mut self, aim: &mut impl Aim<T>, most: usize, removed: &mut impl FnMut(T)) -> usize {
        let mut taken = 0;
        let mut count = |item: T| {
            taken += 1;
            removed(item);
        };
        self.weight -= self.root.take(aim, most, &mut count, &mut self.memory);
        self.root.become_only_child(&mut self.memory);
        taken
    }

    /// Changes the item that has `offset`, whose weight may become another but not 0. `change` gets the item, and where
    /// within the item the offset is. `None` if there is no such item.
    #[cfg_attr(not(test), expect(dead_code, reason = "places never change; chunks of lists do"))]
    pub fn change<R>(&mut self, offset: usize, change: impl FnOnce(&mut T, usize) -> R) -> Option<R> {
        let (result, grown) = self.root.change(&mut Offset(offset), change)?;
        self.weight = self.weight.wrapping_add_signed(grown);
        Some(result)
    }

    /// Walks from the item that has `offset` to the end, which is nothing if there is no such item.
    pub fn forwards(&self, offset: usize) -> Iter<'_, T> {
        Iter::new(&self.root, &mut Offset(offset), false)
    }

    /// Walks from the item that has `offset` back to the beginning.
    pub fn backwards(&self, offset: usize) -> Iter<'_, T> {
        Iter::new(&self.root, &mut Offset(offset), true)
    }

    /// Takes the tree apart, so that it can be freed in slices.
    pub fn into_leaves(self) -> Leaves<T> {
        Leaves::new(self.root)
    }
}

/// How a descent finds its way.
trait Aim<T: Item> {
    /// Index of the slot to descend into.
    fn slot(&mut self, slots: &[Slot<T>]) -> usize;

    /// Index within a leaf of the item aimed at; `Err` has the index at which it could be inserted.
    fn place(&mut self, items: &[T]) -> Result<usize, usize>;
}

/// Aims at the item that has this offset; during a descent, counted from the node's first item, and at the end from the
/// item's own beginning.
struct Offset(usize);

impl<T: Item> Aim<T> for Offset {
    #[inline]
    fn slot(&mut self, slots: &[Slot<T>]) -> usize {
        let mut at = 0;
        while at + 1 < slots.len() && self.0 >= slots[at].weight {
            self.0 -= slots[at].weight;
            at += 1;
        }
        at
    }

    #[inline]
    fn place(&mut self, items: &[T]) -> Result<usize, usize> {
        for (at, item) in items.iter().enumerate() {
            let weight = item.weight();
            if self.0 < weight {
                return Ok(at);
            }
            self.0 -= weight;
        }
        Err(items.len())
    }
}

/// Aims at the item for which a comparison returns `Equal`.
struct ByMark<F>(F);

impl<T: Item, F: FnMut(&T::Mark) -> Ordering> Aim<T> for ByMark<F> {
    #[inline]
    fn slot(&mut self, slots: &[Slot<T>]) -> usize {
        Node::slot_by_mark(slots, &mut self.0)
    }

    #[inline]
    fn place(&mut self, items: &[T]) -> Result<usize, usize> {
        items.binary_search_by(|item| (self.0)(&item.mark()))
    }
}
