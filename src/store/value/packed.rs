//! Small values as one run of bytes: entries of `N` elements each, found by their first element. A packed hash has
//! entries of two elements, name and value; a packed set has entries of one.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | number of entries up to 253; 254 or 255: the number comes next |
//! | 0 or 2 | number of entries, little-endian |
//! | 1 per element, or 2 if the first byte is 255 | lengths of the elements, entry by entry, little-endian |
//! | … | the elements, entry by entry |
//!
//! The lengths lie together, so that a search compares few bytes with the one it looks for. Entries stand in the order
//! in which they were added. This layout exists in memory only. An empty run of bytes has no entries.

use std::ops::Range;

/// Maximum number of entries, whatever the settings allow.
const MAX_ENTRIES: usize = u16::MAX as usize;
/// Maximum length of an element in bytes, whatever the settings allow.
const MAX_ELEMENT: usize = u16::MAX as usize;
/// Maximum length of the whole in bytes, whatever the settings allow: every change copies it.
const MAX_BYTES: usize = 1 << 20;

/// Maximum number of entries that the first byte tells.
const FEW: u8 = 253;
/// First byte if the number of entries comes next.
const MANY: u8 = 254;
/// First byte if the number of entries comes next and each length takes two bytes.
const WIDE: u8 = 255;

/// How large a packed value may grow, by the settings.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Maximum number of entries.
    pub entries: u32,
    /// Maximum length of an element in bytes.
    pub bytes: u32,
}

impl Limits {
    /// Whether another entry may be added.
    pub fn admit<const N: usize>(self, packed: &[u8], entry: [&[u8]; N]) -> bool {
        len(packed) < self.entries as usize && self.admit_elements(entry)
    }

    /// Whether these elements are short enough.
    pub fn admit_elements<const N: usize>(self, entry: [&[u8]; N]) -> bool {
        entry.iter().all(|element| element.len() <= self.bytes as usize)
    }
}

/// What stands before the elements.
#[derive(Clone, Copy)]
struct Head {
    count: usize,
    /// Bytes before the lengths.
    start: usize,
    /// Bytes of each length.
    width: usize,
}

impl Head {
    #[inline]
    fn of(packed: &[u8]) -> Self {
        match *packed {
            [count @ ..=FEW, ..] => Self { count: count.into(), start: 1, width: 1 },
            [first, low, high, ..] => {
                let count = u16::from_le_bytes([low, high]).into();
                Self { count, start: 3, width: if first == WIDE { 2 } else { 1 } }
            }
            _ => Self { count: 0, start: 0, width: 1 },
        }
    }

    /// Position of the first element.
    #[inline]
    const fn content<const N: usize>(self) -> usize {
        self.start + self.count * N * self.width
    }
}

/// Number of entries.
#[inline]
pub(super) fn len(packed: &[u8]) -> usize {
    Head::of(packed).count
}

/// Total bytes of all elements.
pub(super) fn content_len<const N: usize>(packed: &[u8]) -> usize {
    packed.len() - Head::of(packed).content::<N>()
}

/// Entries in stored order.
pub(super) fn iter<const N: usize>(packed: &[u8]) -> impl Iterator<Item = [&[u8]; N]> + Clone {
    let head = Head::of(packed);
    let (before, mut rest) = packed.split_at(head.content::<N>());
    before[head.start..].chunks_exact(N * head.width).map(move |chunk| {
        lengths_in::<N>(chunk, head.width).map(|len| {
            let (element, after) = rest.split_at(len);
            rest = after;
            element
        })
    })
}

/// Lengths of the elements of one entry.
#[inline]
fn lengths_in<const N: usize>(chunk: &[u8], width: usize) -> [usize; N] {
    std::array::from_fn(|n| match width {
        1 => usize::from(chunk[n]),
        _ => usize::from(u16::from_le_bytes([chunk[2 * n], chunk[2 * n + 1]])),
    })
}

