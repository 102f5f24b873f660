//! Writing a hash with a table of fields to a snapshot in slices.
//!
//! The fields are swept as the keys of a slot are ([`crate::store::capture`]), and an edit of some fields has only
//! those written before. An edit that puts something else in the key's place has all that are left written: about 70 ns
//! for each. A field is written in one go.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::fields::FieldTable;
use super::{HashRef, Layout};
use crate::encoding::edit::{Change, Fields};
use crate::encoding::entry::{self, Head};
use crate::store::pace::Pace;

/// A hash on its way into a snapshot.
pub(in crate::store) struct Slices {
    /// Fields of the hash as it was at the beginning that are still to be written.
    left: usize,
    /// How far the sweep has come.
    turn: u32,
    /// Names of fields that the sweep has not passed and is not to write, because that is done or because they are new.
    settled: HashSet<Box<[u8]>>,
}

impl Slices {
    /// Begins the entry of a hash, if it is large enough to have a table.
    pub fn begin(head: Head<'_>, hash: HashRef<'_>, out: &mut Vec<u8>) -> Option<Self> {
        let Layout::Table(fields) = hash.0 else { return None };
        entry::begin_hash(out, head, fields.len(), fields.content_len());
        Some(Self { left: fields.len(), turn: 0, settled: HashSet::new() })
    }

    /// Whether all fields are written, and no more.
    pub const fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// Writes as long as `go_on` says so, which is told the length of `out`. Returns whether nothing is left.
    pub fn go_on(&mut self, hash: HashRef<'_>, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        match hash.0 {
            Layout::Table(fields) if self.left > 0 => self.sweep(fields, out, go_on),
            // A hash stays in its table until the key holds something else, and what was left has been written before
            // that.
            Layout::Table(_) | Layout::Packed(_) => true,
        }
    }

    fn sweep(&mut self, fields: &FieldTable, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        self.settled.retain(|name| fields.turn(name) >= self.turn);
        let mut pace = Pace::new();
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
                pace.count(name.len() + value.len(), || go_on(out.len()))
            });
            self.left = self.left.wrapping_sub(visited.len());
            let ControlFlow::Continue(following) = swept else {
                self.settled.extend(visited.into_iter().map(Box::from));
                return self.left == 0;
            };
            next = following;
        }
        true
    }

    /// Writes the fields that `change` is about to change, before it is applied to the hash. Returns whether all that is
    /// left of the hash has to be written before it.
    pub fn save_before(&mut self, hash: HashRef<'_>, change: &Change<'_>, out: &mut Vec<u8>) -> bool {
        match (hash.0, change) {
            // When the key expires stands in the entry's head, which is written.
            (_, Change::SetExpiry(_)) => false,
            (Layout::Table(fields), Change::SetFields(changed) | Change::RemoveFields(changed)) => {
                self.save(fields, changed, out);
                // With the last of its fields the key may be gone.
                self.left == 0
            }
            _ => true,
        }
    }

    fn save(&mut self, fields: &FieldTable, changed: &Fields<'_>, out: &mut Vec<u8>) {
        for (name, _) in changed.iter() {
            if fields.turn(name) < self.turn || !self.settled.insert(name.into()) {
                continue;
            }
            if let Some(value) = fields.get(name) {
                entry::write_field(out, name, value);
                self.left = self.left.wrapping_sub(1);
            }
        }
    }
}
