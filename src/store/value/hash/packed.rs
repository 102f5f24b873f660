//! A small hash as one run of bytes: the layout of its record's value.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | number of fields, 1 to [`MAX_FIELDS`] |
//! | 2 × number | per field: length of the name, length of the value, each at most [`MAX_ELEMENT`] |
//! | … | per field: the name, the value |
//!
//! Fields stand in the order in which they were first set.

use std::ops::Range;

/// Maximum number of fields in a packed hash.
pub(super) const MAX_FIELDS: usize = 128;
/// Maximum length of a name and of a value in a packed hash, in bytes.
pub(super) const MAX_ELEMENT: usize = 64;

/// Whether a field is small enough for a packed hash.
pub(super) const fn fits(name: &[u8], value: &[u8]) -> bool {
    name.len() <= MAX_ELEMENT && value.len() <= MAX_ELEMENT
}

/// Splits a packed hash into the lengths of names and values, and the content bytes behind them.
fn parts(packed: &[u8]) -> (&[[u8; 2]], &[u8]) {
    let Some((&count, rest)) = packed.split_first() else { return (&[], &[]) };
    let (spans, bytes) = rest.split_at(2 * usize::from(count));
    (spans.as_chunks().0, bytes)
}

/// Total bytes of all names and values.
pub(super) fn content_len(packed: &[u8]) -> usize {
    parts(packed).1.len()
}

/// Number of fields.
pub(super) fn len(packed: &[u8]) -> usize {
    packed.first().map_or(0, |count| usize::from(*count))
}

/// Names and values, in stored order.
pub(super) fn iter(packed: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (spans, mut rest) = parts(packed);
    spans.iter().map(move |[name_len, value_len]| {
        let (name, after) = rest.split_at(usize::from(*name_len));
        let (value, after) = after.split_at(usize::from(*value_len));
        rest = after;
        (name, value)
    })
}

/// Position of a field within a packed hash.
pub(super) struct Place {
    index: usize,
    name: Range<usize>,
    /// Byte range of the value.
    pub value: Range<usize>,
}

/// Finds a field by name.
pub(super) fn find(packed: &[u8], field: &[u8]) -> Option<Place> {
    let (spans, bytes) = parts(packed);
    let start = packed.len() - bytes.len();
    let mut at = 0;
    for (index, [name_len, value_len]) in spans.iter().enumerate() {
        let value = at + usize::from(*name_len);
        let end = value + usize::from(*value_len);
        if usize::from(*name_len) == field.len() && &bytes[at..value] == field {
            return Some(Place { index, name: start + at..start + value, value: start + value..start + end });
        }
        at = end;
    }
    None
}

/// Sets a field. An empty `packed` is a hash without fields. Returns false, and changes nothing, if the field does not
/// fit or would be one too many.
pub(super) fn set(packed: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    if !fits(name, value) {
        return false;
    }
    if let Some(place) = find(packed, name) {
        packed[2 + 2 * place.index] = value.len() as u8;
        packed.splice(place.value, value.iter().copied());
        return true;
    }
    let count = len(packed);
    if count == MAX_FIELDS {
        return false;
    }
    if packed.is_empty() {
        packed.push(0);
    }
    packed[0] += 1;
    let spans_end = 1 + 2 * count;
    packed.splice(spans_end..spans_end, [name.len() as u8, value.len() as u8]);
    packed.extend_from_slice(name);
    packed.extend_from_slice(value);
    true
}

/// Removes the field at `place`. Removing the last field leaves `packed` empty.
pub(super) fn remove(packed: &mut Vec<u8>, place: Place) {
    if len(packed) == 1 {
        return packed.clear();
    }
    packed.drain(place.name.start..place.value.end);
    let span = 1 + 2 * place.index;
    packed.drain(span..span + 2);
    packed[0] -= 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_hash_is_a_small_map() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut packed = Vec::new();
            let mut model = std::collections::BTreeMap::<Vec<u8>, Vec<u8>>::new();
            for _ in 0..300 {
                let name = random.u8(..160).to_string().into_bytes();
                if random.u8(..4) == 0 {
                    let place = find(&packed, &name);
                    assert_eq!(place.is_some(), model.remove(&name).is_some());
                    if let Some(place) = place {
                        remove(&mut packed, place);
                    }
                } else {
                    let value = vec![random.u8(..); random.usize(..=MAX_ELEMENT + 2)];
                    let ok = value.len() <= MAX_ELEMENT && (model.contains_key(&name) || model.len() < MAX_FIELDS);
                    assert_eq!(set(&mut packed, &name, &value), ok);
                    if ok {
                        model.insert(name.clone(), value);
                    }
                }
                assert_eq!(find(&packed, &name).map(|p| &packed[p.value]), model.get(&name).map(|v| &v[..]));
            }
            assert_eq!(len(&packed), model.len());
            let mut fields: Vec<_> = iter(&packed).collect();
            fields.sort_unstable();
            assert!(fields.into_iter().eq(model.iter().map(|(n, v)| (&n[..], &v[..]))));
        }
    }
}
