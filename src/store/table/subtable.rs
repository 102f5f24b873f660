//! A small hash table of records. Buckets are one cache line each, so that finding a key costs one cache miss here and
//! one for the record.
//!
//! | bytes of a bucket | what |
//! |---|---|
//! | 7 | a tag per record: 8 bits of its hash; 0 if the place is empty |
//! | 1 | `passed`: number of records whose home is here or earlier, but that went on because this bucket was full |
//! | 7 × 8 | the records |
//!
//! A record is in its home bucket or, if that was full, in the next bucket with room (wrapping around). A search ends
//! at a bucket that no record passed. `passed` saturates at 255: a search may then go on needlessly, but never ends too
//! soon.
//!
//! A subtable knows only the 16 hash bits that a [`Record`] carries with its address, so it can be rebuilt without
//! reading the records.

use super::record::Record;
use crate::store::memory::allocated;

const PLACES: usize = 7;
/// Number of buckets ahead whose records are prefetched when all are visited.
const BUCKETS_AHEAD: usize = 4;
const ONES: u64 = 0x0001_0101_0101_0101;
const PASSED_ONE: u64 = 1 << 56;

/// Bucket of seven records; one cache line.
#[derive(Default)]
#[repr(align(64))]
struct Bucket {
    /// The tags, the first in the lowest byte; `passed` is the highest byte.
    head: u64,
    records: [Option<Record>; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Tag of a hash: its low 8 bits, but never 0.
#[inline]
fn tag(hash: u16) -> u64 {
    u64::from(hash as u8).max(1)
}

impl Bucket {
    /// Bit mask of the places that may have `tag` (top bit of each byte): includes all that do, and few that do not.
    #[inline]
    const fn matches(&self, tag: u64) -> u64 {
        let differing = self.head ^ (tag * ONES);
        differing.wrapping_sub(ONES) & !differing & (ONES << 7)
    }

    #[inline]
    const fn passed(&self) -> u64 {
        self.head >> 56
    }

    #[inline]
    fn free(&self) -> Option<usize> {
        let free = self.matches(0);
        (free != 0).then_some(place_of(free))
    }

    #[inline]
    fn put(&mut self, place: usize, record: Record) {
        self.head |= tag(record.hash16()) << (8 * place);
        self.records[place] = Some(record);
    }

    fn take(&mut self, place: usize) -> Option<Record> {
        self.head &= !(0xff << (8 * place));
        self.records[place].take()
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().flatten()
    }

    /// Prefetches keys and expiries of the bucket's records.
    #[inline]
    fn prefetch_records(&self) {
        self.records().for_each(Record::prefetch_key);
    }
}

/// First place marked in the mask.
#[inline]
const fn place_of(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Home bucket of a hash in a subtable of `buckets` buckets.
#[inline]
const fn home(hash: u16, buckets: usize) -> usize {
    (hash as usize * buckets) >> 16
}

/// Maximum number of records in so many buckets: nine tenths of the places.
const fn limit(buckets: usize) -> usize {
    (buckets * PLACES * 9).div_ceil(10)
}

/// Next larger number of buckets: a quarter more, which is also the allocator's next size class.
const fn more_than(buckets: usize) -> usize {
    if buckets < 4 { buckets + 1 } else { buckets + (1 << (buckets.ilog2() - 2)) }
}

/// Smallest number of buckets with room for so many records.
fn buckets_for(records: usize) -> usize {
    let mut buckets = records.div_ceil(PLACES);
    while limit(buckets) < records {
        buckets += 1;
    }
    buckets
}

/// Hash table of the records whose hashes share the same low bits.
#[derive(Default)]
pub(in crate::store) struct Subtable {
    buckets: Box<[Bucket]>,
    len: u32,
}

impl Subtable {
    /// An empty subtable with room for `records`.
    pub fn with_capacity(records: usize) -> Self {
        Self::with_buckets(buckets_for(records))
    }

    fn with_buckets(buckets: usize) -> Self {
        Self { buckets: std::iter::repeat_with(Bucket::default).take(buckets).collect(), len: 0 }
    }

    /// Number of records.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of memory that the subtable takes, without its records.
    pub const fn memory(&self) -> usize {
        allocated(self.buckets.len() * size_of::<Bucket>())
    }

    /// Number of places; [`Self::at`] accepts numbers below it.
    pub const fn places(&self) -> usize {
        self.buckets.len() * PLACES
    }

    /// The record at a place, if any.
    pub fn at(&self, place: usize) -> Option<&Record> {
        self.buckets.get(place / PLACES)?.records[place % PLACES].as_ref()
    }

    #[inline]
    fn find_place(&self, hash: u16, key: &[u8]) -> Option<(usize, usize)> {
        let mut index = home(hash, self.buckets.len());
        let wanted = tag(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[index];
            let mut matches = bucket.matches(wanted);
            while matches != 0 {
                let place = place_of(matches);
                if bucket.records[place].as_ref().is_some_and(|r| r.hash16() == hash && r.key() == key) {
                    return Some((index, place));
                }
                matches &= matches - 1;
            }
            if bucket.passed() == 0 {
                return None;
            }
            index = self.after(index);
        }
        None
    }

    #[inline]
    const fn after(&self, index: usize) -> usize {
        if index + 1 == self.buckets.len() { 0 } else { index + 1 }
    }

    /// Finds the record of a key.
    #[inline]
    pub fn find(&self, hash: u16, key: &[u8]) -> Option<&Record> {
        let (index, place) = self.find_place(hash, key)?;
        self.buckets[index].records[place].as_ref()
    }

    /// Finds the record of a key for modification.
    #[inline]
    pub fn find_mut(&mut self, hash: u16, key: &[u8]) -> Option<&mut Record> {
        let (index, place) = self.find_place(hash, key)?;
        self.buckets[index].records[place].as_mut()
    }

    /// Adds a record whose key is not present, under the hash bits that it carries.
    #[inline]
    pub fn insert(&mut self, record: Record) {
        if self.len() >= limit(self.buckets.len()) {
            self.rebuild(more_than(self.buckets.len()));
        }
        self.place(record);
    }

    /// Places a record; there must be room for it.
    #[inline]
    fn place(&mut self, record: Record) {
        let mut index = home(record.hash16(), self.buckets.len());
        loop {
            let bucket = &mut self.buckets[index];
            if let Some(place) = bucket.free() {
                bucket.put(place, record);
                self.len += 1;
                return;
            }
            if bucket.passed() < 255 {
                bucket.head += PASSED_ONE;
            }
            index = self.after(index);
        }
    }

    /// Removes and returns the record of a key.
    pub fn remove(&mut self, hash: u16, key: &[u8]) -> Option<Record> {
        let (found, place) = self.find_place(hash, key)?;
        let mut index = home(hash, self.buckets.len());
        while index != found {
            let bucket = &mut self.buckets[index];
            if bucket.passed() < 255 {
                bucket.head -= PASSED_ONE;
            }
            index = self.after(index);
        }
        let record = self.buckets[found].take(place);
        self.len -= 1;
        if self.len() * 2 < limit(self.buckets.len()) {
            let wanted = buckets_for(self.len() + self.len() / 4);
            if wanted < self.buckets.len() {
                self.rebuild(wanted);
            }
        }
        record
    }

    fn rebuild(&mut self, buckets: usize) {
        let old = std::mem::replace(self, Self::with_buckets(buckets));
        old.into_records().for_each(|record| self.place(record));
    }

    /// Every record.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.buckets.iter().enumerate().flat_map(|(index, bucket)| {
            if let Some(ahead) = self.buckets.get(index + BUCKETS_AHEAD) {
                ahead.prefetch_records();
            }
            bucket.records()
        })
    }

