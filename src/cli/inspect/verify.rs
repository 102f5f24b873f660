//! `inspect verify`: reads a whole data directory as a start would, and reports what a start would do. Changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::{Printer, Shown, error_value};
use crate::ids::{Lsn, Placement, StreamId};
use crate::partition::{Tally, keep_all, recover_all};
use crate::storage::directory::Found;
use crate::storage::{Corruption, DataDir, StorageError, StreamEnd, TornTail};

/// Findings of a simulated start.
struct Outcome {
    found: Found,
    tally: Tally,
    ends: Vec<(StreamId, StreamEnd)>,
    /// Streams that would be cut off, with the last edit that would be kept and the last that is there.
    cut_off: Vec<(StreamId, Lsn, Lsn)>,
}

/// Prints what starting on the data directory `path` would do.
pub(super) fn show(path: &Path, out: &mut Printer<'_>) -> Shown {
    match look(path) {
        Ok(None) => {
            out.line("There is no data here. A start would make a new data directory.")?;
            out.document(&json!({"verdict": "create"}))?;
            Ok(None)
        }
        Ok(Some(outcome)) => {
            show_text(&outcome, out)?;
            out.document(&value(&outcome))?;
            Ok(None)
        }
        Err(error) => {
            out.line("A start would refuse.")?;
            out.document(&json!({"verdict": "refuse", "error": error_value(&error)}))?;
            Ok(Some(error.into()))
        }
    }
}

/// Recovers everything, as a start would, and forgets it again.
fn look(path: &Path) -> Result<Option<Outcome>, StorageError> {
    let Some((dir, found)) = DataDir::open_read_only(path)? else { return Ok(None) };
    let manifest = dir.manifest();
    // As many shares as the last epoch had cores: then each share reads only its own streams.
    let cores = manifest.newest_epoch().map_or(1, |e| e.streams.len() as u16);
    let placement = Placement::new(manifest.partitions, cores).ok_or_else(|| {
        Corruption::new(path, 0, format!("{cores} cores cannot hold {} partitions", manifest.partitions.count()))
    })?;
    let (recovered, findings, cut) = recover_all(&dir, placement, &keep_all)?;
    let tally = recovered.iter().fold(Tally::default(), |sum, core| sum.plus(core.tally));
    let mut ends: Vec<_> = findings.into_iter().flat_map(|found| found.ends).collect();
    ends.sort_by_key(|(stream, _)| *stream);
    ends.dedup_by_key(|(stream, _)| *stream);
    Ok(Some(Outcome { found, tally, ends, cut_off: cut.cut_off().collect() }))
}

fn show_text(outcome: &Outcome, out: &mut Printer<'_>) -> std::io::Result<()> {
    let Tally { snapshots, entries, bad_snapshots, edits, barriers, .. } = outcome.tally;
    out.line("A start would succeed.")?;
    out.line(format!("{snapshots} snapshots with {entries} keys, then {edits} edits; {barriers} barriers agree."))?;
    if bad_snapshots > 0 {
        out.line(format!("{bad_snapshots} snapshots are bad; older ones and a longer log would be used."))?;
    }
    if let Some(repaired) = &outcome.found.repaired_manifest {
        out.line(format!("A copy of the manifest would be written anew: {repaired}."))?;
    }
    for file in &outcome.found.set_aside {
        out.line(format!("{} belongs to nothing and would be set aside.", file.display()))?;
    }
    for file in &outcome.found.unknown {
        out.line(format!("{} is not ours and would be left alone.", file.display()))?;
    }
    for (stream, end) in &outcome.ends {
        let torn = end.torn.as_ref().map_or(String::new(), |torn| {
            let TornTail { file, offset, bytes } = torn;
            format!("; {bytes} bytes from byte {offset} of {} on are the rest of a crash", file.display())
        });
        out.line(format!("Stream {stream} ends with edit {}{torn}.", end.last))?;
    }
    for (stream, last, end) in &outcome.cut_off {
        out.line(format!("Stream {stream} would be cut off after edit {last}: those up to {end} are of no use."))?;
    }
    Ok(())
}

fn value(outcome: &Outcome) -> Value {
    let Tally { snapshots, entries, snapshot_bytes, bad_snapshots, edits, log_bytes, barriers } = outcome.tally;
    let ends = outcome.ends.iter().map(|(stream, end)| {
        let torn = end.torn.as_ref();
        let torn = torn.map(|torn| json!({"file": torn.file, "offset": torn.offset, "bytes": torn.bytes}));
        json!({"epoch": stream.epoch.0, "core": stream.core.0, "last": end.last.0, "durable": end.durable.0,
            "sealed": end.sealed, "torn": torn})
    });
    let cut_off = outcome.cut_off.iter().map(
        |(stream, last, end)| json!({"epoch": stream.epoch.0, "core": stream.core.0, "last": last.0, "end": end.0}),
    );
    json!({
        "verdict": "start",
        "snapshots": snapshots, "entries": entries, "snapshot_bytes": snapshot_bytes, "bad_snapshots": bad_snapshots,
        "edits": edits, "log_bytes": log_bytes, "barriers": barriers,
        "streams": ends.collect::<Vec<_>>(),
        "cut_off": cut_off.collect::<Vec<_>>(),
        "repaired_manifest": outcome.found.repaired_manifest,
        "set_aside": outcome.found.set_aside,
        "unknown": outcome.found.unknown,
    })
}
