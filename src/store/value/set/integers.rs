//! A small set of integers as one run of bytes: the layout of its record's value.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | width of an integer in bytes: 1, 2, 4 or 8 |
//! | width × number | the integers, ascending, little-endian |
//!
//! The width is that of the longest integer that the set has had. An empty run of bytes is a set without members. This
//! layout exists in memory only.

/// Maximum number of integers, whatever the settings allow: every change copies them.
pub(super) const MAX_INTEGERS: usize = 1 << 16;

/// Splits a set into the width of its integers and their bytes.
#[inline]
fn parts(packed: &[u8]) -> (usize, &[u8]) {
    packed.split_first().map_or((1, &[]), |(width, integers)| (usize::from(*width), integers))
}

/// Number of bytes that an integer takes.
fn width_of(value: i64) -> usize {
    if i8::try_from(value).is_ok() {
        1
    } else if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// The integer number `index` of those of a width.
#[inline]
fn at(width: usize, integers: &[u8], index: usize) -> i64 {
    let bytes = &integers[index * width..];
    match width {
        1 => i64::from(bytes[0].cast_signed()),
        2 => bytes.first_chunk().map_or(0, |bytes| i16::from_le_bytes(*bytes).into()),
        4 => bytes.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes).into()),
        _ => bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)),
    }
}

/// Number of integers.
#[inline]
pub(super) fn len(packed: &[u8]) -> usize {
    let (width, integers) = parts(packed);
    integers.len() / width
}

/// The integers, ascending.
pub(super) fn iter(packed: &[u8]) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator {
    let (width, integers) = parts(packed);
    (0..integers.len() / width).map(move |index| at(width, integers, index))
}

/// The integer at this place in ascending order.
pub(super) fn get(packed: &[u8], index: usize) -> i64 {
    let (width, integers) = parts(packed);
    at(width, integers, index)
}

/// Finds an integer: `Ok` with its place, or `Err` with the place where it would be.
#[inline]
pub(super) fn find(packed: &[u8], value: i64) -> Result<usize, usize> {
    let (width, integers) = parts(packed);
    let (mut low, mut high) = (0, integers.len() / width);
    while low < high {
        let middle = low.midpoint(high);
        match at(width, integers, middle).cmp(&value) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Ok(middle),
        }
    }
    Err(low)
}

/// Whether the set has this integer.
#[inline]
pub(super) fn contains(packed: &[u8], value: i64) -> bool {
    find(packed, value).is_ok()
}

/// Adds integers that the set does not have; they ascend.
pub(super) fn add(packed: &mut Vec<u8>, new: &[i64]) {
    let width = new.iter().map(|value| width_of(*value)).max().unwrap_or(1);
    if let ([value], true) = (new, width <= parts(packed).0 && !packed.is_empty()) {
        let (width, place) = (parts(packed).0, find(packed, *value).unwrap_or_else(|place| place));
        let at = 1 + place * width;
        packed.splice(at..at, value.to_le_bytes()[..width].iter().copied());
        return;
    }
    let old: Vec<i64> = iter(packed).collect();
    let width = width.max(parts(packed).0);
    packed.clear();
    packed.push(width as u8);
    let (mut old, mut new) = (old.into_iter().peekable(), new.iter().copied().peekable());
    while let Some(value) = match (old.peek(), new.peek()) {
        (Some(a), Some(b)) if a < b => old.next(),
        (Some(_), None) => old.next(),
        _ => new.next(),
    } {
        packed.extend_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// Removes integers that the set has; they ascend. Removing the last one leaves `packed` empty.
pub(super) fn remove(packed: &mut Vec<u8>, gone: &[i64]) {
    let (width, _) = parts(packed);
    if gone.len() == len(packed) {
        return packed.clear();
    }
    if let [value] = gone {
        if let Ok(place) = find(packed, *value) {
            packed.drain(1 + place * width..1 + (place + 1) * width);
        }
        return;
    }
    let left: Vec<i64> = iter(packed).filter(|value| gone.binary_search(value).is_err()).collect();
    packed.truncate(1);
    left.into_iter().for_each(|value| packed.extend_from_slice(&value.to_le_bytes()[..width]));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EDGES: [i64; 13] = [
        0,
        i8::MAX as i64,
        i8::MIN as i64,
        i8::MAX as i64 + 1,
        i8::MIN as i64 - 1,
        i16::MAX as i64,
        i16::MIN as i64 - 1,
        i32::MAX as i64,
        i32::MAX as i64 + 1,
        i32::MIN as i64,
        i32::MIN as i64 - 1,
        i64::MAX,
        i64::MIN,
    ];

    #[test]
    fn packed_integers_are_a_sorted_set_of_any_width() {
        for bits in [4, 8, 12, 30, 33, 63] {
            let mut random = fastrand::Rng::with_seed(bits);
            let (mut packed, mut model) = (Vec::new(), BTreeSet::new());
            for _ in 0..300 {
                let most = if random.u8(..4) == 0 { 40 } else { 2 };
                let count = random.usize(1..most);
                let mut values: Vec<i64> = std::iter::repeat_with(|| match random.u8(..8) {
                    0 if bits == 63 => EDGES[random.usize(..EDGES.len())],
                    _ => random.i64(..) >> (63 - bits),
                })
                .take(count)
                .collect();
                values.sort_unstable();
                values.dedup();
                let adds = random.u8(..5) < 3;
                values.retain(|value| model.contains(value) != adds);
                assert!(values.iter().all(|value| contains(&packed, *value) != adds));
                if adds {
                    add(&mut packed, &values);
                    model.extend(values);
                } else if !values.is_empty() {
                    remove(&mut packed, &values);
                    values.iter().for_each(|value| assert!(model.remove(value)));
                }
                assert!(iter(&packed).eq(model.iter().copied()));
                assert_eq!(len(&packed), model.len());
                assert!(model.iter().enumerate().all(|(n, value)| get(&packed, n) == *value));
            }
        }
    }

    #[test]
    fn integers_take_the_fewest_bytes_that_hold_all_of_them() {
        for (value, width) in [(127, 1), (-128, 1), (128, 2), (-32_769, 4), (1 << 31, 8), (i64::MIN, 8)] {
            let mut packed = Vec::new();
            add(&mut packed, &[1]);
            add(&mut packed, &[value]);
            assert_eq!(packed.len(), 1 + 2 * width, "{value}");
            assert!(contains(&packed, 1) && contains(&packed, value));
        }
    }
}
