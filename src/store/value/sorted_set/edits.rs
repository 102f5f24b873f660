//! Edits of sorted sets. A sorted set is packed while it is small, and gets a table and a tree when it outgrows that.

use super::members::Members;
use super::{digest, packed};
use crate::encoding::edit::{Elements, Scored};
use crate::store::change::{Contradiction, Key, TOO_LONG, Tools, fit};
use crate::store::table::Record;
use crate::store::value::form::{Kind, Structure};
use crate::time::UnixMillis;

const NOT_A_SORTED_SET: Contradiction = "it does not hold a sorted set";
/// A range of ranks reaches beyond the last member.
pub(in crate::store::value) const NO_SUCH_RANKS: Contradiction = "its sorted set has fewer members";

/// Checks that key and members are short enough.
pub(in crate::store::value) fn check(key: Key<'_>, members: &Scored<'_>) -> Result<(), Contradiction> {
    let all_fit = fit(key.bytes) && members.iter().all(|(member, _)| fit(member));
    if all_fit { Ok(()) } else { Err(TOO_LONG) }
}

/// Makes the record of a key that holds a sorted set of about `count` members. Returns it with the sorted set's digest.
/// If a member occurs twice, its last score counts.
pub(in crate::store::value) fn make<'f>(
    key: Key<'_>,
    count: usize,
    members: impl Iterator<Item = (&'f [u8], f64)>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    let packed = &mut *tools.scratch;
    packed.clear();
    let mut members = members.peekable();
    while members.next_if(|(member, score)| packed::set(packed, &tools.packing, member, *score)).is_some() {}
    if members.peek().is_none() {
        let digest = digest::of(pairs(packed));
        return (Record::new(Kind::PackedSortedSet, key.bytes, packed, expire_at, tools.clock), digest);
    }
    let mut large = Members::with_capacity(tools.seed, count);
    pairs(packed).for_each(|(member, score)| large.set(member, score));
    members.for_each(|(member, score)| large.set(member, score));
    let digest = large.digest();
    (with_members(key, large, expire_at, tools.clock), digest)
}

fn pairs(packed: &[u8]) -> impl Iterator<Item = (&[u8], f64)> {
    packed::iter(packed).map(|member| (member.bytes, member.score))
}

fn with_members(key: Key<'_>, members: Members, expire_at: Option<UnixMillis>, clock: u32) -> Record {
    Record::with_structure(key.bytes, Box::new(Structure::SortedSet(members)), expire_at, clock)
}

/// Members of the record's sorted set, if that is large; `None` if it is packed.
///
/// # Errors
/// If the record holds no sorted set.
fn members_of(record: &mut Record) -> Result<Option<&mut Members>, Contradiction> {
    match record.kind() {
        Some(Kind::PackedSortedSet) => Ok(None),
        Some(_) => Err(NOT_A_SORTED_SET),
        None => match record.structure_mut() {
            Some(Structure::SortedSet(members)) => Ok(Some(members)),
            _ => Err(NOT_A_SORTED_SET),
        },
    }
}

/// Sets scores of the record's sorted set. Returns the growth of its digest.
///
/// # Errors
/// If the record holds no sorted set, or a member is too long.
pub(in crate::store::value) fn set(
    key: Key<'_>,
    record: &mut Record,
    members: &Scored<'_>,
    tools: &mut Tools<'_>,
) -> Result<u64, Contradiction> {
    check(key, members)?;
    let Some(large) = members_of(record)? else { return Ok(set_in_packed(key, record, members, tools)) };
    Ok(digest_growth(large, |large| members.iter().for_each(|(member, score)| large.set(member, score))))
}

/// Removes members from the record's sorted set. Returns whether any are left, and the growth of its digest.
///
/// # Errors
/// If the record holds no sorted set.
pub(in crate::store::value) fn remove(
    record: &mut Record,
    members: &Elements<'_>,
    tools: &mut Tools<'_>,
) -> Result<(bool, u64), Contradiction> {
    let Some(large) = members_of(record)? else {
        return Ok(remove_from_packed(record, members, tools.scratch));
    };
    let delta = digest_growth(large, |large| members.iter().for_each(|member| large.remove(member)));
    Ok((large.len() > 0, delta))
}

/// Removes members of the record's sorted set by their ranks. Returns whether any are left (if not, the record is
/// unchanged), and the growth of its digest.
///
/// # Errors
/// If the record holds no sorted set, or one with fewer members.
pub(in crate::store::value) fn remove_ranks(
    record: &mut Record,
    (first, count): (u64, u64),
    tools: &mut Tools<'_>,
) -> Result<(bool, u64), Contradiction> {
    let len = match members_of(record)? {
        Some(large) => large.len(),
        None => packed::len(record.bytes()),
    };
    if first.checked_add(count).is_none_or(|end| end > len as u64) {
        return Err(NO_SUCH_RANKS);
    }
    let (first, count) = (first as usize, count as usize);
    if count == len {
        return Ok((false, 0));
    }
    if let Some(large) = members_of(record)? {
        return Ok((true, digest_growth(large, |large| large.remove_ranks(first, count))));
    }
    let packed = &mut *tools.scratch;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    let removed = digest::of(pairs(packed).skip(first).take(count));
    packed::remove_ranks(packed, first, count);
    record.set_bytes(packed);
    Ok((true, removed.wrapping_neg()))
}

/// Changes a large sorted set. Returns the growth of its digest.
fn digest_growth(large: &mut Members, change: impl FnOnce(&mut Members)) -> u64 {
    let before = large.digest();
    change(large);
    large.digest().wrapping_sub(before)
}

/// Sets scores in a packed sorted set, which becomes a large one if they do not fit. Returns the growth of the digest.
fn set_in_packed(key: Key<'_>, record: &mut Record, members: &Scored<'_>, tools: &mut Tools<'_>) -> u64 {
    let packed = &mut *tools.scratch;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    let mut delta = 0u64;
    let mut rest = members.iter();
    let too_much = rest.by_ref().find(|(member, score)| {
        let old = packed::find(packed, member).map(|place| place.score);
        if !packed::set(packed, &tools.packing, member, *score) {
            return true;
        }
        let digest = |score| digest::member(member, score);
        delta = delta.wrapping_add(digest(*score)).wrapping_sub(old.map_or(0, digest));
        false
    });
    if too_much.is_none() {
        record.set_bytes(packed);
        return delta;
    }
    let mut large = Members::with_capacity(tools.seed, packed::len(packed) + 1 + rest.len());
    pairs(packed).for_each(|(member, score)| large.set(member, score));
    let more = digest_growth(&mut large, |large| {
        too_much.into_iter().chain(rest).for_each(|(member, score)| large.set(member, score));
    });
    record.replace(with_members(key, large, record.expire_at(), record.clock()));
    delta.wrapping_add(more)
}

/// Removes members from a packed sorted set. Returns whether any are left (if not, the record is unchanged), and the
/// growth of the digest.
fn remove_from_packed(record: &mut Record, members: &Elements<'_>, packed: &mut Vec<u8>) -> (bool, u64) {
    let mut delta = 0u64;
    packed.clear();
    packed.extend_from_slice(record.bytes());
    for member in members.iter() {
        if let Some(place) = packed::find(packed, member) {
            delta = delta.wrapping_sub(digest::member(member, place.score));
            packed::remove(packed, place);
        }
    }
    if packed.is_empty() {
        return (false, 0);
    }
    record.set_bytes(packed);
    (true, delta)
}
