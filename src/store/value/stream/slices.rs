//! Writes a large stream to a snapshot in slices.
//!
//! The groups and consumers are written at the beginning. Then what is pending is swept group by group, and then the
//! events from the oldest to the newest. Before an edit, the old content of what it changes ahead of the sweep is
//! written: a pending delivery at once, for their order is free; events that are trimmed at once too, with all before
//! them. An event that is deleted alone is kept until its turn comes. Events and deliveries that are added after the
//! beginning are skipped.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use super::edits::size_of_event;
use super::group::Group;
use super::image::entry_of;
use super::{EventRef, EventStream, StreamRef};
use crate::encoding::edit::{Change, StreamChange};
use crate::encoding::entry::{Head, PENDING_BYTES, begin_stream, write_pending, write_stream_event};
use crate::encoding::event::EventId;
use crate::store::pace::{Pace, STEP};

/// Minimum size in bytes, in the snapshot, of a stream that is written in slices.
const LARGE: usize = 4 * STEP;

/// State of a stream's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Numbers of events and of pending deliveries from the beginning that are still to be written.
    events: u64,
    pending: u64,
    /// The groups of the beginning, in the order of the payload.
    groups: Vec<Captured>,
    /// Number of the group that the sweep has reached.
    group: usize,
    /// First event that the sweep has not reached, and the last one from the beginning.
    next: EventId,
    end: EventId,
    /// Events ahead of the sweep that were deleted, as they are written.
    deleted: BTreeMap<EventId, Vec<u8>>,
    /// Number of bytes in `deleted`.
    kept: usize,
}

/// State of the capture of one group.
struct Captured {
    name: Box<[u8]>,
    /// By number of a consumer: its position in the payload.
    positions: Vec<u32>,
    /// First event whose delivery the sweep has not reached; `None` once it has reached the end.
    next: Option<EventId>,
    /// Events ahead of the sweep that it must skip: already written, or delivered after the beginning.
    settled: HashSet<EventId>,
}

impl Captured {
    fn of(group: &Group) -> Self {
        let next = Some(EventId::ZERO);
        Self { name: group.name.clone(), positions: group.positions(), next, settled: HashSet::new() }
    }

    fn is_ahead(&self, id: EventId) -> bool {
        self.next.is_some_and(|next| id >= next)
    }
}

impl Slices {
    /// Begins the entry of a large stream; `None` for others.
    pub fn begin(head: Head<'_>, stream: StreamRef<'_>, out: &mut Vec<u8>) -> Option<Self> {
        let EventStream { groups, numbers, .. } = stream.0;
        let payload = stream.0.payload_bytes();
        if payload < LARGE {
            return None;
        }
        begin_stream(out, head, payload);
        stream.0.write_groups(out);
        let summary = stream.0.summary();
        Some(Self {
            events: summary.events,
            pending: summary.pending,
            groups: groups.iter().map(|group| Captured::of(group)).collect(),
            group: 0,
            next: EventId::ZERO,
            end: numbers.last,
            deleted: BTreeMap::new(),
            kept: 0,
        })
    }

    /// Whether exactly the stream from the beginning has been written.
    pub const fn is_whole(&self) -> bool {
        self.events == 0 && self.pending == 0
    }

    /// Number of bytes of deleted events that are kept.
    pub const fn kept(&self) -> usize {
        self.kept
    }

    /// Writes until nothing is left or `go_on`, called with the length of `out`, returns false. Returns whether nothing
    /// is left.
    pub fn go_on(&mut self, stream: StreamRef<'_>, out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        let mut pace = Pace::new();
        while self.group < self.groups.len() {
            if self.sweep_group(stream, &mut pace, out, go_on).is_break() {
                return self.is_whole();
            }
            self.group += 1;
        }
        let swept = self.sweep_events(stream, self.end, out, |bytes, out| pace.count(bytes, || go_on(out.len())));
        swept.is_continue() || self.is_whole()
    }