    /// Visits at least `count` records in the order of their home buckets, beginning with hash `from`. Returns how many
    /// were visited, and the hash to continue from (`None` at the end). Records with smaller hashes may be visited as
    /// well.
    pub fn scan<'a>(&'a self, from: u16, count: usize, mut visit: impl FnMut(&'a Record)) -> (usize, Option<u16>) {
        let buckets = self.buckets.len();
        let mut visited = 0;
        let first = home(from, buckets);
        self.buckets.iter().skip(first).take(BUCKETS_AHEAD).for_each(Bucket::prefetch_records);
        for start in first..buckets {
            if let Some(ahead) = self.buckets.get(start + BUCKETS_AHEAD) {
                ahead.prefetch_records();
            }
            if visited >= count {
                return (visited, Some((start << 16).div_ceil(buckets) as u16));
            }
            let mut index = start;
            for _ in 0..buckets {
                let bucket = &self.buckets[index];
                for record in bucket.records().filter(|record| home(record.hash16(), buckets) == start) {
                    visit(record);
                    visited += 1;
                }
                if bucket.passed() == 0 {
                    break;
                }
                index = self.after(index);
            }
        }
        (visited, None)
    }

    /// Consumes the subtable and returns its records.
    pub fn into_records(self) -> impl Iterator<Item = Record> {
        self.buckets.into_iter().flat_map(|bucket| bucket.records).flatten()
    }

