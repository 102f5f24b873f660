//! Edits at random.

use std::borrow::Cow;

use rollbook::encoding::edit::{Change, Edit, Elements, End, ExpiringFields, Fields, Ranges, Removal, Scored};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::Db;
use rollbook::time::UnixMillis;

use super::{StreamChanges, partition_of};

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
        self.numbered(number)
    }

    fn numbered(&self, number: u32) -> Vec<u8> {
        format!("{{{}}}{number}", number % self.slots).into_bytes()
    }

    /// A key, often one of the same slot as `key`, in any database.
    fn move_from(&mut self, key: &[u8], to_db: Db) -> Change<'static> {
        let name = String::from_utf8_lossy(key);
        let number: u32 = name.split('}').nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
        let in_slot = number % self.slots + self.slots * self.random.u32(..self.keys.div_ceil(self.slots));
        let to_key = if self.random.u8(..3) == 0 { self.key() } else { self.numbered(in_slot) };
        Change::Move { to_db, to_key: to_key.into() }
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

    fn expiring_fields(&mut self) -> ExpiringFields<'static> {
        let mut fields = ExpiringFields::default();
        self.fields(true).iter().for_each(|(name, value)| fields.push(name, value, self.expiry()));
        fields
    }

    fn change_of_hash(&mut self) -> Change<'static> {
        match self.random.u8(..20) {
            0 => Change::PutHash { fields: self.fields(true), expire_at: self.expiry() },
            1 => Change::PutExpiringHash { fields: self.expiring_fields(), expire_at: self.expiry() },
            2..8 => Change::SetFields(self.fields(true)),
            8..11 => Change::SetExpiringFields(self.expiring_fields()),
            11..14 => Change::SetFieldExpiry { fields: self.fields(false), expire_at: self.expiry() },
            14 => Change::ExpireFields(self.fields(false)),
            _ => Change::RemoveFields(self.fields(false)),
        }
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
            250..450 => self.change_of_hash(),
            450..480 => Change::PutSet { members: self.members(), expire_at: self.expiry() },
            480..570 => Change::AddMembers(self.members()),
            570..640 => Change::RemoveMembers(self.members()),
            640..720 => self.change_of_sorted_set(),
            720..800 => self.list_change(),
            800..830 => Change::SetExpiry(self.expiry()),
            830..850 | 950.. => self.move_from(&key, other),
            _ => Change::Delete(Removal::Deleted),
        };
        Edit::Key { db, slot, key: key.into(), change }
    }
}

fn pick<'a, T>(random: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[random.usize(..from.len())]
}
