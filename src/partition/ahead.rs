//! Slots that are ahead of their partition, because its snapshot was written slot by slot beside live traffic. Pure.
//!
//! Always: a slot's own position is at or after its partition's; edits of the slot up to there are in it, though the
//! partition as a whole has only come to its own. Once the partition has come past the newest of them, they mean
//! nothing any more.

use crate::ids::Position;

/// By slot of one partition, in order: where it is, if that is after the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead {
    slots: Vec<Position>,
    newest: Position,
}

impl Ahead {
    /// The slots are where they are in a snapshot.
    pub fn new(slots: Vec<Position>) -> Self {
        let newest = slots.iter().copied().max().unwrap_or_default();
        Self { slots, newest }
    }

    /// The newest position of any slot.
    pub const fn newest(&self) -> Position {
        self.newest
    }

    /// Where the slot with this index was when its snapshot was written.
    pub fn position(&self, index: usize) -> Option<Position> {
        self.slots.get(index).copied()
    }

    /// Whether any slot has more than its partition, which is at `position`.
    pub fn matters(&self, position: Position) -> bool {
        self.newest > position
    }

    /// Whether an edit at `position` is in the slot with this index already.
    pub fn holds(&self, index: usize, position: Position) -> bool {
        self.slots.get(index).is_some_and(|at| *at >= position)
    }

    /// Whether the slot with this index has edits from after `position`, so that what it was there is not known any
    /// more.
    pub fn is_beyond(&self, index: usize, position: Position) -> bool {
        self.slots.get(index).is_some_and(|at| *at > position)
    }
}
