//! A tree does what a sorted vector does, and its numbers add up: random operations against a model. A failure prints
//! its seed; with `ROLLBOOK_SEED` set, only that seed runs.

use super::node::{INNER, LEAF};
use super::*;

/// An item that stands for several elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    key: u32,
    weight: usize,
}

impl Item for Chunk {
    type Mark = u32;

    fn mark(&self) -> u32 {
        self.key
    }

    fn weight(&self) -> usize {
        self.weight
    }
}

impl Item for u32 {
    type Mark = Self;

    fn mark(&self) -> Self {
        *self
    }
}

impl<T: Item<Mark: PartialEq + std::fmt::Debug>> Tree<T> {
    /// Checks every invariant of the tree. Returns its depth.
    fn check(&self) -> usize {
        let (weight, memory, depth) = Self::check_node(&self.root, Edge::BOTH);
        assert_eq!((weight, memory), (self.weight, self.memory));
        assert!(!matches!(&self.root, Node::Inner(slots) if slots.len() < 2), "the root has one child");
        depth
    }

    /// Returns weight, memory and depth.
    fn check_node(node: &Node<T>, edge: Edge) -> (usize, usize, usize) {
        match node {
            Node::Leaf(items) => {
                assert!(items.len() <= LEAF && (edge.is_any() || items.len() >= LEAF / 4), "{}", items.len());
                (items.iter().map(T::weight).sum(), node.own_memory(), 0)
            }
            Node::Inner(slots) => {
                assert!(slots.len() <= INNER && (edge.is_any() || slots.len() >= INNER / 4), "{}", slots.len());
                let mut sum = (0, node.own_memory(), 0);
                for (at, slot) in slots.iter().enumerate() {
                    let (weight, memory, depth) = Self::check_node(&slot.node, edge.within(at, slots.len()));
                    assert_eq!((slot.weight, slot.first), (weight, slot.node.first().unwrap()));
                    assert!(at == 0 || sum.2 == depth + 1, "leaves of several depths");
                    sum = (sum.0 + weight, sum.1 + memory, depth + 1);
                }
                sum
            }
        }
    }
}

/// Runs `test` with many seeds, or with the one in `ROLLBOOK_SEED`.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    let only = std::env::var("ROLLBOOK_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..count, |seed: u64| seed..seed + 1) {
        println!("ROLLBOOK_SEED={seed}");
        test(seed);
    }
}

#[test]
fn a_tree_does_what_a_sorted_vector_does() {
    with_seeds(40, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut tree, mut model) = (Tree::<u32>::default(), Vec::new());
        let keys = [300, 5000, 1 << 30][seed as usize % 3];
        for step in 0..4000 {
            let key = random.u32(..keys);
            let found = model.binary_search(&key);
            assert_eq!(tree.search(|mark| mark.cmp(&key)), found);
            // Grows for a while, then shrinks, and again.
            match (random.u32(..100) < [75, 25][step / 1000 % 2], found) {
                (true, Err(at)) => {
                    model.insert(at, key);
                    tree.insert(|mark| mark.cmp(&key), key);
                }
                (false, Ok(at)) => {
                    model.remove(at);
                    assert_eq!(tree.remove(|mark| mark.cmp(&key)), Some(key));
                }
                (false, Err(_)) if random.u32(..40) > 0 => assert_eq!(tree.remove(|mark| mark.cmp(&key)), None),
                (false, Err(at)) => {
                    let count = random.usize(..200);
                    let mut removed = Vec::new();
                    tree.remove_at(at, count, |item| removed.push(item));
                    assert_eq!(removed, model.drain(at..model.len().min(at + count)).collect::<Vec<_>>());
                }
                (true, Ok(_)) => {}
            }
            if step % 50 == 0 {
                tree.check();
                let at = random.usize(..=model.len());
                assert!(tree.forwards(at).eq(&model[at..]));
                assert!(tree.backwards(at).eq(model.get(..=at).unwrap_or_default().iter().rev()));
                assert_eq!(tree.at(at), model.get(at).map(|item| (item, 0)));
                assert_eq!(tree.last(), model.last());
            }
        }
        tree.remove_at(0, usize::MAX, |_| {});
        assert_eq!((tree.check(), tree.weight(), tree.memory()), (0, 0, 0));
    });
}

#[test]
fn a_tree_of_weighted_items_is_found_by_their_elements() {
    with_seeds(30, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut tree, mut model) = (Tree::<Chunk>::default(), Vec::new());
        for step in 0..2000 {
            let total = model.iter().map(Item::weight).sum::<usize>();
            assert_eq!(tree.weight(), total);
            let offset = random.usize(..=total);
            // Index in the model, and where within that item.
            let mut inside = offset;
            let at = model.iter().position(|item: &Chunk| match inside.checked_sub(item.weight) {
                Some(rest) => {
                    inside = rest;
                    false
                }
                None => true,
            });
            assert_eq!(tree.at(offset), at.map(|at| (&model[at], inside)));
            match random.u32(..10) {
                0..5 => {
                    let new = Chunk { key: step, weight: random.usize(1..9) };
                    model.insert(at.unwrap_or(model.len()), new);
                    tree.insert_at(offset, new);
                }
                5..7 => {
                    let weight = random.usize(1..9);
                    let changed = tree.change(offset, |item, within| {
                        item.weight = weight;
                        within
                    });
                    assert_eq!(changed, at.map(|_| inside));
                    at.into_iter().for_each(|at| model[at].weight = weight);
                }
                _ => {
                    let count = random.usize(..4);
                    let mut removed = Vec::new();
                    tree.remove_at(offset, count, |item| removed.push(item));
                    let at = at.unwrap_or(model.len());
                    assert_eq!(removed, model.drain(at..model.len().min(at + count)).collect::<Vec<_>>());
                }
            }
            if step % 50 == 0 {
                tree.check();
                assert!(tree.forwards(0).eq(&model));
            }
        }
    });
}

#[test]
fn items_that_come_in_order_fill_their_leaves() {
    for descending in [false, true] {
        let mut tree = Tree::<u32>::default();
        for n in 0..100_000u32 {
            let key = if descending { u32::MAX - n } else { n };
            tree.insert(|mark| mark.cmp(&key), key);
        }
        tree.check();
        assert!(tree.memory() < 100_000 * size_of::<u32>() * 5 / 4, "{} bytes", tree.memory());
    }
}

#[test]
fn searches_take_a_logarithm_of_comparisons() {
    let mut tree = Tree::<u32>::default();
    for n in 0..200_000u32 {
        let key = n.wrapping_mul(2_654_435_761);
        tree.insert(|mark| mark.cmp(&key), key);
    }
    assert!(tree.check() <= 4);
    for n in 0..2000u32 {
        let (key, mut compared) = (n.wrapping_mul(2_654_435_761), 0);
        let rank = tree.search(|mark| {
            compared += 1;
            mark.cmp(&key)
        });
        assert_eq!(tree.at(rank.unwrap()), Some((&key, 0)));
        assert!(compared <= 24, "{compared} comparisons");
    }
}

#[test]
fn a_tree_is_freed_leaf_by_leaf() {
    let mut tree = Tree::<u32>::default();
    (0..10_000u32).for_each(|n| tree.insert_at(usize::MAX, n));
    let memory = tree.memory();
    let (mut remains, mut freed, mut items) = (tree.into_leaves(), 0, 0);
    loop {
        let before = items;
        let Some(bytes) = remains.free_leaf(|_| items += 1) else { break };
        assert!(items - before <= LEAF);
        freed += bytes;
    }
    assert_eq!((freed, items), (memory, 10_000));
}
