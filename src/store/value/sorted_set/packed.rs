//! A small sorted set as one run of bytes: the layout of its record's value.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | number of members, at least 1, little-endian |
//! | … | per member, in ascending order: head, score, member |
//!
//! | bytes of a head | what |
//! |---|---|
//! | 1 | length of the member, 5 bits (31: the next byte has it); form of the score, 3 bits |
//! | 1 or 0 | length of the member |
//!
//! | form of a score | what |
//! |---|---|
//! | 0 to 6 | an integer of so many bytes, little-endian, with sign |
//! | 7 | a floating-point number of 8 bytes, little-endian |

use std::cmp::Ordering;

use crate::config::Packing;

/// Maximum number of members, whatever the setting: each change rewrites all of them.
const MAX_MEMBERS: usize = 4096;
/// Maximum length of a member in bytes, whatever the setting.
const MAX_MEMBER: usize = 255;

const COUNT: usize = 2;
const LENGTH_BITS: u32 = 5;
const LENGTH_FOLLOWS: u8 = (1 << LENGTH_BITS) - 1;
const FLOAT: u8 = 7;
const FLOAT_BYTES: usize = 8;

/// Whether a member may be in a packed sorted set of `count` members in all.
pub(super) fn fits(packing: &Packing, count: usize, member: &[u8]) -> bool {
    count <= MAX_MEMBERS.min(packing.sorted_set_entries as usize)
        && member.len() <= MAX_MEMBER.min(packing.sorted_set_bytes as usize)
}

/// A member of a packed sorted set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Member<'a> {
    pub bytes: &'a [u8],
    pub score: f64,
}

/// Place of a member.
pub(super) struct Place {
    start: usize,
    end: usize,
    pub rank: usize,
    pub score: f64,
}

/// Number of members.
pub(super) fn len(packed: &[u8]) -> usize {
    packed.first_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
}

/// Total bytes of all members.
pub(super) fn content_len(packed: &[u8]) -> usize {
    iter(packed).map(|member| member.bytes.len()).sum()
}

/// The members, in ascending order.
pub(super) fn iter(packed: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut rest = packed.get(COUNT..).unwrap_or_default();
    std::iter::from_fn(move || next(&mut rest))
}

/// Removes and returns the first member of `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Member<'a>> {
    let (&head, mut after) = rest.split_first()?;
    let mut len = head & LENGTH_FOLLOWS;
    if len == LENGTH_FOLLOWS {
        (len, after) = after.split_first().map(|(len, after)| (*len, after))?;
    }
    let score = match head >> LENGTH_BITS {
        FLOAT => {
            let (score, behind) = after.split_first_chunk::<FLOAT_BYTES>()?;
            after = behind;
            f64::from_le_bytes(*score)
        }
        bytes => {
            let (score, behind) = after.split_at_checked(bytes.into())?;
            after = behind;
            integer(score) as f64
        }
    };
    let (bytes, behind) = after.split_at_checked(len.into())?;
    *rest = behind;
    Some(Member { bytes, score })
}

