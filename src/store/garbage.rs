//! What has been deleted and is not freed yet. Freeing a hash of a million fields, or all keys, takes long; so it is
//! put aside, and freed in slices with the edits that follow. It counts as used memory until then.

use super::table::{Subtable, Table};
use super::value::form::Structure;

/// A structure of so many elements is small enough to be freed at once.
const AT_ONCE: usize = 64;

/// Tables that nobody will use again.
#[derive(Default)]
pub(super) struct Garbage {
    tables: Vec<Table>,
    /// What is left of the table that is being freed.
    subtables: Vec<Subtable>,
    /// How many buckets of the last subtable have been freed.
    buckets: usize,
}

impl Garbage {
    /// Whether all has been freed.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.subtables.is_empty()
    }

    /// How many tables are not freed yet.
    pub fn tables(&self) -> usize {
        self.tables.len() + usize::from(!self.subtables.is_empty())
    }

    /// Puts a table aside, or frees it if it is empty. Returns how many bytes of memory have been freed at once.
    pub fn push(&mut self, table: Table) -> usize {
        if table.len() == 0 {
            return table.memory();
        }
        self.tables.push(table);
        0
    }

    /// Frees a structure, or puts it aside. Returns how many bytes of memory have been freed at once.
    pub fn push_structure(&mut self, structure: Structure) -> usize {
        if structure.len() <= AT_ONCE {
            return structure.memory();
        }
        let (freed, table) = structure.dismantle();
        freed + self.push(table)
    }

    /// Frees as much as there is in about `buckets` buckets of seven records. Returns how many bytes of memory that
    /// was.
    pub fn free(&mut self, buckets: usize) -> usize {
        let mut freed = 0;
        for _ in 0..buckets {
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
            } else if let Some(table) = self.tables.pop() {
                freed += table.own_memory();
                self.subtables = table.into_subtables();
            } else {
                *self = Self::default();
                break;
            }
        }
        freed
    }
}
