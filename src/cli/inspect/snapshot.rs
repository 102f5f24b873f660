//! `inspect snapshot`: the sections of a snapshot file.

use std::path::Path;

use serde_json::json;

use super::{Printer, Shown, finish};
use crate::storage::snapshot::SnapshotReader;
use crate::storage::{Corruption, StorageError};

/// Prints the snapshot at `path`.
pub(super) fn show(path: &Path, out: &mut Printer<'_>) -> Shown {
    let mut reader = SnapshotReader::open_any(path)?;
    let subject = reader.subject();
    let (partition, partitions) = (subject.partition, subject.partitions.count());
    let position = reader.position();
    out.line(format!(
        "snapshot of partition {partition} of {partitions} at {position}: {} sections, {} bytes",
        reader.sections(),
        reader.bytes()
    ))?;
    let head = json!({"id": subject.id.to_string(), "partition": partition.0, "partitions": partitions,
        "position": position.to_string(), "sections": reader.sections(), "bytes": reader.bytes()});
    out.raw(&format!("{{\"snapshot\":{head},\"sections\":["))?;
    let mut count = 0;
    let outcome = loop {
        let h = match reader.next() {
            Ok(Some(section)) => section.header,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        out.line(format!(
            "  slot {} at {}: {} entries, {} bytes, digest {:016x}",
            h.slot, h.position, h.entries, h.bytes, h.digest
        ))?;
        let section = json!({"slot": h.slot.0, "position": h.position.to_string(), "entries": h.entries,
            "bytes": h.bytes, "digest": format!("{:016x}", h.digest)});
        out.raw(&format!("{}{section}", if count > 0 { "," } else { "" }))?;
        count += 1;
    };
    out.raw("]")?;
    let summary = outcome.and_then(|()| {
        let missing = || StorageError::from(Corruption::new(path, 0, "the snapshot does not end"));
        reader.summary().ok_or_else(missing)
    });
    let end = summary.map(|s| {
        json!({"entries": s.entries, "crc32": format!("{:08x}", s.installed.crc),
            "digest": format!("{:016x}", s.installed.digest)})
    });
    let text = reader.summary().map_or(String::new(), |s| {
        format!("{} entries, crc32 {:08x}, digest {:016x}", s.entries, s.installed.crc, s.installed.digest)
    });
    finish(out, end, &text)
}
