//! Nodes of a tree: how they grow, split, shrink and merge.

use std::cmp::Ordering;

use super::{Aim, Item};
use crate::store::memory::{allocated, shrink};

/// Maximum number of items in a leaf.
pub(super) const LEAF: usize = 64;
/// Maximum number of children of an inner node.
pub(super) const INNER: usize = 32;
/// Number of places by which a node's allocation grows. It is small, so that nodes have little room to spare.
const STEP: usize = 8;

/// A leaf with items, or an inner node with children.
pub(super) enum Node<T: Item> {
    Leaf(Vec<T>),
    Inner(Vec<Slot<T>>),
}

/// A child, and what searches need to know of it.
pub(super) struct Slot<T: Item> {
    /// Mark of its first item.
    pub first: T::Mark,
    /// Weight of all its items.
    pub weight: usize,
    pub node: Node<T>,
}

/// Whether a node is the first or the last of its level. Items often come in order, so that they all go into the first
/// or the last leaf: split at that end, it leaves full leaves behind instead of half-full ones.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    first: bool,
    last: bool,
}

impl Edge {
    /// The root is both.
    pub const BOTH: Self = Self { first: true, last: true };

    pub const fn within(self, at: usize, len: usize) -> Self {
        Self { first: self.first && at == 0, last: self.last && at + 1 == len }
    }

    /// Whether it is either.
    #[cfg(test)]
    pub const fn is_any(self) -> bool {
        self.first || self.last
    }

    /// Where to split a node of `len` items into which one comes at `at`.
    const fn cut(self, at: usize, len: usize) -> usize {
        if self.last && at == len {
            len
        } else if self.first && at == 0 {
            0
        } else {
            len / 2
        }
    }
}

impl<T: Item> Slot<T> {
    /// Slot of a node that is not empty.
    fn of(node: Node<T>) -> Option<Self> {
        Some(Self { first: node.first()?, weight: node.weight(), node })
    }

    /// Brings the mark up to date after the node has changed. Returns false if the node is empty.
    fn refresh(&mut self) -> bool {
        match self.node.first() {
            Some(first) => {
                self.first = first;
                true
            }
            None => false,
        }
    }
}

impl<T: Item> Node<T> {
    /// Mark of the first item; `None` if the node is empty.
    pub fn first(&self) -> Option<T::Mark> {
        match self {
            Self::Leaf(items) => items.first().map(T::mark),
            Self::Inner(slots) => slots.first().map(|slot| slot.first),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Leaf(items) => items.iter().map(T::weight).sum(),
            Self::Inner(slots) => slots.iter().map(|slot| slot.weight).sum(),
        }
    }

    /// Whether the node is so empty that it should merge with one beside it.
    fn is_meagre(&self) -> bool {
        match self {
            Self::Leaf(items) => items.len() < LEAF / 4,
            Self::Inner(slots) => slots.len() < INNER / 4,
        }
    }

    /// Inserts an item. Returns a new node that belongs behind this one if there was no room.
    pub fn insert(&mut self, aim: &mut impl Aim<T>, item: T, edge: Edge, memory: &mut usize) -> Option<Self> {
        match self {
            Self::Leaf(items) => {
                let (Ok(at) | Err(at)) = aim.place(items);
                insert_into(items, LEAF, at, item, edge, memory).map(Self::Leaf)
            }
            Self::Inner(slots) => {
                let at = aim.slot(slots);
                let (weight, within) = (item.weight(), edge.within(at, slots.len()));
                let slot = &mut slots[at];
                let right = slot.node.insert(aim, item, within, memory).and_then(Slot::of);
                slot.weight += weight;
                slot.refresh();
                let right = right?;
                slot.weight -= right.weight;
                insert_into(slots, INNER, at + 1, right, edge, memory).map(Self::Inner)
            }
        }
    }

    /// Puts the node and the one behind it under a new parent, which takes its place.
    pub fn become_parent(&mut self, right: Self, memory: &mut usize) {
        let mut slots = Vec::new();
        let left = std::mem::replace(self, Self::Leaf(Vec::new()));
        make_room(&mut slots, memory);
        slots.extend([left, right].into_iter().filter_map(Slot::of));
        *self = Self::Inner(slots);
    }

    /// While the node has one child only, the child takes its place.
    pub fn become_only_child(&mut self, memory: &mut usize) {
        while let Self::Inner(slots) = self
            && slots.len() == 1
            && let Some(only) = slots.pop()
        {
            *memory -= allocated_for(slots);
            *self = only.node;
        }
    }

    /// Index of the last slot whose first item is not greater than what is sought; the first slot if all are.
    #[inline]
    pub fn slot_by_mark(slots: &[Slot<T>], compare: &mut impl FnMut(&T::Mark) -> Ordering) -> usize {
        // The first slot's mark decides nothing, so that it is not compared.
        slots[1..].partition_point(|slot| compare(&slot.first) != Ordering::Greater)
    }

