//! What a store should do, as a map of maps; and edits at random. Fuzz targets hold a store against it, and so do the
//! store's own tests, which include this file.

#[path = "model/stream.rs"]
mod stream;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use rollbook::encoding::edit::{Change, Edit, Elements, End, Fields, Ranges, Removal, Scored, StreamChange};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{Db, PartitionId, Partitions};
use rollbook::store::Value;
use rollbook::time::UnixMillis;

pub use stream::{Changes as StreamChanges, Stream};

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// A string.
    String(Vec<u8>),
    /// The fields of a hash.
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    /// The members of a set.
    Set(BTreeSet<Vec<u8>>),
    /// The members of a sorted set with their scores.
    SortedSet(BTreeMap<Vec<u8>, f64>),
    /// The elements of a list.
    List(Vec<Vec<u8>>),
    /// A stream.
    Stream(Stream),
}

impl Held {
    /// The change that makes a key hold this.
    pub fn put(&self, expire_at: Option<UnixMillis>) -> Change<'_> {
        match self {
            Self::String(value) => Change::PutString { value: value.into(), expire_at },
            Self::Hash(hash) => {
                let mut fields = Fields::default();
                hash.iter().rev().for_each(|(name, value)| fields.push(name, value));
                Change::PutHash { fields, expire_at }
            }
            Self::Set(set) => {
                let mut members = Elements::default();
                set.iter().rev().for_each(|member| members.push(member));
                Change::PutSet { members, expire_at }
            }
            Self::SortedSet(sorted_set) => {
                let mut members = Scored::default();
                sorted_set.iter().rev().for_each(|(member, score)| members.push(member, *score));
                Change::PutSortedSet { members, expire_at }
            }
            Self::List(list) => {
                let mut elements = Elements::default();
                list.iter().for_each(|element| elements.push(element));
                Change::PutList { elements, expire_at }
            }
            Self::Stream(stream) => Change::PutStream { stream: stream.payload().into(), expire_at },
        }
    }

    /// What a value of the store is.
    pub fn of(value: Value<'_>) -> Self {
        match value {
            Value::String(bytes) => Self::String(bytes.to_vec()),
            Value::Hash(hash) => {
                let mut fields = BTreeMap::new();
                let _ = hash.for_each(|name, value| {
                    assert!(fields.insert(name.to_vec(), value.to_vec()).is_none(), "a field occurs twice");
                    ControlFlow::<()>::Continue(())
                });
                Self::Hash(fields)
            }
            Value::Stream(stream) => Self::Stream(Stream::of(stream)),
            Value::Set(set) => {
                let mut members = BTreeSet::new();
                let _ = set.for_each(|member| {
                    assert!(members.insert(member.with(<[u8]>::to_vec)), "a member occurs twice");
                    ControlFlow::<()>::Continue(())
                });
                Self::Set(members)
            }
            Value::SortedSet(sorted_set) => {
                let mut members = BTreeMap::new();
                let _ = sorted_set.for_each(|member, score| {
                    assert!(members.insert(member.to_vec(), score).is_none(), "a member occurs twice");
                    ControlFlow::<()>::Continue(())
                });
                Self::SortedSet(members)
            }
            Value::List(list) => Self::List(list.iter().map(<[u8]>::to_vec).collect()),
        }
    }
}

/// What a key holds and when it expires.
pub type Content = (Held, Option<UnixMillis>);

/// The content of a store by database and key.
#[derive(Clone, Debug, Default)]
pub struct Model(pub BTreeMap<(u8, Vec<u8>), Content>);

/// How the slots are cut here.
pub const fn partitions() -> Partitions {
    const { Partitions::new(4).expect("4 is a power of two") }
}

/// The partition of a key.
pub fn partition_of(key: &[u8]) -> PartitionId {
    partitions().of(slot_of(key))
}

