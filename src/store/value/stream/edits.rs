//! Edits of streams.

use super::block::{Block, EventRef};
use super::group::{Group, Pending};
use super::pages::Pages;
use super::{EventStream, Numbers, digest};
use crate::config::Packing;
use crate::encoding::edit::{Assignment, EventIds, StreamChange};
use crate::encoding::entry::EVENT_MARK_BYTES;
use crate::encoding::event::{EventId, Events, event_bytes};
use crate::store::change::{Changed, Contradiction, Key, MISSING, TOO_LONG, Tools, fit};
use crate::store::table::Record;
use crate::store::value::form::Structure;

const NOT_A_STREAM: Contradiction = "it does not hold a stream";
const NO_GROUP: Contradiction = "its stream has no such consumer group";
const NOT_NEWER: Contradiction = "its stream has had the id of the event, or a greater one";
const TOO_SMALL: Contradiction = "its stream has an event with a greater id";

/// Bytes at which a block is full if no setting says so: parsing it is to take well below a millisecond.
const LARGEST_BLOCK: usize = 1 << 20;

/// Applies a change to a key that does not exist. Returns the record and the digest of the stream that the change
/// creates; `None` if it creates none.
///
/// # Errors
/// If the change requires an existing stream, or something in it is too long.
pub(in crate::store::value) fn create(
    key: Key<'_>,
    change: &StreamChange<'_>,
    tools: &Tools<'_>,
) -> Result<Option<(Record, u64)>, Contradiction> {
    match change {
        StreamChange::AddEvents { .. } | StreamChange::PutGroup { .. } => {
            if !fit(key.bytes) {
                return Err(TOO_LONG);
            }
            let mut stream = EventStream::new(Numbers::default());
            stream.change(change, &tools.packing)?;
            let digest = stream.digest;
            let structure = Box::new(Structure::Stream(Box::new(stream)));
            Ok(Some((Record::with_structure(key.bytes, structure, None, tools.clock), digest)))
        }
        StreamChange::SetStreamIds { .. } | StreamChange::PutConsumer(_) => Err(MISSING),
        StreamChange::RemoveEvents { .. }
        | StreamChange::TrimStream { .. }
        | StreamChange::RemoveGroup(_)
        | StreamChange::RemoveConsumer { .. }
        | StreamChange::RemovePending { .. } => Ok(None),
    }
}

/// Applies a change to the record's stream.
///
/// # Errors
/// If the change contradicts what the record holds; then nothing has changed.
pub(in crate::store::value) fn change(
    record: &mut Record,
    change: &StreamChange<'_>,
    tools: &Tools<'_>,
) -> Result<Changed, Contradiction> {
    let Some(Structure::Stream(stream)) = record.structure_mut() else { return Err(NOT_A_STREAM) };
    let before = stream.digest;
    let removed = stream.change(change, &tools.packing)?;
    let replaced = removed.map(|stream| Box::new(Structure::Stream(stream)));
    Ok(Changed { digest: stream.digest.wrapping_sub(before), replaced, is_empty: false })
}

impl EventStream {
    /// Makes a stream without events.
    pub(super) fn new(numbers: Numbers) -> Self {
        let Numbers { last, greatest_deleted, added } = numbers;
        let digest = digest::numbers(last, greatest_deleted, added);
        Self { digest, ..Self::of_parts(numbers, Pages::default(), Pages::default()) }
    }

    /// Makes a stream of blocks and groups whose digest nobody needs.
    fn of_parts(numbers: Numbers, sealed: Pages<Block>, groups: Pages<Box<Group>>) -> Self {
        Self {
            numbers,
            len: 0,
            written: 0,
            digest: 0,
            block_memory: sealed.iter().map(Block::memory).sum(),
            sealed,
            tail: None,
            group_memory: groups.iter().map(|group| group.memory()).sum(),
            groups,
        }
    }

    /// Applies a change. Returns the blocks or the group that the stream has lost, as a stream.
    fn change(&mut self, change: &StreamChange<'_>, packing: &Packing) -> Result<Option<Box<Self>>, Contradiction> {
        match change {
            StreamChange::AddEvents { events, added } => self.add(events, *added, packing)?,
            StreamChange::RemoveEvents { ids, greatest_deleted, pending_too } => {
                self.remove(ids, *pending_too);
                self.set_numbers(Numbers { greatest_deleted: *greatest_deleted, ..self.numbers });
            }
            StreamChange::TrimStream { through, pending_too } => return Ok(self.trim(*through, *pending_too)),
            StreamChange::SetStreamIds { last, greatest_deleted, added } => {
                if self.last_event().is_some_and(|event| event.id > *last) {
                    return Err(TOO_SMALL);
                }
                self.set_numbers(Numbers { last: *last, greatest_deleted: *greatest_deleted, added: *added });
            }
            StreamChange::PutGroup { group, last_delivered, read } => {
                self.put_group(group, *last_delivered, *read)?;
            }
            StreamChange::RemoveGroup(group) => return Ok(self.remove_group(group)),
            StreamChange::PutConsumer(assignment) => self.put_consumer(assignment)?,
            StreamChange::RemoveConsumer { group, consumer } => {
                self.in_group(group, |group| group.remove_consumer(consumer));
            }
            StreamChange::RemovePending { group, ids } => {
                self.in_group(group, |group| ids.iter().for_each(|id| group.remove_pending(id)));
            }
        }
        Ok(None)
    }

