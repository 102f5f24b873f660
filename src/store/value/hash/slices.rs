//! Writes a hash that has a table of fields to a snapshot in slices.
//!
//! The fields are swept like the keys of a slot ([`crate::store::capture`]), and only the old content of edited fields
//! must be written before an edit. An edit that replaces the whole value first has all remaining fields written, at
//! about 70 ns each. A single field is written in one go.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::fields::FieldTable;
use super::{HashRef, Layout};
use crate::encoding::edit::{Change, Fields};
use crate::encoding::entry::{self, Head};
use crate::store::pace::Pace;

/// State of a hash's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Number of fields from the beginning that are still to be written.
    left: usize,
    /// Turn that the sweep has reached.
    turn: u32,
    /// Names of fields ahead of the sweep that it must skip: already written, or created after the capture began.
    settled: HashSet<Box<[u8]>>,
}

impl Slices {
    /// Begins the entry of a hash that is large enough to have a table; `None` for others.
    pub fn begin(head: Head<'_>, hash: HashRef<'_>, out: &mut Vec<u8>) -> Option<Self> {
        let Layout::Table(fields) = hash.0 else { return None };
        entry::begin_hash(out, head, fields.len(), fields.content_len());
        Some(Self { left: fields.len(), turn: 0, settled: HashSet::new() })
    }

    /// Whether exactly the fields from the beginning have been written.
    pub const fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// Writes fields until none is left or `go_on`, called with the length of `out`, returns false. Returns whether
    /// none is left.
    pub fn go_on(&mut self, hash: HashRef<'_>, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        match hash.0 {
            Layout::Table(fields) if self.left > 0 => self.sweep(fields, out, go_on),
            // A hash stays a table until the key gets another value, and what was left was written before that.
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

    /// Call before `change` is applied: writes the fields that it changes. Returns whether the caller must first have
    /// all remaining fields written.
    pub fn save_before(&mut self, hash: HashRef<'_>, change: &Change<'_>, out: &mut Vec<u8>) -> bool {
        match (hash.0, change) {
            // The expiry is part of the entry's head, which has been written.
            (_, Change::SetExpiry(_)) => false,
            (Layout::Table(fields), Change::SetFields(changed) | Change::RemoveFields(changed)) => {
                self.save(fields, changed, out);
                // Removing the last field may delete the key.
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
