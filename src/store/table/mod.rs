//! A hash table of records that never stalls: it grows and shrinks by one small subtable at a time (linear hashing).
//!
//! Growing appends a subtable and moves its records there, all from one other subtable; shrinking undoes that. No
//! operation touches more than two subtables, and most tables have only one.
//!
//! A scan walks the subtables in the order of the *reversed* low bits of their hashes, and within a subtable in the
//! order of the high bits. In the reversed order a subtable is an interval, and splitting it cuts the interval in two:
//! a cursor stays valid whatever happens between two calls, and a record that is present throughout is visited.
//!
//! | file | what it is |
//! |---|---|
//! | `head`, `record` | a key and its value in one allocation, known by its address |
//! | `subtable` | a few hundred records in buckets of one cache line each |
//! | `intervals` | which subtable a hash belongs to, and the order of a walk |

mod head;
mod intervals;
mod record;
mod subtable;

use std::ops::ControlFlow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(in crate::store) use head::MAX_LENGTH;
pub(in crate::store) use intervals::{Interval, parent, part_of};
pub(in crate::store) use record::{Record, RecordRef};
pub(in crate::store) use subtable::Subtable;

use super::memory::allocated;

/// Average number of records per subtable above which a subtable is added. Subtables not yet split hold up to twice as
/// many.
const GROW_AT: usize = 256;
/// Average number of records per subtable below which the last subtable is removed.
const SHRINK_AT: usize = 80;

/// Number of records prefetched ahead when a whole subtable is walked.
const AHEAD: usize = 16;

/// Seed of all hash tables of this process, drawn at its start, so that nobody can choose keys that collide.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Seed(u64);

/// Hash of a key, which determines its place in a table.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Hash(u64);

impl Seed {
    /// Seed of this process.
    pub fn get() -> Self {
        use std::hash::{BuildHasher, RandomState};
        static SEED: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| RandomState::new().hash_one(0));
        Self(*SEED)
    }

    /// Hash of `key` under this seed.
    #[inline]
    pub fn hash(self, key: &[u8]) -> Hash {
        Hash(xxh3_64_with_seed(key, self.0))
    }
}

impl Hash {
    /// Bits that choose a part of a table.
    #[inline]
    const fn low(self) -> u32 {
        self.0 as u32
    }

    /// Position of the hash in the order of a sweep.
    pub const fn turn(self) -> u32 {
        self.low().reverse_bits()
    }

