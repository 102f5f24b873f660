//! Short elements: tags beside a pointer, and one allocation with the rest.
//!
//! | bytes of the allocation | what |
//! |---|---|
//! | 1 or 2 per element | the length of its name; the length of its value, once a value is not empty |
//! | … | free |
//! | … | the contents: name and value of each element, those of the first element at the end |
//!
//! A tag is 8 bits of the name's hash. A search for a name that is not there mostly ends at the tags, after one cache
//! miss. One that finds its name waits for a second one: it adds up the lengths before the name, and where the name
//! probably is has been prefetched meanwhile. Adding an element moves nothing, as long as there is room between lengths
//! and contents.

use smallvec::SmallVec;

use crate::store::memory::allocated;
use crate::store::prefetch;

/// Maximum number of elements.
const MAX_ELEMENTS: usize = 28;
/// Minimum size of the allocation in bytes: room for the lengths of all elements, so that none is looked for elsewhere.
const MIN_BYTES: usize = 64;
/// Size in bytes from which on the allocation gets an eighth of spare room, so that it is moved less often.
const SLACK_ABOVE: usize = 512;
/// Maximum length of an element, name and value, in bytes. Longer ones take little more in an allocation of their own,
/// and would be moved for each other's sake.
const MAX_LENGTH: usize = 127;

/// Bytes of an element's lengths while all values are empty.
const NARROW: usize = 1;
/// Bytes of an element's lengths otherwise.
const WIDE: usize = 2;

/// Short elements, found by tag and name.
pub(super) struct Inline {
    bytes: Box<[u8]>,
    /// Position of the contents.
    contents: u16,
    /// Number of elements.
    count: u8,
    /// Bytes of each element's lengths.
    width: u8,
    tags: [u8; MAX_ELEMENTS],
}

impl Default for Inline {
    fn default() -> Self {
        Self::with_room(0, NARROW)
    }
}

/// A short element.
#[derive(Clone, Copy)]
pub(super) struct Short<'a> {
    pub tag: u8,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl Short<'_> {
    const fn len(&self) -> usize {
        self.name.len() + self.value.len()
    }

    /// Bytes that the element's lengths need.
    const fn width(&self) -> usize {
        if self.value.is_empty() { NARROW } else { WIDE }
    }
}

/// Place of an element.
#[derive(Clone, Copy)]
pub(super) struct Place {
    index: usize,
    start: usize,
    name_len: usize,
    value_len: usize,
}

/// Lengths of name and value.
#[inline]
fn split(lengths: &[u8]) -> (usize, usize) {
    (lengths[0].into(), lengths.get(1).map_or(0, |len| usize::from(*len)))
}

/// Sum of the first `count` bytes, without a branch that depends on their number.
#[inline]
fn sum<const N: usize>(bytes: &[u8; N], count: usize) -> usize {
    let count = count as u8;
    let bytes = bytes.iter().zip(0u8..).map(|(byte, at)| if at < count { u16::from(*byte) } else { 0 });
    bytes.sum::<u16>().into()
}

/// Which of the bytes are equal to `wanted`, as bits.
#[inline]
fn equal(bytes: &[u8; 16], wanted: u8) -> u32 {
    bytes.iter().enumerate().fold(0u16, |bits, (at, byte)| bits | u16::from(*byte == wanted) << at).into()
}

impl Inline {
    /// Makes this empty, with room for `len` bytes of lengths and contents, and lengths of `width` bytes.
    fn with_room(len: usize, width: usize) -> Self {
        let size = match len {
            0 => 0,
            1..SLACK_ABOVE => allocated(len.max(MIN_BYTES)),
            SLACK_ABOVE.. => allocated(len + len / 8),
        };
        let bytes = vec![0; size].into_boxed_slice();
        Self { bytes, contents: size as u16, count: 0, width: width as u8, tags: [0; MAX_ELEMENTS] }
    }

    /// Number of elements.
    #[inline]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    #[inline]
    const fn width(&self) -> usize {
        self.width as usize
    }

