//! What a store should do, as a map of maps; and edits at random. Fuzz targets hold a store against it, and so do the
//! store's own tests, which include this file.

#[path = "model/draw.rs"]
mod draw;
#[path = "model/stream.rs"]
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use rollbook::encoding::edit::{Change, Edit, Elements, End, ExpiringFields, Fields, Scored, StreamChange};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{PartitionId, Partitions};
use rollbook::store::Value;
use rollbook::time::UnixMillis;

pub use draw::Generator;
pub use stream::{Changes as StreamChanges, Stream};

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// A string.
    String(Vec<u8>),
    /// The fields of a hash.
    Hash(BTreeMap<Vec<u8>, Field>),
    /// The members of a set.
    Set(BTreeSet<Vec<u8>>),
    /// The members of a sorted set with their scores.
    SortedSet(BTreeMap<Vec<u8>, f64>),
    /// The elements of a list.
    List(Vec<Vec<u8>>),
    /// A stream.
    Stream(Stream),
}

/// Value of a field of a hash, and when it expires.
pub type Field = (Vec<u8>, Option<UnixMillis>);

impl Held {
    /// The change that makes a key hold this.
    pub fn put(&self, expire_at: Option<UnixMillis>) -> Change<'_> {
        match self {
            Self::String(value) => Change::PutString { value: value.into(), expire_at },
            Self::Hash(hash) if hash.values().any(|(_, at)| at.is_some()) => {
                let mut fields = ExpiringFields::default();
                hash.iter().rev().for_each(|(name, (value, at))| fields.push(name, value, *at));
                Change::PutExpiringHash { fields, expire_at }
            }
            Self::Hash(hash) => {
                let mut fields = Fields::default();
                hash.iter().rev().for_each(|(name, (value, _))| fields.push(name, value));
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
                let _ = hash.for_each_field(|name, value, at| {
                    assert!(fields.insert(name.to_vec(), (value.to_vec(), at)).is_none(), "a field occurs twice");
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
            Change::PutHash { .. }
            | Change::SetFields(_)
            | Change::RemoveFields(_)
            | Change::ExpireFields(_)
            | Change::PutExpiringHash { .. }
            | Change::SetExpiringFields(_)
            | Change::SetFieldExpiry { .. } => return self.change_hash(at, change),
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
            Change::Move { to_db, to_key } => return self.move_value(&at, (to_db.0, to_key.to_vec())),
        }
        true
    }

    /// Applies a change of a hash; false if it contradicts the state.
    fn change_hash(&mut self, at: (u8, Vec<u8>), change: &Change<'_>) -> bool {
        let set: BTreeMap<Vec<u8>, Field> = match change {
            Change::PutHash { fields, .. } | Change::SetFields(fields) => {
                fields.iter().map(|(name, value)| (name.to_vec(), (value.to_vec(), None))).collect()
            }
            Change::PutExpiringHash { fields, .. } | Change::SetExpiringFields(fields) => {
                fields.iter().map(|(name, value, at)| (name.to_vec(), (value.to_vec(), at))).collect()
            }
            _ => BTreeMap::new(),
        };
        if let Change::PutHash { expire_at, .. } | Change::PutExpiringHash { expire_at, .. } = change {
            self.0.insert(at.clone(), (Held::Hash(set), *expire_at));
        } else if self.0.contains_key(&at) || !set.is_empty() {
            let held = self.0.entry(at.clone()).or_insert((Held::Hash(BTreeMap::new()), None));
            let Held::Hash(hash) = &mut held.0 else { return false };
            hash.extend(set);
            match change {
                Change::RemoveFields(fields) | Change::ExpireFields(fields) => {
                    fields.iter().for_each(|(name, _)| drop(hash.remove(name)));
                }
                Change::SetFieldExpiry { fields, expire_at } => {
                    for (name, _) in fields.iter() {
                        hash.entry(name.to_vec()).and_modify(|field| field.1 = *expire_at);
                    }
                }
                _ => {}
            }
        }
        // A hash without fields is no key.
        if self.0.get(&at).is_some_and(|(held, _)| matches!(held, Held::Hash(hash) if hash.is_empty())) {
            self.0.remove(&at);
        }
        true
    }

    fn move_value(&mut self, at: &(u8, Vec<u8>), to: (u8, Vec<u8>)) -> bool {
        if *at == to {
            return false;
        }
        let Some(content) = self.0.remove(at) else { return false };
        self.0.insert(to, content);
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
