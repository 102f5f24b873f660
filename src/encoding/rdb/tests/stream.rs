//! Streams for the tests of values: in words, written, and made at random.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::write;
use super::super::write_stream::{self, EventWriter, Form};
use super::shown;
use crate::encoding::edit::Fields;
use crate::encoding::entry::{
    EntryPending, EntryStream, StreamPart, Summary, write_consumer, write_group, write_pending, write_stream_event,
    write_summary,
};
use crate::encoding::event::{Event, EventId};

/// What is pending with each consumer of each group, by id.
fn deliveries(stream: &EntryStream<'_>) -> BTreeMap<(u32, u32), Vec<EntryPending>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for part in stream.parts() {
        if let StreamPart::Pending(pending) = part {
            all.entry((pending.group, pending.consumer)).or_default().push(pending);
        }
    }
    all.values_mut().for_each(|own| own.sort_unstable_by_key(|pending| pending.id));
    all
}

fn events<'a>(stream: &EntryStream<'a>) -> impl Iterator<Item = Event<'a>> + use<'a> {
    stream.parts().filter_map(|part| if let StreamPart::Event(event) = part { Some(event) } else { None })
}

/// A stream in the words of the samples.
pub(super) fn content(payload: &[u8]) -> Vec<String> {
    let stream = EntryStream::read(payload).unwrap();
    let Summary { last, greatest_deleted, added, .. } = stream.summary;
    let mut words = vec![format!("last={last}"), format!("deleted={greatest_deleted}"), format!("added={added}")];
    for event in events(&stream) {
        let mut fields = String::new();
        for (name, value) in event.fields() {
            write!(fields, ",{},{}", shown(name), shown(value)).unwrap();
        }
        words.push(format!("{}:{}", event.id, &fields[1..]));
    }
    let deliveries = deliveries(&stream);
    for (group, group_number) in stream.groups().zip(0..) {
        let read = group.read.map_or("None".to_owned(), |read| read.to_string());
        words.push(format!("group:{}:{}:{read}", shown(group.name), group.last_delivered));
        for (consumer, number) in group.consumers().zip(0..) {
            let active = consumer.active.map_or("None".to_owned(), |active| active.to_string());
            words.push(format!("consumer:{}:{}:{active}", shown(consumer.name), consumer.seen));
            for pending in deliveries.get(&(group_number, number)).into_iter().flatten() {
                words.push(format!("pending:{}:{}:{}", pending.id, pending.delivered_at, pending.deliveries));
            }
        }
    }
    words
}

/// Writes a stream. Returns the version that readers must know.
pub(super) fn write_all(payload: &[u8], out: &mut Vec<u8>) -> u16 {
    let stream = EntryStream::read(payload).unwrap();
    let consumers = stream.groups().flat_map(|group| group.consumers());
    let form = Form::of(consumers.map(|consumer| (consumer.seen, consumer.active)));
    out.push(form.kind());
    let mut writer = EventWriter::new(out);
    events(&stream).for_each(|event| writer.push(out, event.id, event.len(), event.fields()));
    let first = writer.finish(out);
    write_stream::numbers(out, first, &stream.summary);
    let deliveries = deliveries(&stream);
    for (group, group_number) in stream.groups().zip(0..) {
        let own = deliveries.range((group_number, 0)..=(group_number, u32::MAX));
        let mut pending: Vec<_> = own.flat_map(|(_, pending)| pending).collect();
        pending.sort_unstable_by_key(|pending| pending.id);
        write_stream::group(out, group.name, group.last_delivered, group.read, pending.len());
        pending.iter().for_each(|one| write_stream::pending(out, one.id, one.delivered_at, one.deliveries));
        write::length(out, group.consumers().count());
        for (consumer, number) in group.consumers().zip(0..) {
            let own = deliveries.get(&(group_number, number)).map_or(&[][..], |own| own);
            let ids = own.iter().map(|pending| pending.id);
            write_stream::consumer(out, form, (consumer.name, consumer.seen, consumer.active), (own.len(), ids));
        }
    }
    form.version()
}

/// A random stream, as a snapshot has it.
pub(super) fn random(random: &mut fastrand::Rng, fields: &Fields<'_>) -> Vec<u8> {
    let (rows, shared): (Vec<_>, _) = (fields.iter().collect(), [(&b"name"[..], &b"value"[..])]);
    let (mut parts, mut last, mut count) = (Vec::new(), EventId::ZERO, 0);
    for at in 0..random.u64(..400) {
        let id = EventId::new(1_700_000_000_000 + at / 3 * random.u64(1..3), at);
        let first = random.usize(..rows.len());
        let own = if random.bool() { &shared[..] } else { &rows[first..rows.len().min(first + 3)] };
        if id > last {
            write_stream_event(&mut parts, id, own.len(), own.iter().copied());
            (last, count) = (id, count + 1);
        }
    }
    let mut summary = Summary {
        last: EventId::new(last.ms + (1 << 40), last.seq),
        greatest_deleted: EventId::new(random.u64(..), random.u64(..100_000)),
        added: random.u64(..),
        events: count,
        pending: 0,
        groups: random.u32(..4),
    };
    let (mut groups, mut pending) = (Vec::new(), Vec::new());
    for group in 0..summary.groups {
        let (read, consumers) = (random.bool().then(|| random.u64(..1 << 40)), random.u32(..4));
        let last_delivered = EventId::new(group.into(), random.u64(..));
        write_group(&mut groups, format!("g{group}").as_bytes(), last_delivered, read, consumers);
        for consumer in 0..consumers {
            let active = random.bool().then(|| random.u64(..1 << 50));
            let seen = active.filter(|_| random.bool()).unwrap_or(random.u64(..1 << 50));
            write_consumer(&mut groups, format!("c{consumer}").as_bytes(), seen, active);
            for at in 0..random.u64(..20) {
                let id = EventId::new(at, consumer.into());
                pending.push(EntryPending { group, consumer, id, delivered_at: at, deliveries: at % 99 });
            }
        }
    }
    summary.pending = pending.len() as u64;
    // In the order in which they are read: events, then what is pending in each group, by id.
    pending.sort_unstable_by_key(|pending| (pending.group, pending.id));
    pending.iter().for_each(|pending| write_pending(&mut parts, pending));
    let mut payload = Vec::new();
    write_summary(&mut payload, &summary);
    [payload, groups, parts].concat()
}