    fn set_numbers(&mut self, numbers: Numbers) {
        let of = |n: Numbers| digest::numbers(n.last, n.greatest_deleted, n.added);
        self.digest = self.digest.wrapping_sub(of(self.numbers)).wrapping_add(of(numbers));
        self.numbers = numbers;
    }

    fn last_event(&self) -> Option<EventRef<'_>> {
        self.tail.as_ref()?.iter().last()
    }

    fn add(&mut self, events: &Events<'_>, added: u64, packing: &Packing) -> Result<(), Contradiction> {
        if events.iter().next().is_some_and(|first| first.id <= self.numbers.last) {
            return Err(NOT_NEWER);
        }
        if !events.iter().all(|event| event.fields().all(|(name, value)| fit(name) && fit(value))) {
            return Err(TOO_LONG);
        }
        let mut last = self.numbers.last;
        for event in events.iter() {
            self.push(event.id, event.len(), event.fields(), packing);
            last = event.id;
        }
        self.set_numbers(Numbers { last, added, ..self.numbers });
        Ok(())
    }

    /// Adds an event whose id is greater than those of the others.
    pub(super) fn push<'f>(
        &mut self,
        id: EventId,
        len: usize,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        packing: &Packing,
    ) {
        let content = fields.clone().map(|(name, value)| name.len() + value.len()).sum();
        if let Some(full) = self.tail.take_if(|tail| is_full(tail, content, packing)) {
            self.seal(full);
        }
        let tail = self.tail.get_or_insert_with(|| Block::new(id, len, fields.clone().map(|(name, _)| name)));
        let before = if tail.is_empty() { 0 } else { tail.memory() };
        let (digest, written) = (digest::event(id, fields.clone()), EVENT_MARK_BYTES + event_bytes(len, content));
        tail.push(id, len, fields);
        tail.digest = tail.digest.wrapping_add(digest);
        tail.written += written;
        self.block_memory = self.block_memory - before + tail.memory();
        self.digest = self.digest.wrapping_add(digest);
        self.written += written;
        self.len += 1;
    }

    fn seal(&mut self, mut block: Block) {
        self.block_memory -= block.memory();
        block.seal();
        self.block_memory += block.memory();
        self.sealed.push(block);
    }

    /// Makes the last sealed block the tail, if the stream has lost its tail.
    fn restore_tail(&mut self) {
        if self.tail.is_none() {
            self.tail = self.sealed.pop();
        }
    }

    fn remove(&mut self, ids: &EventIds<'_>, pending_too: bool) {
        for id in ids.iter() {
            self.remove_event(id);
        }
        if pending_too {
            self.in_every_group(|group| ids.iter().for_each(|id| group.remove_pending(id)));
        }
    }

    fn remove_event(&mut self, id: EventId) {
        let measure = |event: EventRef<'_>| (digest::event(event.id, event.fields()), size_of_event(event));
        let in_tail = self.tail.as_ref().is_some_and(|tail| tail.base <= id);
        let place = if in_tail { None } else { Some(self.sealed.search(|block| block.base.cmp(&id))) };
        let place = place.map(|place| place.unwrap_or_else(Pages::<Block>::before));
        let block = match place {
            None => self.tail.as_mut(),
            Some(place) => self.sealed.get_mut(place),
        };
        let Some(block) = block else { return };
        let before = block.memory();
        let Some((digest, written)) = block.remove(id, measure) else { return };
        if place.is_some() {
            block.seal();
        }
        let (is_empty, after) = (block.is_empty(), block.memory());
        self.block_memory = self.block_memory - before + if is_empty { 0 } else { after };
        self.len -= 1;
        self.digest = self.digest.wrapping_sub(digest);
        self.written -= written;
        match place {
            Some(place) if is_empty => drop(self.sealed.remove(place)),
            None if is_empty => {
                self.tail = None;
                self.restore_tail();
            }
            _ => {}
        }
    }

    /// Removes the events up to the id `through`.
    fn trim(&mut self, through: EventId, pending_too: bool) -> Option<Box<Self>> {
        if pending_too {
            self.remove_pending_through(through);
        }
        let cut = if self.tail.as_ref().is_none_or(|tail| tail.base <= through) {
            std::mem::take(&mut self.sealed)
        } else {
            let place = self.sealed.search(|block| block.base.cmp(&through)).unwrap_or_else(Pages::<Block>::before);
            self.sealed.cut(place)
        };
        for block in cut.iter() {
            self.len -= block.len();
            self.digest = self.digest.wrapping_sub(block.digest);
            self.written -= block.written;
            self.block_memory -= block.memory();
        }
        self.trim_first(through);
        (!cut.is_empty()).then(|| Box::new(Self::of_parts(Numbers::default(), cut, Pages::default())))
    }

    /// Removes the events up to the id `through` from the first block.
    fn trim_first(&mut self, through: EventId) {
        let measure = |event: EventRef<'_>| (digest::event(event.id, event.fields()), size_of_event(event));
        let first = Pages::<Block>::FIRST;
        let in_tail = self.sealed.is_empty();
        let block = if in_tail { self.tail.as_mut() } else { self.sealed.get_mut(first) };
        let Some(block) = block.filter(|block| block.base <= through) else { return };
        let (len, before) = (block.len(), block.memory());
        let (digest, written) = block.trim(through, measure);
        if !in_tail {
            block.seal();
        }
        self.len -= len - block.len();
        self.digest = self.digest.wrapping_sub(digest);
        self.written -= written;
        let (is_empty, after) = (block.is_empty(), block.memory());
        self.block_memory = self.block_memory - before + if is_empty { 0 } else { after };
        match (is_empty, in_tail) {
            (true, true) => self.tail = None,
            (true, false) => drop(self.sealed.remove(first)),
            (false, _) => {}
        }
    }

    /// Removes from every group what is pending of the events up to the id `through`.
    fn remove_pending_through(&mut self, through: EventId) {
        let mut names: Vec<(Box<[u8]>, Vec<EventId>)> = Vec::new();
        for group in self.groups.iter() {
            let pending = group.pending_from(EventId::ZERO).map(|pending| pending.id);
            let here = pending.take_while(|id| *id <= through).filter(|id| super::StreamRef(self).get(*id).is_some());
            names.push((group.name.clone(), here.collect()));
        }
        for (name, ids) in names {
            self.in_group(&name, |group| ids.into_iter().for_each(|id| group.remove_pending(id)));
        }
    }

    fn put_group(&mut self, name: &[u8], last_delivered: EventId, read: Option<u64>) -> Result<(), Contradiction> {
        let Err(place) = self.groups.search(|group| (*group.name).cmp(name)) else {
            self.in_group(name, |group| group.set(last_delivered, read));
            return Ok(());
        };
        if !fit(name) {
            return Err(TOO_LONG);
        }
        let group = Box::new(Group::new(name, last_delivered, read));
        self.digest = self.digest.wrapping_add(group.digest);
        self.group_memory += group.memory();
        self.groups.insert(place, group);
        Ok(())
    }

    fn remove_group(&mut self, name: &[u8]) -> Option<Box<Self>> {
        let place = self.groups.search(|group| (*group.name).cmp(name)).ok()?;
        let group = self.groups.remove(place);
        self.digest = self.digest.wrapping_sub(group.digest);
        self.group_memory -= group.memory();
        let mut groups = Pages::default();
        groups.push(group);
        Some(Box::new(Self::of_parts(Numbers::default(), Pages::default(), groups)))
    }

    fn put_consumer(&mut self, put: &Assignment<'_>) -> Result<(), Contradiction> {
        if !fit(&put.consumer) {
            return Err(TOO_LONG);
        }
        let found = self.in_group(&put.group, |group| {
            let consumer = group.put_consumer(&put.consumer, put.seen, put.active);
            for (id, deliveries) in put.pending.iter() {
                group.put_pending(Pending { id, delivered_at: put.delivered_at, deliveries, consumer });
            }
        });
        if found { Ok(()) } else { Err(NO_GROUP) }
    }

    /// Changes a group. Returns whether there is one of this name.
    pub(super) fn in_group(&mut self, name: &[u8], change: impl FnOnce(&mut Group)) -> bool {
        let Ok(place) = self.groups.search(|group| (*group.name).cmp(name)) else { return false };
        let Some(group) = self.groups.get_mut(place) else { return false };
        let (digest, memory) = (group.digest, group.memory());
        change(group);
        self.digest = self.digest.wrapping_sub(digest).wrapping_add(group.digest);
        self.group_memory = self.group_memory - memory + group.memory();
        true
    }

    fn in_every_group(&mut self, mut change: impl FnMut(&mut Group)) {
        let names: Vec<Box<[u8]>> = self.groups.iter().map(|group| group.name.clone()).collect();
        for name in names {
            self.in_group(&name, &mut change);
        }
    }
}

/// Whether an event whose names and values have `content` bytes begins a new block.
pub(super) fn is_full(block: &Block, content: usize, packing: &Packing) -> bool {
    let (bytes, events) = (packing.stream_block_bytes as usize, packing.stream_block_entries as usize);
    let bytes = if bytes == 0 { LARGEST_BLOCK } else { bytes };
    block.bytes() + content >= bytes || events > 0 && block.added() >= events
}

/// Size of an event in a snapshot, in bytes.
pub(super) fn size_of_event(event: EventRef<'_>) -> usize {
    let content = event.fields().map(|(name, value)| name.len() + value.len()).sum();
    EVENT_MARK_BYTES + event_bytes(event.len(), content)
}