    /// Bits that choose a place within a part of a table; a record carries them.
    #[inline]
    pub const fn high(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// Hash table of records, found by their keys.
#[derive(Default)]
pub(in crate::store) struct Table {
    first: Subtable,
    more: Option<Box<More>>,
}

/// Additional state of a table that has more than one subtable.
struct More {
    subtables: Vec<Subtable>,
    /// Records in all subtables.
    len: usize,
    /// Number of places in the largest subtable so far.
    most_places: usize,
}

impl Table {
    /// Number of records.
    #[inline]
    pub fn len(&self) -> usize {
        self.more.as_ref().map_or(self.first.len(), |more| more.len)
    }

    /// Bytes of memory that the table itself takes, without its records.
    pub fn memory(&self) -> usize {
        let more = self.more.iter().flat_map(|more| more.subtables.iter());
        self.own_memory() + self.first.memory() + more.map(Subtable::memory).sum::<usize>()
    }

    /// Consumes the table and returns its subtables.
    pub fn into_subtables(self) -> Vec<Subtable> {
        let mut subtables = self.more.map(|more| more.subtables).unwrap_or_default();
        subtables.push(self.first);
        subtables
    }

    /// The part of [`Self::memory`] that does not belong to subtables.
    pub fn own_memory(&self) -> usize {
        self.more.as_ref().map_or(0, |more| {
            allocated(size_of::<More>()) + allocated(more.subtables.capacity() * size_of::<Subtable>())
        })
    }

    #[inline]
    fn subtables(&self) -> usize {
        self.more.as_ref().map_or(1, |more| more.subtables.len() + 1)
    }

    #[inline]
    fn subtable(&self, index: usize) -> &Subtable {
        match &self.more {
            Some(more) if index > 0 => &more.subtables[index - 1],
            _ => &self.first,
        }
    }

    #[inline]
    fn subtable_mut(&mut self, index: usize) -> &mut Subtable {
        match &mut self.more {
            Some(more) if index > 0 => &mut more.subtables[index - 1],
            _ => &mut self.first,
        }
    }

    /// Index of the subtable that a hash belongs to.
    #[inline]
    fn subtable_of(&self, hash: Hash) -> usize {
        if self.more.is_none() { 0 } else { part_of(self.subtables(), hash) }
    }

    /// Finds the record of a key.
    #[inline]
    pub fn find(&self, hash: Hash, key: &[u8]) -> Option<&Record> {
        self.subtable(self.subtable_of(hash)).find(hash.high(), key)
    }

    /// Finds the record of a key for modification. The caller must not change the key; only [`Record::replace`] may
    /// replace the whole record.
    #[inline]
    pub fn find_mut(&mut self, hash: Hash, key: &[u8]) -> Option<&mut Record> {
        let subtable = self.subtable_of(hash);
        self.subtable_mut(subtable).find_mut(hash.high(), key)
    }

    /// Adds a record whose key is not in the table. Returns the growth of the table itself in bytes.
    #[inline]
    pub fn insert(&mut self, seed: Seed, hash: Hash, record: Record) -> isize {
        let index = self.subtable_of(hash);
        let subtable = self.subtable_mut(index);
        let before = subtable.memory();
        subtable.insert(record.with_hash16(hash.high()));
        let (after, places) = (subtable.memory(), subtable.places());
        if let Some(more) = &mut self.more {
            more.len += 1;
            more.most_places = more.most_places.max(places);
        }
        let mut delta = after as isize - before as isize;
        if delta != 0 && self.len() > GROW_AT * self.subtables() {
            delta += self.grow(seed);
        }
        delta
    }

    /// Removes a key's record. Also returns the growth of the table itself in bytes (negative, as it shrinks).
    pub fn remove(&mut self, hash: Hash, key: &[u8]) -> Option<(Record, isize)> {
        let index = self.subtable_of(hash);
        let subtable = self.subtable_mut(index);
        let before = subtable.memory();
        let record = subtable.remove(hash.high(), key)?;
        let mut delta = subtable.memory() as isize - before as isize;
        if let Some(more) = &mut self.more {
            more.len -= 1;
            if self.len() < SHRINK_AT * self.subtables() {
                delta += self.shrink();
            }
        }
        Some((record, delta))
    }

    /// Makes room for `count` records in an empty table.
    pub fn reserve(&mut self, count: usize) -> isize {
        debug_assert!(self.len() == 0 && self.more.is_none());
        let before = self.memory();
        let subtables = count.div_ceil(GROW_AT).max(1);
        let half = subtables.next_power_of_two() / 2;
        // Subtables that have not been split have twice as many records as those that have.
        let share = |index| if subtables > 1 && index < half && index + half >= subtables { 2 } else { 1 };
        let shares: usize = (0..subtables).map(share).sum();
        // Margin above the average that a random distribution seldom exceeds.
        let room = |index: usize| {
            let average = count * share(index) / shares;
            average + if subtables > 1 { 2 * average.isqrt() } else { 0 }
        };
        self.first = Subtable::with_capacity(if subtables > 1 { room(0) } else { count });
        if subtables > 1 {
            let subtables: Vec<_> = (1..subtables).map(|index| Subtable::with_capacity(room(index))).collect();
            let most_places = subtables.iter().map(Subtable::places).fold(self.first.places(), usize::max);
            self.more = Some(Box::new(More { subtables, len: 0, most_places }));
        }
        self.memory() as isize - before as isize
    }

    /// Appends a subtable and moves its records there. Returns the growth in bytes.
    #[cold]
    fn grow(&mut self, seed: Seed) -> isize {
        let before = self.own_memory();
        let (len, most_places) = (self.len(), self.first.places());
        let more = self.more.get_or_insert_with(|| Box::new(More { subtables: Vec::new(), len, most_places }));
        more.subtables.push(Subtable::default());
        let new = more.subtables.len();
        let own = self.own_memory() as isize - before as isize;
        let from = std::mem::take(self.subtable_mut(parent(new)));
        let from_memory = from.memory();
        let room = from.len() / 2 + from.len().isqrt();
        let (mut stay, mut go) = (Subtable::with_capacity(room), Subtable::with_capacity(room));
        let mut records = from.into_records().collect::<Vec<_>>().into_iter();
        while let Some(record) = records.next() {
            if let Some(ahead) = records.as_slice().get(AHEAD) {
                ahead.prefetch_key();
            }
            let goes = self.subtable_of(seed.hash(record.key())) == new;
            if goes { &mut go } else { &mut stay }.insert(record);
        }
        let after = stay.memory() + go.memory();
        *self.subtable_mut(parent(new)) = stay;
        *self.subtable_mut(new) = go;
        own + after as isize - from_memory as isize
    }

    /// Removes the last subtable and moves its records to where they now belong. Returns the growth in bytes.
    #[cold]
    fn shrink(&mut self) -> isize {
        let before = self.own_memory();
        let Some(more) = &mut self.more else { return 0 };
        let last = more.subtables.len();
        let Some(from) = more.subtables.pop() else { return 0 };
        if more.subtables.len() * 4 < more.subtables.capacity() {
            more.subtables.shrink_to(more.subtables.len() * 2);
        }
        if more.subtables.is_empty() {
            self.more = None;
        }
        let own = self.own_memory() as isize - before as isize;
        let target = self.subtable_mut(parent(last));
        let target_memory = target.memory() + from.memory();
        from.into_records().for_each(|record| target.insert(record));
        own + target.memory() as isize - target_memory as isize
    }

    /// Every record, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        let more = self.more.iter().flat_map(|more| more.subtables.iter());
        std::iter::once(&self.first).chain(more).flat_map(Subtable::iter)
    }

    /// Visits at least `count` records from `cursor` on (0 begins). Returns the next cursor, 0 at the end; cursors are
    /// below 2^48. A record present throughout the scan is visited at least once, some perhaps twice.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a Record)) -> u64 {
        let mut at = Cursor::from_raw(cursor);
        let mut left = count.max(1);
        loop {
            let interval = Interval::at(self.subtables(), at.interval);
            // If the cursor's subtable has been merged back since, the merged one contains records of which only half
            // were visited up to `within`.
            let from = if interval.bits < at.bits { 0 } else { at.within };
            let (visited, next) = self.subtable(interval.index).scan(from, left, &mut visit);
            if let Some(within) = next {
                return Cursor { within, bits: interval.bits, ..at }.raw();
            }
            let Some(next) = interval.next() else { return 0 };
            at = Cursor { interval: next, within: 0, bits: 0 };
            left = left.saturating_sub(visited);
            if left == 0 {
                return at.raw();
            }
        }
    }

