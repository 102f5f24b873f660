//! A hash table of records that never stalls: it grows and shrinks by one small segment at a time (linear hashing).
//!
//! With `n` segments and `2^(d-1) < n ≤ 2^d`, a hash belongs to the segment that its low `d` bits name, or, if there is none yet, to
//! the one that its low `d - 1` bits name. Growing appends segment `n` and moves to it what now belongs there, all of it from one other
//! segment; shrinking undoes that. No operation touches more than two segments.
//!
//! Always: `number of segments ≤ 1 + keys ÷ GROW_AT + reserved`, and a key is in exactly the segment that [`Table::segment_of`] names.
//!
//! A scan walks the segments in the order of the *reversed* low bits of their hashes. In that order a segment is an interval, and
//! splitting it cuts the interval in two: a cursor keeps its meaning whatever happens between two calls, and whatever is in the table all
//! along is visited.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::memory::allocated;
use super::record::Record;

/// Average number of records in a segment above which another segment is added.
const GROW_AT: usize = 112;
/// Average number below which the last segment is given up.
const SHRINK_AT: usize = 40;

/// The seed of all tables of this process, drawn at its start, so that nobody can choose keys that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    /// The seed of this process.
    pub fn get() -> Self {
        use std::hash::{BuildHasher, RandomState};
        static SEED: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| RandomState::new().hash_one(0));
        Self(*SEED)
    }

    /// The hash under which `key` is filed.
    #[inline]
    pub fn hash(self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.0)
    }
}

type Segment = HashTable<Record>;

/// Records, found by their keys.
#[derive(Default)]
pub(super) struct Table {
    first: Segment,
    more: Option<Box<More>>,
}

/// What a table of more than one segment has besides the first.
#[derive(Default)]
struct More {
    segments: Vec<Segment>,
    len: usize,
}

/// The bits of a hash that find a place within a segment must not be those that chose the segment.
#[inline]
const fn within(hash: u64) -> u64 {
    hash.rotate_left(32)
}

impl Table {
    /// Number of records.
    #[inline]
    pub fn len(&self) -> usize {
        self.more.as_ref().map_or(self.first.len(), |more| more.len)
    }

