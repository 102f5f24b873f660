//! `inspect verify`: reads a whole data directory as a start would, and reports what a start would do. Changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::{Printer, Shown, error_value};
use crate::ids::{CoreId, Placement, StreamId};
use crate::partition::{Tally, recover};
use crate::storage::directory::Found;
use crate::storage::{Corruption, Cut, DataDir, StorageError, StreamEnd};

/// Findings of a simulated start.
struct Outcome {
    found: Found,
    tally: Tally,
    ends: Vec<(StreamId, StreamEnd)>,
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

/// Recovers all data, one core's share after the other, and discards it.
fn look(path: &Path) -> Result<Option<Outcome>, StorageError> {
    let Some((dir, found)) = DataDir::open_read_only(path)? else { return Ok(None) };
    let manifest = dir.manifest();
    // As many shares as the last epoch had cores: then each share reads only its own streams.
    let cores = manifest.newest_epoch().map_or(1, |e| e.streams.len() as u16);
    let placement = Placement::new(manifest.partitions, cores).ok_or_else(|| {
        Corruption::new(path, 0, format!("{cores} cores cannot hold {} partitions", manifest.partitions.count()))
    })?;
    let mut outcome = Outcome { found, tally: Tally::default(), ends: Vec::new() };
    for core in (0..cores).map(CoreId) {
        let recovered = recover(&dir, placement, core)?;
        outcome.tally = outcome.tally.plus(recovered.tally);
        outcome.ends.extend(recovered.ends);
    }
    outcome.ends.sort_by_key(|(stream, _)| *stream);
    outcome.ends.dedup_by_key(|(stream, _)| *stream);
    Ok(Some(outcome))
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
        let cut = end.cut.as_ref().map_or(String::new(), |cut| {
            let Cut { file, offset, bytes } = cut;
            format!("; {bytes} bytes from byte {offset} of {} on would be cut off", file.display())
        });
        out.line(format!("Stream {stream} ends with edit {}{cut}.", end.last))?;
    }
    Ok(())
}

fn value(outcome: &Outcome) -> Value {
    let Tally { snapshots, entries, snapshot_bytes, bad_snapshots, edits, log_bytes, barriers } = outcome.tally;
    let ends = outcome.ends.iter().map(|(stream, end)| {
        let cut = end.cut.as_ref();
        let cut = cut.map(|cut| json!({"file": cut.file, "offset": cut.offset, "bytes": cut.bytes}));
        json!({"epoch": stream.epoch.0, "core": stream.core.0, "last": end.last.0, "sealed": end.sealed, "cut": cut})
    });
    json!({
        "verdict": "start",
        "snapshots": snapshots, "entries": entries, "snapshot_bytes": snapshot_bytes, "bad_snapshots": bad_snapshots,
        "edits": edits, "log_bytes": log_bytes, "barriers": barriers,
        "streams": ends.collect::<Vec<_>>(),
        "repaired_manifest": outcome.found.repaired_manifest,
        "set_aside": outcome.found.set_aside,
        "unknown": outcome.found.unknown,
    })
}