    /// Visits the records of one subtable whose turn is `from` or later; a sweep begins with 0. Returns the turn at
    /// which the next subtable begins, `None` at the end. However the table grows and shrinks between calls, a sweep
    /// visits a record present throughout exactly once. `visit` may stop early; the sweep is then still at `from`.
    pub fn sweep<'a>(
        &'a self,
        seed: Seed,
        from: u32,
        mut visit: impl FnMut(&'a Record) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<u32>> {
        let interval = Interval::at(self.subtables(), from);
        let is_whole = interval.begins() == from;
        // Subtables that were split earlier may have been merged back: part of this one has been swept already.
        let mut left = self.subtable(interval.index).iter().filter(|r| is_whole || seed.hash(r.key()).turn() >= from);
        left.try_for_each(&mut visit)?;
        ControlFlow::Continue(interval.next())
    }

    /// A random record, uniformly distributed.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&Record> {
        if self.len() == 0 {
            return None;
        }
        // Draws a subtable and a place in it, as if all subtables were as large as the largest, until the place is
        // occupied.
        let places = self.more.as_ref().map_or(self.first.places(), |more| more.most_places.max(self.first.places()));
        loop {
            let subtable = self.subtable(below(random(), self.subtables()));
            if let Some(record) = subtable.at(below(random(), places)) {
                return Some(record);
            }
        }
    }

    /// Prefetches the bucket for a key with this hash.
    #[inline]
    pub fn prefetch(&self, hash: Hash) {
        self.subtable(self.subtable_of(hash)).prefetch(hash.high());
    }

    /// Prefetches the record of a key with this hash. Call it some time after [`Self::prefetch`].
    #[inline]
    pub fn prefetch_record(&self, hash: Hash) {
        self.subtable(self.subtable_of(hash)).prefetch_record(hash.high());
    }
}

/// Position of a scan.
#[derive(Clone, Copy)]
struct Cursor {
    /// Start of the interval that comes next or is in progress. Only the upper 27 bits are used: a table never has 2^27
    /// subtables.
    interval: u32,
    /// Within a subtable in progress, the high bits of the hash to continue from, and the number of low bits that chose
    /// the subtable.
    within: u16,
    bits: u32,
}