    /// Removes up to `most` items of one leaf, beginning with the one aimed at, if it is there. Returns their weight.
    pub fn take(
        &mut self,
        aim: &mut impl Aim<T>,
        most: usize,
        removed: &mut impl FnMut(T),
        memory: &mut usize,
    ) -> usize {
        match self {
            Self::Leaf(items) => {
                let Ok(at) = aim.place(items) else { return 0 };
                let mut weight = 0;
                items.drain(at..items.len().min(at.saturating_add(most))).for_each(|item| {
                    weight += item.weight();
                    removed(item);
                });
                give_room_back(items, memory);
                weight
            }
            Self::Inner(slots) => {
                let at = aim.slot(slots);
                let slot = &mut slots[at];
                let weight = slot.node.take(aim, most, removed, memory);
                slot.weight -= weight;
                if !slot.refresh() {
                    slots.remove(at);
                    give_room_back(slots, memory);
                } else if slot.node.is_meagre() && slots.len() > 1 {
                    mend(slots, at.saturating_sub(1), memory);
                }
                weight
            }
        }
    }

    /// Changes the item aimed at. Returns the growth of its weight with what `change` returned.
    pub fn change<R>(
        &mut self,
        aim: &mut super::Offset,
        change: impl FnOnce(&mut T, usize) -> R,
    ) -> Option<(R, isize)> {
        match self {
            Self::Leaf(items) => {
                let at = aim.place(items).ok()?;
                let before = items[at].weight();
                let result = change(&mut items[at], aim.0);
                Some((result, items[at].weight() as isize - before as isize))
            }
            Self::Inner(slots) => {
                let at = aim.slot(slots);
                let slot = &mut slots[at];
                let (result, grown) = slot.node.change(aim, change)?;
                slot.weight = slot.weight.wrapping_add_signed(grown);
                Some((result, grown))
            }
        }
    }

    /// Bytes of memory that this node alone takes.
    pub fn own_memory(&self) -> usize {
        match self {
            Self::Leaf(items) => allocated_for(items),
            Self::Inner(slots) => allocated_for(slots),
        }
    }
}

/// Bytes of memory that a node's places take.
fn allocated_for<U>(places: &Vec<U>) -> usize {
    allocated(places.capacity() * size_of::<U>())
}

/// Makes room for one more.
fn make_room<U>(places: &mut Vec<U>, memory: &mut usize) {
    if places.len() == places.capacity() {
        *memory -= allocated_for(places);
        places.reserve_exact(STEP);
        *memory += allocated_for(places);
    }
}

/// Gives back room that is not needed soon: all of it where nothing is left.
fn give_room_back<U>(places: &mut Vec<U>, memory: &mut usize) {
    if places.is_empty() || places.capacity() - places.len() >= 2 * STEP {
        *memory -= allocated_for(places);
        shrink(places, places.len().next_multiple_of(STEP));
        *memory += allocated_for(places);
    }
}

/// Inserts into a node of at most `most`. Returns the part that must go into a new node behind it if that is too many.
fn insert_into<U>(
    places: &mut Vec<U>,
    most: usize,
    at: usize,
    new: U,
    edge: Edge,
    memory: &mut usize,
) -> Option<Vec<U>> {
    if places.len() < most {
        make_room(places, memory);
        places.insert(at, new);
        return None;
    }
    let cut = edge.cut(at, places.len());
    let mut right = places.split_off(cut);
    *memory += allocated_for(&right);
    give_room_back(places, memory);
    let (half, at) = if at < cut || cut == 0 { (places, at) } else { (&mut right, at - cut) };
    make_room(half, memory);
    half.insert(at, new);
    Some(right)
}

/// Merges the children at `at` and behind it, or shares their content evenly if it is too much for one node.
fn mend<T: Item>(slots: &mut Vec<Slot<T>>, at: usize, memory: &mut usize) {
    if let [left, right, ..] = &mut slots[at..] {
        match (&mut left.node, &mut right.node) {
            (Node::Leaf(left), Node::Leaf(right)) => share(left, right, LEAF, memory),
            (Node::Inner(left), Node::Inner(right)) => share(left, right, INNER, memory),
            _ => unreachable!("all leaves have the same depth"),
        }
        let both = left.weight + right.weight;
        (left.weight, right.weight) = (both, 0);
        left.refresh();
        if right.refresh() {
            right.weight = right.node.weight();
            left.weight -= right.weight;
        } else {
            slots.remove(at + 1);
            give_room_back(slots, memory);
        }
    }
}

/// Moves what `right` holds to `left` if that leaves some room in it; else shares evenly.
fn share<U>(left: &mut Vec<U>, right: &mut Vec<U>, most: usize, memory: &mut usize) {
    let before = allocated_for(left) + allocated_for(right);
    let both = left.len() + right.len();
    let wanted = if both <= most / 4 * 3 { both } else { both / 2 };
    if let Some(fewer) = left.len().checked_sub(wanted) {
        right.reserve_exact(fewer);
        right.splice(..0, left.drain(wanted..));
    } else {
        left.reserve_exact(wanted - left.len());
        left.extend(right.drain(..wanted - left.len()));
    }
    for places in [left, right] {
        shrink(places, places.len().next_multiple_of(STEP));
        // What was counted before is subtracted below.
        *memory += allocated_for(places);
    }
    *memory -= before;
}