    /// Writes what is pending in the group that the sweep has reached.
    fn sweep_group(
        &mut self,
        stream: StreamRef<'_>,
        pace: &mut Pace,
        out: &mut Vec<u8>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> ControlFlow<()> {
        let captured = &mut self.groups[self.group];
        let (Some(from), Some(group)) = (captured.next, stream.group(&captured.name)) else {
            return ControlFlow::Continue(());
        };
        for pending in group.pending_from(from) {
            captured.next = pending.id.next();
            if captured.settled.remove(&pending.id) {
                continue;
            }
            write_pending(out, &entry_of(self.group as u32, &captured.positions, pending));
            self.pending = self.pending.wrapping_sub(1);
            pace.count(PENDING_BYTES, || go_on(out.len()))?;
        }
        captured.next = None;
        ControlFlow::Continue(())
    }

    /// Writes the events that the sweep has not reached, up to the id `to`, and those deleted among them.
    fn sweep_events(
        &mut self,
        stream: StreamRef<'_>,
        to: EventId,
        out: &mut Vec<u8>,
        mut count: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        stream.visit(self.next, to, |event| {
            self.write_deleted(event.id, out);
            write_event(out, event);
            self.events = self.events.wrapping_sub(1);
            // No event has the greatest id behind it.
            self.next = event.id.next().unwrap_or(EventId::MAX);
            count(size_of_event(event), &*out)
        })?;
        if let Some(after) = to.next() {
            self.write_deleted(after, out);
            self.next = self.next.max(after);
        }
        if to == self.end {
            // They may have greater ids than any that is left.
            while let Some((_, event)) = self.deleted.pop_first() {
                self.write_one_deleted(&event, out);
            }
        }
        ControlFlow::Continue(())
    }

    /// Writes the deleted events before the id `before`.
    fn write_deleted(&mut self, before: EventId, out: &mut Vec<u8>) {
        while let Some(first) = self.deleted.first_entry().filter(|first| *first.key() < before) {
            let event = first.remove();
            self.write_one_deleted(&event, out);
        }
    }

    fn write_one_deleted(&mut self, event: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(event);
        self.events = self.events.wrapping_sub(1);
        self.kept -= event.len();
    }

    /// Call before `change` is applied: writes what it changes. Returns whether the caller must first have all of the
    /// rest written.
    pub fn save_before(&mut self, stream: StreamRef<'_>, change: &Change<'_>, out: &mut Vec<u8>) -> bool {
        match change {
            // The expiry is part of the entry's head, which has been written.
            Change::SetExpiry(_) => false,
            Change::Stream(change) => {
                self.save(stream, change, out);
                false
            }
            _ => true,
        }
    }

    fn save(&mut self, stream: StreamRef<'_>, change: &StreamChange<'_>, out: &mut Vec<u8>) {
        match change {
            StreamChange::RemoveEvents { ids, pending_too, .. } => {
                for id in ids.iter() {
                    self.keep(stream, id);
                    if *pending_too {
                        (0..self.groups.len()).for_each(|group| self.settle(stream, group, id, out));
                    }
                }
            }
            StreamChange::TrimStream { through, pending_too } => {
                let through = (*through).min(self.end);
                if through >= self.next {
                    let _ = self.sweep_events(stream, through, out, |_, _| ControlFlow::Continue(()));
                }
                if *pending_too {
                    (0..self.groups.len()).for_each(|group| self.settle_all(stream, group, Some(through), out));
                }
            }
            StreamChange::RemoveGroup(name) => {
                if let Some(group) = self.position(name) {
                    self.settle_all(stream, group, None, out);
                    self.groups[group].next = None;
                }
            }
            StreamChange::PutConsumer(put) => {
                if let Some(group) = self.position(&put.group) {
                    put.pending.iter().for_each(|(id, _)| self.settle(stream, group, id, out));
                }
            }
            StreamChange::RemovePending { group, ids } => {
                if let Some(group) = self.position(group) {
                    ids.iter().for_each(|id| self.settle(stream, group, id, out));
                }
            }
            StreamChange::RemoveConsumer { group, consumer } => {
                let consumer = stream.group(group).and_then(|group| group.consumer_named(consumer));
                if let (Some(group), Some(consumer)) = (self.position(group), consumer) {
                    consumer.pending_from(EventId::ZERO).for_each(|id| self.settle(stream, group, id, out));
                }
            }
            // The events of the beginning up to there are gone, and those that are added may get their ids.
            StreamChange::SetStreamIds { last, .. } => {
                if stream.last().is_none_or(|event| event.id <= *last) {
                    self.end = self.end.min(*last);
                }
            }
            // What is added is not of the beginning; the numbers and groups of the beginning have been written.
            StreamChange::AddEvents { .. } | StreamChange::PutGroup { .. } => {}
        }
    }

    /// Position of the group of this name in the payload.
    fn position(&self, name: &[u8]) -> Option<usize> {
        self.groups.binary_search_by(|group| (*group.name).cmp(name)).ok()
    }

    /// Keeps an event ahead of the sweep, if it is of the beginning.
    fn keep(&mut self, stream: StreamRef<'_>, id: EventId) {
        if (self.next..=self.end).contains(&id)
            && let Some(event) = stream.get(id)
        {
            let mut written = Vec::new();
            write_event(&mut written, event);
            self.kept += written.len();
            self.deleted.insert(id, written);
        }
    }

    /// Writes the pending delivery of an event in a group ahead of the sweep, if there is one, and lets the sweep skip
    /// it.
    fn settle(&mut self, stream: StreamRef<'_>, group: usize, id: EventId, out: &mut Vec<u8>) {
        let captured = &mut self.groups[group];
        if !captured.is_ahead(id) || !captured.settled.insert(id) {
            return;
        }
        if let Some(pending) = stream.group(&captured.name).and_then(|group| group.pending(id)) {
            write_pending(out, &entry_of(group as u32, &captured.positions, pending));
            self.pending = self.pending.wrapping_sub(1);
        }
    }

    /// Settles all that is pending in a group ahead of the sweep, of the events up to the id `through`.
    fn settle_all(&mut self, stream: StreamRef<'_>, group: usize, through: Option<EventId>, out: &mut Vec<u8>) {
        let captured = &self.groups[group];
        let (Some(from), Some(own)) = (captured.next, stream.group(&captured.name)) else { return };
        let ids = own.pending_from(from).map(|pending| pending.id);
        for id in ids.take_while(|id| through.is_none_or(|through| *id <= through)) {
            self.settle(stream, group, id, out);
        }
    }
}

fn write_event(out: &mut Vec<u8>, event: EventRef<'_>) {
    write_stream_event(out, event.id, event.len(), event.fields());
}