impl Model {
    /// Applies an edit; false if it contradicts the state.
    pub fn apply(&mut self, edit: &Edit<'_>) -> bool {
        match edit {
            Edit::Key { db, key, change, .. } => return self.change((db.0, key.to_vec()), change),
            Edit::Flush { partition, db } => self.0.retain(|(d, k), _| *d != db.0 || partition_of(k) != *partition),
            Edit::SwapDb { partition, a, b } => {
                let swapped = |(d, k): &(u8, Vec<u8>)| match () {
                    () if partition_of(k) != *partition => *d,
                    () if *d == a.0 => b.0,
                    () if *d == b.0 => a.0,
                    () => *d,
                };
                let old = std::mem::take(&mut self.0);
                self.0 = old.into_iter().map(|(k, v)| ((swapped(&k), k.1), v)).collect();
            }
            Edit::Barrier { .. } => {}
        }
        true
    }

    fn change(&mut self, at: (u8, Vec<u8>), change: &Change<'_>) -> bool {
        let owned = |fields: &Fields<'_>| -> BTreeMap<Vec<u8>, Vec<u8>> {
            fields.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
        };
        match change {
            Change::PutString { value, expire_at } => {
                self.0.insert(at, (Held::String(value.to_vec()), *expire_at));
            }
            Change::WriteString { offset, bytes } => {
                let held = self.0.entry(at).or_insert((Held::String(Vec::new()), None));
                let Held::String(string) = &mut held.0 else { return false };
                let offset = *offset as usize;
                string.resize(string.len().max(offset + bytes.len()), 0);
                string[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            // A hash without fields is no key.
            Change::PutHash { fields, .. } if fields.is_empty() => {
                self.0.remove(&at);
            }
            Change::SetFields(fields) if fields.is_empty() => {
                return matches!(self.0.get(&at), None | Some((Held::Hash(_), _)));
            }
            Change::PutHash { fields, expire_at } => {
                self.0.insert(at, (Held::Hash(owned(fields)), *expire_at));
            }
            Change::SetFields(fields) => {
                let held = self.0.entry(at).or_insert((Held::Hash(BTreeMap::new()), None));
                let Held::Hash(hash) = &mut held.0 else { return false };
                hash.extend(owned(fields));
            }
            Change::RemoveFields(fields) => {
                let Some(held) = self.0.get_mut(&at) else { return true };
                let Held::Hash(hash) = &mut held.0 else { return false };
                for (name, _) in fields.iter() {
                    hash.remove(name);
                }
                if hash.is_empty() {
                    self.0.remove(&at);
                }
            }
            Change::PutSet { .. } | Change::AddMembers(_) | Change::RemoveMembers(_) => {
                return self.change_set(at, change);
            }
            Change::PutSortedSet { .. }
            | Change::SetScores(_)
            | Change::RemoveScored(_)
            | Change::RemoveRanks { .. } => return self.change_sorted_set(at, change),
            Change::PutList { .. }
            | Change::PushElements { .. }
            | Change::PopElements { .. }
            | Change::SetElement { .. }
            | Change::InsertElement { .. }
            | Change::RemoveElements(_) => return self.change_list(at, change),
            Change::PutStream { stream, expire_at } => {
                self.0.insert(at, (Held::Stream(Stream::read(stream)), *expire_at));
            }
            Change::Stream(change) => return self.change_stream(at, change),
            Change::SetExpiry(expire_at) => match self.0.get_mut(&at) {
                Some(held) => held.1 = *expire_at,
                None => return false,
            },
            Change::Delete(_) => {
                self.0.remove(&at);
            }
        }
        true
    }

    /// Applies a change of a stream; false if it contradicts the state.
    fn change_stream(&mut self, at: (u8, Vec<u8>), change: &StreamChange<'_>) -> bool {
        match self.0.get_mut(&at) {
            Some((Held::Stream(stream), _)) => stream.apply(change),
            Some(_) => false,
            None if Stream::is_made_by(change) => {
                let mut stream = Stream::default();
                let is_applied = stream.apply(change);
                if is_applied {
                    self.0.insert(at, (Held::Stream(stream), None));
                }
                is_applied
            }
            None => !Stream::is_needed_by(change),
        }
    }

    /// Applies a change of a list; false if it contradicts the state.
    fn change_list(&mut self, at: (u8, Vec<u8>), change: &Change<'_>) -> bool {
        match change {
            Change::PutList { elements, .. } if elements.is_empty() => {
                self.0.remove(&at);
            }
            Change::PutList { elements, expire_at } => {
                let elements = elements.iter().map(<[u8]>::to_vec).collect();
                self.0.insert(at, (Held::List(elements), *expire_at));
            }
            Change::PushElements { elements, .. } if elements.is_empty() => {
                return matches!(self.0.get(&at), None | Some((Held::List(_), _)));
            }
            Change::PushElements { end, elements } => {
                let held = self.0.entry(at).or_insert((Held::List(Vec::new()), None));
                let Held::List(list) = &mut held.0 else { return false };
                for element in elements.iter() {
                    let index = if *end == End::Left { 0 } else { list.len() };
                    list.insert(index, element.to_vec());
                }
            }
            _ => {
                let Some((Held::List(list), _)) = self.0.get_mut(&at) else { return false };
                if !change_elements(list, change) {
                    return false;
                }
                if list.is_empty() {
                    self.0.remove(&at);
                }
            }
        }
        true
    }

    fn change_set(&mut self, at: (u8, Vec<u8>), change: &Change<'_>) -> bool {
        match change {
            // A set without members is no key.
            Change::PutSet { members, .. } if members.is_empty() => {
                self.0.remove(&at);
            }
            Change::AddMembers(members) if members.is_empty() => {
                return matches!(self.0.get(&at), None | Some((Held::Set(_), _)));
            }
            Change::PutSet { members, expire_at } => {
                self.0.insert(at, (Held::Set(members.iter().map(<[u8]>::to_vec).collect()), *expire_at));
            }
            Change::AddMembers(members) => {
                let held = self.0.entry(at).or_insert((Held::Set(BTreeSet::new()), None));
                let Held::Set(set) = &mut held.0 else { return false };
                set.extend(members.iter().map(<[u8]>::to_vec));
            }
            Change::RemoveMembers(members) => {
                let Some(held) = self.0.get_mut(&at) else { return true };
                let Held::Set(set) = &mut held.0 else { return false };
                for member in members.iter() {
                    set.remove(member);
                }
                if set.is_empty() {
                    self.0.remove(&at);
                }
            }
            _ => return false,
        }
        true
    }

    fn change_sorted_set(&mut self, at: (u8, Vec<u8>), change: &Change<'_>) -> bool {
        if let Change::PutSortedSet { members, expire_at } = change {
            self.0.insert(at.clone(), (Held::SortedSet(scores(members)), *expire_at));
        }
        let removes_none = matches!(change, Change::RemoveScored(_) | Change::RemoveRanks { count: 0, .. });
        let sorted_set = match self.0.get_mut(&at) {
            Some((Held::SortedSet(sorted_set), _)) => sorted_set,
            Some(_) => return false,
            None if matches!(change, Change::SetScores(_)) => {
                let held = self.0.entry(at.clone()).or_insert((Held::SortedSet(BTreeMap::new()), None));
                let Held::SortedSet(sorted_set) = &mut held.0 else { return false };
                sorted_set
            }
            None => return removes_none,
        };
        match change {
            Change::SetScores(members) => sorted_set.extend(scores(members)),
            Change::RemoveScored(members) => {
                for member in members.iter() {
                    sorted_set.remove(member);
                }
            }
            Change::RemoveRanks { first, count } => {
                if first.checked_add(*count).is_none_or(|end| end > sorted_set.len() as u64) {
                    return false;
                }
                let mut order: Vec<_> = sorted_set.iter().map(|(member, score)| (*score, member.clone())).collect();
                order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
                for (_, member) in order.iter().skip(*first as usize).take(*count as usize) {
                    sorted_set.remove(member);
                }
            }
            _ => {}
        }
        // A sorted set without members is no key.
        if sorted_set.is_empty() {
            self.0.remove(&at);
        }
        true
    }
}

fn scores(members: &Scored<'_>) -> BTreeMap<Vec<u8>, f64> {
    members.iter().map(|(member, score)| (member.to_vec(), score)).collect()
}

/// Applies a change to the elements of a list; false if it contradicts them.
fn change_elements(list: &mut Vec<Vec<u8>>, change: &Change<'_>) -> bool {
    let len = list.len() as u64;
    match change {
        Change::PopElements { count, .. } if *count > len => return false,
        Change::PopElements { end: End::Left, count } => drop(list.drain(..*count as usize)),
        Change::PopElements { end: End::Right, count } => list.truncate((len - count) as usize),
        Change::SetElement { index, value } if *index < len => list[*index as usize] = value.to_vec(),
        Change::InsertElement { index, value } if *index <= len => list.insert(*index as usize, value.to_vec()),
        Change::RemoveElements(ranges) => {
            let mut end = 0;
            for (first, count) in ranges.iter() {
                if first < end || first.checked_add(count).is_none_or(|end| end > len) {
                    return false;
                }
                end = first + count;
            }
            for (first, count) in ranges.iter().rev() {
                list.drain(first as usize..(first + count) as usize);
            }
        }
        _ => return false,
    }
    true
}

/// Edits, of few or many keys in few or many slots, as the seed has it.
pub struct Generator {
    /// Where chance comes from.
    pub random: fastrand::Rng,
    keys: u32,
    fields: u32,
    slots: u32,
    streams: StreamChanges,
}

impl Generator {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (keys, fields) = (*pick(&mut random, &[5, 300, 3000]), *pick(&mut random, &[10, 200, 2000]));
        let slots = *pick(&mut random, &[1, 20, 16_384]);
        Self { random, keys, fields, slots, streams: StreamChanges::default() }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random.u32(..self.keys);
        format!("{{{}}}{number}", number % self.slots).into_bytes()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.random.u8(..20) {
            0 => 0,
            1 => self.random.usize(..20_000),
            2..5 => 64,
            _ => self.random.usize(..80),
        };
        vec![self.random.u8(..); len]
    }

