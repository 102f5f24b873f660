//! Values in the plain encodings: element by element, nothing packed or compressed. Every version of Redis reads them.

use super::input::{BITS_32, BITS_64};
use super::stream::{EventId, Stream};
use super::{listpack, types};

/// Version of the format of strings, lists, sets, sorted sets and hashes: that of Redis 5, which newer ones read.
pub const VERSION: u16 = 9;
/// Version of the format of streams whose consumers were active whenever they asked: that of Redis 7.0.
const VERSION_OF_STREAMS: u16 = 10;
/// Version of the format of other streams: that of Redis 7.2.
const VERSION_OF_ACTIVITY: u16 = 11;

/// Number of events from which on a listpack is full, as in Redis.
const EVENTS: u8 = 100;
/// Size in bytes from which on a listpack is full, as in Redis.
const EVENT_BYTES: usize = 4096;

/// Appends a number in the form of a length.
pub fn length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => number(out, length as u64),
    }
}

/// Appends a number of up to 64 bits in the form of a length.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    match u32::try_from(number) {
        Ok(small @ 0..0x4000) => length(out, small as usize),
        Ok(number) => {
            out.push(BITS_32);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Err(_) => {
            out.push(BITS_64);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a string: a value, an element, a name.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a member of a sorted set with its score, for [`types::ZSET_2`].
pub fn scored(out: &mut Vec<u8>, member: &[u8], score: f64) {
    string(out, member);
    out.extend_from_slice(&score.to_le_bytes());
}

/// Appends a stream, with the byte of its type. Returns the version of the format that readers must know: the lowest
/// that loses nothing.
pub fn stream(out: &mut Vec<u8>, stream: &Stream) -> u16 {
    let mut consumers = stream.groups.iter().flat_map(|group| &group.consumers);
    let tells_activity = consumers.any(|consumer| consumer.active != Some(consumer.seen));
    out.push(if tells_activity { types::STREAM_LISTPACKS_3 } else { types::STREAM_LISTPACKS_2 });
    events(out, stream);
    number(out, stream.events.len() as u64);
    id(out, stream.last);
    id(out, stream.events.iter().next().map_or(EventId::default(), |first| first.id));
    id(out, stream.greatest_deleted);
    number(out, stream.added);
    length(out, stream.groups.len());
    for group in &stream.groups {
        string(out, &group.name);
        id(out, group.last_delivered);
        number(out, group.read.unwrap_or(u64::MAX));
        let mut pending: Vec<_> = group.consumers.iter().flat_map(|consumer| &consumer.pending).collect();
        pending.sort_unstable_by_key(|pending| pending.id);
        length(out, pending.len());
        for pending in pending {
            raw_id(out, pending.id);
            out.extend_from_slice(&pending.delivered_at.to_le_bytes());
            number(out, pending.deliveries);
        }
        length(out, group.consumers.len());
        for consumer in &group.consumers {
            string(out, &consumer.name);
            out.extend_from_slice(&consumer.seen.to_le_bytes());
            if tells_activity {
                // A time of -1 means "never".
                out.extend_from_slice(&consumer.active.unwrap_or(u64::MAX).to_le_bytes());
            }
            length(out, consumer.pending.len());
            consumer.pending.iter().for_each(|pending| raw_id(out, pending.id));
        }
    }
    if tells_activity { VERSION_OF_ACTIVITY } else { VERSION_OF_STREAMS }
}

fn id(out: &mut Vec<u8>, id: EventId) {
    number(out, id.ms);
    number(out, id.seq);
}

fn raw_id(out: &mut Vec<u8>, id: EventId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

/// Appends the events of a stream in listpacks, with the number of listpacks before them.
fn events(out: &mut Vec<u8>, stream: &Stream) {
    // The number is filled in when it is known, so it gets the form that holds any.
    let start = out.len();
    out.extend_from_slice(&[BITS_32, 0, 0, 0, 0]);
    let (mut listpacks, mut in_it) = (0u32, 0);
    let (mut listpack, mut base) = (listpack::Writer::default(), EventId::default());
    let mut end = |listpack: &mut listpack::Writer, base, in_it: u8| {
        listpack.set_first(in_it);
        listpacks += 1;
        length(out, 16);
        raw_id(out, base);
        string(out, &listpack.finish());
    };
    let mut names: Vec<&[u8]> = Vec::new();
    for event in stream.events.iter() {
        if in_it == EVENTS || listpack.len() >= EVENT_BYTES {
            end(&mut listpack, base, std::mem::take(&mut in_it));
        }
        if in_it == 0 {
            base = event.id;
            names = event.fields.iter().map(|(name, _)| *name).collect();
            listpack.integer(0);
            listpack.integer(0);
            listpack.integer(names.len() as i64);
            names.iter().for_each(|name| listpack.text(name));
            listpack.integer(0);
        }
        in_it += 1;
        let same = names.iter().copied().eq(event.fields.iter().map(|(name, _)| *name));
        listpack.integer(if same { 2 } else { 0 });
        listpack.integer(event.id.ms.wrapping_sub(base.ms).cast_signed());
        listpack.integer(event.id.seq.wrapping_sub(base.seq).cast_signed());
        let len = event.fields.len() as i64;
        if !same {
            listpack.integer(len);
        }
        for (name, value) in &event.fields {
            if !same {
                listpack.text(name);
            }
            listpack.text(value);
        }
        listpack.integer(if same { 3 + len } else { 4 + 2 * len });
    }
    if in_it > 0 {
        end(&mut listpack, base, in_it);
    }
    out[start + 1..start + 5].copy_from_slice(&listpacks.to_be_bytes());
}
