//! Walking over a tree's items, forwards and backwards, from any position.

use smallvec::SmallVec;

use super::node::{Node, Slot};
use super::{Aim, Item, Offset};

/// Number of inner nodes between root and leaf that a walk keeps without an allocation.
const LEVELS: usize = 4;

/// Walk over the items of a tree in one direction.
pub(in crate::store) struct Iter<'a, T: Item> {
    /// Per inner node on the way to the leaf, from the root on: the children still to be walked.
    levels: SmallVec<[std::slice::Iter<'a, Slot<T>>; LEVELS]>,
    /// Items of the leaf still to be walked.
    items: std::slice::Iter<'a, T>,
    backwards: bool,
}

impl<'a, T: Item> Iter<'a, T> {
    /// Walk that begins with the item aimed at.
    pub(super) fn new(root: &'a Node<T>, aim: &mut Offset, backwards: bool) -> Self {
        let (mut levels, mut node) = (SmallVec::new(), root);
        while let Node::Inner(slots) = node {
            let at = aim.slot(slots);
            levels.push(if backwards { slots[..at].iter() } else { slots[at + 1..].iter() });
            node = &slots[at].node;
        }
        let items = match node {
            Node::Leaf(items) => match (aim.place(items), backwards) {
                (Ok(at), true) => &items[..=at],
                (Ok(at) | Err(at), false) => &items[at..],
                (Err(_), true) => {
                    levels.clear();
                    &[]
                }
            },
            Node::Inner(_) => &[],
        };
        Self { levels, items: items.iter(), backwards }
    }

    /// Enters the next leaf. Returns false if there is none.
    fn next_leaf(&mut self) -> bool {
        let mut slot = loop {
            let Some(level) = self.levels.last_mut() else { return false };
            match step(level, self.backwards) {
                Some(slot) => break slot,
                None => drop(self.levels.pop()),
            }
        };
        loop {
            match &slot.node {
                Node::Leaf(items) => {
                    self.items = items.iter();
                    return true;
                }
                Node::Inner(slots) => {
                    let mut level = slots.iter();
                    let Some(next) = step(&mut level, self.backwards) else { return false };
                    self.levels.push(level);
                    slot = next;
                }
            }
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = step(&mut self.items, self.backwards) {
                return Some(item);
            }
            if !self.next_leaf() {
                return None;
            }
        }
    }
}

/// Next element in the walk's direction.
#[inline]
fn step<'a, U>(iter: &mut std::slice::Iter<'a, U>, backwards: bool) -> Option<&'a U> {
    if backwards { iter.next_back() } else { iter.next() }
}
