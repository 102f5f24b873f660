//! Slots that are ahead of their partition's position, because a core wrote the snapshot slot by slot beside live
//! traffic. Pure.
//!
//! Always: a slot's own position is at or after its partition's. The slot holds every edit up to its own position,
//! while the partition as a whole is known only up to the partition's. Once the partition has passed the newest of the
//! slots' positions, they no longer matter.

use crate::ids::Position;

/// The position of each slot of one partition, in the order of the slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead {
    slots: Vec<Position>,
    newest: Position,
}

impl Ahead {
    /// Takes the slots' positions, in order, as a snapshot records them.
    pub fn new(slots: Vec<Position>) -> Self {
        let newest = slots.iter().copied().max().unwrap_or_default();
        Self { slots, newest }
    }

    /// The newest position of any slot.
    pub const fn newest(&self) -> Position {
        self.newest
    }

    /// Position of the slot with this index when its section of the snapshot was written.
    pub fn position(&self, index: usize) -> Option<Position> {
        self.slots.get(index).copied()
    }

    /// Whether any slot is ahead of a partition that is at `position`.
    pub fn matters(&self, position: Position) -> bool {
        self.newest > position
    }

    /// Whether the slot with this index already holds an edit at `position`.
    pub fn holds(&self, index: usize, position: Position) -> bool {
        self.slots.get(index).is_some_and(|at| *at >= position)
    }

    /// Whether the slot with this index holds edits later than `position`: its state at `position` is then unknown.
    pub fn is_beyond(&self, index: usize, position: Position) -> bool {
        self.slots.get(index).is_some_and(|at| *at > position)
    }
}
