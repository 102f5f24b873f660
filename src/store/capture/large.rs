//! A key that is too large to be written in one go: a long string, or a hash with a table of fields.
//!
//! A string is written from its first byte to its last. An edit that changes it has what is left of it written before: that takes about
//! 0.1 ms for each MiB, as changing it mostly does, too.
//!
//! The fields of a hash are swept as a slot's keys are, and an edit of some fields has only those written before. One that puts
//! something else in the key's place has all that are left written: about 70 ns for each. A field is written in one go.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::super::fields::FieldTable;
use super::super::table::{Record, Stored};
use super::{STEP, pay};
use crate::encoding::edit::{Change, Fields};
use crate::encoding::entry;
use crate::ids::Db;

/// Strings from this length on are large, in bytes.
const LONG: usize = 4 * STEP;

/// A large key on its way into a snapshot.
pub(super) struct Large {
    db: Db,
    key: Box<[u8]>,
    rest: Rest,
}

/// What is still to be written of it.
enum Rest {
    /// The bytes of a string of length `len` from `at` on.
    String { at: usize, len: usize },
    /// These fields.
    Fields(FieldsLeft),
}

struct FieldsLeft {
    /// How many.
    count: usize,
    /// How far the sweep has come.
    turn: u32,
    /// Names of fields that the sweep has not passed and is not to write, because that is done or because they are new.
    settled: HashSet<Box<[u8]>>,
}

impl Large {
    /// Begins with the key of `record`, if it is large.
    pub fn begin(db: Db, record: &Record, out: &mut Vec<u8>) -> Option<Self> {
        let (key, expire_at) = (record.key(), record.expire_at());
        let rest = match record.stored() {
            Stored::String(value) if value.len() >= LONG => {
                entry::begin_string(out, db, key, expire_at, value.len());
                Rest::String { at: 0, len: value.len() }
            }
            Stored::TableHash(fields) => {
                entry::begin_hash(out, db, key, expire_at, fields.len());
                Rest::Fields(FieldsLeft { count: fields.len(), turn: 0, settled: HashSet::new() })
            }
            Stored::String(_) | Stored::PackedHash(_) => return None,
        };
        Some(Self { db, key: key.into(), rest })
    }

    /// The key's database.
    pub const fn db(&self) -> Db {
        self.db
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether all of it is written, and no more. Otherwise, once there is nothing to go on with, a mistake here.
    pub const fn is_whole(&self) -> bool {
        match &self.rest {
            Rest::String { at, len } => *at == *len,
            Rest::Fields(left) => left.count == 0,
        }
    }

    /// Goes on, as long as `go_on` says so; whether there is nothing left. `record` is the key's.
    pub fn go_on(&mut self, record: &Record, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        match (&mut self.rest, record.stored()) {
            (Rest::String { at, .. }, Stored::String(value)) => loop {
                let Some(left) = value.get(*at..).filter(|left| !left.is_empty()) else { return true };
                let some = &left[..left.len().min(STEP)];
                out.extend_from_slice(some);
                *at += some.len();
                if !go_on(out.len()) {
                    return false;
                }
            },
            (Rest::Fields(left), Stored::TableHash(fields)) => left.go_on(fields, out, go_on),
            // What puts something else in its place has it written before.
            _ => true,
        }
    }

    /// An edit is about to be applied to the key: appends the fields that it changes. Returns whether all that is left of the key has to
    /// be written before it.
    pub fn save_before(&mut self, record: &Record, change: &Change<'_>, out: &mut Vec<u8>) -> bool {
        match (&mut self.rest, record.stored(), change) {
            // That is written already.
            (_, _, Change::SetExpiry(_)) => false,
            (
                Rest::Fields(left),
                Stored::TableHash(fields),
                Change::SetFields(changed) | Change::RemoveFields(changed),
            ) => {
                left.save(fields, changed, out);
                // With the last of them the key may be gone.
                left.count == 0
            }
            _ => true,
        }
    }
}

impl FieldsLeft {
    fn go_on(&mut self, fields: &FieldTable, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        if self.count == 0 {
            return true;
        }
        self.settled.retain(|name| fields.turn(name) >= self.turn);
        let mut credit = STEP;
        let mut next = Some(self.turn);
        while let Some(turn) = next {
            self.turn = turn;
            let mut visited = Vec::new();
            let settled = &self.settled;
            let swept = fields.sweep(turn, |name, value| {
                if settled.contains(name) {
                    return ControlFlow::Continue(());
                }
                entry::write_field(out, name, value);
                visited.push(name);
                pay(&mut credit, name.len() + value.len(), || go_on(out.len()))
            });
            self.count = self.count.wrapping_sub(visited.len());
            let ControlFlow::Continue(following) = swept else {
                self.settled.extend(visited.into_iter().map(Box::from));
                return self.count == 0;
            };
            next = following;
        }
        true
    }

    fn save(&mut self, fields: &FieldTable, changed: &Fields<'_>, out: &mut Vec<u8>) {
        for (name, _) in changed.iter() {
            if fields.turn(name) < self.turn || !self.settled.insert(name.into()) {
                continue;
            }
            if let Some(value) = fields.get(name) {
                entry::write_field(out, name, value);
                self.count = self.count.wrapping_sub(1);
            }
        }
    }
}