impl Cursor {
    const fn from_raw(raw: u64) -> Self {
        Self { interval: (raw >> 21 << 5) as u32, within: (raw >> 5) as u16, bits: raw as u32 & 31 }
    }

    const fn raw(self) -> u64 {
        (self.interval as u64 >> 5 << 21) | (self.within as u64) << 5 | self.bits as u64
    }
}

/// Maps a uniform 64-bit number to a number below `bound`.
#[inline]
pub fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::value::form::Kind;

    fn record(number: u32) -> Record {
        Record::new(Kind::String, &number.to_le_bytes(), b"", None, 0)
    }

    fn fill(table: &mut Table, seed: Seed, numbers: std::ops::Range<u32>) -> isize {
        numbers.map(|n| table.insert(seed, seed.hash(&n.to_le_bytes()), record(n))).sum()
    }

    #[test]
    fn a_table_of_any_size_finds_all_and_counts_its_memory() {
        let (seed, mut table, mut memory) = (Seed::get(), Table::default(), 0);
        let hash = |n: u32| seed.hash(&n.to_le_bytes());
        for size in [1, 7, 8, 500, 513, 1000, 1100, 5000, 20_000] {
            let from = table.len() as u32;
            memory += fill(&mut table, seed, from..size);
            assert_eq!((table.len(), table.memory() as isize), (size as usize, memory));
            assert!((0..size).all(|n| table.find(hash(n), &n.to_le_bytes()).is_some()));
            assert!(table.find(hash(size), &size.to_le_bytes()).is_none());
            assert_eq!(table.iter().count(), size as usize);
            assert!(size < 100 || table.memory() < size as usize * 20);
        }
        for n in 0..20_000u32 {
            memory += table.remove(hash(n), &n.to_le_bytes()).unwrap().1;
            assert!(table.remove(hash(n), &n.to_le_bytes()).is_none());
            assert!(n % 1000 != 0 || table.memory() as isize == memory);
        }
        assert_eq!((table.len(), table.memory(), memory), (0, 0, 0));
    }

    #[test]
    fn room_that_was_reserved_suffices_nearly_always() {
        let seed = Seed::get();
        for size in [0, 1, 100, 512, 513, 700, 3000, 50_000] {
            let mut table = Table::default();
            let reserved = table.reserve(size as usize);
            assert_eq!(table.memory() as isize, reserved);
            let grown = fill(&mut table, seed, 0..size);
            assert!(grown * 10 <= reserved, "{size}: {reserved} bytes reserved, {grown} more needed");
            assert!(size < 100 || reserved < size as isize * 20);
        }
    }

    #[test]
    fn a_sweep_visits_what_stays_exactly_once_however_the_table_grows_and_shrinks() {
        for seed in 0..40 {
            let (mut random, hashes, mut table) = (fastrand::Rng::with_seed(seed), Seed::get(), Table::default());
            let hash = |n: u32| hashes.hash(&n.to_le_bytes());
            let (stays, mut size) = (random.u32(1..2000), 0);
            fill(&mut table, hashes, 0..stays);
            let (mut seen, mut next) = (vec![0; stays as usize], Some(0));
            while let Some(turn) = next {
                let swept = table.sweep(hashes, turn, |record| {
                    let number = u32::from_le_bytes(record.key().try_into().unwrap()) as usize;
                    seen.get_mut(number).into_iter().for_each(|times| *times += 1);
                    ControlFlow::Continue(())
                });
                next = swept.continue_value().unwrap();
                let wanted = random.u32(..5000);
                fill(&mut table, hashes, stays + size..stays + size.max(wanted));
                (wanted..size).for_each(|n| drop(table.remove(hash(stays + n), &(stays + n).to_le_bytes()).unwrap()));
                size = wanted;
            }
            assert!(seen.iter().all(|times| *times == 1), "seed {seed}: {seen:?}");
        }
    }

    #[test]
    fn every_record_is_as_likely_as_any_other() {
        for size in [1, 10, 3000] {
            let (seed, mut table, mut random) = (Seed::get(), Table::default(), fastrand::Rng::with_seed(3));
            fill(&mut table, seed, 0..size);
            let mut drawn = vec![0; size as usize];
            for _ in 0..size * 200 {
                let key = table.random(|| random.u64(..)).unwrap().key();
                drawn[u32::from_le_bytes(key.try_into().unwrap()) as usize] += 1;
            }
            assert!(drawn.iter().all(|count| (100..320).contains(count)), "{drawn:?}");
        }
    }
}