    /// Bytes of memory that the table itself takes, without the records.
    pub fn memory(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            let vec = allocated(more.segments.capacity() * size_of::<Segment>());
            allocated(size_of::<More>()) + vec + more.segments.iter().map(segment_memory).sum::<usize>()
        });
        segment_memory(&self.first) + more
    }

    #[inline]
    fn segments(&self) -> usize {
        self.more.as_ref().map_or(1, |more| more.segments.len() + 1)
    }

    #[inline]
    fn segment(&self, index: usize) -> &Segment {
        match &self.more {
            Some(more) if index > 0 => &more.segments[index - 1],
            _ => &self.first,
        }
    }

    #[inline]
    fn segment_mut(&mut self, index: usize) -> &mut Segment {
        match &mut self.more {
            Some(more) if index > 0 => &mut more.segments[index - 1],
            _ => &mut self.first,
        }
    }

    /// The segment that a hash belongs to, and how many low bits of a hash say so.
    #[inline]
    fn segment_of(&self, hash: u64) -> (usize, u32) {
        if self.more.is_none() {
            return (0, 0);
        }
        let count = self.segments();
        let bits = count.next_power_of_two().trailing_zeros();
        let index = hash as usize & ((1 << bits) - 1);
        let low = index & ((1 << bits >> 1) - 1);
        if index >= count {
            (low, bits - 1)
        } else if low + (1 << bits >> 1) >= count {
            (index, bits - 1)
        } else {
            (index, bits)
        }
    }

    /// The record of a key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        self.segment(self.segment_of(hash).0).find(within(hash), |record| record.key() == key)
    }

    /// The record of a key, to be changed. Its key must stay.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Record> {
        let segment = self.segment_of(hash).0;
        self.segment_mut(segment).find_mut(within(hash), |record| record.key() == key)
    }

    /// Adds a record whose key is not in the table. Returns by how many bytes the table itself grew.
    pub fn insert(&mut self, seed: Seed, hash: u64, record: Record) -> isize {
        let segment = self.segment_of(hash).0;
        let segment = self.segment_mut(segment);
        let full = segment.capacity() == segment.len();
        let before = if full { segment_memory(segment) } else { 0 };
        segment.insert_unique(within(hash), record, |r| within(seed.hash(r.key())));
        let mut delta = if full { segment_memory(segment) as isize - before as isize } else { 0 };
        if let Some(more) = &mut self.more {
            more.len += 1;
        }
        if full && self.len() > GROW_AT * self.segments() {
            delta += self.grow(seed);
        }
        delta
    }

    /// Takes a key's record out. Also returns by how many bytes the table itself grew (it shrinks: below 0).
    pub fn remove(&mut self, seed: Seed, hash: u64, key: &[u8]) -> Option<(Record, isize)> {
        let index = self.segment_of(hash).0;
        let segment = self.segment_mut(index);
        let (record, _) = segment.find_entry(within(hash), |record| record.key() == key).ok()?.remove();
        let mut delta = 0;
        if segment.len() * 4 < segment.capacity() {
            let before = segment_memory(segment);
            let room = segment.len() + segment.len() / 2;
            segment.shrink_to(room, |r| within(seed.hash(r.key())));
            delta = segment_memory(segment) as isize - before as isize;
        }
        if let Some(more) = &mut self.more {
            more.len -= 1;
            if self.len() < SHRINK_AT * self.segments() {
                delta += self.shrink(seed);
            }
        }
        Some((record, delta))
    }

    /// Makes room for `count` records in an empty table.
    pub fn reserve(&mut self, count: usize) -> isize {
        debug_assert!(self.len() == 0 && self.more.is_none());
        let before = self.memory();
        let segments = count.div_ceil(GROW_AT).max(1);
        let each = count.div_ceil(segments);
        self.first = Segment::with_capacity(each);
        if segments > 1 {
            let segments = (1..segments).map(|_| Segment::with_capacity(each)).collect();
            self.more = Some(Box::new(More { segments, len: 0 }));
        }
        self.memory() as isize - before as isize
    }

    /// Appends a segment and moves to it what belongs there.
    fn grow(&mut self, seed: Seed) -> isize {
        let before = self.directory_memory();
        let len = self.len();
        let more = self.more.get_or_insert_with(|| Box::new(More { segments: Vec::new(), len }));
        more.segments.push(Segment::new());
        let new = more.segments.len();
        let old = new - (new + 1).next_power_of_two() / 2;
        let directory = self.directory_memory() as isize - before as isize;
        let from = std::mem::take(self.segment_mut(old));
        let old_memory = segment_memory(&from);
        let (mut stay, mut go) = (Segment::with_capacity(from.len() / 2), Segment::with_capacity(from.len() / 2));
        for record in from {
            let hash = seed.hash(record.key());
            let target = if self.segment_of(hash).0 == new { &mut go } else { &mut stay };
            target.insert_unique(within(hash), record, |r| within(seed.hash(r.key())));
        }
        let new_memory = segment_memory(&stay) + segment_memory(&go);
        *self.segment_mut(old) = stay;
        *self.segment_mut(new) = go;
        directory + new_memory as isize - old_memory as isize
    }

    /// Gives the last segment up and moves its records to where they belong now.
    fn shrink(&mut self, seed: Seed) -> isize {
        let before = self.directory_memory();
        let Some(more) = &mut self.more else { return 0 };
        let Some(last) = more.segments.pop() else { return 0 };
        let gone = segment_memory(&last);
        if more.segments.len() * 4 < more.segments.capacity() {
            more.segments.shrink_to(more.segments.len() * 2);
        }
        let last_index = more.segments.len() + 1;
        if more.segments.is_empty() {
            self.more = None;
        }
        let directory = self.directory_memory() as isize - before as isize;
        let target = self.segment_mut(last_index - (last_index + 1).next_power_of_two() / 2);
        let target_before = segment_memory(target);
        for record in last {
            let hash = seed.hash(record.key());
            target.insert_unique(within(hash), record, |r| within(seed.hash(r.key())));
        }
        directory + segment_memory(target) as isize - target_before as isize - gone as isize
    }

    fn directory_memory(&self) -> usize {
        self.more
            .as_ref()
            .map_or(0, |more| allocated(size_of::<More>()) + allocated(more.segments.capacity() * size_of::<Segment>()))
    }

    /// Every record, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        let more = self.more.iter().flat_map(|more| more.segments.iter());
        std::iter::once(&self.first).chain(more).flatten()
    }

    /// Visits whole segments from `cursor` on until at least `count` records have been visited. Returns where to go on, 0 at the end.
    /// Cursors are below 2^32.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a Record)) -> u64 {
        let mut at = cursor as u32;
        let mut visited = 0;
        loop {
            let (index, bits) = self.segment_of(u64::from(at.reverse_bits()));
            let segment = self.segment(index);
            segment.iter().for_each(&mut visit);
            visited += segment.len().max(1);
            let last = u64::from((index as u32).reverse_bits()) + (1u64 << (32 - bits));
            let Ok(next) = u32::try_from(last) else { return 0 };
            at = next;
            if visited >= count {
                return u64::from(at);
            }
        }
    }

    /// A record at random, each as likely as any other.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&Record> {
        if self.len() == 0 {
            return None;
        }
        if self.more.is_none() {
            return self.first.iter().nth(below(random(), self.len()));
        }
        // A segment at random, and then a place in a row as long as hardly any segment: taken if it exists, else drawn again.
        let longest = (0..self.segments()).map(|index| self.segment(index).len()).max()?;
        loop {
            let segment = self.segment(below(random(), self.segments()));
            if let Some(record) = segment.iter().nth(below(random(), longest)) {
                return Some(record);
            }
        }
    }
}

/// A number below `bound` from a uniform 64-bit number.
#[inline]
pub(super) fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

fn segment_memory(segment: &Segment) -> usize {
    allocated(segment.allocation_size())
}