/// The integer in up to eight little-endian bytes with sign.
fn integer(bytes: &[u8]) -> i64 {
    let Some(last) = bytes.last() else { return 0 };
    let sign = if last & 0x80 == 0 { 0 } else { -1i64 << (8 * (bytes.len() - 1)) << 7 };
    sign | bytes.iter().rev().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// Appends head and score of a member.
fn push_head(out: &mut Vec<u8>, member: &[u8], score: f64) {
    let whole = score as i64;
    // Without its sign, and one bit for the sign.
    let bits = if whole == 0 { 0 } else { u64::BITS - (whole ^ (whole >> 63)).leading_zeros() + 1 };
    let bytes = bits.div_ceil(8) as usize;
    let is_integer = bytes < usize::from(FLOAT) && whole as f64 == score;
    let form = if is_integer { bytes as u8 } else { FLOAT };
    match u8::try_from(member.len()) {
        Ok(len) if len < LENGTH_FOLLOWS => out.push(form << LENGTH_BITS | len),
        len => out.extend([form << LENGTH_BITS | LENGTH_FOLLOWS, len.unwrap_or(u8::MAX)]),
    }
    if is_integer {
        out.extend_from_slice(&whole.to_le_bytes()[..bytes]);
    } else {
        out.extend_from_slice(&score.to_le_bytes());
    }
}

/// Finds a member.
pub(super) fn find(packed: &[u8], member: &[u8]) -> Option<Place> {
    let mut rest = packed.get(COUNT..)?;
    for rank in 0.. {
        let start = packed.len() - rest.len();
        let found = next(&mut rest)?;
        if found.bytes == member {
            return Some(Place { start, end: packed.len() - rest.len(), rank, score: found.score });
        }
    }
    None
}

/// Sets a member's score. An empty `packed` is a sorted set without members. Returns false, and changes nothing, if the
/// member does not fit.
pub(super) fn set(packed: &mut Vec<u8>, packing: &Packing, member: &[u8], score: f64) -> bool {
    let found = find(packed, member);
    let count = len(packed) + usize::from(found.is_none());
    if !fits(packing, count, member) {
        return false;
    }
    if let Some(place) = found {
        if place.score == score {
            return true;
        }
        packed.drain(place.start..place.end);
    } else if packed.is_empty() {
        packed.extend([0; COUNT]);
    }
    let new = Member { bytes: member, score };
    let mut rest = &packed[COUNT..];
    let mut at = COUNT;
    while next(&mut rest).is_some_and(|other| new.is_behind(&other)) {
        at = packed.len() - rest.len();
    }
    // At the end, then turned to its place.
    let end = packed.len();
    push_head(packed, member, score);
    packed.extend_from_slice(member);
    packed[at..].rotate_left(end - at);
    set_len(packed, count);
    true
}

/// Removes the member at `place`. Removing the last member leaves `packed` empty.
pub(super) fn remove(packed: &mut Vec<u8>, place: Place) {
    let count = len(packed) - 1;
    if count == 0 {
        return packed.clear();
    }
    packed.drain(place.start..place.end);
    set_len(packed, count);
}

/// Removes `count` members, beginning with number `first`; they must be there, but must not be all.
pub(super) fn remove_ranks(packed: &mut Vec<u8>, first: usize, count: usize) {
    let mut rest = &packed[COUNT..];
    let mut skip = |count: usize| {
        for _ in 0..count {
            next(&mut rest);
        }
        packed.len() - rest.len()
    };
    let (start, end) = (skip(first), skip(count));
    let left = len(packed) - count;
    packed.drain(start..end);
    set_len(packed, left);
}

fn set_len(packed: &mut [u8], count: usize) {
    packed[..COUNT].copy_from_slice(&(count as u16).to_le_bytes());
}

impl Member<'_> {
    /// Whether this member comes behind another one.
    fn is_behind(&self, other: &Self) -> bool {
        super::order((self.score, self.bytes), (other.score, other.bytes)) == Ordering::Greater
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_sorted_set_is_a_small_sorted_map() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let packing = Packing::default();
        for _ in 0..100 {
            let (mut packed, mut model) = (Vec::new(), Vec::<(f64, Vec<u8>)>::new());
            for _ in 0..300 {
                let number = random.u8(..160);
                let member =
                    number.to_string().repeat(if number % 10 == 0 { 13 + usize::from(number) / 12 } else { 1 });
                let member = member.into_bytes();
                let known = model.iter().position(|(_, other)| *other == member);
                if random.u8(..4) == 0 {
                    let place = find(&packed, &member);
                    assert_eq!(place.as_ref().map(|place| place.rank), known);
                    if let (Some(place), Some(known)) = (place, known) {
                        remove(&mut packed, place);
                        model.remove(known);
                    }
                } else {
                    let whole = random.i64(..) >> random.u32(..64);
                    let score = if random.bool() { whole as f64 } else { whole as f64 / 1000.0 } + 0.0;
                    let fits = member.len() <= 64 && (known.is_some() || model.len() < 128);
                    assert_eq!(set(&mut packed, &packing, &member, score), fits, "{member:?}");
                    if fits {
                        known.into_iter().for_each(|known| drop(model.remove(known)));
                        model.push((score, member));
                        model.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
                    }
                }
                if random.u8(..50) == 0 && model.len() > 5 {
                    let (first, count) = (random.usize(..4), random.usize(..=model.len() - 4));
                    let count = count.min(model.len() - 1);
                    let count = count.min(model.len() - first);
                    remove_ranks(&mut packed, first, count);
                    model.drain(first..first + count);
                }
                let members = iter(&packed).map(|member| (member.score, member.bytes.to_vec()));
                assert!(members.eq(model.iter().cloned()));
                assert_eq!(len(&packed), model.len());
            }
        }
    }

    #[test]
    fn whole_numbers_take_few_bytes_and_all_come_back() {
        for (score, bytes) in [
            (0.0, 0),
            (1.0, 1),
            (-128.0, 1),
            (128.0, 2),
            (-32_768.0, 2),
            (8_388_607.0, 3),
            (1e9, 4),
            (1e12, 6),
            (140_737_488_355_327.0, 6),
            (140_737_488_355_328.0, 8),
            (0.5, 8),
            (f64::NEG_INFINITY, 8),
        ] {
            let mut packed = Vec::new();
            assert!(set(&mut packed, &Packing::default(), b"m", score));
            assert_eq!(packed.len(), 2 + 1 + bytes + 1, "{score}");
            assert_eq!(iter(&packed).collect::<Vec<_>>(), [Member { bytes: b"m", score }]);
        }
    }
}
