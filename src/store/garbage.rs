//! Deleted data that is not freed yet. Freeing a hash of a million fields, or all keys, takes long, so it is set aside
//! and freed in slices with the edits that follow. It counts as used memory until it is freed.

use super::table::{Subtable, Table};
use super::value::EventStream;
use super::value::form::{Remains, Structure};
use super::value::list::chunks::Chunks;

/// Structures of at most this many parts are freed at once.
const AT_ONCE: usize = 64;
/// Number of chunks of a list that take as long to free as a bucket of records does.
const CHUNKS_PER_BUCKET: usize = 4;

/// Data that is no longer reachable and waits to be freed.
#[derive(Default)]
pub(super) struct Garbage {
    tables: Vec<Table>,
    /// Remaining subtables of the table being freed.
    subtables: Vec<Subtable>,
    /// Number of buckets of the last subtable that have been freed.
    buckets: usize,
    /// Lists that are freed chunk by chunk.
    lists: Vec<Chunks>,
    streams: Vec<EventStream>,
}

impl Garbage {
    /// Whether nothing waits to be freed.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.subtables.is_empty() && self.lists.is_empty() && self.streams.is_empty()
    }

    /// Number of tables, lists and streams that wait to be freed.
    pub fn len(&self) -> usize {
        self.tables.len() + usize::from(!self.subtables.is_empty()) + self.lists.len() + self.streams.len()
    }

    /// Sets a table aside, or frees it if it is empty. Returns the bytes of memory freed immediately.
    pub fn push(&mut self, table: Table) -> usize {
        if table.len() == 0 {
            return table.memory();
        }
        self.tables.push(table);
        0
    }

    /// Frees a small structure or sets a large one aside. Returns the bytes of memory freed immediately.
    pub fn push_structure(&mut self, structure: Structure) -> usize {
        if structure.len() <= AT_ONCE {
            return structure.memory();
        }
        let (freed, remains) = structure.dismantle();
        match remains {
            Remains::Table(table) => freed + self.push(table),
            Remains::Chunks(chunks) => {
                self.lists.push(chunks);
                freed
            }
            Remains::Stream(stream) => {
                self.streams.push(*stream);
                freed
            }
        }
    }

    /// Frees about `buckets` buckets of seven records each, or as much of lists and streams as takes so long. Returns
    /// the bytes of memory freed.
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
            } else if let Some(list) = self.lists.last_mut() {
                let parts = (0..CHUNKS_PER_BUCKET).map_while(|_| list.give_up());
                freed += parts.sum::<usize>();
                if list.is_empty() {
                    self.lists.pop();
                }
            } else if let Some(stream) = self.streams.last_mut() {
                if let Some(some) = stream.free_some() {
                    freed += some;
                } else {
                    freed += stream.memory();
                    self.streams.pop();
                }
            } else {
                *self = Self::default();
                break;
            }
        }
        freed
    }
}