/// Position of an entry.
#[derive(Clone, Copy)]
pub(super) struct Place<const N: usize> {
    index: usize,
    start: usize,
    lengths: [usize; N],
}

impl<const N: usize> Place<N> {
    /// Byte range of the entry's element number `n`.
    #[inline]
    pub fn element(&self, n: usize) -> Range<usize> {
        let start = self.start + self.lengths[..n].iter().sum::<usize>();
        start..start + self.lengths[n]
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + self.lengths.iter().sum::<usize>()
    }
}

/// Finds the entry whose first element is `wanted`.
#[inline]
pub(super) fn find<const N: usize>(packed: &[u8], wanted: &[u8]) -> Option<Place<N>> {
    let head = Head::of(packed);
    let start = head.content::<N>();
    let lengths = &packed[head.start..start];
    // The two widths are told apart once, outside the loop.
    if head.width == 1 {
        let (entries, _) = lengths.as_chunks::<N>();
        search(entries.iter().map(|lengths| lengths.map(usize::from)), start, packed, wanted)
    } else {
        let entries = lengths.chunks_exact(2 * N);
        search(entries.map(|chunk| lengths_in::<N>(chunk, 2)), start, packed, wanted)
    }
}

#[inline]
fn search<const N: usize>(
    entries: impl Iterator<Item = [usize; N]>,
    mut start: usize,
    packed: &[u8],
    wanted: &[u8],
) -> Option<Place<N>> {
    for (index, lengths) in entries.enumerate() {
        if lengths[0] == wanted.len() && packed[start..start + lengths[0]] == *wanted {
            return Some(Place { index, start, lengths });
        }
        start += lengths.iter().sum::<usize>();
    }
    None
}

/// Adds an entry whose first element no other has. Returns false, and changes nothing, if this layout cannot hold it.
pub(super) fn push<const N: usize>(packed: &mut Vec<u8>, entry: [&[u8]; N]) -> bool {
    let longest = entry.iter().map(|element| element.len()).max().unwrap_or(0);
    if !has_room(packed, 2 * N + entry.iter().map(|element| element.len()).sum::<usize>(), longest) {
        return false;
    }
    make_room::<N>(packed, longest, 1);
    let head = Head::of(packed);
    set_count(packed, head.count + 1);
    let end = head.content::<N>();
    if head.width == 1 {
        packed.splice(end..end, entry.map(|element| element.len() as u8));
    } else {
        let lengths: [[u8; 2]; N] = entry.map(|element| (element.len() as u16).to_le_bytes());
        packed.splice(end..end, lengths.as_flattened().iter().copied());
    }
    entry.iter().for_each(|element| packed.extend_from_slice(element));
    true
}

/// Fills `packed` with these entries, whose first elements differ. Returns false, and leaves it empty, if this layout
/// cannot hold them.
pub(super) fn fill<'e, const N: usize>(
    packed: &mut Vec<u8>,
    entries: impl Iterator<Item = [&'e [u8]; N]> + Clone,
) -> bool {
    packed.clear();
    let (mut count, mut longest, mut content) = (0, 0, 0);
    for element in entries.clone().inspect(|_| count += 1).flatten() {
        (longest, content) = (element.len().max(longest), content + element.len());
    }
    if count > MAX_ENTRIES || longest > MAX_ELEMENT || content + 2 * N * count > MAX_BYTES {
        return false;
    }
    let is_wide = longest > usize::from(u8::MAX);
    match count {
        0 => return true,
        1.. if is_wide || count > usize::from(FEW) => {
            packed.push(if is_wide { WIDE } else { MANY });
            packed.extend_from_slice(&(count as u16).to_le_bytes());
        }
        _ => packed.push(count as u8),
    }
    let width = if is_wide { 2 } else { 1 };
    for element in entries.clone().flatten() {
        packed.extend_from_slice(&(element.len() as u16).to_le_bytes()[..width]);
    }
    entries.flatten().for_each(|element| packed.extend_from_slice(element));
    true
}

