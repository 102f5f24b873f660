//! Writes a large stream to a snapshot in slices.
//!
//! The groups and consumers are written at the beginning. Then what is pending is swept group by group, and then the
//! events from the oldest to the newest. Before an edit, the old content of what it changes ahead of the sweep is
//! written: a pending delivery at once, for their order is free. An event that is deleted alone is kept until its turn
//! comes; so are blocks of events that are trimmed, and a group that is removed, as they are. Events and deliveries
//! that are added after the beginning are skipped.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use super::block::Block;
use super::edits::size_of_event;
use super::group::Group;
use super::image::entry_of;
use super::{EventRef, EventStream, StreamRef};
use crate::encoding::edit::{Change, StreamChange};
use crate::encoding::entry::{Head, PENDING_BYTES, begin_stream, write_pending, write_stream_event};
use crate::encoding::event::EventId;
use crate::store::pace::{Pace, STEP};
use crate::store::value::Saved;

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
    /// Blocks that were trimmed, from the oldest to the newest, each with the last event that is of the beginning. All
    /// their events come before those of the stream.
    trimmed: Vec<(Box<EventStream>, EventId)>,
}

/// State of the capture of one group.
struct Captured {
    name: Box<[u8]>,
    /// The group, once it was removed from the stream.
    removed: Option<Box<EventStream>>,
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
        let (name, positions) = (group.name.clone(), group.positions());
        Self { name, removed: None, positions, next, settled: HashSet::new() }
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
            trimmed: Vec::new(),
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
        let trimmed = std::mem::take(&mut self.trimmed);
        let parts = trimmed.iter().map(|(part, end)| (StreamRef::of(part), *end));
        let swept = parts
            .chain([(stream, self.end)])
            .try_for_each(|part| self.sweep_events(part, out, |bytes, out| pace.count(bytes, || go_on(out.len()))));
        self.trimmed = trimmed;
        if swept.is_continue() {
            // Events that were deleted behind all those that are left.
            while let Some((_, event)) = self.deleted.pop_first() {
                self.write_one_deleted(&event, out);
            }
        }
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
        let Captured { name, removed, positions, next, settled } = &mut self.groups[self.group];
        let stream = removed.as_deref().map_or(stream, StreamRef::of);
        let (Some(from), Some(group)) = (*next, stream.group(name)) else { return ControlFlow::Continue(()) };
        for pending in group.pending_from(from) {
            *next = pending.id.next();
            if settled.remove(&pending.id) {
                continue;
            }
            write_pending(out, &entry_of(self.group as u32, positions, pending));
            self.pending = self.pending.wrapping_sub(1);
            pace.count(PENDING_BYTES, || go_on(out.len()))?;
        }
        *next = None;
        ControlFlow::Continue(())
    }

    /// Writes the events of a part of the stream, up to its last one of the beginning, that the sweep has not reached;
    /// and those deleted among them.
    fn sweep_events(
        &mut self,
        (part, end): (StreamRef<'_>, EventId),
        out: &mut Vec<u8>,
        mut count: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        part.visit(self.next, end, |event| {
            self.write_deleted(event.id, out);
            write_event(out, event);
            self.events = self.events.wrapping_sub(1);
            // No event has the greatest id behind it.
            self.next = event.id.next().unwrap_or(EventId::MAX);
            count(size_of_event(event), &*out)
        })
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

    /// Call before `change` is applied: writes or keeps what it changes.
    pub fn save_before(&mut self, stream: StreamRef<'_>, change: &Change<'_>, out: &mut Vec<u8>) -> Saved {
        match change {
            // The expiry is part of the entry's head, which has been written.
            Change::SetExpiry(_) => Saved::All,
            Change::Stream(change) => {
                self.save(stream, change, out);
                let cuts = matches!(change, StreamChange::TrimStream { .. } | StreamChange::RemoveGroup(_));
                if cuts { Saved::ButParts } else { Saved::All }
            }
            _ => Saved::NotRest,
        }
    }

    /// Takes in blocks that were trimmed, or a group that was removed. Returns them if nothing of them is needed.
    pub fn claim(&mut self, part: Box<EventStream>) -> Option<Box<EventStream>> {
        let Some(group) = part.groups.last() else {
            self.trimmed.push((part, self.end));
            return None;
        };
        let Some(at) = self.position(&group.name).filter(|at| self.groups[*at].next.is_some()) else {
            return Some(part);
        };
        self.groups[at].removed = Some(part);
        None
    }

    /// Whether parts were claimed.
    pub fn owns_parts(&self) -> bool {
        !self.trimmed.is_empty() || self.groups.iter().any(|group| group.removed.is_some())
    }

    /// The parts that were claimed.
    pub fn into_parts(self) -> impl Iterator<Item = Box<EventStream>> {
        self.groups.into_iter().filter_map(|group| group.removed).chain(self.trimmed.into_iter().map(|(part, _)| part))
    }

    fn save(&mut self, stream: StreamRef<'_>, change: &StreamChange<'_>, out: &mut Vec<u8>) {
        match change {
            StreamChange::RemoveEvents { ids, pending_too, .. } => {
                for id in ids.iter() {
                    stream.get(id).into_iter().for_each(|event| self.keep(event));
                    if *pending_too {
                        (0..self.groups.len()).for_each(|group| self.settle(stream, group, id, out));
                    }
                }
            }
            StreamChange::TrimStream { through, pending_too } => {
                // Blocks all of whose events are trimmed are claimed; of the last one, some may stay.
                let last = stream.0.blocks_to(*through).next().into_iter().flat_map(Block::iter);
                last.take_while(|event| event.id <= *through).for_each(|event| self.keep(event));
                if *pending_too {
                    (0..self.groups.len()).for_each(|group| self.settle_through(stream, group, *through, out));
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
            // What is added is not of the beginning; the numbers and groups of the beginning have been written, and a
            // group that is removed is claimed.
            StreamChange::AddEvents { .. } | StreamChange::PutGroup { .. } | StreamChange::RemoveGroup(_) => {}
        }
    }

    /// Position in the payload of the group of this name, if it is still the stream's.
    fn position(&self, name: &[u8]) -> Option<usize> {
        let at = self.groups.binary_search_by(|group| (*group.name).cmp(name)).ok()?;
        self.groups[at].removed.is_none().then_some(at)
    }

    /// Keeps an event ahead of the sweep, if it is of the beginning.
    fn keep(&mut self, event: EventRef<'_>) {
        if (self.next..=self.end).contains(&event.id) {
            let mut written = Vec::new();
            write_event(&mut written, event);
            self.kept += written.len();
            self.deleted.insert(event.id, written);
        }
    }

    /// Writes the pending delivery of an event in a group ahead of the sweep, if there is one, and lets the sweep skip
    /// it.
    fn settle(&mut self, stream: StreamRef<'_>, group: usize, id: EventId, out: &mut Vec<u8>) {
        let captured = &mut self.groups[group];
        if captured.removed.is_some() || !captured.is_ahead(id) || !captured.settled.insert(id) {
            return;
        }
        if let Some(pending) = stream.group(&captured.name).and_then(|group| group.pending(id)) {
            write_pending(out, &entry_of(group as u32, &captured.positions, pending));
            self.pending = self.pending.wrapping_sub(1);
        }
    }

    /// Settles what is pending in a group ahead of the sweep, of the events up to the id `through`.
    fn settle_through(&mut self, stream: StreamRef<'_>, group: usize, through: EventId, out: &mut Vec<u8>) {
        let captured = &self.groups[group];
        let (Some(from), Some(own)) = (captured.next, stream.group(&captured.name)) else { return };
        for id in own.pending_from(from).map(|pending| pending.id).take_while(|id| *id <= through) {
            self.settle(stream, group, id, out);
        }
    }
}

fn write_event(out: &mut Vec<u8>, event: EventRef<'_>) {
    write_stream_event(out, event.id, event.len(), event.fields());
}