    #[inline]
    const fn contents(&self) -> usize {
        self.contents as usize
    }

    /// Total bytes of names and values.
    #[inline]
    pub const fn content_len(&self) -> usize {
        self.bytes.len() - self.contents()
    }

    /// Bytes of lengths and contents, if there are `count` elements whose lengths take `width` bytes.
    const fn used(&self, count: usize, width: usize) -> usize {
        count * width + self.content_len()
    }

    /// Bytes of memory that the allocation takes.
    #[inline]
    pub const fn memory(&self) -> usize {
        allocated(self.bytes.len())
    }

    /// Lengths of the first `count` elements.
    #[inline]
    fn lengths(&self, count: usize) -> &[u8] {
        &self.bytes[..count * self.width()]
    }

    /// Numbers of the elements that have this tag, as bits.
    #[inline]
    fn matches(&self, tag: u8) -> u32 {
        // Two steps of 16 tags, some of which overlap.
        let first = self.tags.first_chunk().map_or(0, |tags| equal(tags, tag));
        let last = self.tags.last_chunk().map_or(0, |tags| equal(tags, tag));
        (first | last << (MAX_ELEMENTS - 16)) & ((1 << self.count) - 1)
    }

    /// Finds an element.
    #[inline]
    pub fn find(&self, tag: u8, name: &[u8]) -> Option<Place> {
        let mut matches = self.matches(tag);
        while matches != 0 {
            let index = matches.trailing_zeros() as usize;
            // Lengths tell where the name is, but are on their way themselves; this is right if all are the same.
            let guess = self.bytes.len() - self.content_len() * (index + 1) / self.len();
            prefetch::bytes(self.bytes.as_ptr().wrapping_add(guess), 1);
            let (name_len, value_len) = split(&self.lengths(index + 1)[index * self.width()..]);
            let start = self.bytes.len() - self.content_before(index + 1);
            if name_len == name.len() && self.bytes[start..start + name_len] == *name {
                return Some(Place { index, start, name_len, value_len });
            }
            matches &= matches - 1;
        }
        None
    }

    /// Total bytes of the first `count` elements.
    #[inline]
    fn content_before(&self, count: usize) -> usize {
        if self.width() == NARROW {
            self.bytes.first_chunk::<{ MIN_BYTES / 2 }>().map_or(0, |lengths| sum(lengths, count))
        } else {
            self.bytes.first_chunk::<MIN_BYTES>().map_or(0, |lengths| sum(lengths, 2 * count))
        }
    }

    /// Name and value of the element at `place`.
    #[inline]
    pub fn at(&self, place: Place) -> (&[u8], &[u8]) {
        self.bytes[place.start..][..place.name_len + place.value_len].split_at(place.name_len)
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Short<'_>> {
        let mut rest = &self.bytes[..];
        let lengths = self.lengths(self.len()).chunks_exact(self.width());
        self.tags.iter().zip(lengths).map(move |(tag, lengths)| {
            let (name_len, value_len) = split(lengths);
            let (before, content) = rest.split_at(rest.len() - name_len - value_len);
            rest = before;
            let (name, value) = content.split_at(name_len);
            Short { tag: *tag, name, value }
        })
    }

    /// Adds an element whose name no other has. Returns false, and changes nothing, if it is too long, or one too many.
    #[inline]
    pub fn push(&mut self, element: Short<'_>) -> bool {
        if element.len() > MAX_LENGTH || self.len() == MAX_ELEMENTS {
            return false;
        }
        let width = self.width().max(element.width());
        self.make_room(self.used(self.len() + 1, width) + element.len(), width);
        self.add(element);
        true
    }

