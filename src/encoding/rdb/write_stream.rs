//! Streams, written part by part: the byte of the type, the events ([`EventWriter`]), the numbers ([`numbers`]), and
//! for each group the group ([`group`]), what is pending ([`pending`]) and its consumers ([`consumer`]).

use super::input::BITS_32;
use super::listpack;
use super::stream::SAME_FIELDS;
use super::types;
use super::write::{length, number, string};
use crate::encoding::entry::Summary;
use crate::encoding::event::EventId;

/// Number of events from which on a listpack is full, as in Redis.
const EVENTS: u8 = 100;
/// Size in bytes from which on a listpack is full, as in Redis.
const EVENT_BYTES: usize = 4096;

/// Form in which a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Consumers were active whenever they asked: Redis 7.0 reads it.
    Plain,
    /// Each consumer says when it was last active: Redis 7.2 reads it.
    WithActivity,
}

impl Form {
    /// The form that the oldest servers read and that loses nothing of consumers with these times of being seen and
    /// being active.
    pub fn of(mut consumers: impl Iterator<Item = (u64, Option<u64>)>) -> Self {
        if consumers.any(|(seen, active)| active != Some(seen)) { Self::WithActivity } else { Self::Plain }
    }

    /// Byte of the type.
    pub const fn kind(self) -> u8 {
        match self {
            Self::Plain => types::STREAM_LISTPACKS_2,
            Self::WithActivity => types::STREAM_LISTPACKS_3,
        }
    }

    /// Version of the format that readers must know.
    pub const fn version(self) -> u16 {
        match self {
            Self::Plain => 10,
            Self::WithActivity => 11,
        }
    }
}

/// Writes a stream's events in listpacks, with the number of listpacks before them.
#[derive(Debug)]
pub struct EventWriter<'e> {
    /// Where the number of listpacks stands, and the number so far.
    start: usize,
    listpacks: u32,
    /// The listpack that is being written: its events so far, its id, and the names of its first event's fields.
    listpack: listpack::Writer,
    events: u8,
    base: EventId,
    names: Vec<&'e [u8]>,
    /// Id of the first event; 0-0 if there is none.
    first: EventId,
}

impl<'e> EventWriter<'e> {
    /// Begins the events at the end of `out`.
    pub fn new(out: &mut Vec<u8>) -> Self {
        let start = out.len();
        // The number is filled in when it is known, so it gets the form that holds any.
        out.extend_from_slice(&[BITS_32, 0, 0, 0, 0]);
        let (listpack, base, first) = (listpack::Writer::default(), EventId::ZERO, EventId::ZERO);
        Self { start, listpacks: 0, listpack, events: 0, base, names: Vec::new(), first }
    }

    /// Adds an event with `len` fields, whose id is greater than those before.
    pub fn push<I>(&mut self, out: &mut Vec<u8>, id: EventId, len: usize, fields: I)
    where
        I: Iterator<Item = (&'e [u8], &'e [u8])> + Clone,
    {
        if self.events == EVENTS || self.listpack.len() >= EVENT_BYTES {
            self.end_listpack(out);
        }
        if self.events == 0 {
            self.begin_listpack(id, fields.clone().map(|(name, _)| name));
        }
        self.events += 1;
        let (listpack, len) = (&mut self.listpack, len as i64);
        let same = self.names.iter().copied().eq(fields.clone().map(|(name, _)| name));
        listpack.integer(if same { SAME_FIELDS } else { 0 });
        listpack.integer(id.ms.wrapping_sub(self.base.ms).cast_signed());
        listpack.integer(id.seq.wrapping_sub(self.base.seq).cast_signed());
        if !same {
            listpack.integer(len);
        }
        for (name, value) in fields {
            if !same {
                listpack.text(name);
            }
            listpack.text(value);
        }
        listpack.integer(if same { 3 + len } else { 4 + 2 * len });
    }

    fn begin_listpack(&mut self, base: EventId, names: impl Iterator<Item = &'e [u8]>) {
        self.base = base;
        if self.listpacks == 0 {
            self.first = base;
        }
        self.names.clear();
        self.names.extend(names);
        // Numbers of events, which is filled in at the end, and of deleted events.
        self.listpack.integer(0);
        self.listpack.integer(0);
        self.listpack.integer(self.names.len() as i64);
        self.names.iter().for_each(|name| self.listpack.text(name));
        self.listpack.integer(0);
    }

    fn end_listpack(&mut self, out: &mut Vec<u8>) {
        self.listpack.set_first(std::mem::take(&mut self.events));
        self.listpacks += 1;
        length(out, EventId::BYTES);
        raw_id(out, self.base);
        string(out, &self.listpack.finish());
    }

    /// Completes the events. Returns the id of the first one; 0-0 if there is none.
    pub fn finish(mut self, out: &mut Vec<u8>) -> EventId {
        if self.events > 0 {
            self.end_listpack(out);
        }
        out[self.start + 1..self.start + 5].copy_from_slice(&self.listpacks.to_be_bytes());
        self.first
    }
}

/// Appends the numbers of a stream whose first event has the id `first`, up to the number of its groups.
pub fn numbers(out: &mut Vec<u8>, first: EventId, summary: &Summary) {
    number(out, summary.events);
    id(out, summary.last);
    id(out, first);
    id(out, summary.greatest_deleted);
    number(out, summary.added);
    number(out, summary.groups.into());
}

/// Appends a group up to the number of its pending deliveries; these must follow, by id, and then, with [`length`], the
/// number of its consumers.
pub fn group(out: &mut Vec<u8>, name: &[u8], last_delivered: EventId, read: Option<u64>, pending: usize) {
    string(out, name);
    id(out, last_delivered);
    number(out, read.unwrap_or(u64::MAX));
    length(out, pending);
}

/// Appends a pending delivery of a group.
pub fn pending(out: &mut Vec<u8>, id: EventId, delivered_at: u64, deliveries: u64) {
    raw_id(out, id);
    out.extend_from_slice(&delivered_at.to_le_bytes());
    number(out, deliveries);
}

/// Appends a consumer, with the ids of what is pending with it.
pub fn consumer(
    out: &mut Vec<u8>,
    form: Form,
    (name, seen, active): (&[u8], u64, Option<u64>),
    pending: (usize, impl Iterator<Item = EventId>),
) {
    string(out, name);
    out.extend_from_slice(&seen.to_le_bytes());
    if form == Form::WithActivity {
        // A time of -1 means "never".
        out.extend_from_slice(&active.unwrap_or(u64::MAX).to_le_bytes());
    }
    length(out, pending.0);
    pending.1.for_each(|id| raw_id(out, id));
}

fn id(out: &mut Vec<u8>, id: EventId) {
    number(out, id.ms);
    number(out, id.seq);
}

fn raw_id(out: &mut Vec<u8>, id: EventId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}