    fn expiry(&mut self) -> Option<UnixMillis> {
        (self.random.u8(..3) == 0).then(|| UnixMillis::new(self.random.u64(1..1000)))
    }

    fn fields(&mut self, with_values: bool) -> Fields<'static> {
        let mut fields = Fields::default();
        let count = if self.random.u8(..10) == 0 { self.fields } else { self.random.u32(1..5) };
        for _ in 0..count {
            let name = self.random.u32(..self.fields).to_string();
            let value = if with_values { self.bytes() } else { Vec::new() };
            fields.push(name.as_bytes(), &value[..value.len().min(100)]);
        }
        fields
    }

    fn names(&mut self) -> Vec<Vec<u8>> {
        let count = if self.random.u8(..10) == 0 { self.fields } else { self.random.u32(1..5) };
        (0..count).map(|_| self.random.u32(..self.fields).to_string().into_bytes()).collect()
    }

    fn scored(&mut self) -> Scored<'static> {
        let mut scored = Scored::default();
        for member in self.names() {
            // Many equal scores, so that the members' bytes decide.
            let score = match self.random.u8(..8) {
                0 => f64::NEG_INFINITY,
                1 => self.random.f64(),
                2 => self.random.i64(..) as f64,
                _ => self.random.i8(-3..4).into(),
            };
            scored.push(&member, score);
        }
        scored
    }

    fn change_of_sorted_set(&mut self) -> Change<'static> {
        match self.random.u8(..10) {
            0 => Change::PutSortedSet { members: self.scored(), expire_at: self.expiry() },
            1..6 => Change::SetScores(self.scored()),
            6..8 => {
                let mut elements = Elements::default();
                self.names().iter().for_each(|member| elements.push(member));
                Change::RemoveScored(elements)
            }
            _ => {
                let first = self.random.u32(..self.fields).min(self.random.u32(..self.fields));
                Change::RemoveRanks { first: first.into(), count: self.random.u64(..30) }
            }
        }
    }

    /// Members of a set: few or many, only integers or others too, short ones or some that are long.
    fn members(&mut self) -> Elements<'static> {
        let mut members = Elements::default();
        let count = if self.random.u8(..10) == 0 { self.fields } else { self.random.u32(1..5) };
        let (others, long) = (self.random.u8(..3) == 0, self.random.u8(..20) == 0);
        let shift = *pick(&mut self.random, &[0, 0, 0, 12, 28, 48]);
        for _ in 0..count {
            let number = self.random.i64(-i64::from(self.fields) / 2..i64::from(self.fields) / 2);
            match self.random.u8(..4) {
                0 if others => members.push(format!("member {number}").as_bytes()),
                1 if long => members.push(&[b'm'; 65][..60 + number.unsigned_abs() as usize % 6]),
                _ => members.push((number << shift).to_string().as_bytes()),
            }
        }
        members
    }

    fn elements(&mut self) -> Elements<'static> {
        let mut elements = Elements::default();
        let count = if self.random.u8(..10) == 0 { self.fields.min(400) } else { self.random.u32(..5) };
        for _ in 0..count {
            let element = self.bytes();
            elements.push(if self.random.u8(..50) == 0 { &element } else { &element[..element.len().min(100)] });
        }
        elements
    }

    fn end(&mut self) -> End {
        if self.random.bool() { End::Left } else { End::Right }
    }

    fn index(&mut self) -> u64 {
        let most = *pick(&mut self.random, &[2, 20, 2000]);
        self.random.u64(..most)
    }

    fn ranges(&mut self) -> Ranges<'static> {
        let (mut ranges, mut at) = (Ranges::default(), self.index());
        for _ in 0..self.random.u32(..4) {
            let count = self.random.u64(1..=1 + at);
            ranges.push(at, count);
            at += count + self.random.u64(..3);
        }
        ranges
    }

    fn list_change(&mut self) -> Change<'static> {
        match self.random.u8(..20) {
            0 => Change::PutList { elements: self.elements(), expire_at: self.expiry() },
            1..10 => Change::PushElements { end: self.end(), elements: self.elements() },
            10..13 => Change::PopElements { end: self.end(), count: self.index() },
            13..15 => Change::SetElement { index: self.index(), value: self.bytes().into() },
            15..17 => Change::InsertElement { index: self.index(), value: self.bytes().into() },
            _ => Change::RemoveElements(self.ranges()),
        }
    }

    /// The next edit.
    pub fn edit(&mut self) -> Edit<'static> {
        let key = self.key();
        let (slot, partition) = (slot_of(&key), partition_of(&key));
        let mut db = || Db(if self.random.u8(..4) == 0 { self.random.u8(..16) } else { 0 });
        let (db, other) = (db(), db());
        // Every third key mostly holds a stream, so that streams grow.
        let is_stream = key.last().is_some_and(|digit| digit % 3 == 0) && self.random.u8(..20) > 0;
        let change = match self.random.u16(..if is_stream { 860 } else { 1000 }) {
            0 => return Edit::Flush { partition, db },
            1..5 => return Edit::SwapDb { partition, a: db, b: other },
            5..10 => return Edit::Barrier { partition, checkpoint: false, digests: Cow::default() },
            10..800 if is_stream => {
                let expire_at = self.expiry();
                self.streams.change(&mut self.random, expire_at)
            }
            10..180 => Change::PutString { value: self.bytes().into(), expire_at: self.expiry() },
            180..250 => Change::WriteString { offset: self.random.u64(..9000), bytes: self.bytes().into() },
            250..280 => Change::PutHash { fields: self.fields(true), expire_at: self.expiry() },
            280..380 => Change::SetFields(self.fields(true)),
            380..450 => Change::RemoveFields(self.fields(false)),
            450..480 => Change::PutSet { members: self.members(), expire_at: self.expiry() },
            480..570 => Change::AddMembers(self.members()),
            570..640 => Change::RemoveMembers(self.members()),
            640..720 => self.change_of_sorted_set(),
            720..800 => self.list_change(),
            800..850 => Change::SetExpiry(self.expiry()),
            _ => Change::Delete(Removal::Deleted),
        };
        Edit::Key { db, slot, key: key.into(), change }
    }
}

fn pick<'a, T>(random: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[random.usize(..from.len())]
}