    /// Adds an element that there is room for.
    #[inline]
    fn add(&mut self, element: Short<'_>) {
        let (index, width) = (self.len(), self.width());
        let start = self.contents() - element.len();
        let (name, value) = self.bytes[start..self.contents.into()].split_at_mut(element.name.len());
        name.copy_from_slice(element.name);
        value.copy_from_slice(element.value);
        let lengths = [element.name.len() as u8, element.value.len() as u8];
        self.bytes[index * width..][..width].copy_from_slice(&lengths[..width]);
        self.tags[index] = element.tag;
        (self.count, self.contents) = (self.count + 1, start as u16);
    }

    /// Makes room for `used` bytes of lengths and contents, and lengths of `width` bytes.
    #[inline]
    fn make_room(&mut self, used: usize, width: usize) {
        if used > self.bytes.len() || width > self.width() {
            self.rebuild(used, width);
        }
    }

    /// Makes room for the elements of another one, as far as they will be added.
    pub fn make_room_for(&mut self, other: &Self) {
        if self.len() + other.len() <= MAX_ELEMENTS {
            let width = self.width().max(other.width());
            self.make_room(self.used(self.len(), width) + other.used(other.len(), width), width);
        }
    }

    /// Moves the elements to an allocation with room for `used` bytes of lengths and contents.
    #[cold]
    fn rebuild(&mut self, used: usize, width: usize) {
        let mut new = Self::with_room(used, width);
        let contents = new.bytes.len() - self.content_len();
        new.bytes[contents..].copy_from_slice(&self.bytes[self.contents.into()..]);
        let old = self.lengths(self.len()).chunks_exact(self.width());
        for (new, old) in new.bytes.chunks_exact_mut(width).zip(old) {
            new[..old.len()].copy_from_slice(old);
        }
        *self = Self { bytes: new.bytes, contents: contents as u16, width: width as u8, ..*self };
    }

    /// Replaces the element at `place` by one of the same name. Returns false, and changes nothing, if it is too long.
    pub fn replace(&mut self, place: Place, element: Short<'_>) -> bool {
        if element.value.len() == place.value_len {
            self.bytes[place.start + place.name_len..][..place.value_len].copy_from_slice(element.value);
            return true;
        }
        if element.len() > MAX_LENGTH {
            return false;
        }
        self.cut(place);
        let width = self.width().max(element.width());
        self.make_room(self.used(self.len() + 1, width) + element.len(), width);
        self.add(element);
        self.trim();
        true
    }

    /// Removes the element at `place`.
    pub fn remove(&mut self, place: Place) {
        self.cut(place);
        self.trim();
    }

    /// Removes the element at `place` and keeps the room.
    fn cut(&mut self, place: Place) {
        let (count, width, len) = (self.len(), self.width(), place.name_len + place.value_len);
        self.bytes.copy_within(self.contents()..place.start, self.contents() + len);
        self.bytes.copy_within((place.index + 1) * width..count * width, place.index * width);
        self.tags.copy_within(place.index + 1..count, place.index);
        (self.count, self.contents) = (self.count - 1, self.contents + len as u16);
    }

    /// Gives room back, if less than half is used.
    fn trim(&mut self) {
        let used = self.used(self.len(), self.width());
        if used * 2 < self.bytes.len() && (used == 0 || self.bytes.len() > MIN_BYTES) {
            self.rebuild(used, self.width());
        }
    }

    /// Moves the elements for whose names `goes` holds to another allocation.
    pub fn split(&mut self, goes: impl Fn(&[u8]) -> bool) -> Self {
        let width = self.width();
        let sides: SmallVec<[usize; 32]> = self.iter().map(|element| usize::from(goes(element.name))).collect();
        let mut used = [0; 2];
        for (element, side) in self.iter().zip(&sides) {
            used[*side] += width + element.len();
        }
        let mut halves = used.map(|used| Self::with_room(used, width));
        self.iter().zip(&sides).for_each(|(element, side)| halves[*side].add(element));
        let [stay, go] = halves;
        *self = stay;
        go
    }

    /// Prefetches lengths and contents, for who is about to walk them.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::bytes(self.bytes.as_ptr(), self.bytes.len());
    }
}
