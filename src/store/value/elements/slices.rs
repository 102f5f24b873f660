//! Writes a value that has a table of elements to a snapshot in slices.
//!
//! The elements are swept like the keys of a slot ([`crate::store::capture`]), and only the old content of edited
//! elements must be written before an edit. A single element is written in one go.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::{Element, ElementTable};
use crate::encoding::edit::Change;
use crate::store::pace::Pace;

/// Appends an element to a snapshot.
pub(in crate::store::value) type Write = fn(&mut Vec<u8>, Element<'_>);

/// State of the capture of a table of elements for a snapshot.
pub(in crate::store) struct Slices {
    write: Write,
    /// Number of elements from the beginning that are still to be written.
    left: usize,
    /// Turn that the sweep has reached.
    turn: u32,
    /// Names of elements ahead of the sweep that it must skip: already written, or created after the capture began.
    settled: HashSet<Box<[u8]>>,
}

impl Slices {
    /// Begins the capture of a table whose entry has been begun; `write` appends an element to it.
    pub fn new(elements: &ElementTable, write: Write) -> Self {
        Self { write, left: elements.len(), turn: 0, settled: HashSet::new() }
    }

    /// Whether exactly the elements from the beginning have been written.
    pub const fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// Writes elements until none is left or `go_on`, called with the length of `out`, returns false. Returns whether
    /// none is left. `elements` is the key's current table, if it has one.
    pub fn go_on(
        &mut self,
        elements: Option<&ElementTable>,
        out: &mut Vec<u8>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        match elements {
            Some(elements) if self.left > 0 => self.sweep(elements, out, go_on),
            // A value keeps its table as long as it is captured.
            _ => true,
        }
    }

    fn sweep(&mut self, elements: &ElementTable, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        self.settled.retain(|name| elements.turn(name) >= self.turn);
        let mut pace = Pace::new();
        let mut next = Some(self.turn);
        while let Some(turn) = next {
            self.turn = turn;
            let mut visited = Vec::new();
            let (settled, write) = (&self.settled, self.write);
            let swept = elements.sweep(turn, |element| {
                if settled.contains(element.name) {
                    return ControlFlow::Continue(());
                }
                write(out, element);
                visited.push(element.name);
                pace.count(element.len(), || go_on(out.len()))
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

    /// Call before `change` is applied to the key, whose current table is `elements`: writes the elements that it
    /// changes. Returns whether the caller must first have all remaining elements written.
    pub fn save_before(&mut self, elements: Option<&ElementTable>, change: &Change<'_>, out: &mut Vec<u8>) -> bool {
        match (elements, change) {
            // The expiry is part of the entry's head, which has been written.
            (_, Change::SetExpiry(_)) => return false,
            (
                Some(elements),
                Change::SetFields(fields)
                | Change::RemoveFields(fields)
                | Change::ExpireFields(fields)
                | Change::SetFieldExpiry { fields, .. },
            ) => self.save(elements, fields.iter().map(|(name, _)| name), out),
            (Some(elements), Change::SetExpiringFields(fields)) => {
                self.save(elements, fields.iter().map(|(name, ..)| name), out);
            }
            (Some(elements), Change::AddMembers(members) | Change::RemoveMembers(members)) => {
                self.save(elements, members.iter(), out);
            }
            _ => return true,
        }
        // Removing the last element may delete the key.
        self.left == 0
    }

    fn save<'n>(&mut self, elements: &ElementTable, changed: impl Iterator<Item = &'n [u8]>, out: &mut Vec<u8>) {
        for name in changed {
            if elements.turn(name) < self.turn || !self.settled.insert(name.into()) {
                continue;
            }
            if let Some(element) = elements.find(name) {
                (self.write)(out, element);
                self.left = self.left.wrapping_sub(1);
            }
        }
    }
}