    /// Takes out the records of one bucket, for a subtable that is being freed. `None` if there is no such bucket.
    pub fn give_up(&mut self, bucket: usize) -> Option<impl Iterator<Item = Record> + use<>> {
        let bucket = self.buckets.get_mut(bucket)?;
        Some(std::mem::take(&mut bucket.records).into_iter().flatten())
    }

    /// Prefetches the home bucket of a key with this hash.
    #[inline]
    pub fn prefetch(&self, hash: u16) {
        if let Some(bucket) = self.buckets.get(home(hash, self.buckets.len())) {
            crate::store::prefetch::line(bucket);
        }
    }

    /// Prefetches the record that probably belongs to a key with this hash. It reads one bucket, which
    /// [`Self::prefetch`] should have fetched before.
    #[inline]
    pub fn prefetch_record(&self, hash: u16) {
        let Some(bucket) = self.buckets.get(home(hash, self.buckets.len())) else { return };
        let matches = bucket.matches(tag(hash));
        if matches != 0
            && let Some(record) = &bucket.records[place_of(matches)]
        {
            record.prefetch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::value::form::Kind;

    #[test]
    fn a_subtable_is_a_set_even_where_all_hashes_collide() {
        for spread in [1u16, 3, 257, 65_535] {
            let mut random = fastrand::Rng::with_seed(u64::from(spread));
            let (mut subtable, mut model) = (Subtable::default(), std::collections::BTreeSet::new());
            for step in 0..20_000 {
                let key = random.u32(..700);
                let (name, hash) = (key.to_le_bytes(), (key as u16).wrapping_mul(40_503) % spread);
                assert_eq!(subtable.find(hash, &name).map(Record::key), model.contains(&key).then_some(&name[..]));
                if random.u32(..100) < [70, 20][step / 2000 % 2] {
                    if model.insert(key) {
                        subtable.insert(Record::new(Kind::String, &name, b"", None, 0).with_hash16(hash));
                    }
                } else {
                    assert_eq!(subtable.remove(hash, &name).is_some(), model.remove(&key));
                }
                assert_eq!(subtable.len(), model.len());
            }
            assert_eq!(subtable.iter().count(), model.len());
            assert_eq!((0..subtable.places()).filter(|place| subtable.at(*place).is_some()).count(), model.len());
            let (mut scanned, mut from) = (Vec::new(), Some(0));
            while let Some(start) = from {
                from = subtable.scan(start, 5, |record| scanned.push(record.key().to_vec())).1;
            }
            scanned.sort_unstable();
            let mut keys: Vec<_> = model.iter().map(|key| key.to_le_bytes().to_vec()).collect();
            keys.sort_unstable();
            assert_eq!(scanned, keys);
            assert_eq!(subtable.into_records().count(), model.len());
        }
    }
}