/// Replaces the last element of the entry at `place`. Returns false, and changes nothing, if this layout cannot hold
/// the new one.
pub(super) fn replace_last<const N: usize>(packed: &mut Vec<u8>, place: &Place<N>, element: &[u8]) -> bool {
    if !has_room(packed, element.len(), element.len()) {
        return false;
    }
    let before = Head::of(packed).content::<N>();
    make_room::<N>(packed, element.len(), 0);
    let head = Head::of(packed);
    let moved = head.content::<N>() - before;
    let old = place.element(N - 1);
    packed.splice(old.start + moved..old.end + moved, element.iter().copied());
    let at = head.start + (place.index * N + N - 1) * head.width;
    packed[at..at + head.width].copy_from_slice(&(element.len() as u16).to_le_bytes()[..head.width]);
    true
}

/// Removes the entry at `place`. Removing the last entry leaves `packed` empty.
pub(super) fn remove<const N: usize>(packed: &mut Vec<u8>, place: &Place<N>) {
    let head = Head::of(packed);
    if head.count == 1 {
        return packed.clear();
    }
    packed.drain(place.range());
    let lengths = head.start + place.index * N * head.width;
    packed.drain(lengths..lengths + N * head.width);
    set_count(packed, head.count - 1);
}

/// Whether the layout can hold `more` bytes with an element of `longest` bytes.
fn has_room(packed: &[u8], more: usize, longest: usize) -> bool {
    longest <= MAX_ELEMENT && packed.len() + more <= MAX_BYTES && len(packed) < MAX_ENTRIES
}

/// Writes the number of entries; the first byte stays what it is, unless it is the number.
fn set_count(packed: &mut [u8], count: usize) {
    match packed {
        [first @ ..=FEW, ..] => *first = count as u8,
        [_, low, high, ..] => [*low, *high] = (count as u16).to_le_bytes(),
        _ => {}
    }
}

