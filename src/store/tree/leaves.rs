//! Freeing a tree leaf by leaf, so that one of millions of items does not stall its core.

use super::Item;
use super::node::Node;

/// Nodes of a tree that are no longer reachable and wait to be freed.
pub(in crate::store) struct Leaves<T: Item>(Vec<Node<T>>);

impl<T: Item> Leaves<T> {
    pub(super) fn new(root: Node<T>) -> Self {
        Self(vec![root])
    }

    /// Frees a leaf, and the inner nodes of which it was the last. `freed` gets its items. Returns the bytes of memory
    /// that the nodes took; `None` if nothing is left.
    pub fn free_leaf(&mut self, freed: impl FnMut(T)) -> Option<usize> {
        let mut memory = 0;
        loop {
            let node = self.0.pop()?;
            memory += node.own_memory();
            match node {
                Node::Inner(slots) => self.0.extend(slots.into_iter().map(|slot| slot.node)),
                Node::Leaf(items) => {
                    items.into_iter().for_each(freed);
                    return Some(memory);
                }
            }
        }
    }
}
