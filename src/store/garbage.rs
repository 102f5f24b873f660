//! Deleted data that is not freed yet. Freeing a hash of a million fields, or all keys, takes long, so it is set aside
//! and freed in slices with the edits that follow. It counts as used memory until it is freed.

use super::table::{Subtable, Table};
use super::value::form::{Part, Structure};

/// Structures of at most this many elements are freed at once.
const AT_ONCE: usize = 64;

/// Data that is no longer reachable and waits to be freed.
#[derive(Default)]
pub(super) struct Garbage {
    parts: Vec<Part>,
    /// Remaining subtables of the table being freed.
    subtables: Vec<Subtable>,
    /// Number of buckets of the last subtable that have been freed.
    buckets: usize,
}

impl Garbage {
    /// Whether nothing waits to be freed.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.subtables.is_empty()
    }

    /// Number of parts that wait to be freed.
    pub fn parts(&self) -> usize {
        self.parts.len() + usize::from(!self.subtables.is_empty())
    }

    /// Sets a table aside, or frees it if it is empty. Returns the bytes of memory freed immediately.
    pub fn push(&mut self, table: Table) -> usize {
        if table.len() == 0 {
            return table.memory();
        }
        self.parts.push(Part::Table(table));
        0
    }

    /// Frees a small structure or sets a large one aside. Returns the bytes of memory freed immediately.
    pub fn push_structure(&mut self, structure: Structure) -> usize {
        if structure.len() <= AT_ONCE {
            return structure.memory();
        }
        structure.dismantle(|part| self.parts.push(part))
    }

    /// Takes about `steps` steps, each of which frees a bucket of seven records, or something that takes about as long.
    /// Returns the bytes of memory freed.
    pub fn free(&mut self, steps: usize) -> usize {
        let mut freed = 0;
        for _ in 0..steps {
            if let Some(subtable) = self.subtables.last_mut() {
                if let Some(records) = subtable.give_up(self.buckets) {
                    self.buckets += 1;
                    for mut record in records {
                        freed += record.memory();
                        freed += record.take_structure().map_or(0, |structure| self.push_structure(*structure));
                    }
                } else {
                    freed += subtable.memory();
                    self.subtables.pop();
                    self.buckets = 0;
                }
                continue;
            }
            match self.parts.pop() {
                Some(Part::Table(table)) => {
                    freed += table.own_memory();
                    self.subtables = table.into_subtables();
                }
                Some(Part::Places(mut places)) => {
                    if let Some(bytes) = places.free_leaf(drop) {
                        freed += bytes;
                        self.parts.push(Part::Places(places));
                    }
                }
                None => {
                    *self = Self::default();
                    break;
                }
            }
        }
        freed
    }
}