/// Makes the first bytes fit for `more` entries, and the lengths for an element of `longest` bytes.
fn make_room<const N: usize>(packed: &mut Vec<u8>, longest: usize, more: usize) {
    let head = Head::of(packed);
    if packed.is_empty() {
        packed.push(0);
    }
    if head.width == 1 && longest > usize::from(u8::MAX) {
        let old = &packed[head.start..head.content::<N>()];
        let lengths = old.iter().flat_map(|len| u16::from(*len).to_le_bytes());
        let [low, high] = (head.count as u16).to_le_bytes();
        let new: Vec<u8> = [WIDE, low, high].into_iter().chain(lengths).collect();
        packed.splice(..head.content::<N>().max(1), new);
    } else if head.start <= 1 && head.count + more > usize::from(FEW) {
        let [low, high] = (head.count as u16).to_le_bytes();
        packed.splice(..1, [MANY, low, high]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A packed map does what a map does, however many and however long its entries are.
    #[test]
    fn packed_entries_are_a_small_map() {
        for (names, longest, steps) in [(20, 70, 400), (160, 70, 400), (600, 255, 3000), (600, 700, 3000), (3, 5, 50)] {
            let mut random = fastrand::Rng::with_seed(names);
            let (mut packed, mut model) = (Vec::new(), BTreeMap::<Vec<u8>, Vec<u8>>::new());
            for _ in 0..steps {
                let name = random.u64(..names).to_string().into_bytes();
                let place = find::<2>(&packed, &name);
                assert_eq!(place.is_some(), model.contains_key(&name));
                match place {
                    Some(place) if random.u8(..3) == 0 => {
                        remove(&mut packed, &place);
                        model.remove(&name);
                    }
                    place => {
                        let value = vec![random.u8(..); random.usize(..=longest)];
                        match place {
                            Some(place) => assert!(replace_last(&mut packed, &place, &value)),
                            None => assert!(push(&mut packed, [&name, &value])),
                        }
                        model.insert(name.clone(), value);
                    }
                }
                let found = find::<2>(&packed, &name).map(|place| &packed[place.element(1)]);
                assert_eq!(found, model.get(&name).map(|value| &value[..]));
            }
            assert_eq!(len(&packed), model.len());
            assert_eq!(content_len::<2>(&packed), model.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>());
            let mut entries: Vec<_> = iter::<2>(&packed).collect();
            entries.sort_unstable();
            assert!(entries.into_iter().eq(model.iter().map(|(n, v)| [&n[..], &v[..]])));
        }
    }

    #[test]
    fn the_layout_has_bounds_of_its_own() {
        let mut packed = Vec::new();
        for n in 0..u16::MAX {
            assert!(push(&mut packed, [&n.to_le_bytes()]), "{n}");
        }
        assert!(!push(&mut packed, [b"more"]));
        assert_eq!(len(&packed), MAX_ENTRIES);
        assert!((0..u16::MAX).eq(iter(&packed).map(|[n]| u16::from_le_bytes([n[0], n[1]]))));
        let mut packed = Vec::new();
        assert!(!push(&mut packed, [&vec![0; MAX_ELEMENT + 1][..]]) && packed.is_empty());
        assert!((0..15u32).all(|n| push(&mut packed, [&n.to_le_bytes(), &[7; MAX_ELEMENT]])));
        assert!(!push(&mut packed, [&15u32.to_le_bytes(), &[7; MAX_ELEMENT]]));
        assert!(packed.len() <= MAX_BYTES && packed.len() + MAX_ELEMENT > MAX_BYTES);
        let first = find::<2>(&packed, &0u32.to_le_bytes()).unwrap();
        assert!(replace_last(&mut packed, &first, b"short"));
        assert_eq!(iter::<2>(&packed).next(), Some([&0u32.to_le_bytes()[..], b"short"]));
    }

    #[test]
    fn the_usual_few_entries_cost_a_byte_each_and_one_in_all() {
        let mut packed = Vec::new();
        (0..253u8).for_each(|n| assert!(push(&mut packed, [&[n]])));
        assert_eq!(packed.len(), 1 + 2 * 253);
        assert!(push(&mut packed, [&[253]]));
        assert_eq!(packed.len(), 3 + 2 * 254);
    }

    #[test]
    fn entries_added_at_once_are_those_added_one_by_one() {
        for (count, longest) in [(0, 9), (1, 0), (253, 9), (254, 9), (300, 255), (5, 256), (300, 256)] {
            let values: Vec<_> =
                (0..count).map(|n: usize| vec![1; n % (longest + 1)]).chain([vec![2; longest]]).collect();
            let names: Vec<_> = (0..values.len() as u32).map(u32::to_le_bytes).collect();
            let entries = names.iter().zip(&values).map(|(name, value)| [&name[..], value]);
            let (mut at_once, mut one_by_one) = (vec![7], Vec::new());
            assert!(fill(&mut at_once, entries.clone()));
            entries.for_each(|entry| assert!(push(&mut one_by_one, entry)));
            assert_eq!(at_once, one_by_one);
        }
        let mut packed = vec![7];
        assert!(fill::<1>(&mut packed, std::iter::empty()) && packed.is_empty());
        assert!(!fill(&mut packed, [[&vec![0; MAX_ELEMENT + 1][..]]].into_iter()));
        assert!(!fill(&mut packed, (0..17).map(|_| [&[0; MAX_ELEMENT][..]])) && packed.is_empty());
    }

    #[test]
    fn limits_are_those_of_the_settings() {
        let (limits, mut packed) = (Limits { entries: 2, bytes: 3 }, Vec::new());
        assert!(limits.admit(&packed, [b"abc", b""]) && !limits.admit(&packed, [b"", b"abcd"]));
        (0..2u8).for_each(|n| assert!(push(&mut packed, [&[n], b""])));
        assert!(!limits.admit(&packed, [b"abc", b""]) && limits.admit_elements([b"abc"]));
    }
}
