//! Deleted data that is not freed yet. Freeing a hash of a million fields, or all keys, takes long, so it is set aside
//! and freed in slices with the edits that follow. It counts as used memory until it is freed.

use super::table::{Subtable, Table};
use super::value::form::{Remains, Structure};

/// Structures of at most this many parts are freed at once.
const AT_ONCE: usize = 64;
/// Number of chunks of a list that take as long to free as a bucket of records does.
const CHUNKS_PER_BUCKET: usize = 4;

/// Data that is no longer reachable and waits to be freed.
#[derive(Default)]
pub(super) struct Garbage {
    remains: Vec<Remains>,
    /// Remaining subtables of the table being freed.
    subtables: Vec<Subtable>,
    /// Number of buckets of the last subtable that have been freed.
    buckets: usize,
    /// Structures that came while a capture wants them; `None` if none does.
    withheld: Option<Vec<Structure>>,
}

impl Garbage {
    /// Whether nothing waits to be freed.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.remains.is_empty() && self.subtables.is_empty()
    }

    /// Number of tables, trees, lists and streams that wait to be freed.
    pub fn len(&self) -> usize {
        self.remains.len() + usize::from(!self.subtables.is_empty())
    }

    /// Sets a table aside, or frees it if it is empty. Returns the bytes of memory freed immediately.
    pub fn push(&mut self, table: Table) -> usize {
        if table.len() == 0 {
            return table.memory();
        }
        self.remains.push(Remains::Table(table));
        0
    }

    /// From now on keeps structures whole, until [`Self::take_withheld`].
    pub fn withhold(&mut self) {
        self.withheld = Some(Vec::new());
    }

    /// The structures that have come since [`Self::withhold`]. Those that come from now on are freed again.
    pub fn take_withheld(&mut self) -> Vec<Structure> {
        self.withheld.take().unwrap_or_default()
    }

    /// Frees a small structure or sets a large one aside. Returns the bytes of memory freed immediately.
    pub fn push_structure(&mut self, structure: Structure) -> usize {
        if let Some(withheld) = &mut self.withheld {
            withheld.push(structure);
            return 0;
        }
        if structure.len() <= AT_ONCE {
            return structure.memory();
        }
        structure.dismantle(&mut self.remains)
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
            match self.remains.pop() {
                Some(Remains::Table(table)) => {
                    freed += table.own_memory();
                    self.subtables = table.into_subtables();
                }
                Some(Remains::Elements(mut packs)) => {
                    if let Some(bytes) = packs.give_up() {
                        freed += bytes;
                        self.remains.push(Remains::Elements(packs));
                    }
                }
                Some(Remains::Places(mut places)) => {
                    if let Some(bytes) = places.free_leaf(drop) {
                        freed += bytes;
                        self.remains.push(Remains::Places(places));
                    }
                }
                Some(Remains::Times(mut times)) => {
                    if let Some(bytes) = times.free_leaf(drop) {
                        freed += bytes;
                        self.remains.push(Remains::Times(times));
                    }
                }
                Some(Remains::Chunks(mut chunks)) => {
                    freed += (0..CHUNKS_PER_BUCKET).map_while(|_| chunks.give_up()).sum::<usize>();
                    if !chunks.is_empty() {
                        self.remains.push(Remains::Chunks(chunks));
                    }
                }
                Some(Remains::Stream(mut stream)) => match stream.free_some() {
                    Some(bytes) => {
                        freed += bytes;
                        self.remains.push(Remains::Stream(stream));
                    }
                    None => freed += stream.memory(),
                },
                None => {
                    (self.remains, self.subtables) = (Vec::new(), Vec::new());
                    break;
                }
            }
        }
        freed
    }
}
