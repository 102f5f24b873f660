//! `inspect log`: the frames and edits of a segment file, or of all segments of a stream as far as it counts.

use std::path::Path;

use serde_json::{Value, json};

use super::{Printer, Shown, finish, is_dir, readable};
use crate::encoding::edit::{Change, Edit, End, EventIds, StreamChange};
use crate::encoding::frame::Frame;
use crate::ids::Lsn;
use crate::storage::log::segment::SegmentHeader;
use crate::storage::{Corruption, DataDir, StorageError, StreamReader, StreamSpec, path};

/// Prints the segment or stream at `path`.
pub(super) fn show(path: &Path, out: &mut Printer<'_>) -> Shown {
    let opened = if is_dir(path) { open_stream(path) } else { StreamReader::open_file(path) };
    let (mut reader, header) = opened?;
    out.line(format!("stream {}, from edit {}", header.stream, header.first))?;
    let (epoch, core) = (header.stream.epoch.0, header.stream.core.0);
    let head = json!({"id": reader.id().to_string(), "epoch": epoch, "core": core, "first": header.first.0});
    out.raw(&format!("{{\"stream\":{head},\"frames\":["))?;
    let mut count = 0;
    let outcome = loop {
        // The position of the frame is known only after it was read.
        let frame = match reader.next_with_marks() {
            Ok(Some(frame)) => frame.bytes.to_vec(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let (file, offset) = reader.place().unwrap_or((path, 0));
        let Ok(frame) = Frame::parse(reader.id(), &frame) else { continue };
        out.raw(if count > 0 { "," } else { "" })?;
        count += 1;
        if let Err(error) = show_frame(&frame, file, offset, out)? {
            break Err(error);
        }
    };
    out.raw("]")?;
    let end = reader.end().cloned();
    let value = end.as_ref().map_or(Value::Null, |end| {
        let torn = end.torn.as_ref();
        let torn = torn.map(|torn| json!({"file": torn.file, "offset": torn.offset, "bytes": torn.bytes}));
        json!({"last": end.last.0, "durable": end.durable.0, "sealed": end.sealed, "torn": torn})
    });
    let text = end.map_or(String::new(), |end| {
        let how = match end.sealed {
            true => "sealed",
            false => "not sealed: more may follow in another segment, it was killed, or it was cut off here",
        };
        let torn =
            end.torn.map(|torn| format!("; {} bytes from byte {} on are the rest of a crash", torn.bytes, torn.offset));
        format!("{count} frames, last edit {}, {how}{}", end.last, torn.unwrap_or_default())
    });
    finish(out, outcome.map(|()| value), &text)
}

/// Opens all segments in a stream's directory.
fn open_stream(dir: &Path) -> Result<(StreamReader, SegmentHeader), StorageError> {
    let entries = std::fs::read_dir(dir).map_err(|source| StorageError::Io {
        path: dir.to_owned(),
        what: "cannot list",
        source,
    })?;
    let firsts = entries.flatten().filter_map(|e| path::parse_segment(&e.file_name().to_string_lossy()));
    let Some(first) = firsts.min() else {
        return Err(Corruption::new(dir, 0, "there are no segments here").into());
    };
    let (reader, header) = StreamReader::open_file(&dir.join(path::segment_name(first)))?;
    // log/<epoch>/<core> is three levels below the data directory.
    let data = dir.canonicalize().ok().and_then(|dir| dir.ancestors().nth(3).map(Path::to_owned));
    let data = data.unwrap_or_default();
    let (id, stream) = (reader.id(), header.stream);
    // Where recovery has cut the stream off, it ends for everyone. Without a good manifest, all is shown that there is.
    let manifest = DataDir::peek(&data).ok().flatten().filter(|manifest| manifest.id == id);
    let last = manifest.and_then(|manifest| manifest.stream(stream)).and_then(|record| record.last);
    let spec = StreamSpec { dir: data, id, stream, first, last, floor: Lsn(first.0 - 1) };
    Ok((StreamReader::open_unlocked(&spec, first)?, header))
}

fn show_frame(
    frame: &Frame<'_>,
    file: &Path,
    offset: u64,
    out: &mut Printer<'_>,
) -> Result<Result<(), StorageError>, super::Interrupted> {
    let h = frame.header;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    out.line(match (h.count, h.seal) {
        (0, false) => format!("{name}@{offset} mark: synced {}, durable {}", h.synced, h.durable),
        (0, true) => format!("{name}@{offset} seal: synced {}, durable {}", h.synced, h.durable),
        _ => {
            let (first, last, bytes, synced, durable) = (h.first, h.last(), h.body_len, h.synced, h.durable);
            format!("{name}@{offset} edits {first}–{last}, {bytes} bytes, synced {synced}, durable {durable}")
        }
    })?;
    let head = json!({"file": name, "offset": offset, "first": h.first.0, "count": h.count, "bytes": h.body_len,
        "synced": h.synced.0, "durable": h.durable.0, "segment": h.segment.0, "seal": h.seal});
    // The object stays open for the edits.
    let head = head.to_string();
    out.raw(&format!("{},\"edits\":[", head.trim_end_matches('}')))?;
    let mut outcome = Ok(());
    for (n, edit) in frame.edits().enumerate() {
        let decoded = edit.and_then(|(lsn, bytes)| Edit::decode(bytes).map(|edit| (lsn, edit)));
        match decoded {
            Ok((lsn, edit)) => {
                let (text, mut value) = describe(&edit);
                out.line(format!("  {lsn} {text}"))?;
                value["lsn"] = lsn.0.into();
                out.raw(&format!("{}{value}", if n > 0 { "," } else { "" }))?;
            }
            Err(why) => {
                outcome = Err(Corruption::new(file, offset, why.to_string()).into());
                break;
            }
        }
    }
    out.raw("]}")?;
    Ok(outcome)
}

/// Describes an edit as text and as JSON. Values are shown only by their length.
fn describe(edit: &Edit<'_>) -> (String, Value) {
    match edit {
        Edit::Key { db, slot, key, change } => {
            let (name, detail) = describe_change(change);
            let key = readable(key);
            let text = format!("db {db} slot {slot} {key}: {name} {detail}");
            (text, json!({"edit": name, "db": db.0, "slot": slot.0, "key": key, "detail": detail}))
        }
        Edit::Flush { partition, db } => {
            let value = json!({"edit": "flush", "partition": partition.0, "db": db.0});
            (format!("partition {partition}: flush db {db}"), value)
        }
        Edit::SwapDb { partition, a, b } => {
            let value = json!({"edit": "swapdb", "partition": partition.0, "db": a.0, "other": b.0});
            (format!("partition {partition}: swap db {a} with {b}"), value)
        }
        Edit::Barrier { partition, checkpoint, digests } => {
            let digest = digests.iter().fold(0u64, |sum, digest| sum.wrapping_add(*digest));
            let what = if *checkpoint { "barrier for a checkpoint" } else { "barrier" };
            let value = json!({"edit": "barrier", "partition": partition.0, "checkpoint": checkpoint,
                "digest": format!("{digest:016x}")});
            (format!("partition {partition}: {what}, digest {digest:016x}"), value)
        }
    }
}

const fn side(end: End) -> &'static str {
    match end {
        End::Left => "left",
        End::Right => "right",
    }
}

fn describe_change(change: &Change<'_>) -> (&'static str, String) {
    let expires =
        |at: &Option<crate::time::UnixMillis>| at.map_or(String::new(), |at| format!(", expires at {} ms", at.get()));
    match change {
        Change::PutString { value, expire_at } => {
            ("put string", format!("{} bytes{}", value.len(), expires(expire_at)))
        }
        Change::WriteString { offset, bytes } => ("write string", format!("{} bytes at {offset}", bytes.len())),
        Change::PutHash { fields, expire_at } => ("put hash", format!("{} fields{}", fields.len(), expires(expire_at))),
        Change::SetFields(fields) => ("set fields", format!("{} fields", fields.len())),
        Change::RemoveFields(fields) => ("remove fields", format!("{} fields", fields.len())),
        Change::ExpireFields(fields) => ("expire fields", format!("{} fields", fields.len())),
        Change::PutExpiringHash { fields, expire_at } => {
            ("put expiring hash", format!("{} fields{}", fields.len(), expires(expire_at)))
        }
        Change::SetExpiringFields(fields) => ("set expiring fields", format!("{} fields", fields.len())),
        Change::SetFieldExpiry { fields, expire_at } => {
            ("set field expiry", format!("{} fields{}", fields.len(), expires(expire_at)))
        }
        Change::PutSet { members, expire_at } => {
            ("put set", format!("{} members{}", members.len(), expires(expire_at)))
        }
        Change::AddMembers(members) => ("add members", format!("{} members", members.len())),
        Change::RemoveMembers(members) => ("remove members", format!("{} members", members.len())),
        Change::PutSortedSet { members, expire_at } => {
            ("put sorted set", format!("{} members{}", members.len(), expires(expire_at)))
        }
        Change::SetScores(members) => ("set scores", format!("{} members", members.len())),
        Change::RemoveScored(members) => ("remove scored", format!("{} members", members.len())),
        Change::RemoveRanks { first, count } => ("remove ranks", format!("{count} members from rank {first} on")),
        Change::PutList { elements, expire_at } => {
            ("put list", format!("{} elements{}", elements.len(), expires(expire_at)))
        }
        Change::PushElements { end, elements } => {
            ("push elements", format!("{} at the {} end", elements.len(), side(*end)))
        }
        Change::PopElements { end, count } => ("pop elements", format!("{count} at the {} end", side(*end))),
        Change::SetElement { index, value } => ("set element", format!("{} bytes at {index}", value.len())),
        Change::InsertElement { index, value } => ("insert element", format!("{} bytes at {index}", value.len())),
        Change::RemoveElements(ranges) => {
            let count = ranges.iter().map(|(_, count)| count).sum::<u64>();
            ("remove elements", format!("{count} in {} ranges", ranges.len()))
        }
        Change::PutStream { stream, expire_at } => {
            ("put stream", format!("{} bytes{}", stream.len(), expires(expire_at)))
        }
        Change::Stream(change) => describe_stream_change(change),
        Change::SetExpiry(None) => ("persist", String::new()),
        Change::SetExpiry(Some(at)) => ("expire", format!("at {} ms", at.get())),
        Change::Delete(removal) => ("delete", format!("{removal:?}").to_lowercase()),
        Change::Move { to_db, to_key } => ("move", format!("to db {to_db} {}", readable(to_key))),
    }
}

fn describe_stream_change(change: &StreamChange<'_>) -> (&'static str, String) {
    let too = |pending: &bool| if *pending { ", and what is pending of them" } else { "" };
    match change {
        StreamChange::AddEvents { events, added } => {
            let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
            ("add events", format!("{}; {added} so far", ids.join(" ")))
        }
        StreamChange::RemoveEvents { ids, pending_too, .. } => {
            ("remove events", format!("{}{}", in_words(ids), too(pending_too)))
        }
        StreamChange::TrimStream { through, pending_too } => {
            ("trim stream", format!("through {through}{}", too(pending_too)))
        }
        StreamChange::SetStreamIds { last, greatest_deleted, added } => {
            ("set stream ids", format!("last {last}, greatest deleted {greatest_deleted}, {added} added"))
        }
        StreamChange::PutGroup { group, last_delivered, .. } => {
            ("put group", format!("\"{}\", delivered to {last_delivered}", group.escape_ascii()))
        }
        StreamChange::RemoveGroup(group) => ("remove group", format!("\"{}\"", group.escape_ascii())),
        StreamChange::PutConsumer(put) => {
            let (group, consumer) = (put.group.escape_ascii(), put.consumer.escape_ascii());
            ("put consumer", format!("\"{consumer}\" of \"{group}\", {} events pending", put.pending.len()))
        }
        StreamChange::RemoveConsumer { group, consumer } => {
            ("remove consumer", format!("\"{}\" of \"{}\"", consumer.escape_ascii(), group.escape_ascii()))
        }
        StreamChange::RemovePending { group, ids } => {
            ("remove pending", format!("{} of \"{}\"", in_words(ids), group.escape_ascii()))
        }
    }
}

/// The ids, one after the other.
fn in_words(ids: &EventIds<'_>) -> String {
    ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
}
